#!/usr/bin/env bash
# Holds the processors of this machine at one speed while something is measured, or gives them back. As root.
#
#     calm.sh set       governor "performance", no turbo; what was there before is kept in /run
#     calm.sh restore   what was there before
set -euo pipefail

STATE=/run/ringway-calm

governors() {
    find /sys/devices/system/cpu/cpufreq -name scaling_governor 2>/dev/null
}

# The one switch that this machine's driver has, if any: intel_pstate's is the wrong way round.
turbo() {
    for switch in /sys/devices/system/cpu/intel_pstate/no_turbo /sys/devices/system/cpu/cpufreq/boost; do
        [ -w "$switch" ] && echo "$switch" && return
    done
    return 0
}

# Keeps what a file says, then writes the new value.
change() {
    printf '%s %s\n' "$1" "$(cat "$1")" >>"$STATE"
    echo "$2" >"$1"
    echo "$1: $2"
}

calm() {
    if [ -e "$STATE" ]; then
        echo "already calm since $(stat -c %y "$STATE"); restore first" >&2
        exit 1
    fi
    : >"$STATE"
    local file switch
    for file in $(governors); do
        change "$file" performance
    done
    switch=$(turbo)
    case "$switch" in
    */no_turbo) change "$switch" 1 ;;
    */boost) change "$switch" 0 ;;
    esac
    [ -s "$STATE" ] || echo "this kernel lets nobody choose frequencies: is it a virtual machine?"
    echo "load: $(cut -d' ' -f1-3 /proc/loadavg); SMT: $(cat /sys/devices/system/cpu/smt/control 2>/dev/null || echo unknown)"
}

restore() {
    [ -e "$STATE" ] || return 0
    while read -r file value; do
        echo "$value" >"$file"
    done <"$STATE"
    rm "$STATE"
}

case "${1-}" in
set) calm ;;
restore) restore ;;
*)
    echo "usage: calm.sh set|restore" >&2
    exit 2
    ;;
esac
