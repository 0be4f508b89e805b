//! How many files this process may have open: sockets are most of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for `wanted` descriptors; says how many there may be. The limit that others set stays.
pub(crate) fn reserve(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let unlimited = u64::MAX;
    let (current, maximum) =
        (limit.current.unwrap_or(unlimited), limit.maximum.unwrap_or(unlimited));
    if current >= wanted {
        return current;
    }
    let raised = Rlimit { current: Some(wanted.min(maximum)), maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted.min(maximum),
        Err(_) => current,
    }
}
