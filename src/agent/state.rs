//! The state file: one line that says how far the collector has acknowledged this host's log.

use std::path::Path;

use crate::kernel::{Cursor, State};
use crate::sys::files;

/// A state file is one line.
const STATE_BYTES_MAX: u64 = 4 * 1024;

/// What the file says. What it cannot tell, the collector's cursor does: nothing is lost by it.
pub(super) fn read(path: &Path) -> State {
    if !path.exists() {
        return State::Unknown;
    }
    let bytes = files::read(path, STATE_BYTES_MAX).unwrap_or_else(|reason| {
        log::warn!("{reason}; reading the kernel log from its start");
        Vec::new()
    });
    State::decode(&String::from_utf8_lossy(&bytes)).unwrap_or_else(|error| {
        let shown = files::quoted(path);
        log::warn!("{shown}: {}; reading the kernel log from its start", error.reason());
        State::Unknown
    })
}

/// After the acknowledgement, never before. `last` is the time of the last acknowledged record.
pub(super) fn write(path: &Path, cursor: &Cursor, last: crate::time::Wall) -> Result<(), String> {
    files::replace(path, cursor.encode(last).as_bytes())
}
