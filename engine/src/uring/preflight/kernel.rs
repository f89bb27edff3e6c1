//! The kernel and its io_uring: set up with the driver's own flags, its operations asked for, one receive really done.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::super::buffers::GroupConfig;
use super::super::completion::{Completion, Received, RecvMode, Token};
use super::super::driver::{Driver, DriverConfig};
use super::super::ring::Ring;
use super::{Failure, Requirement, capabilities, status_field};

/// The first kernel with DEFER_TASKRUN. Multishot receives and rings of buffers are older.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// Size of the ring that is only tried.
const TRIAL_ENTRIES: u32 = 8;
/// A local socket answers at once; a kernel that takes longer does not deliver.
const TRIAL_MS_MAX: u64 = 2_000;

const DO_ALLOW: &str = "allow io_uring_setup, io_uring_enter and io_uring_register: seccompProfile of type Localhost with \
                        a profile that lists them, or Unconfined";

/// What explains a failed set-up.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// The sysctl kernel.io_uring_disabled, where the kernel has it (6.6).
    disabled: Option<u32>,
    /// Whether the process has CAP_SYS_ADMIN, to which that sysctl may reserve io_uring.
    admin: bool,
    /// Whether the process runs under a seccomp filter.
    filtered: bool,
    release: String,
}

pub(super) fn version() -> Requirement {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    Requirement { name: "kernel", outcome: judge_version(&release.unwrap_or_default()), fatal: true }
}

/// Set-up, operations, and a receive; each only if the one before it worked.
pub(super) fn io_uring() -> Vec<Requirement> {
    let require = |name, outcome| Requirement { name, outcome, fatal: true };
    let ring = match Ring::new(TRIAL_ENTRIES) {
        Ok(ring) => ring,
        Err(error) => return vec![require("io_uring", Err(explain_setup_now(&error)))],
    };
    let mut requirements = vec![require("io_uring", Ok("set up".to_owned()))];
    let operations = judge_operations(ring.missing());
    drop(ring);
    let complete = operations.is_ok();
    requirements.push(require("io_uring operations", operations));
    if complete {
        requirements.push(require("io_uring receive", judge_receive(receive_once())));
    }
    requirements
}

/// Why io_uring_setup failed on this system.
pub(in super::super) fn explain_setup_now(error: &io::Error) -> Failure {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let facts = Facts {
        disabled: disabled.ok().and_then(|text| text.trim().parse().ok()),
        admin: capabilities::is_admin(&status),
        filtered: status_field(&status, "Seccomp") == Some("2"),
        release: release.trim().to_owned(),
    };
    explain_setup(error, &facts)
}

