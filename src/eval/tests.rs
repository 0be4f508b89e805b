//! What the scoring comes to, by tables: one finding beside one label, and whole corpora of a few
//! cases.

use super::corpus::Case;
use super::figures::{Figures, Found, Group, Share, Trial};
use super::label::Label;
use super::outcome::{Cost, Finding, Outcome, Said};
use super::score::{Text, Worth, score};
use super::why::Failure;
use super::yardstick::{EVALUATED, NEW_FORMS, TABLE, WORDS};
use crate::analysis::{Category, Severity, Source, Status};

const LOG: &str = "[    1.0] usb 1-1: new device\n[    2.0] frob0: parity is odd\n\
                   [    2.1] frob0: retried\n[    3.0] frob1: all is well\n\
                   [    4.0] long line that a mail\nprogram wrapped\n\
                   [    5.0] \x1b[31mfrob2:\x1b[0m  red\t\u{e9}\x07 alert\n";

/// `category|evidence`, `?` before it for what no record says, `u` for a program's words.
fn finding(text: &str) -> Finding {
    let (category, evidence) = text.split_once('|').unwrap();
    let name = category.trim_start_matches(['?', 'u']);
    let category_of = |name: &str| Category::from_name(name).unwrap();
    Finding {
        severity: Severity::Warning,
        category: category_of(name),
        summary: "s".into(),
        evidence: evidence.into(),
        source: Source::Rule,
        confirmed: false,
        verified: !category.starts_with('?'),
        user_text: category.starts_with('u'),
    }
}

fn said(status: Status, findings: &[&str]) -> Said {
    let findings = findings.iter().map(|text| finding(text)).collect();
    Said { status, model_status: None, findings }
}

fn label(status: &str, issues: &[(&str, &str)], accept: &[&str]) -> Label {
    let issues: Vec<_> = issues
        .iter()
        .map(|(category, must_match)| {
            serde_json::json!({"category": category, "must_match": must_match})
        })
        .collect();
    let json = serde_json::json!({
        "expected": {"status": status, "issues": issues, "accept_category": accept},
    });
    Label::parse(json.to_string().as_bytes()).ok().unwrap()
}

fn check(issues: &[(&str, &str)], accept: &[&str], findings: &[&str], expected: &str) {
    let label = label("critical", issues, accept);
    let score = score(&label, &Text::new(LOG.as_bytes()), Some(&said(Status::Ok, findings)));
    let worth = |worth: &Worth| match worth {
        Worth::Shows(issues) => issues.iter().map(ToString::to_string).collect::<String>(),
        Worth::Tolerated => "-".to_owned(),
        Worth::FalseAlarm => "!".to_owned(),
    };
    let worth: Vec<_> = score.worth.iter().map(worth).collect();
    assert_eq!(worth.join(" "), expected, "{issues:?} {accept:?} {findings:?}");
    let found = (0..issues.len()).map(|at| expected.contains(&at.to_string()));
    assert_eq!(score.found, found.collect::<Vec<_>>());
}

#[test]
fn a_finding_shows_an_issue_by_its_category_and_the_place_of_its_evidence() {
    let odd = [("driver", "parity is odd")];
    for (accept, findings, expected) in [
        (&[][..], &["driver|frob0: parity is odd"][..], "0"),
        // A part of it, in other white space.
        (&[], &["driver|parity  is\todd"], "0"),
        // Next to it, and farther off.
        (&[], &["driver|usb 1-1: new device", "driver|frob0: retried"], "0 0"),
        (&[], &["driver|frob1: all is well"], "!"),
        (&[], &["driver|nothing of the kind", "driver|"], "! !"),
        (&[], &["memory|frob0: parity is odd"], "!"),
        (&["memory"], &["memory|frob0: parity is odd", "memory|frob1: all is"], "0 -"),
        (&["memory"], &["network|frob0: parity is odd"], "!"),
        // What is not verified, or only a program's words, shows nothing.
        (&[], &["?driver|frob0: parity is odd", "udriver|frob0: parity is odd"], "! !"),
        // Two lines of evidence that stand apart.
        (&[], &["driver|frob1: all is well\nfrob0: parity is odd"], "0"),
        (&[], &[], ""),
    ] {
        check(&odd, accept, findings, expected);
    }
    let two = [("driver", "parity is odd"), ("driver", r"mail\s+program")];
    check(&two, &[], &["driver|long line that a mail program wrapped"], "1");
    check(&two, &[], &["driver|frob0: retried", "driver|that a mail"], "0 1");
    // As readers write it: without colours, with escapes.
    check(&[("driver", "frob2")], &[], &[r"driver|frob2: red \xc3\xa9\x07 alert"], "0");
    check(&[("driver", "^program")], &[], &["driver|frob2: red"], "0");
}

