//! How long a server asks to be left alone: `Retry-After`, in seconds or as a date, and
//! `retry-after-ms`.

use std::time::Duration;

use super::Wall;

/// Beyond a day and more it is no wait of ours, whatever it is: as good as this.
const SECONDS_MAX: f64 = 999_999.0;

/// `millis` and `after` are the headers' values. `None` where neither can be read.
pub(crate) fn retry_after(
    millis: Option<&str>,
    after: Option<&str>,
    now: Wall,
) -> Option<Duration> {
    millis.and_then(|text| seconds(text, 1_000.0)).or_else(|| {
        let after = after?;
        seconds(after, 1.0).or_else(|| {
            let left = Wall::parse_http_date(after)?.micros().saturating_sub(now.micros());
            let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
            Some(left.min(Duration::from_secs_f64(SECONDS_MAX)))
        })
    })
}

/// Some servers send fractions.
fn seconds(text: &str, in_a_second: f64) -> Option<Duration> {
    let text = text.trim();
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let seconds = text.parse::<f64>().ok()? / in_a_second;
    Some(Duration::from_secs_f64(seconds.min(SECONDS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_in_every_form() {
        let now = Wall::parse("2026-02-03T12:30:00Z").unwrap();
        for (millis, after, expected) in [
            (None, None, None),
            (None, Some("2"), Some(2_000)),
            (None, Some(" 0 "), Some(0)),
            (None, Some("1.5"), Some(1_500)),
            (Some("250"), Some("9"), Some(250)),
            (Some("x"), Some("9"), Some(9_000)),
            (None, Some("Tue, 03 Feb 2026 12:31:30 GMT"), Some(90_000)),
            (None, Some("Tue, 03 Feb 2026 12:00:00 GMT"), Some(0)),
            (None, Some("Tue, 03 Feb 2099 12:00:00 GMT"), Some(999_999_000)),
            (None, Some("-1"), None),
            (None, Some("inf"), None),
            (None, Some("soon"), None),
            (None, Some(""), None),
            (None, Some("."), None),
            (None, Some("1000000"), Some(999_999_000)),
            (None, Some("99999999999999999999"), Some(999_999_000)),
            (Some("99999999999999999999"), Some("9"), Some(999_999_000)),
        ] {
            let found = retry_after(millis, after, now).map(|wait| wait.as_millis());
            assert_eq!(found, expected, "{millis:?} {after:?}");
        }
    }
}
