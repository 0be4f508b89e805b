//! What the signature table says of a delta that no endpoint has answered about.
//!
//! `ingest` has it before the delta's row is written, in the handler's own time: a worker could
//! find out only once it is free, and for something critical nobody waits for that. Workers put it
//! where there is no answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;

use super::{DeltaId, Outcome, StoreError, queue};
use crate::analysis::{Status, judge};
use crate::kernel::Record;
use crate::time::Wall;

/// Of a row that is there before any answer.
const NOT_YET: &str = "not analysed yet; this is what the signature table finds";

pub(crate) struct Floor {
    pub(crate) status: Status,
    /// A JSON array.
    pub(crate) issues: String,
}

impl Floor {
    /// No fault of the table's may keep records from being stored.
    pub(crate) fn of(records: impl FnOnce() -> Vec<Record>) -> Self {
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let verdict = judge(&records());
            Self { status: verdict.status, issues: verdict.issues_json() }
        }));
        judged.unwrap_or_else(|_| {
            log::error!("the signature table panicked over a delta");
            Self { status: Status::Ok, issues: "[]".to_owned() }
        })
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.status == Status::Critical
    }

    /// The delta's row of `results` until there is an answer: of what is critical at once, of what
    /// is less where older deltas of the host wait, as nobody knows for how long.
    pub(super) fn write_ahead(
        &self,
        connection: &Connection,
        id: DeltaId,
        waits: bool,
        now: Wall,
    ) -> Result<(), StoreError> {
        if !(self.is_urgent() || waits && self.status != Status::Ok) {
            return Ok(());
        }
        let outcome = Outcome {
            status: self.status.name(),
            model_status: None,
            rule_status: self.status.name(),
            unverified: 0,
            issues: self.issues.clone(),
            latency_ms: 0,
            provider: None,
            model: None,
            prompt_version: None,
            note: Some(NOT_YET.to_owned()),
            calls: Vec::new(),
        };
        queue::write_result(connection, id, &outcome, now)
    }
}
