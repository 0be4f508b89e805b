//! Findings as `tasseograph analyze` and `tasseograph report` show them.

use crate::analysis::{Issue, Source};

/// One finding: what, where it stands, and who says so when it is not the signature table.
pub(crate) fn render_findings(issues: &[Issue]) -> String {
    let mut out = String::new();
    for issue in issues {
        let (severity, category) = (issue.severity.name(), issue.category.name());
        out.push_str(&format!("{severity:<8}  {category:<7}  {}\n", issue.summary));
        let doubt = if issue.verified { "" } else { "  (no record says this)" };
        let by = if issue.source == Source::Model { "  (a model's finding)" } else { "" };
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
        let mut issue = Issue {
            severity: Severity::Critical,
            category: Category::Storage,
            summary: "nvme0 has gone".into(),
            evidence: "nvme nvme0: controller is down".into(),
            source: Source::Rule,
            verified: true,
            records: vec![],
        };
        let lines = "critical  storage  nvme0 has gone\n                   \
                     > nvme nvme0: controller is down\n";
        assert_eq!(render_findings(&[issue.clone()]), lines);
        issue.verified = false;
        issue.source = Source::Model;
        let shown = render_findings(&[issue]);
        assert!(shown.ends_with("down  (no record says this)  (a model's finding)\n"), "{shown}");
    }
}
