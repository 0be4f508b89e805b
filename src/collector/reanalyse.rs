//! `tasseograph reanalyse`: deltas put back to be analysed again. A collector that runs finds them
//! within a second; else the next one does.

use std::path::Path;

use crate::cli;
use crate::exit::Exit;
use crate::store::{self, Which};
use crate::sys::{clock, out};
use crate::time::Wall;

/// What `results.status` may be.
const STATUSES: [&str; 5] = ["ok", "warning", "critical", "llm_unavailable", "error"];

/// `tasseograph reanalyse`.
pub(crate) fn reanalyse(db: &Path, given: &cli::Which) -> Exit {
    let which = match checked(given) {
        Ok(which) => which,
        Err(reason) => {
            out::complain(&format!("{reason}; see tasseograph reanalyse --help"));
            return Exit::Usage;
        }
    };
    match store::reanalyse(db, &which, clock::wall()) {
        Ok(count) => {
            let deltas = if count == 1 { "delta" } else { "deltas" };
            Exit::ok_if(out::print(&format!("{count} {deltas} will be analysed again\n")))
        }
        Err(error) => {
            out::complain(error.reason());
            Exit::Failed
        }
    }
}

fn checked(given: &cli::Which) -> Result<Which, String> {
    let time = |option: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let time = Wall::parse(text);
        time.map(Some).ok_or_else(|| format!("{option}: {text:?} is no time"))
    };
    let id = given
        .id
        .as_ref()
        .map(|text| text.parse().map_err(|_| format!("--id: {text:?} is no number of a delta")));
    let status = given.status.as_ref().map(|status| {
        let known = STATUSES.contains(&status.as_str());
        known.then(|| status.clone()).ok_or_else(|| format!("--status: there is no {status:?}"))
    });
    Ok(Which {
        id: id.transpose()?,
        host: given.host.clone(),
        status: status.transpose()?,
        since: time("--since", &given.since)?,
        until: time("--until", &given.until)?,
    })
}
