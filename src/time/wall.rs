//! Wall time to the microsecond, RFC 3339, and spans such as `5m`.

use std::fmt;
use std::time::Duration;

/// Microseconds since 1970 in UTC. Displayed as the database has it: `2026-02-03T12:30:00.123456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wall(i64);

/// Years -9999 to 9999, what RFC 3339 can say; clamped well within, so that adding a span cannot
/// overflow.
const MICROS_MAX: i64 = 253_370_764_800_000_000;

impl Wall {
    pub(crate) fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(-MICROS_MAX, MICROS_MAX))
    }

    pub(crate) fn micros(self) -> i64 {
        self.0
    }

    /// Any RFC 3339 time, with any offset.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.trim().parse().ok()?;
        Some(Self::from_micros(timestamp.as_microsecond()))
    }

    /// As HTTP's headers have it: `Tue, 03 Feb 2026 12:30:00 GMT`.
    pub(crate) fn parse_http_date(text: &str) -> Option<Self> {
        let time = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
        Some(Self::from_micros(time.timestamp().as_microsecond()))
    }

    pub(crate) fn plus(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(span)))
    }

    pub(crate) fn minus(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(micros(span)))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp =
            jiff::Timestamp::from_microsecond(self.0).expect("from_micros clamps to jiff's range");
        write!(f, "{timestamp:.6}")
    }
}

/// `5m`, `1h30m`, `90s`, `500ms`. A bare number has no unit and is refused: `None`.
pub(crate) fn parse_span(text: &str) -> Option<Duration> {
    let span: jiff::SignedDuration = text.trim().parse().ok()?;
    Duration::try_from(span).ok()
}

/// The shortest way to say it that `parse_span` reads back.
pub(crate) fn format_span(span: Duration) -> String {
    let seconds = span.as_secs();
    if span.subsec_nanos() != 0 {
        return format!("{}ms", span.as_millis());
    }
    match seconds {
        0 => "0s".into(),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_any_offset_and_written_in_utc() {
        for (input, expected) in [
            ("2026-02-03T12:30:00.123456Z", "2026-02-03T12:30:00.123456Z"),
            ("2026-02-03T12:30:00Z", "2026-02-03T12:30:00.000000Z"),
            ("2026-02-03T14:30:00.5+02:00", "2026-02-03T12:30:00.500000Z"),
            ("2026-02-03T12:30:00.123456789-00:00", "2026-02-03T12:30:00.123456Z"),
            ("1969-12-31T23:59:59.9Z", "1969-12-31T23:59:59.900000Z"),
        ] {
            assert_eq!(Wall::parse(input).unwrap().to_string(), expected, "{input}");
        }
        for bad in ["", "yesterday", "2026-02-03", "2026-02-03T12:30:00", "2026-13-03T12:30:00Z"] {
            assert_eq!(Wall::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_arithmetic_leaves_the_calendar() {
        for micros in [i64::MIN, -1, 0, 1, i64::MAX] {
            let wall = Wall::from_micros(micros);
            for moved in [wall.plus(Duration::MAX), wall.minus(Duration::MAX)] {
                assert_eq!(Wall::parse(&moved.to_string()), Some(moved));
            }
        }
    }

    #[test]
    fn spans() {
        for (input, seconds) in [("5m", 300.0), ("1h30m", 5400.0), ("500ms", 0.5), ("2h", 7200.0)] {
            assert_eq!(parse_span(input).map(|span| span.as_secs_f64()), Some(seconds), "{input}");
        }
        for bad in ["", "5", "-5m", "five", "5 parsecs"] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
        for text in ["500ms", "0s", "1s", "90s", "5m", "1h", "24h"] {
            assert_eq!(format_span(parse_span(text).unwrap()), text);
        }
    }
}
