//! Black-box tests: real processes, real TLS on loopback, real SQLite, the real kernel log where it
//! can be opened. One binary, so that it links once.
//!
//! No sleep stands for synchronisation: what is waited for is asked for, up to a limit.

#![expect(clippy::disallowed_methods, reason = "tests drive processes from outside")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agent;
mod analyze;
mod attack;
mod chain;
mod chain_rules;
mod cli;
mod config;
mod conflict;
mod database;
mod delivery;
mod endpoint;
mod eval;
mod fault;
mod gate;
mod house;
mod ingest;
mod injection;
mod join;
mod keys;
mod kmsg;
mod manual;
mod pin;
mod queue;
mod readme;
mod real_model;
mod setup;
mod spool;
mod support;
mod units;
mod waiting;
