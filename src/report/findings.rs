//! Findings as `tasseograph analyze` and `tasseograph report` show them.

use crate::analysis::{Issue, Source};

/// One finding: what, where it stands, and who says so when it is not the signature table.
pub(crate) fn render_findings(issues: &[Issue]) -> String {
    let mut out = String::new();
    for issue in issues {
        let (severity, category) = (issue.severity.name(), issue.category.name());
        out.push_str(&format!("{severity:<8}  {category:<7}  {}\n", issue.summary));
        let doubt = match (issue.verified, issue.user_text) {
            (false, _) => "  (no record says this)",
            (true, true) => "  (only a program says this)",
            (true, false) => "",
        };
        let by = match (issue.source, issue.confirmed) {
            (Source::Model, _) => "  (a model's finding)",
            (Source::Rule, true) => "  (a model says so too)",
            (Source::Rule, false) => "",
        };
        out.push_str(&format!("{:19}> {}{doubt}{by}\n", "", issue.evidence));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Category, Severity};

    #[test]
    fn a_finding_shows_its_evidence_and_its_doubt() {
        let issue = Issue {
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
        };
        let lines = "critical  storage  nvme0 has gone\n                   \
                     > nvme nvme0: controller is down\n";
        assert_eq!(render_findings(std::slice::from_ref(&issue)), lines);
        for (source, verified, confirmed, user_text, expected) in [
            (Source::Model, false, false, false, "  (no record says this)  (a model's finding)"),
            (Source::Model, true, false, true, "  (only a program says this)  (a model's finding)"),
            (Source::Model, true, false, false, "  (a model's finding)"),
            (Source::Rule, true, true, false, "  (a model says so too)"),
        ] {
            let issue = Issue { source, verified, confirmed, user_text, ..issue.clone() };
            let shown = render_findings(&[issue]);
            assert!(shown.ends_with(&format!("down{expected}\n")), "{shown}");
        }
    }
}
