//! Findings and rows made into text for people.
//!
//! Pure: prints nothing, reads nothing.

mod findings;
mod table;

pub(crate) use findings::render_findings;
pub(crate) use table::render_table;