#[test]
fn one_of_the_accepted_statuses_is_right() {
    let label = label("warning", &[], &[]);
    let text = Text::new(b"");
    for (said, right) in [
        (Some(said(Status::Warning, &[])), true),
        (Some(said(Status::Critical, &[])), false),
        (None, false),
    ] {
        assert_eq!(score(&label, &text, said.as_ref()).status_right, right);
    }
}

fn case(name: &str, log: &str, label: Label) -> Case {
    Case { name: name.into(), label, bytes: log.into() }
}

fn outcome(said: Said) -> Outcome {
    Outcome { said: Some(said), notes: Vec::new(), calls: Vec::new(), micros: 1_000 }
}

const OK: Status = Status::Ok;
const WARNING: Status = Status::Warning;
const CRITICAL: Status = Status::Critical;

/// The case's table says what its first run says.
fn trial(case: &Case, runs: Vec<Said>) -> Trial<'_> {
    let table = runs[0].clone();
    Trial { case, outcomes: runs.into_iter().map(outcome).collect(), table }
}

fn share(right: usize, of: usize) -> Share {
    Share { right, of }
}

/// Some cases that go right and wrong in every way.
#[test]
fn figures_of_a_small_corpus() {
    let odd = [("driver", "parity is odd")];
    let marked = Label { marks: vec!["needle".into()], ..label("critical", &odd, &["memory"]) };
    let vague = Label { ambiguous: true, ..label("warning", &odd, &[]) };
    let two = label("critical", &[odd[0], ("storage", "retried")], &[]);
    let cases = [
        case("a", LOG, marked),
        case("b", LOG, two),
        case("calm", LOG, label("ok", &[], &[])),
        case("vague", LOG, vague),
        case("wild", LOG, label("ok", &[], &[])),
    ];
    let odd = "driver|frob0: parity is odd";
    let trials: Vec<_> = cases
        .iter()
        .zip([
            said(CRITICAL, &[odd, "driver|frob0: retried", "memory|frob1: all is well"]),
            said(WARNING, &[odd, "thermal|usb 1-1: new device", "?storage|nowhere"]),
            said(OK, &[]),
            said(OK, &["thermal|frob1: all is well"]),
            said(CRITICAL, &["udriver|frob0: parity is odd"]),
        ])
        .map(|(case, said)| trial(case, vec![said]))
        .collect();
    let figures = Figures::of(&trials, false);
    assert_eq!((figures.cases, figures.ambiguous, figures.runs), (5, 1, 1));
    assert_eq!(figures.status, share(2, 4));
    assert_eq!(figures.confusion, [[1, 0, 1, 0], [0; 4], [0, 1, 1, 0]]);
    assert_eq!(figures.all, Found { issues: share(2, 3), findings: share(3, 6) });
    let found = |issues, findings| Found { issues, findings };
    let categories = [
        (Category::Storage, found(share(0, 1), share(0, 1))),
        (Category::Thermal, found(share(0, 0), share(0, 1))),
        (Category::Driver, found(share(2, 2), share(3, 4))),
    ];
    assert_eq!(figures.categories, categories);
    assert_eq!((figures.repeated, figures.tolerated), (1, 1));
    assert_eq!((figures.verified, figures.user_text), (share(6, 7), 1));
    let healthy = figures.healthy;
    assert_eq!((healthy.runs, healthy.warning, healthy.critical, healthy.findings), (2, 0, 1, 1));
    let group = |status, issues, false_alarms| Group { status, issues, false_alarms };
    let groups = [
        ("driver".to_owned(), group(share(1, 2), share(2, 3), 2)),
        ("healthy".to_owned(), group(share(1, 2), share(0, 0), 1)),
    ];
    assert_eq!(figures.groups, groups);
    assert_eq!(figures.marks, [("needle".to_owned(), group(share(1, 1), share(1, 1), 0))]);
    assert!(figures.stability.is_none() && figures.below_table.is_empty());
    let told = |failed: &Failure| format!("{}: {}", failed.case, failed.why.join("; "));
    let failures: Vec<_> = figures.failures.iter().map(told).collect();
    assert_eq!(
        failures,
        [
            "b: status warning, expected critical; missed storage: /retried/, found as driver; \
             false alarm, warning thermal: s: usb 1-1: new device; false alarm, warning storage: \
             s: nowhere (no record says this)",
            "wild: status critical, expected ok; false alarm, warning driver: s: frob0: parity is \
             odd",
        ]
    );
}

