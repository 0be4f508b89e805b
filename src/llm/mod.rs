//! Chat Completions, and the endpoint chain as a machine.
//!
//! Pure: builds request bodies, reads answers, decides whom to ask next, whom to leave alone and
//! how many calls to make at once. `analyze` makes the calls.

mod answer;
mod breaker;
mod call;
mod chain;
mod error;
mod limiter;
mod refusals;
mod request;
mod secrets;
mod suspects;
mod tokens;

pub(crate) use answer::{Asked, Failure, Heard, Kind, read_answer};
pub(crate) use breaker::{Breaker, Probe};
pub(crate) use call::{ANSWERED, Call, Price, Usage};
pub(crate) use chain::{Chain, ROOM_WAIT_MAX, Turn};
pub(crate) use limiter::{Limiter, Place};
pub(crate) use refusals::Refusals;
pub(crate) use request::{Asking, Manner, Trial};
pub(crate) use secrets::hidden;
pub(crate) use suspects::{Slow, Suspects, Topic};
