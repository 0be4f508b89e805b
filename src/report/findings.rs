//! Findings as `tasseograph analyze` shows them: a table, or on a narrow terminal a list.
//!
//! Owns how text is folded to a width and where it has a colour.

use crate::analysis::{Issue, Severity, Source, Status};

/// What the text is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Of the terminal, in columns; `None`: nothing is folded.
    pub(crate) width: Option<usize>,
    pub(crate) colour: bool,
}

/// What a table of three columns needs.
const TABLE_WIDTH_MIN: usize = 60;
/// Of severity and category, each with the blanks behind it.
const COLUMNS: [usize; 2] = [10, 10];
const INDENT: usize = COLUMNS[0] + COLUMNS[1];
/// Where there is no room for a table.
const LIST_INDENT: usize = 2;
/// Text is folded to no less, however narrow the terminal says it is.
const FOLD_WIDTH_MIN: usize = 20;

#[derive(Debug, Clone, Copy)]
pub(super) enum Ink {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Critical,
}

impl Ink {
    pub(super) fn of(status: Status) -> Self {
        match status {
            Status::Ok => Self::Good,
            Status::Warning => Self::Warning,
            Status::Critical => Self::Critical,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "1;32",
            Self::Warning => "1;33",
            Self::Critical => "1;31",
        }
    }
}

