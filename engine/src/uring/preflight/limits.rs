//! Resource limits: raised to the hard value, never beyond (the proxy's pod gets no SYS_RESOURCE).

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use super::{Failure, Requirement};

/// The executor that hosts a shard refuses to start below it.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Two fds for each connection and some for listeners: below it a busy node runs out.
const OPEN_FILES_MIN: u64 = 65_536;

pub(super) fn raise_all() -> [Requirement; 2] {
    [
        Requirement { name: "memlock", outcome: judge_memlock(raise(Resource::RLIMIT_MEMLOCK)), fatal: true },
        Requirement {
            name: "open files",
            outcome: judge_open_files(raise(Resource::RLIMIT_NOFILE)),
            fatal: false,
        },
    ]
}

/// The soft limit before and after.
type Raised = Result<(rlim_t, rlim_t), Errno>;

fn raise(resource: Resource) -> Raised {
    let (soft, hard) = getrlimit(resource)?;
    if soft < hard {
        setrlimit(resource, hard, hard)?;
    }
    let (after, _) = getrlimit(resource)?;
    Ok((soft, after))
}

fn judge_memlock(raised: Raised) -> Result<String, Failure> {
    let cure = "set the container runtime's memlock limit (LimitMEMLOCK= of containerd or CRI-O) to infinity";
    judge("RLIMIT_MEMLOCK", raised, MEMLOCK_BYTES_MIN, "each shard's executor needs", cure, bytes)
}

fn judge_open_files(raised: Raised) -> Result<String, Failure> {
    let cure = "raise the container runtime's limit of open files (LimitNOFILE= of containerd or CRI-O)";
    judge("RLIMIT_NOFILE", raised, OPEN_FILES_MIN, "a busy node needs", cure, count)
}

fn judge(
    name: &str,
    raised: Raised,
    least: u64,
    who: &str,
    cure: &str,
    show: fn(u64) -> String,
) -> Result<String, Failure> {
    let (before, after) = raised
        .map_err(|errno| Failure::new(format!("{name} can be neither read nor raised: {errno}"), cure))?;
    if after < least {
        return Err(Failure::new(
            format!("{name} is {}, and {who} at least {}", show(after), show(least)),
            cure,
        ));
    }
    if before == after {
        return Ok(show(after));
    }
    Ok(format!("raised from {} to {}", show(before), show(after)))
}

fn bytes(value: u64) -> String {
    match value {
        u64::MAX => "unlimited".to_owned(),
        value if value >= 1024 => format!("{} KiB", value / 1024),
        value => format!("{value} bytes"),
    }
}

fn count(value: u64) -> String {
    if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn memlock_is_judged_by_what_it_was_raised_to() {
        for (raised, expected) in [
            (Ok((65_536, 8 << 20)), Ok("raised from 64 KiB to 8192 KiB")),
            (Ok((8 << 20, 8 << 20)), Ok("8192 KiB")),
            (Ok((u64::MAX, u64::MAX)), Ok("unlimited")),
            (Ok((MEMLOCK_BYTES_MIN, MEMLOCK_BYTES_MIN)), Ok("512 KiB")),
            (
                Ok((1000, 1000)),
                Err("RLIMIT_MEMLOCK is 1000 bytes, and each shard's executor needs at least 512 KiB"),
            ),
            (
                Ok((65_536, 65_536)),
                Err("RLIMIT_MEMLOCK is 64 KiB, and each shard's executor needs at least 512 KiB"),
            ),
            (
                Err(Errno::EPERM),
                Err("RLIMIT_MEMLOCK can be neither read nor raised: EPERM: Operation not permitted"),
            ),
        ] {
            let judged = judge_memlock(raised).map_err(|failure| failure.cause);
            assert_eq!(judged, expected.map(str::to_owned).map_err(str::to_owned), "{raised:?}");
        }
    }

    #[test]
    fn open_files_are_judged_by_what_they_were_raised_to() {
        for (raised, expected) in [
            (Ok((1024, 1 << 20)), Ok("raised from 1024 to 1048576")),
            (Ok((65_536, 65_536)), Ok("65536")),
            (Ok((1024, 4096)), Err("RLIMIT_NOFILE is 4096, and a busy node needs at least 65536")),
        ] {
            let judged = judge_open_files(raised).map_err(|failure| failure.cause);
            assert_eq!(judged, expected.map(str::to_owned).map_err(str::to_owned), "{raised:?}");
        }
    }

    #[test]
    fn raising_reaches_the_hard_limit() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise(Resource::RLIMIT_NOFILE).unwrap().1, hard);
        assert_eq!(raise(Resource::RLIMIT_NOFILE), Ok((hard, hard)));
    }
}
