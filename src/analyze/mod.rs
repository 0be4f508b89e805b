//! Analysis in action: records through the chain of endpoints, for the collector's workers and for
//! `tasseograph analyze`.

mod analyst;
mod command;
mod endpoint;
mod explain;
mod input;
mod matter;
mod progress;
mod questions;
mod secrets;

pub(crate) use analyst::{Analysis, Analyst, Blame, Unavailable};
pub(crate) use command::{endpoints, run, run_unknown};
pub(crate) use endpoint::asking;
pub(crate) use explain::run_explain;
pub(crate) use progress::Progress;
pub(crate) use questions::questions;

#[cfg(test)]
mod tests;
