//! Core files: none of ours, as our memory has to hold keys.
//!
//! The units' `LimitCORE=0` says so as well; this is for whoever starts us by hand, and for hosts
//! where a program takes the cores, which the limit does not stop.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// From here on the kernel writes none, and lets no debugger but root's look in.
pub(crate) fn forbid() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        let cause = super::files::cause(&error.into());
        log::warn!("core files are not forbidden, and may hold keys: {cause}");
    }
}
