//! Crash points: where a test kills the process to see what is left; and wrong rules, which show
//! that the test can see a fault.
//!
//! Only with the feature `crash-points`, which no release has; without it every call is empty.

/// Dies here, by SIGKILL, if the test asks for it: `TASSEOGRAPH_CRASH_AT` names the point,
/// `TASSEOGRAPH_CRASH_AFTER` says how many times it is passed before.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_name: &str) {}

#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &str) {
    if armed(name) {
        die();
    }
}

/// Writes the whole of `bytes`; at the crash point, only half of them.
pub(crate) fn write_all(mut to: impl std::io::Write, bytes: &[u8]) -> std::io::Result<()> {
    #[cfg(feature = "crash-points")]
    if armed("in the middle of a spool write") {
        drop(to.write_all(&bytes[..bytes.len() / 2]));
        die();
    }
    to.write_all(bytes)
}

/// Whether `TASSEOGRAPH_WRONG` asks for this wrong rule.
#[cfg(not(feature = "crash-points"))]
pub(crate) const fn wrong(_rule: &str) -> bool {
    false
}

#[cfg(feature = "crash-points")]
pub(crate) fn wrong(rule: &str) -> bool {
    use std::sync::OnceLock;
    static RULE: OnceLock<Option<String>> = OnceLock::new();
    RULE.get_or_init(|| variable("TASSEOGRAPH_WRONG")).as_deref() == Some(rule)
}

/// How far off the wall clock is: microseconds, in the file that `TASSEOGRAPH_CLOCK_FILE` names.
#[cfg(feature = "crash-points")]
pub(super) fn clock_offset() -> i64 {
    let read = |path| std::fs::read_to_string(path).ok()?.trim().parse().ok();
    variable("TASSEOGRAPH_CLOCK_FILE").and_then(read).unwrap_or(0)
}

#[cfg(feature = "crash-points")]
#[expect(clippy::disallowed_methods, reason = "test builds only")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(feature = "crash-points")]
fn armed(name: &str) -> bool {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let after = variable("TASSEOGRAPH_CRASH_AFTER").and_then(|n| n.parse().ok());
    variable("TASSEOGRAPH_CRASH_AT").is_some_and(|at| at == name)
        && PASSED.fetch_add(1, Ordering::Relaxed) >= after.unwrap_or(0)
}

#[cfg(feature = "crash-points")]
fn die() -> ! {
    let me = rustix::process::getpid();
    if rustix::process::kill_process(me, rustix::process::Signal::KILL).is_err() {
        std::process::abort();
    }
    loop {
        std::thread::park();
    }
}
