//! Where log lines go: stderr, in the form that its reader expects.

use std::io::Write;

use log::Level;

use super::env::Environment;

/// Under journald a line carries its priority as `<4>` and no time, which the journal has;
/// elsewhere time and level come first. `TASSEOGRAPH_LOG` takes env_logger's filters: `debug`,
/// `warn`...
pub(crate) fn init(environment: &Environment) {
    let filter = environment.get(LEVEL).filter(|filter| !filter.is_empty());
    let filter = filter.unwrap_or_else(|| DEFAULT.to_owned());
    let journal = environment.get("JOURNAL_STREAM").is_some_and(|stream| is_stderr(&stream));
    let mut builder = env_logger::Builder::new();
    // Libraries speak up only when asked: their words are for their developers.
    builder.filter_level(log::LevelFilter::Off).parse_filters(&ours(&filter));
    builder.format(move |out, record| {
        if tells_all(record.target(), record.level()) {
            return Ok(());
        }
        let text = crate::kernel::escape_controls(&record.args().to_string());
        if journal {
            writeln!(out, "<{}>{text}", priority(record.level()))
        } else {
            let time = super::clock::wall();
            writeln!(out, "{time} {:<5} {text}", record.level().as_str().to_lowercase())
        }
    });
    builder.init();
}

const LEVEL: &str = "TASSEOGRAPH_LOG";
const DEFAULT: &str = "info";

/// A bare level means our own lines; a filter with a module in it changes that module's. What
/// cannot be read must not silence everything: env_logger ignores it, errors and all.
fn ours(filter: &str) -> String {
    if filter.contains('=') {
        return format!("tasseograph={DEFAULT},{filter}");
    }
    if filter.parse::<log::LevelFilter>().is_err() {
        let given = crate::kernel::escape_controls(filter);
        super::out::complain(&format!(
            "{LEVEL}: \"{given}\" is not error, warn, info or debug; {DEFAULT} it is"
        ));
        return format!("tasseograph={DEFAULT}");
    }
    format!("tasseograph={filter}")
}

/// At `debug` the HTTP client logs heads, at `trace` every byte that it sends and receives, keys
/// among them. No filter lets those out.
fn tells_all(target: &str, level: Level) -> bool {
    level > Level::Info && target.split("::").next().is_some_and(|name| name.starts_with("ureq"))
}

/// `DEVICE:INODE` of the journal's stream; a variable that was inherited names another file.
fn is_stderr(stream: &str) -> bool {
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// `sd-daemon.h`'s priorities.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// A line that strangers can cause: said at most once a minute, with a count of those unsaid.
#[derive(Default)]
pub(crate) struct Limited {
    state: std::sync::Mutex<(Option<crate::time::Mono>, u64)>,
}

/// How many lines were left unsaid; displays as nothing, or ` (and 7 more since the last)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsaid(u64);

const LIMITED_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

impl Limited {
    /// Whether the line may be said now.
    pub(crate) fn allow(&self, now: crate::time::Mono) -> Option<Unsaid> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match state.0 {
            Some(last) if now < last.plus(LIMITED_INTERVAL) => {
                state.1 += 1;
                None
            }
            _ => {
                state.0 = Some(now);
                Some(Unsaid(std::mem::take(&mut state.1)))
            }
        }
    }
}

impl std::fmt::Display for Unsaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} more since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Mono;
    use std::time::Duration;

    #[test]
    fn what_the_http_client_tells_of_keys_is_kept_back() {
        for (target, level, kept_back) in [
            ("ureq_proto::util", Level::Trace, true),
            ("ureq::run", Level::Debug, true),
            ("ureq", Level::Debug, true),
            ("ureq::run", Level::Warn, false),
            ("ureq_proto::client", Level::Info, false),
            ("rustls::client", Level::Debug, false),
            ("tasseograph::agent", Level::Trace, false),
        ] {
            assert_eq!(tells_all(target, level), kept_back, "{target} at {level}");
        }
    }

    #[test]
    fn a_flood_is_one_line_a_minute_with_a_count() {
        let limited = Limited::default();
        let at = |seconds| limited.allow(Mono(Duration::from_secs(seconds)));
        assert_eq!(at(0), Some(Unsaid(0)));
        for _ in 0..1000 {
            assert_eq!(at(59), None);
        }
        assert_eq!(at(60), Some(Unsaid(1000)));
        assert_eq!(Unsaid(7).to_string(), " (and 7 more since the last such line)");
        assert_eq!(Unsaid(0).to_string(), "");
    }
}
