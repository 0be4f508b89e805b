//! Chat Completions, and the endpoint chain as a machine.
//!
//! Pure: builds request bodies, reads answers, decides whom to ask next. `collector::worker` makes
//! the calls.

mod chain;
mod codec;

pub(crate) use chain::{Chain, Turn};
pub(crate) use codec::{Failure, Format, read_answer, request_body};