impl Look {
    pub(super) fn paint(self, ink: Ink, text: &str) -> String {
        match ink.code() {
            code if self.colour && !code.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    /// The text in lines, as many as the width takes, each but the first behind so many blanks;
    /// each ends.
    pub(super) fn folded(self, ink: Ink, text: &str, indent: usize) -> String {
        let room = self.width.map(|width| width.saturating_sub(indent).max(FOLD_WIDTH_MIN));
        let lines: Vec<_> =
            fold(text, room).iter().map(|line| self.paint(ink, line.trim_end()) + "\n").collect();
        lines.join(&" ".repeat(indent))
    }

    fn is_narrow(self) -> bool {
        self.width.is_some_and(|width| width < TABLE_WIDTH_MIN)
    }
}

/// Between words where it can be, else within one.
fn fold(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + rest.len() > room {
            lines.push(String::new());
            used = 0;
        } else if used > 0 {
            lines.last_mut().expect("there is a line").push(' ');
            used += 1;
        }
        while !rest.is_empty() {
            if used == room {
                lines.push(String::new());
                used = 0;
            }
            let part: String = rest.drain(..rest.len().min(room - used)).collect();
            used += part.chars().count();
            lines.last_mut().expect("there is a line").push_str(&part);
        }
    }
    lines
}

/// What was found, the evidence below it, and who says so when it is not the signature table. Each
/// comes with when its evidence was logged, where that is known.
pub(super) fn render_findings(issues: &[(&Issue, Option<String>)], look: Look) -> String {
    let mut out = String::new();
    if !look.is_narrow() {
        let [severity, category] = COLUMNS;
        let head = format!("{:<severity$}{:<category$}FINDING", "SEVERITY", "CATEGORY");
        out.push_str(&format!("{}\n", look.paint(Ink::Strong, &head)));
    }
    for (issue, time) in issues {
        out.push_str(&finding(issue, time.as_deref(), look));
    }
    out
}

fn finding(issue: &Issue, time: Option<&str>, look: Look) -> String {
    let [severity, category] = COLUMNS;
    let ink = match issue.severity {
        Severity::Warning => Ink::Warning,
        Severity::Critical => Ink::Critical,
    };
    let name = look.paint(ink, &format!("{:<severity$}", issue.severity.name()));
    let (mut out, indent) = if look.is_narrow() {
        let head = format!("{name}{}\n{}", issue.category.name(), " ".repeat(LIST_INDENT));
        (head, LIST_INDENT)
    } else {
        (format!("{name}{:<category$}", issue.category.name()), INDENT)
    };
    out.push_str(&look.folded(Ink::Plain, &issue.summary, indent));
    let below = [Some(format!("> {}", issue.evidence)), aside(issue, time)];
    for text in below.into_iter().flatten() {
        out.push_str(&" ".repeat(indent));
        out.push_str(&look.folded(Ink::Faint, &text, indent));
    }
    out
}

/// When, what is doubtful about it, and who says so; `None` where there is nothing to say.
fn aside(issue: &Issue, time: Option<&str>) -> Option<String> {
    let doubt = match (issue.verified, issue.user_text) {
        (false, _) => Some("no record says this"),
        (true, true) => Some("only a program says this"),
        (true, false) => None,
    };
    let by = match (issue.source, issue.confirmed) {
        (Source::Model, _) => Some("a model's finding"),
        (Source::Rule, true) => Some("a model says so too"),
        (Source::Rule, false) => None,
    };
    let time = time.map(|time| format!("at {time}"));
    let id = issue.signature.map(|id| format!("tasseograph explain {id}"));
    let asides =
        time.into_iter().chain(id).chain([doubt, by].into_iter().flatten().map(str::to_owned));
    let asides: Vec<_> = asides.collect();
    (!asides.is_empty()).then(|| asides.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Category;

    const PLAIN: Look = Look { width: None, colour: false };

    fn gone() -> Issue {
        Issue {
            severity: Severity::Critical,
            category: Category::Storage,
            summary: "nvme0 has gone".into(),
            evidence: "nvme nvme0: controller is down".into(),
            source: Source::Rule,
            signature: None,
            component: None,
            verified: true,
            confirmed: false,
            user_text: false,
            records: vec![],
            signs: vec![],
        }
    }

    #[test]
    fn a_finding_shows_its_evidence_and_its_doubt() {
        let issue = gone();
        let lines = "SEVERITY  CATEGORY  FINDING\ncritical  storage   nvme0 has gone\n\
                     \x20                   > nvme nvme0: controller is down\n";
        assert_eq!(render_findings(&[(&issue, None)], PLAIN), lines);
        for (source, verified, confirmed, user_text, expected) in [
            (Source::Model, false, false, false, "; no record says this; a model's finding"),
            (Source::Model, true, false, true, "; only a program says this; a model's finding"),
            (Source::Model, true, false, false, "; a model's finding"),
            (Source::Rule, true, true, false, "; a model says so too"),
            (Source::Rule, true, false, false, ""),
        ] {
            let issue = Issue { source, verified, confirmed, user_text, ..issue.clone() };
            let shown = render_findings(&[(&issue, Some("1.5 s".into()))], PLAIN);
            assert!(shown.ends_with(&format!("{:INDENT$}at 1.5 s{expected}\n", "")), "{shown}");
            let issue = Issue { signature: Some("nvme-down"), ..issue };
            let shown = render_findings(&[(&issue, None)], PLAIN);
            let more = format!("\n{:INDENT$}tasseograph explain nvme-down{expected}\n", "");
            assert!(shown.ends_with(&more), "{shown}");
        }
    }

    #[test]
    fn no_line_is_wider_than_its_terminal() {
        let issue = Issue { summary: "x".repeat(300), evidence: "a b ".repeat(100), ..gone() };
        for width in 20..200 {
            let look = Look { width: Some(width), ..PLAIN };
            let shown = render_findings(&[(&issue, None)], look);
            let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(LIST_INDENT + FOLD_WIDTH_MIN), "{width}: {shown}");
            assert_eq!(shown.matches('x').count(), 300, "{width}: {shown}");
            assert_eq!(shown.contains("SEVERITY"), width >= TABLE_WIDTH_MIN, "{width}: {shown}");
        }
        let narrow = Look { width: Some(30), ..PLAIN };
        let shown = render_findings(&[(&gone(), None)], narrow);
        let lines = "critical  storage\n  nvme0 has gone\n  > nvme nvme0: controller is\n  down\n";
        assert_eq!(shown, lines);
    }

    #[test]
    fn colours_change_no_text() {
        let look = Look { width: Some(70), colour: true };
        let shown = render_findings(&[(&gone(), None)], look);
        assert!(shown.contains("\x1b[1;31mcritical  \x1b[0mstorage"), "{shown:?}");
        let mut plain = shown.clone();
        for code in ["1", "2", "1;31", "0"] {
            plain = plain.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(plain, render_findings(&[(&gone(), None)], Look { colour: false, ..look }));
    }
}
