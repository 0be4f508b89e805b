//! `tasseograph eval`: how right a chain of endpoints, or the signature table, is on kernel logs
//! with labels; what it costs, how long it takes, and what a simpler way would come to.
//!
//! `corpus` and `label` read the folder, `command` has every case analysed, `patience` says how
//! long it waits for endpoints; `score`, `figures`, `why` and `yardstick` reckon and touch nothing,
//! `text` and `object` show. `state` keeps finished runs, `exchange` writes questions for elsewhere
//! and reads the answers.

mod command;
mod corpus;
mod exchange;
mod figures;
mod label;
mod object;
mod outcome;
mod patience;
mod score;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod why;
mod yardstick;

pub(crate) use command::run;
