//! Findings and rows made into text for people.
//!
//! Pure: prints nothing, reads nothing.

mod findings;
mod judged;
mod table;

pub(crate) use findings::Look;
pub(crate) use judged::{Judged, render_judged};
pub(crate) use table::{render_columns, render_table};
