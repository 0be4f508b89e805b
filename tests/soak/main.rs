//! The soak: real processes, killed at any instant, and what they kept of a log that is known.
//!
//! `make soak KILLS=2000 LINES=200000` runs it. A run prints one line a figure, and fails if a
//! record was lost, repeated, changed or out of order. Each run is followed by twins that break a
//! rule on purpose: the soak fails, too, if it sees no fault in them.

#![expect(clippy::disallowed_methods, reason = "the soak drives processes from outside")]
#![expect(clippy::print_stdout, reason = "the soak prints its figures")]
#![expect(clippy::unwrap_used, reason = "a soak that cannot go on has failed")]

mod daemon;
mod kills;
mod monitor;
mod powercut;
mod random;
mod run;
#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod verdict;
mod writer;

use std::process::ExitCode;
use std::time::Instant;

use random::Random;
use run::{Plan, soak};

/// What the command line asks for: `kills=N lines=N cuts=N seed=N`, and what to run.
struct Options {
    kills: u32,
    lines: usize,
    cuts: u32,
    seed: u64,
    parts: Vec<String>,
}

const PARTS: [&str; 4] = ["soak", "twins", "powercut", "powercut-twins"];
/// A twin shows its fault at once, or it is no twin.
const TWIN_KILLS: u32 = 60;
const TWIN_LINES: usize = 4_000;
const TWIN_CUTS: u32 = 2;

impl Options {
    fn read() -> Self {
        let seed = std::env::var("SOAK_SEED").ok().filter(|seed| !seed.is_empty());
        let seed =
            seed.map_or_else(random::seed, |seed| seed.parse().expect("SOAK_SEED: a number"));
        let mut options = Self { kills: 200, lines: 20_000, cuts: 20, seed, parts: Vec::new() };
        // Cargo itself passes `--bench`.
        for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
            match argument.split_once('=') {
                Some(("kills", number)) => options.kills = number.parse().expect("kills=NUMBER"),
                Some(("lines", number)) => options.lines = number.parse().expect("lines=NUMBER"),
                Some(("cuts", number)) => options.cuts = number.parse().expect("cuts=NUMBER"),
                _ => {
                    assert!(PARTS.contains(&argument.as_str()), "{argument}: one of {PARTS:?}");
                    options.parts.push(argument);
                }
            }
        }
        options
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

fn main() -> ExitCode {
    let options = Options::read();
    println!("seed: {}", options.seed);
    let mut random = Random::new(options.seed);
    let begun = Instant::now();
    let mut failures = Vec::new();
    if options.wants("soak") {
        let plan = Plan { kills: options.kills, lines: options.lines, wrong: None };
        let verdict = soak(&plan, &mut random);
        if verdict.faults() > 0 {
            failures.push(format!("the soak found {} faults", verdict.faults()));
        }
    }
    if options.wants("twins") {
        for wrong in ["time-cursor", "range-key"] {
            println!(
                "\ntwin: {wrong} (breaks a rule on purpose: {} are expected)",
                faults_of(wrong)
            );
            let plan = Plan { kills: TWIN_KILLS, lines: TWIN_LINES, wrong: Some(wrong) };
            let verdict = soak(&plan, &mut random);
            let seen = if wrong == "time-cursor" { verdict.lost } else { verdict.repeated };
            if seen == 0 {
                let what = faults_of(wrong);
                failures.push(format!("the twin {wrong} shows no {what}: the soak is blind"));
            }
        }
    }
    failures.extend(cuts(&options, &mut random));
    println!("\nseconds: {:.0}", begun.elapsed().as_secs_f64());
    for failure in &failures {
        println!("FAILED: {failure}; repeat with SOAK_SEED={}", options.seed);
    }
    if failures.is_empty() {
        println!("soak: passed");
        return ExitCode::SUCCESS;
    }
    println!("soak: failed");
    ExitCode::FAILURE
}

fn faults_of(twin: &str) -> &'static str {
    if twin == "time-cursor" { "losses" } else { "repetitions" }
}

fn cuts(options: &Options, random: &mut Random) -> Vec<String> {
    let mut failures = Vec::new();
    if !options.wants("powercut") && !options.wants("powercut-twins") {
        return failures;
    }
    if let Err(why) = powercut::possible() {
        println!("\npower cuts: skipped: {why}");
        return failures;
    }
    type Cut = fn(u32, Option<&'static str>, &mut Random) -> powercut::Cuts;
    let sides: [(&str, Cut); 2] = [("collector", powercut::collector), ("agent", powercut::agent)];
    for (side, cut) in sides {
        if options.wants("powercut") {
            println!("\npower cuts of the {side}: {}", options.cuts);
            let cuts = cut(options.cuts, None, random);
            if cuts.lost > 0 || cuts.good < options.cuts {
                failures.push(format!("power cuts of the {side}: {} lost", cuts.lost));
            }
        }
        if options.wants("powercut-twins") {
            println!(
                "\ntwin: sync-off, power cuts of the {side}: {TWIN_CUTS} (breaks a rule on \
                 purpose: losses are expected)"
            );
            if cut(TWIN_CUTS, Some("sync-off"), random).lost == 0 {
                failures.push(format!("sync-off at the {side} loses nothing: the rig is blind"));
            }
        }
    }
    failures
}
