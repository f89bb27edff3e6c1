//! A thread whose wait for events fails, as it never does on a sound kernel.
//!
//! That is a fault which the program in the thread can but panic for: tokio's runtime does. It is put there from outside, as a
//! debugger would, so the program under test has nothing for it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::process::{Process, wait_until};

/// How long a thread may be busy before it waits.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Lets the wait that the process's thread of this name is in fail with EBADF.
pub fn fail_wait(process: &Process, thread: &str) -> Result<()> {
    let thread = thread_of(process, thread)?;
    ptrace::seize(thread, Options::empty()).context("seizing the thread, which takes CAP_SYS_PTRACE")?;
    wait_until("the thread to wait for events", BUSY_TIMEOUT, || {
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        if fail_interrupted(thread)? {
            ptrace::detach(thread, None)?;
            return Ok(Some(()));
        }
        ptrace::cont(thread, None)?;
        Ok(None)
    })
}

fn thread_of(process: &Process, name: &str) -> Result<Pid> {
    for thread in fs::read_dir(format!("/proc/{}/task", process.pid()))? {
        let thread = thread?;
        if fs::read_to_string(thread.path().join("comm"))?.trim_end() == name {
            let id = thread.file_name().to_string_lossy().parse()?;
            return Ok(Pid::from_raw(id));
        }
    }
    anyhow::bail!("process {} has no thread {name}", process.pid())
}

/// Whether the thread, which stands, was interrupted in a wait for events: its result is another one then.
#[cfg(target_arch = "x86_64")]
fn fail_interrupted(thread: Pid) -> Result<bool> {
    let mut registers = ptrace::getregs(thread)?;
    let interrupted =
        registers.orig_rax == libc::SYS_epoll_wait as u64 && registers.rax == result(Errno::EINTR);
    if interrupted {
        registers.rax = result(Errno::EBADF);
        ptrace::setregs(thread, registers)?;
    }
    Ok(interrupted)
}

#[cfg(target_arch = "aarch64")]
fn fail_interrupted(thread: Pid) -> Result<bool> {
    let mut registers = ptrace::getregs(thread)?;
    let interrupted =
        registers.regs[8] == libc::SYS_epoll_pwait as u64 && registers.regs[0] == result(Errno::EINTR);
    if interrupted {
        registers.regs[0] = result(Errno::EBADF);
        ptrace::setregs(thread, registers)?;
    }
    Ok(interrupted)
}

/// What a system call that failed leaves in its register.
fn result(errno: Errno) -> u64 {
    i64::from(-(errno as i32)) as u64
}
