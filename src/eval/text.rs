//! Figures as text for people.
//!
//! Pure.

use super::figures::{Figures, Group, Share};
use super::yardstick::Yardstick;
use crate::kernel::escape_controls;
use crate::report::render_columns;

impl Share {
    /// `7 of 8 (87 %)`: rounded down, so that only all of them are 100 %.
    pub(super) fn name(self) -> String {
        let Self { right, of } = self;
        match of {
            0 => "-".to_owned(),
            _ => format!("{right} of {of} ({} %)", right * 100 / of),
        }
    }
}

/// `heading` says what was evaluated.
pub(super) fn render(figures: &Figures, heading: &str) -> String {
    let mut out = format!("{heading}\n\n");
    out.push_str(&render_columns(&summary(figures)));
    out.push_str("\nstatus given\n");
    out.push_str(&render_columns(&confusion(figures)));
    out.push('\n');
    out.push_str(&render_columns(&categories(figures)));
    out.push('\n');
    out.push_str(&render_columns(&groups("kind of log", &figures.groups)));
    if !figures.marks.is_empty() {
        out.push('\n');
        out.push_str(&render_columns(&groups("marked", &figures.marks)));
    }
    out.push('\n');
    out.push_str(&render_columns(&yardsticks(&figures.yardsticks)));
    out.push_str(&failures(figures));
    // Names of files and of marks are whatever somebody made them.
    out.lines().map(|line| escape_controls(line) + "\n").collect()
}

fn summary(figures: &Figures) -> Vec<Vec<String>> {
    let Figures { all, healthy, .. } = figures;
    let mut rows = vec![
        vec!["status right".to_owned(), figures.status.name()],
        vec!["issues found".to_owned(), all.issues.name()],
        vec!["findings right".to_owned(), all.findings.name() + &asides(figures)],
        vec![
            "healthy logs".to_owned(),
            format!(
                "{}, of them {} critical and {} warning; {} findings",
                healthy.runs, healthy.critical, healthy.warning, healthy.findings
            ),
        ],
        vec!["evidence verified".to_owned(), verified(figures)],
        vec!["below the table".to_owned(), listed(&figures.below_table)],
    ];
    if figures.user_text > 0 {
        let text = format!("{} findings", figures.user_text);
        rows.push(vec!["programs' words alone".to_owned(), text]);
    }
    if figures.unanswered > 0 {
        rows.push(vec!["not analysed".to_owned(), figures.unanswered.to_string()]);
    }
    let apart = figures.disagreement;
    if apart.runs > 0 {
        let same = apart.runs - apart.model_lower - apart.model_higher;
        let status = format!(
            "status {same} of {} the same, {} lower, {} higher",
            apart.runs, apart.model_lower, apart.model_higher
        );
        rows.push(vec!["model beside table".to_owned(), status]);
        let findings = format!(
            "findings {} by both, {} by the table alone, {} by the model alone",
            apart.by_both, apart.by_rule, apart.by_model
        );
        rows.push(vec![String::new(), findings]);
    }
    if let Some(stability) = &figures.stability {
        let text = format!(
            "status {}, issues {}: {}",
            stability.status.name(),
            stability.issues.name(),
            listed(&stability.unstable)
        );
        rows.push(vec![format!("the same in {} runs", figures.runs), text]);
    }
    rows.extend(spent(figures));
    rows
}

fn verified(figures: &Figures) -> String {
    let all = figures.verified.name();
    match figures.model_verified.of {
        0 => all,
        _ => format!("{all}; of a model's own {}", figures.model_verified.name()),
    }
}

fn asides(figures: &Figures) -> String {
    let mut text = String::new();
    for (count, what) in [(figures.repeated, "repeat another"), (figures.tolerated, "tolerated")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

fn spent(figures: &Figures) -> Vec<Vec<String>> {
    let spent = &figures.spent;
    let mut rows = Vec::new();
    if spent.calls > 0 {
        let failed = spent.failed;
        let failed = if failed > 0 { format!(", {failed} of them failed") } else { String::new() };
        rows.push(vec!["calls".to_owned(), format!("{}{failed}", spent.calls)]);
        let about = if spent.estimated > 0 { "about " } else { "" };
        let (prompt, cached, completion) = (spent.prompt, spent.cached, spent.completion);
        let tokens = format!("{about}{prompt} in ({cached} cached), {completion} out");
        rows.push(vec!["tokens".to_owned(), tokens]);
        let cost = match spent.cost_micros {
            None => "unknown: no price is configured".to_owned(),
            Some(micros) => format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        };
        rows.push(vec!["cost".to_owned(), cost]);
    }
    if let Some([half, most]) = spent.latency_ms {
        let text = format!("p50 {half} ms, p95 {most} ms");
        rows.push(vec!["time of a call".to_owned(), text]);
    }
    if let Some([half, most]) = spent.analysis_micros {
        let text = format!("p50 {}, p95 {}", milliseconds(half), milliseconds(most));
        rows.push(vec!["time of an analysis".to_owned(), text]);
    }
    rows
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn confusion(figures: &Figures) -> Vec<Vec<String>> {
    let head = ["", "ok", "warning", "critical", "none"].map(str::to_owned);
    let rows = ["ok", "warning", "critical"].iter().zip(&figures.confusion);
    let row = |(name, counts): (&&str, &[usize; 4])| {
        let counts = counts.iter().map(ToString::to_string);
        std::iter::once(format!("expected {name}")).chain(counts).collect()
    };
    std::iter::once(head.to_vec()).chain(rows.map(row)).collect()
}

fn categories(figures: &Figures) -> Vec<Vec<String>> {
    let head = ["category", "issues found", "findings right"].map(str::to_owned);
    let rows = figures.categories.iter();
    let rows = rows.map(|(category, found)| {
        vec![category.name().to_owned(), found.issues.name(), found.findings.name()]
    });
    std::iter::once(head.to_vec()).chain(rows).collect()
}

fn groups(title: &str, groups: &[(String, Group)]) -> Vec<Vec<String>> {
    let head = [title, "status right", "issues found", "false alarms"].map(str::to_owned);
    let row = |(name, group): &(String, Group)| {
        let alarms = group.false_alarms.to_string();
        vec![name.clone(), group.status.name(), group.issues.name(), alarms]
    };
    std::iter::once(head.to_vec()).chain(groups.iter().map(row)).collect()
}

fn yardsticks(yardsticks: &[Yardstick]) -> Vec<Vec<String>> {
    let head = ["beside others", "bad logs flagged", "healthy flagged", "issues found", "precise"];
    let row = |one: &Yardstick| {
        let shares = [one.bad_flagged, one.healthy_flagged, one.issues, one.precise];
        std::iter::once(one.name.to_owned()).chain(shares.map(Share::name)).collect()
    };
    std::iter::once(head.map(str::to_owned).to_vec()).chain(yardsticks.iter().map(row)).collect()
}

fn failures(figures: &Figures) -> String {
    let count = figures.failures.len();
    if count == 0 {
        return "\nno case failed\n".to_owned();
    }
    let mut out = format!("\n{count} {} failed\n", if count == 1 { "case" } else { "cases" });
    for failure in &figures.failures {
        out.push_str(&format!("  {}\n", failure.case));
        for why in &failure.why {
            out.push_str(&format!("    {why}\n"));
        }
    }
    out
}
