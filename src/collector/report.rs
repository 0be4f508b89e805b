//! `tasseograph report`: what the database holds, as tables, through a connection that cannot
//! write.

use std::path::Path;

use crate::exit::Exit;
use crate::report::render_table;
use crate::store::{Reader, StoreError, Table};
use crate::sys::out;

/// A part of the report that is to be read at one glance.
const ROWS_MAX: usize = 20;

struct Question {
    /// `None`: its own text is its title, and it is shown whatever the answer.
    title: Option<&'static str>,
    /// Without a limit.
    sql: &'static str,
    /// Whether there may be so many rows that a report shows only the first.
    limited: bool,
}

/// What an operator asks first. README.md has the two without a title.
const QUESTIONS: [Question; 9] = [
    Question {
        title: None,
        sql: "SELECT status, COUNT(*) FROM results GROUP BY status",
        limited: false,
    },
    Question {
        title: Some("hosts silent for 15 minutes"),
        sql: "SELECT hostname, last_seen FROM hosts \
              WHERE last_seen < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-15 minutes') \
              ORDER BY last_seen",
        limited: true,
    },
    Question {
        title: Some("deltas that wait for their analysis"),
        sql: "SELECT hostname, COUNT(*) AS deltas, SUM(urgent) AS urgent, \
              SUM(put_back) AS put_back, MIN(received_at) AS oldest, \
              MAX(note) FILTER (WHERE status = 'llm_unavailable') AS note \
              FROM backlog GROUP BY hostname ORDER BY oldest",
        limited: true,
    },
    Question {
        title: Some("analyses given up"),
        sql: "SELECT deltas.hostname, COUNT(*) AS deltas, MAX(results.updated_at) AS latest, \
              MAX(results.note) AS note \
              FROM deltas LEFT JOIN results ON results.delta_id = deltas.id \
              WHERE deltas.state = 'failed' \
              GROUP BY deltas.hostname ORDER BY latest DESC",
        limited: true,
    },
    Question {
        title: Some("records lost in the last week"),
        sql: "SELECT hostname, reason, SUM(next_seq - first_seq) AS records, \
              MAX(noticed_at) AS latest FROM gaps \
              WHERE noticed_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-7 days') \
              GROUP BY hostname, reason ORDER BY latest DESC",
        limited: true,
    },
    Question {
        title: Some("findings, critical first"),
        sql: "SELECT timestamp, hostname, severity, category, doubt, summary, evidence \
              FROM findings ORDER BY doubt IS NOT NULL, severity, timestamp DESC",
        limited: true,
    },
    Question {
        title: Some("what models said that does not stand"),
        sql: "SELECT provider, model, SUM(unverified) AS unverified, \
              SUM(disagreement) AS disagreements FROM \
              (SELECT provider, model, unverified, 0 AS disagreement FROM results \
                  WHERE unverified > 0 \
              UNION ALL SELECT provider, model, 0, 1 FROM results WHERE disagreement = 1) \
              GROUP BY provider, model ORDER BY disagreements DESC, unverified DESC",
        limited: true,
    },
    Question {
        title: Some("hosts, worst first"),
        sql: "SELECT hosts.hostname, last_seen, kernel, records_lost, \
              coalesce(critical, 0) AS critical, coalesce(warning, 0) AS warning \
              FROM hosts LEFT JOIN (SELECT hostname, \
                  COUNT(*) FILTER (WHERE severity = 'critical') AS critical, \
                  COUNT(*) FILTER (WHERE severity = 'warning') AS warning \
                  FROM findings WHERE doubt IS NULL GROUP BY hostname) AS found \
              ON found.hostname = hosts.hostname \
              ORDER BY 5 DESC, 6 DESC, records_lost DESC, hosts.hostname",
        limited: true,
    },
    Question {
        title: None,
        sql: "SELECT timestamp, hostname, status, issues FROM results WHERE status != 'ok' \
              ORDER BY timestamp DESC",
        limited: true,
    },
];

/// Before the answers, which are then all empty.
const NO_HOST: &str = "no host has posted yet; systemctl status tasseograph-agent there says why";

/// `tasseograph report`.
pub(crate) fn report(db: &Path, query: Option<&str>) -> Exit {
    let reader = match Reader::open(db) {
        Ok(reader) => reader,
        Err(error) => {
            out::complain(error.reason());
            return Exit::Failed;
        }
    };
    let answered = match query {
        Some(query) => reader.query(query).map(|answer| table(&answer, answer.rows.len())),
        None => whole(&reader),
    };
    match answered {
        Ok(text) => Exit::ok_if(out::print(&text)),
        Err(error) => {
            out::complain(&format!("{}: {}", db.display(), error.reason()));
            Exit::Failed
        }
    }
}

fn whole(reader: &Reader) -> Result<String, StoreError> {
    reader.must_be_current()?;
    let parts = QUESTIONS.iter().map(|question| part(reader, question));
    let parts = parts.collect::<Result<Vec<_>, _>>()?.join("\n");
    let posted = !reader.query("SELECT 1 FROM hosts LIMIT 1")?.rows.is_empty();
    Ok(if posted { parts } else { format!("{NO_HOST}\n\n{parts}") })
}

fn part(reader: &Reader, question: &Question) -> Result<String, StoreError> {
    let limit = if question.limited { format!(" LIMIT {ROWS_MAX}") } else { String::new() };
    let sql = format!("{}{limit};", question.sql);
    let answer = reader.query(&sql)?;
    let rows = answer.rows.len();
    if let (Some(title), 0) = (question.title, rows) {
        return Ok(format!("{title}: none\n"));
    }
    let mut of = rows;
    if question.limited && rows == ROWS_MAX {
        let counted = reader.query(&format!("SELECT COUNT(*) FROM ({})", question.sql))?;
        let count = counted.rows.first().and_then(|row| row.first()?.parse().ok());
        // A row may have come or gone since.
        of = rows.max(count.unwrap_or(rows));
    }
    let title = question.title.map_or(sql, |title| format!("{title}:"));
    Ok(format!("{title}\n\n{}", table(&answer, of)))
}

fn table(answer: &Table, of: usize) -> String {
    render_table(&answer.columns, &answer.rows, of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    /// A report is asked for when a fleet is in trouble, and must not read all that it ever sent.
    #[test]
    fn no_question_reads_a_large_table_whole() {
        let folder = std::env::temp_dir().join(format!("tg-questions-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let db = folder.join("t.db");
        drop(Store::open(&db).unwrap());
        let reader = Reader::open(&db).unwrap();
        for Question { sql, .. } in QUESTIONS {
            let plan = reader.query(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            for step in plan.rows.iter().filter_map(|row| row.last()) {
                let whole = ["SCAN results", "SCAN deltas"].iter().any(|scan| step == scan);
                let by_host = step.starts_with("SCAN results USING INDEX results_host");
                assert!(!whole && !by_host, "{sql}: {step}");
            }
        }
        drop(std::fs::remove_dir_all(&folder));
    }
}
