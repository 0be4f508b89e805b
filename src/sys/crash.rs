//! Crash points: where a test kills the process to see what is left.
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

#[cfg(feature = "crash-points")]
#[expect(clippy::disallowed_methods, reason = "test builds only")]
fn armed(name: &str) -> bool {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let after = std::env::var("TASSEOGRAPH_CRASH_AFTER").ok().and_then(|n| n.parse().ok());
    std::env::var("TASSEOGRAPH_CRASH_AT").is_ok_and(|at| at == name)
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
