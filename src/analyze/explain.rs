//! `tasseograph explain`: what a signature means and what to do about it.

use crate::analysis::{catalogue, explain};
use crate::exit::Exit;
use crate::sys::out;

/// Prints one signature, or the list of all.
pub(crate) fn run_explain(id: Option<&str>) -> Exit {
    let Some(id) = id else { return Exit::ok_if(out::print(&catalogue())) };
    match explain(id) {
        Some(text) => Exit::ok_if(out::print(&text)),
        None => {
            out::complain(&format!(
                "there is no signature {id:?}; tasseograph explain lists them all"
            ));
            Exit::Usage
        }
    }
}
