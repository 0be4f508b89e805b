//! The collector's main thread: probes the gate and the server behind it, pets the watchdog, and
//! ends the process when they are dead. Waits for nothing but the probe: a disk that hangs must not
//! keep it from saying so.

use std::time::Duration;

use super::Collector;
use crate::exit::Exit;
use crate::sys::clock;

/// How often where no watchdog asks for more.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// One failed probe may be a busy moment; so many in a row are a dead server.
const PROBE_FAILURES_MAX: u32 = 3;

/// Ends only when the server no longer answers: systemd starts a new process.
pub(super) fn watch(collector: &Collector) -> Exit {
    let asked = collector.notifier.pet_every();
    let pause = asked.unwrap_or(PROBE_INTERVAL).min(PROBE_INTERVAL);
    let mut failures = 0;
    loop {
        match collector.gate.probe(clock::mono()) {
            Ok(()) => {
                failures = 0;
                collector.notifier.alive();
            }
            Err(reason) => {
                failures += 1;
                log::error!("the server inside does not answer its probe: {reason}");
                if failures == PROBE_FAILURES_MAX {
                    return Exit::Failed;
                }
            }
        }
        clock::sleep(pause);
    }
}
