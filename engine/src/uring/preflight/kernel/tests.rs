#![allow(clippy::unwrap_used)]

use super::*;

fn facts(disabled: Option<u32>, filtered: bool, release: &str) -> Facts {
    Facts { disabled, admin: false, filtered, release: release.to_owned() }
}

fn admin(facts: Facts) -> Facts {
    Facts { admin: true, ..facts }
}

#[test]
fn a_failed_set_up_names_who_forbids_it() {
    for (errno, facts, cause) in [
        (libc::EPERM, facts(Some(2), false, "6.8.0"), "io_uring_disabled=2"),
        (libc::EPERM, facts(Some(2), true, "6.8.0"), "io_uring_disabled=2"),
        (libc::EPERM, facts(Some(1), false, "6.8.0"), "io_uring_disabled=1"),
        (libc::EPERM, facts(Some(1), true, "6.8.0"), "io_uring_disabled=1"),
        (libc::EPERM, admin(facts(Some(1), true, "6.8.0")), "seccomp"),
        (libc::EPERM, admin(facts(Some(2), true, "6.8.0")), "io_uring_disabled=2"),
        (libc::EPERM, facts(Some(0), true, "6.8.0"), "seccomp"),
        (libc::EPERM, facts(None, true, "6.1.0"), "seccomp"),
        (libc::EPERM, facts(Some(0), false, "6.8.0"), "neither by sysctl nor by seccomp"),
        (libc::EACCES, facts(Some(0), false, "6.8.0"), "neither by sysctl nor by seccomp"),
        (libc::ENOSYS, facts(None, false, "4.18.0"), "kernel 4.18.0 has no io_uring"),
        (libc::ENOSYS, facts(None, true, "4.18.0"), "kernel 4.18.0 has no io_uring"),
        (libc::ENOSYS, facts(None, true, "6.8.0"), "seccomp"),
        (libc::EINVAL, facts(None, false, "5.15.0"), "DEFER_TASKRUN"),
        (libc::ENOMEM, facts(None, false, "6.8.0"), "memlock"),
        (libc::EMFILE, facts(None, false, "6.8.0"), "file descriptor"),
        (libc::EFAULT, facts(None, false, "6.8.0"), "io_uring_setup failed"),
    ] {
        let failure = explain_setup(&io::Error::from_raw_os_error(errno), &facts);
        assert!(failure.cause.contains(cause), "{errno} {facts:?}: {failure}");
        assert!(!failure.cure.is_empty());
    }
}

#[test]
fn releases_are_compared_as_numbers() {
    for (release, good) in [
        ("6.1.0-13-amd64", true),
        ("6.1", true),
        ("6.10.3", true),
        ("6.18.44-fc-v509", true),
        ("10.0.0", true),
        ("7.0-rc1", true),
        ("6.0.19", false),
        ("5.15.0-1050-aws", false),
        ("5.19", false),
        ("", false),
        ("six.one", false),
    ] {
        assert_eq!(judge_version(release).is_ok(), good, "{release:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    assert!(judge_operations(Ok(vec![])).is_ok());
    let failure = judge_operations(Ok(vec!["ACCEPT", "EXT_ARG"])).unwrap_err();
    assert_eq!(failure.cause, "io_uring lacks ACCEPT, EXT_ARG");
    assert!(judge_operations(Err(io::Error::from_raw_os_error(libc::EPERM))).is_err());
}

#[test]
fn only_the_byte_that_was_sent_counts() {
    assert!(judge_receive(Ok(true)).is_ok());
    assert!(judge_receive(Ok(false)).is_err());
    assert!(judge_receive(Err("enter: EPERM".to_owned())).is_err());
    assert_eq!(receive_once(), Ok(true));
}
