//! Figures as one JSON object, for programs. Shares are fractions, `null` where there is nothing
//! to have a share of, each with the counts that they are made of.
//!
//! Pure.

use serde_json::{Map, Value, json};

use super::figures::{Figures, Found, Group, Share};
use super::yardstick::Yardstick;

/// `what` says what was evaluated.
pub(super) fn object(figures: &Figures, what: Value) -> Value {
    let Figures { healthy, disagreement, spent, .. } = figures;
    let pair = |pair: Option<[u64; 2]>| pair.map(|[p50, p95]| json!({"p50": p50, "p95": p95}));
    let statuses = ["ok", "warning", "critical"];
    let confusion = statuses.iter().zip(&figures.confusion).map(|(name, given)| {
        let [ok, warning, critical, none] = given;
        let given = json!({"ok": ok, "warning": warning, "critical": critical, "none": none});
        ((*name).to_owned(), given)
    });
    let categories = figures.categories.iter();
    let categories = categories.map(|(name, found_)| (name.name().to_owned(), found(*found_)));
    let failures = figures.failures.iter();
    let failures = failures.map(|failure| json!({"case": failure.case, "why": failure.why}));
    json!({
        "evaluated": what,
        "cases": figures.cases,
        "ambiguous": figures.ambiguous,
        "runs": figures.runs,
        "not_analysed": figures.unanswered,
        "status": share(figures.status),
        "confusion": confusion.collect::<Map<_, _>>(),
        "issues": found(figures.all),
        "categories": categories.collect::<Map<_, _>>(),
        "repeated": figures.repeated,
        "tolerated": figures.tolerated,
        "healthy": {
            "runs": healthy.runs, "warning": healthy.warning, "critical": healthy.critical,
            "findings": healthy.findings,
        },
        "groups": groups(&figures.groups),
        "marks": groups(&figures.marks),
        "evidence_verified": share(figures.verified),
        "model_evidence_verified": share(figures.model_verified),
        "user_text": figures.user_text,
        "disagreement": {
            "runs": disagreement.runs,
            "model_lower": disagreement.model_lower,
            "model_higher": disagreement.model_higher,
            "findings_by_both": disagreement.by_both,
            "findings_by_table": disagreement.by_rule,
            "findings_by_model": disagreement.by_model,
        },
        "spent": {
            "calls": spent.calls, "failed": spent.failed,
            "prompt_tokens": spent.prompt, "cached_tokens": spent.cached,
            "completion_tokens": spent.completion, "estimated_calls": spent.estimated,
            "cost_micros": spent.cost_micros,
            "latency_ms": pair(spent.latency_ms),
            "analysis_micros": pair(spent.analysis_micros),
        },
        "stability": figures.stability.as_ref().map(|stability| json!({
            "status": share(stability.status), "issues": share(stability.issues),
            "unstable": stability.unstable,
        })),
        "below_table": figures.below_table,
        "beside": figures.yardsticks.iter().map(yardstick).collect::<Vec<_>>(),
        "failures": failures.collect::<Vec<_>>(),
    })
}

fn share(share: Share) -> Value {
    json!({"right": share.right, "of": share.of, "fraction": share.fraction()})
}

fn found(found: Found) -> Value {
    json!({"recall": share(found.issues), "precision": share(found.findings)})
}

fn groups(groups: &[(String, Group)]) -> Map<String, Value> {
    let group = |(name, group): &(String, Group)| {
        let value = json!({
            "status": share(group.status), "recall": share(group.issues),
            "false_alarms": group.false_alarms,
        });
        (name.clone(), value)
    };
    groups.iter().map(group).collect()
}

fn yardstick(one: &Yardstick) -> Value {
    json!({
        "name": one.name,
        "bad_flagged": share(one.bad_flagged),
        "healthy_flagged": share(one.healthy_flagged),
        "recall": share(one.issues),
        "precision": share(one.precise),
    })
}