fn explain_setup(error: &io::Error, facts: &Facts) -> Failure {
    let Facts { disabled, admin, filtered, release } = facts;
    let too_old = parse_release(release).is_some_and(|version| version < KERNEL_MIN);
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if *disabled == Some(2) => Failure::new(
            "io_uring is switched off on this node (sysctl kernel.io_uring_disabled=2)",
            "set kernel.io_uring_disabled=0 on the node",
        ),
        Some(libc::EPERM | libc::EACCES) if *disabled == Some(1) && !admin => Failure::new(
            "io_uring is reserved to CAP_SYS_ADMIN and one group on this node (sysctl kernel.io_uring_disabled=1)",
            "set kernel.io_uring_disabled=0 on the node, name the proxy's group in kernel.io_uring_group, or give the \
             proxy CAP_SYS_ADMIN",
        ),
        Some(libc::EPERM | libc::EACCES) if *filtered => {
            Failure::new("the seccomp profile of this container forbids io_uring", DO_ALLOW)
        }
        Some(libc::EPERM | libc::EACCES) => Failure::new(
            format!("io_uring is forbidden ({error}), neither by sysctl nor by seccomp"),
            "look for a security module (SELinux, AppArmor, BPF LSM) that denies io_uring, and allow it",
        ),
        Some(libc::ENOSYS) if *filtered && !too_old => Failure::new(
            "io_uring is missing: the seccomp profile of this container hides it, or the kernel was built without it",
            DO_ALLOW,
        ),
        Some(libc::ENOSYS) => Failure::new(
            format!("kernel {release} has no io_uring"),
            "use a kernel of at least 6.1 built with CONFIG_IO_URING",
        ),
        Some(libc::EINVAL) => Failure::new(
            format!(
                "the io_uring of kernel {release} does not know the flags the proxy needs (DEFER_TASKRUN)"
            ),
            "use a kernel of at least 6.1",
        ),
        Some(libc::ENOMEM) => Failure::new(
            "no memory for the ring: the memlock limit or the container's memory limit is too low",
            "raise the container's memory limit, or the memlock limit (LimitMEMLOCK= of containerd or CRI-O)",
        ),
        Some(libc::EMFILE | libc::ENFILE) => Failure::new(
            format!("no file descriptor left for the ring ({error})"),
            "raise the limit of open files (LimitNOFILE= of containerd or CRI-O, fs.file-max)",
        ),
        _ => Failure::new(
            format!("io_uring_setup failed: {error}"),
            "report this error with the kernel version",
        ),
    }
}

fn judge_version(release: &str) -> Result<String, Failure> {
    let cure = "use a kernel of at least 6.1";
    match parse_release(release) {
        Some(version) if version >= KERNEL_MIN => Ok(release.to_owned()),
        Some(_) => Err(Failure::new(format!("kernel {release} is too old"), cure)),
        None => Err(Failure::new(format!("the kernel's version cannot be told from {release:?}"), cure)),
    }
}

/// Major and minor number of a kernel release like `6.1.0-13-amd64`.
fn parse_release(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn judge_operations(missing: io::Result<Vec<&'static str>>) -> Result<String, Failure> {
    match missing {
        Ok(missing) if missing.is_empty() => Ok("all there".to_owned()),
        Ok(missing) => Err(Failure::new(
            format!("io_uring lacks {}", missing.join(", ")),
            "use a kernel of at least 6.1, with no io_uring restrictions",
        )),
        Err(error) => Err(Failure::new(
            format!("io_uring_register (probe) failed: {error}"),
            format!("{DO_ALLOW}; or a newer kernel"),
        )),
    }
}

/// A byte through a socket pair, by a multishot receive into a provided buffer.
fn receive_once() -> Result<bool, String> {
    let trial = GroupConfig { buffers: 2, size: 64 };
    let config = DriverConfig { entries: TRIAL_ENTRIES, chatty: trial, bulk: trial };
    let driver = Driver::new(&config).map_err(|error| error.to_string())?;
    let (near, mut far) = UnixStream::pair().map_err(|error| format!("socketpair: {error}"))?;
    driver.recv(near.as_fd(), RecvMode::Chatty, Token(0));
    driver.timer(Instant::now() + Duration::from_millis(TRIAL_MS_MAX), Token(1));
    far.write_all(b"?").map_err(|error| format!("write: {error}"))?;
    let mut received = None;
    driver
        .turn(true, &mut |completion| {
            if let Completion::Received { result: Received::Data(lease), more, .. } = completion {
                received = Some(more && *lease == *b"?");
            }
        })
        .map_err(|error| error.to_string())?;
    driver.shutdown();
    Ok(received.unwrap_or(false))
}

fn judge_receive(received: Result<bool, String>) -> Result<String, Failure> {
    match received {
        Ok(true) => Ok("multishot, into provided buffers".to_owned()),
        Ok(false) => Err(Failure::new(
            "a multishot receive did not bring what was sent",
            "use a kernel of at least 6.1, and report this with its version",
        )),
        Err(cause) => Err(Failure::new(cause, DO_ALLOW)),
    }
}

#[cfg(test)]
mod tests;