#[test]
fn a_chain_is_never_below_the_table() {
    let case = case("a", LOG, label("critical", &[("driver", "parity is odd")], &[]));
    let odd = "driver|frob0: parity is odd";
    for (chain, below) in [
        (Some(said(CRITICAL, &[odd])), false),
        (Some(said(CRITICAL, &["memory|frob1: all is well", odd])), false),
        (Some(said(WARNING, &[odd])), true),
        (Some(said(CRITICAL, &[])), true),
        // Nobody answered: what the table finds is lost.
        (None, true),
    ] {
        let outcomes = vec![Outcome { said: chain, ..outcome(said(OK, &[])) }];
        let trials = [Trial { case: &case, outcomes, table: said(CRITICAL, &[odd]) }];
        let figures = Figures::of(&trials, false);
        assert_eq!(figures.below_table == ["a"], below, "{:?}", trials[0].outcomes);
    }
    let outcomes = vec![Outcome { said: None, ..outcome(said(OK, &[])) }];
    let trials = [Trial { case: &case, outcomes, table: said(OK, &[]) }];
    assert!(Figures::of(&trials, false).below_table.is_empty(), "nothing was lost");
}

#[test]
fn runs_of_a_case_are_compared() {
    let odd = "driver|frob0: parity is odd";
    let cases = ["same", "status", "issues"]
        .map(|name| case(name, LOG, label("critical", &[("driver", "parity is odd")], &[])));
    let runs = [
        vec![said(CRITICAL, &[odd]), said(CRITICAL, &[odd, odd])],
        vec![said(CRITICAL, &[odd]), said(WARNING, &[odd])],
        vec![said(CRITICAL, &[odd]), said(CRITICAL, &[])],
    ];
    let trials: Vec<_> = cases.iter().zip(runs).map(|(case, runs)| trial(case, runs)).collect();
    let figures = Figures::of(&trials, false);
    let stability = figures.stability.unwrap();
    assert_eq!((stability.status, stability.issues), (share(2, 3), share(2, 3)));
    assert_eq!(stability.unstable, ["status", "issues"]);
    assert_eq!((figures.status, figures.all.issues), (share(5, 6), share(5, 6)));
    let why = &figures.failures[0].why;
    assert_eq!(why, &["status warning, expected critical (1 of 2 runs)"]);
}

