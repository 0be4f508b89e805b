//! The clocks, and sleep: the only place that reads or waits for time.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Mono, Wall};

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn wall() -> Wall {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    };
    #[cfg(feature = "crash-points")]
    let micros = micros.saturating_add(super::crash::clock_offset());
    Wall::from_micros(micros)
}

/// Since the first call in this process.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn mono() -> Mono {
    static START: OnceLock<Instant> = OnceLock::new();
    Mono(Instant::now().duration_since(*START.get_or_init(Instant::now)))
}

/// The kernel's monotonic clock: near the one that stamps kernel records, both start at boot.
pub(crate) fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn sleep(span: Duration) {
    std::thread::sleep(span);
}
