//! `tasseograph report`: what the database holds, as tables, through a connection that cannot
//! write.

use std::path::Path;

use crate::exit::Exit;
use crate::report::render_table;
use crate::store::{Reader, Table};
use crate::sys::out;

/// What an operator asks first. README.md shows the last two.
const QUESTIONS: [&str; 4] = [
    "SELECT hostname, last_seen, kernel, records_lost FROM hosts ORDER BY hostname;",
    "SELECT timestamp, hostname, severity, category, summary, evidence FROM findings \
     ORDER BY timestamp DESC LIMIT 20;",
    "SELECT timestamp, hostname, status, issues FROM results WHERE status != 'ok' \
     ORDER BY timestamp DESC LIMIT 20;",
    "SELECT status, COUNT(*) FROM results GROUP BY status;",
];

/// `tasseograph report`.
pub(crate) fn report(db: &Path, query: Option<&str>) -> Exit {
    let reader = match Reader::open(db) {
        Ok(reader) => reader,
        Err(error) => {
            out::complain(error.reason());
            return Exit::Failed;
        }
    };
    let questions: &[&str] = match &query {
        Some(query) => std::slice::from_ref(query),
        None => &QUESTIONS,
    };
    for (number, question) in questions.iter().enumerate() {
        match reader.query(question) {
            Ok(answer) if print(question, &answer, query.is_none(), number) => {}
            Ok(_) => return Exit::Failed,
            Err(error) => {
                out::complain(&format!("{}: {}", db.display(), error.reason()));
                return Exit::Failed;
            }
        }
    }
    Exit::Ok
}

fn print(question: &str, answer: &Table, with_question: bool, number: usize) -> bool {
    let gap = if number > 0 { "\n" } else { "" };
    let heading = if with_question { format!("{question}\n\n") } else { String::new() };
    out::print(&format!("{gap}{heading}{}", render_table(&answer.columns, &answer.rows)))
}
