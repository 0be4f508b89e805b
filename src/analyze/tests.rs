//! The signature table on real kernel logs with labels, which lie beside the project on hosts that
//! have them. `make eval` scores more finely, by what an issue's evidence quotes.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::analysis::{Severity, Verdict, judge};
use crate::kernel::read_log;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus");
const STATUS_MIN: f64 = 0.9;
const RECALL_MIN: f64 = 0.9;
const PRECISION_MIN: f64 = 0.9;
/// Of all healthy and noise cases together.
const QUIET_WARNINGS_MAX: usize = 1;

struct Case {
    name: String,
    label: Value,
    verdict: Verdict,
}

impl Case {
    fn read(label: &Path) -> Self {
        let log = read_log(&std::fs::read(label.with_extension("log")).unwrap());
        let name = label.file_stem().unwrap().to_str().unwrap().to_owned();
        let label = serde_json::from_str(&std::fs::read_to_string(label).unwrap()).unwrap();
        Self { name, label, verdict: judge(&log.records) }
    }

    fn flag(&self, key: &str) -> bool {
        self.label[key].as_bool() == Some(true)
    }

    fn expected(&self) -> &[Value] {
        self.label["expected"]["issues"].as_array().unwrap()
    }

    fn accepts(&self, list: &str, value: &str) -> bool {
        self.label["expected"][list].as_array().unwrap().iter().any(|known| known == value)
    }

    fn has_status(&self) -> bool {
        self.accepts("accept_status", self.verdict.status.name())
    }

    /// Whether a finding may count for an issue that is expected, as far as its category says.
    fn is_hit(&self, expected: &Value) -> bool {
        let fits = |category: &str| {
            expected["category"] == category || self.accepts("accept_category", category)
        };
        self.verdict.issues.iter().any(|issue| fits(issue.category.name()))
    }

    fn false_alarms(&self) -> usize {
        let foreign = |category: &str| {
            !self.accepts("accept_category", category)
                && !self.expected().iter().any(|expected| expected["category"] == category)
        };
        self.verdict.issues.iter().filter(|issue| foreign(issue.category.name())).count()
    }

    fn of_severity(&self, severity: Severity) -> usize {
        self.verdict.issues.iter().filter(|issue| issue.severity == severity).count()
    }

    fn is_quiet(&self) -> bool {
        matches!(self.label["category"].as_str(), Some("healthy" | "noise"))
    }
}

fn labels() -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(CORPUS).ok()?;
    let paths = entries.map(|entry| entry.unwrap().path());
    Some(paths.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect())
}

fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}

#[test]
fn the_table_reaches_its_aims_on_real_logs() {
    let Some(labels) = labels() else {
        eprintln!("skipped: there is no folder {CORPUS}");
        return;
    };
    let cases: Vec<_> = labels.iter().map(|path| Case::read(path)).collect();
    let firm: Vec<_> = cases.iter().filter(|case| !case.flag("ambiguous")).collect();
    let right = firm.iter().filter(|case| case.has_status()).count();
    let wrong: Vec<_> =
        firm.iter().filter(|case| !case.has_status()).map(|case| &case.name).collect();
    assert!(share(right, firm.len()) >= STATUS_MIN, "status wrong: {wrong:?}");

    let expected: usize = firm.iter().map(|case| case.expected().len()).sum();
    let hits = firm.iter().flat_map(|case| {
        case.expected().iter().filter(|expected| case.is_hit(expected)).map(|_| &case.name)
    });
    assert!(share(hits.count(), expected) >= RECALL_MIN, "of {expected} issues too few are found");

    let found: usize = firm.iter().map(|case| case.verdict.issues.len()).sum();
    let false_alarms: usize = firm.iter().map(|case| case.false_alarms()).sum();
    assert!(share(found - false_alarms, found) >= PRECISION_MIN, "{false_alarms} of {found}");

    let quiet = || firm.iter().filter(|case| case.is_quiet());
    for case in quiet() {
        assert_eq!(case.of_severity(Severity::Critical), 0, "{}", case.name);
    }
    let warnings: usize = quiet().map(|case| case.of_severity(Severity::Warning)).sum();
    assert!(warnings <= QUIET_WARNINGS_MAX, "{warnings} warnings on healthy logs");

    for case in cases.iter().filter(|case| case.flag("needle_in_boot")) {
        let found = case.expected().iter().all(|expected| case.is_hit(expected));
        assert!(found && case.has_status(), "{}: {:?}", case.name, case.verdict.issues);
    }
}