#[test]
fn what_models_say_and_take_is_reckoned() {
    let case = case("a", LOG, label("critical", &[("driver", "parity is odd")], &[]));
    let table = said(WARNING, &["driver|frob0: parity is odd"]);
    let asked = |model: Status, source: Source, confirmed: bool| {
        let mut said = Said { model_status: Some(model), ..table.clone() };
        (said.findings[0].source, said.findings[0].confirmed) = (source, confirmed);
        said
    };
    let call = |latency: u64, answered: bool| Cost {
        answered,
        prompt: 100,
        cached: 10,
        completion: 5,
        estimated: !answered,
        cost_micros: answered.then_some(7),
        latency_ms: Some(latency),
    };
    let mut outcomes = vec![
        outcome(asked(OK, Source::Rule, false)),
        outcome(asked(WARNING, Source::Rule, true)),
        outcome(asked(CRITICAL, Source::Model, false)),
        Outcome { said: None, notes: vec!["all fell".into()], ..outcome(table.clone()) },
    ];
    outcomes[0].calls = (1..=19).map(|latency| call(latency, true)).collect();
    outcomes[3].calls = vec![call(500, false), call(500, false)];
    outcomes[3].micros = 9;
    let figures = Figures::of(&[Trial { case: &case, outcomes, table }], false);
    assert_eq!((figures.verified, figures.model_verified), (share(3, 3), share(1, 1)));
    let apart = figures.disagreement;
    assert_eq!((apart.runs, apart.model_lower, apart.model_higher), (3, 1, 1));
    assert_eq!((apart.by_both, apart.by_rule, apart.by_model), (1, 1, 1));
    let spent = &figures.spent;
    assert_eq!((spent.calls, spent.failed, spent.estimated), (21, 2, 2));
    assert_eq!((spent.prompt, spent.cached, spent.completion), (2_100, 210, 105));
    assert_eq!((spent.cost_micros, spent.latency_ms), (Some(133), Some([10, 19])));
    assert_eq!(spent.analysis_micros, Some([1_000; 2]), "of those that were answered");
    assert_eq!((figures.unanswered, figures.confusion[2]), (1, [0, 3, 0, 1]));
    let evaluated = &figures.yardsticks[0];
    assert_eq!((evaluated.bad_flagged, evaluated.issues), (share(3, 4), share(3, 4)));
    assert!(figures.failures[0].why.contains(&"not analysed: all fell (1 of 4 runs)".to_owned()));
}

#[test]
fn simple_ways_are_measured_beside_it() {
    let calm = "[    1.0] usb 1-1: new device 7\n[    2.0] disk 1 is up\n";
    let loud = "[    1.0] usb 2-1: new device 9\n[    2.0] no errors on disk 2\n";
    let bad = "[    1.0] usb 3-1: new device 8\n[    2.0] frob0: parity is odd\n\
               [    3.0] disk 3 is up\n[    4.0] fan stopped\n";
    let cases = [
        case("bad", bad, label("critical", &[("driver", "parity is odd")], &[])),
        case("calm", calm, label("ok", &[], &[])),
        case("loud", loud, label("ok", &[], &[])),
    ];
    let says = [said(CRITICAL, &["driver|parity is odd"]), said(OK, &[]), said(OK, &[])];
    let trials: Vec<_> =
        cases.iter().zip(says).map(|(case, said)| trial(case, vec![said])).collect();
    let figures = Figures::of(&trials, true);
    let rows: Vec<_> = figures
        .yardsticks
        .iter()
        .map(|one| (one.name, [one.bad_flagged, one.healthy_flagged, one.issues, one.precise]))
        .collect();
    let right = [share(1, 1), share(0, 2), share(1, 1), share(1, 1)];
    let expected = [
        (EVALUATED, right),
        (TABLE, right),
        (WORDS, [share(0, 1), share(1, 2), share(0, 1), share(0, 1)]),
        // "disk is up" is known of one log, "usb new device" of two; a log's own forms are new.
        (NEW_FORMS, [share(1, 1), share(2, 2), share(1, 1), share(1, 4)]),
    ];
    assert_eq!(rows, expected);
    assert_eq!(Figures::of(&trials, false).yardsticks.len(), 2);
}

#[test]
fn shares_are_rounded_down() {
    for (right, of, expected) in [
        (0, 0, "-"),
        (0, 3, "0 of 3 (0 %)"),
        (199, 200, "199 of 200 (99 %)"),
        (2, 2, "2 of 2 (100 %)"),
    ] {
        assert_eq!(share(right, of).name(), expected);
    }
}
