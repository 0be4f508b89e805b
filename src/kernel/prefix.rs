//! What tools write before a kernel line's text: priority, wall-clock stamp, host and tag, kernel
//! stamp, caller.
//!
//! Owns these layers and their order. They are taken off from the left, one by one, because tools
//! stack them in every combination; what is left is the text. Interprets no wall clock. `text`
//! drives it.

use super::record::FACILITIES;
use super::tag::{KERNEL_TAGS, after_kernel_tag, has_pid, is_driver, is_program_name};
use super::{Caller, Level};

/// What the layers have told, and what is left of the line.
#[derive(Default)]
pub(super) struct Prefix<'a> {
    pub(super) usec: Option<u64>,
    pub(super) level: Option<Level>,
    pub(super) facility: Option<u16>,
    pub(super) caller: Option<Caller>,
    pub(super) stamp: Option<&'a str>,
    pub(super) text: &'a str,
}

pub(super) const KERNEL: u16 = 0;
const USER: u16 = 1;

/// What the lines before have told.
#[derive(Default)]
pub(super) struct Seen<'a> {
    monotonic: Tags<'a>,
    /// Who stood behind a wall-clock stamp and before a tag that is no driver's word.
    host: Option<&'a str>,
}

/// Whether a host and a tag stand behind monotonic stamps, as `journalctl -o short-monotonic` puts
/// them there. The first line that has such a stamp settles it for all.
#[derive(Default)]
enum Tags<'a> {
    #[default]
    Unknown,
    None,
    Host(&'a str),
}

/// Takes every layer off; `None` when there is none. `line` is one without indentation.
pub(super) fn read<'a>(line: &'a str, seen: &mut Seen<'a>) -> Option<Prefix<'a>> {
    let mut prefix = Prefix { text: line, ..Prefix::default() };
    prefix.take(seen).then_some(prefix)
}

/// Without indentation and the marks of a mail that quotes another.
pub(super) fn unquoted(line: &str) -> &str {
    if line.starts_with(['>', ' ', '\t']) {
        line.trim_start_matches(['>', ' ', '\t'])
    } else {
        line
    }
}

impl<'a> Prefix<'a> {
    /// Whether there was any layer.
    fn take(&mut self, seen: &mut Seen<'a>) -> bool {
        // Nearly all lines begin so, and then nothing can stand before it.
        if self.text.starts_with('[') {
            let known = self.brackets();
            if self.usec.is_some() {
                self.monotonic_tag(&mut seen.monotonic);
            }
            return known;
        }
        let numbered = self.number_priority();
        if numbered && self.structured().is_some() {
            return true;
        }
        let mut known = numbered | self.decoded_priority();
        if let Some((stamp, rest, form)) = wall_stamp(self.text) {
            known = true;
            self.stamp = Some(stamp);
            self.text = rest;
            if self.tagged(form, seen) {
                // Behind a program's tag everything is that program's text, stamps included.
                return known;
            }
        } else if let Some(rest) = after_kernel_tag(self.text) {
            known = true;
            self.written_by(KERNEL);
            self.text = rest;
        }
        known |= self.number_priority();
        known | self.brackets()
    }

    /// `<6>`, as `dmesg -r` and old consoles write it.
    fn number_priority(&mut self) -> bool {
        let number = || {
            let (digits, rest) = self.text.strip_prefix('<')?.split_once('>')?;
            let prefix: u16 = all_digits(digits).then(|| digits.parse().ok())??;
            Some((prefix, rest))
        };
        let Some((prefix, rest)) = number() else { return false };
        self.level = Some(Level::from_prefix(prefix.into()));
        self.written_by(prefix >> 3);
        self.text = rest;
        true
    }

    /// `kern  :err   : `, as `dmesg -x` writes it.
    fn decoded_priority(&mut self) -> bool {
        let decoded = || {
            // No name is longer than `authpriv`; most texts have a colon further on.
            let end = self.text.bytes().take(9).position(|byte| byte == b':')?;
            let (level, rest) = self.text[end + 1..].split_once(':')?;
            let level = Level::from_name(level.trim_end())?;
            Some((facility_from_name(self.text[..end].trim_end())?, level, rest))
        };
        if !self.text.starts_with(|first: char| first.is_ascii_lowercase()) {
            return false;
        }
        let Some((facility, level, rest)) = decoded() else { return false };
        self.written_by(facility);
        self.level = Some(level);
        self.text = after_blank(rest);
        true
    }

    /// What looks like a further layer may be text: once one says user space, none after it takes
    /// that back.
    fn written_by(&mut self, facility: u16) {
        self.facility = self.facility.filter(|known| *known != KERNEL).or(Some(facility));
    }

    /// `1 2026-02-03T12:25:01Z web kernel - - - text`, behind its priority (RFC 5424).
    fn structured(&mut self) -> Option<()> {
        let (stamp, rest, _) = wall_stamp(self.text.strip_prefix("1 ")?)?;
        let mut words = rest.splitn(6, ' ');
        let (_, program) = (words.next()?, words.next()?);
        let text = words.nth(3)?;
        self.written_by(if KERNEL_TAGS.contains(&program) { KERNEL } else { USER });
        self.stamp = Some(stamp);
        self.text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if self.facility == Some(KERNEL) {
            self.brackets();
        }
        Some(())
    }

    /// What follows a wall-clock stamp; whether it is a program's.
    fn tagged(&mut self, form: WallForm, seen: &mut Seen<'a>) -> bool {
        // A console's capture, stamped line by line, has neither host nor tag.
        if bracket(self.text).is_some_and(|(inner, _)| microseconds(inner).is_some()) {
            return false;
        }
        match form {
            WallForm::Dmesg => false,
            WallForm::Log => self.host_and_tag(seen),
            WallForm::Calendar => {
                if let Some(rest) = self.dotted_priority(self.text) {
                    self.text = rest;
                    // OpenWrt's log writes the tag behind it.
                    return self.tag(rest);
                }
                let tag = after_word(self.text);
                after_kernel_tag(tag).is_some() && self.host_and_tag(seen)
            }
        }
    }

    /// What follows a syslog stamp: `host kernel: `, `host sshd[71]: `, `host kern.err kernel: `
    /// (BusyBox), or our own `kern.err `; or the kernel's text at once, where a tool stamped it
    /// line by line. Whether it is a program's: what has no tag is nobody's for certain.
    fn host_and_tag(&mut self, seen: &mut Seen<'a>) -> bool {
        if let Some(rest) = self.dotted_priority(self.text) {
            self.text = rest;
            return false;
        }
        // rsyslog may leave no blank behind the kernel's tag; a program's ends its word.
        let first = first_word(self.text);
        if after_kernel_tag(self.text).is_some() || has_pid(first) {
            return self.tag(self.text);
        }
        if first.ends_with(':') {
            // `mce: ` is a driver's as likely as `cron: ` is a program's.
            return false;
        }
        let before = self.facility;
        let rest = after_word(self.text);
        let prioritised = self.dotted_priority(rest);
        let tag = prioritised.unwrap_or(rest);
        let word = first_word(tag);
        let known = seen.host == Some(first);
        let sure = after_kernel_tag(tag).is_some() || has_pid(word);
        if sure {
            seen.host = Some(first);
        }
        if sure || is_program_name(word) && (known || !is_driver(first, word)) {
            let is_programs = self.tag(tag);
            if !is_programs && before.is_none() && self.facility == Some(USER) {
                // Some daemons that pass the kernel's log on give it their own facility.
                self.facility = None;
            }
            return is_programs;
        }
        let stamped = bracket(tag).is_some_and(|(inner, _)| microseconds(inner).is_some());
        if known || prioritised.is_some() || stamped {
            self.text = tag;
        }
        false
    }

    /// Takes the kernel's tag off; whether it is not the kernel's.
    fn tag(&mut self, rest: &'a str) -> bool {
        let kernels = after_kernel_tag(rest);
        self.written_by(if kernels.is_some() { KERNEL } else { USER });
        self.text = kernels.unwrap_or(rest);
        kernels.is_none()
    }

    /// `kern.err `, and `-` for both where a form did not say.
    fn dotted_priority(&mut self, text: &'a str) -> Option<&'a str> {
        let (word, rest) = text.split_once(' ')?;
        if word != "-" {
            let (facility, level) = word.split_once('.')?;
            let known_facility = facility_from_name(facility);
            let known_level = Level::from_name(level);
            if (known_facility.is_none() && facility != "-")
                || (known_level.is_none() && level != "-")
            {
                return None;
            }
            if let Some(facility) = known_facility {
                self.written_by(facility);
            }
            self.level = known_level;
        }
        Some(rest)
    }

    /// `web kernel: ` behind `[    1.234567] `; what has another tag is a program's.
    fn monotonic_tag(&mut self, tags: &mut Tags<'a>) {
        if matches!(tags, Tags::None) {
            return;
        }
        let (word, rest) = self.text.split_once(' ').unwrap_or((self.text, ""));
        if matches!(tags, Tags::Unknown) {
            let named = !word.contains(':') && rest.starts_with("kernel: ");
            *tags = if named { Tags::Host(word) } else { Tags::None };
        }
        if matches!(tags, Tags::Host(host) if *host == word) {
            self.tag(rest);
        }
    }

    /// `[   12.345678] `, `[Tue Feb  3 12:25:01 2026] `, both as some consoles write, then
    /// `[  T123] `; whether there was any.
    fn brackets(&mut self) -> bool {
        let mut known = false;
        if let Some((usec, rest)) = plain_stamp(self.text) {
            self.usec = Some(usec);
            self.text = rest;
            known = true;
        }
        while let Some((inner, rest)) = bracket(self.text) {
            if let Some(usec) = microseconds(inner) {
                self.usec = Some(usec);
            } else if is_calendar(inner) {
                self.stamp = Some(inner);
            } else if let Some(caller) = Caller::parse(inner) {
                self.caller = Some(caller);
            } else if !is_difference(inner) {
                break;
            }
            known = true;
            self.text = rest;
        }
        if known {
            // One blank belongs to the stamp; more of them are the text's own indentation.
            self.text = after_blank(self.text);
        }
        known
    }
}

/// `[   12.345678]` as the kernel itself writes it, which is nearly every stamp.
fn plain_stamp(text: &str) -> Option<(u64, &str)> {
    let bytes = text.as_bytes().strip_prefix(b"[")?;
    let blanks = bytes.iter().take_while(|byte| **byte == b' ').count();
    let mut at = blanks;
    let mut usec = 0_u64;
    while at - blanks < SECONDS_DIGITS_MAX
        && let Some(digit @ b'0'..=b'9') = bytes.get(at)
    {
        usec = usec * 10 + u64::from(digit - b'0');
        at += 1;
    }
    if at == blanks || bytes.get(at) != Some(&b'.') {
        return None;
    }
    for digit in bytes.get(at + 1..at + 7)? {
        if !digit.is_ascii_digit() {
            return None;
        }
        usec = usec * 10 + u64::from(digit - b'0');
    }
    (bytes.get(at + 7) == Some(&b']')).then(|| (usec, &text[at + 9..]))
}

/// Three thousand years: so many digits of microseconds still fit.
const SECONDS_DIGITS_MAX: usize = 11;

/// What stands in the brackets that the text starts with, blanks before them skipped. Some mail
/// programs make the padding no-break spaces, and some archives broke these.
fn bracket(text: &str) -> Option<(&str, &str)> {
    if text.as_bytes().first().is_some_and(|first| first.is_ascii() && !b"[ \t".contains(first)) {
        return None;
    }
    let inner = text.trim_start_matches(PADDING).strip_prefix('[')?;
    // No stamp is longer, and a line may be.
    let end = inner.bytes().take(48).position(|byte| byte == b']')?;
    Some((inner[..end].trim_matches(PADDING), &inner[end + 1..]))
}

const PADDING: [char; 4] = [' ', '\t', '\u{a0}', '\u{fffd}'];

/// `12.345678`, also with what follows it: the difference of `dmesg -d`, grabserial's second
/// number, the processor of some vendors' kernels (`12.345678@0`).
fn microseconds(inner: &str) -> Option<u64> {
    if !inner.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let end = inner.find(['<', ' ', '@', ',']).unwrap_or(inner.len());
    let (stamp, more) = inner.split_at(end);
    let (seconds, fraction) = stamp.split_once('.')?;
    let of_more = |byte: u8| byte.is_ascii_digit() || b" <>@,.".contains(&byte);
    if seconds.len() > SECONDS_DIGITS_MAX
        || fraction.len() > 9
        || !all_digits(seconds)
        || !all_digits(fraction)
        || !more.bytes().all(of_more)
    {
        return None;
    }
    let nanos = fraction.parse::<u64>().ok()? * 10_u64.pow(9 - fraction.len() as u32);
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + nanos / 1_000)
}

/// `Tue Feb  3 12:25:01 2026`, in the names of any language, `Feb 3 12:25` (`dmesg -H`),
/// `2026-02-03 12:25:01.123`.
fn is_calendar(inner: &str) -> bool {
    let named = |name: &str| WEEKDAYS.contains(&name) || MONTHS.contains(&name);
    let first = inner.split([' ', '-']).next().unwrap_or("");
    if (named(first) || is_like(first, "0000")) && inner.contains(':') {
        return true;
    }
    let mut words = inner.rsplit(' ');
    let year = words.next().is_some_and(|year| is_like(year, "0000"));
    year && words.next().is_some_and(|clock| is_like(clock, "00:00:00"))
}

/// `+0.000011` (`dmesg -H`) and `<    0.000010>` (`dmesg -d`): time since the line before, of no
/// use alone. An address on the stack (`<0000000000405060>`) has no point.
fn is_difference(inner: &str) -> bool {
    let number = inner.strip_prefix('+').or_else(|| inner.strip_prefix('<')?.strip_suffix('>'));
    number.is_some_and(|number| {
        let number = number.trim();
        number.contains('.') && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Who writes a wall-clock stamp without brackets, and so what follows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WallForm {
    /// Only dmesg writes a comma before the fraction; the text follows.
    Dmesg,
    /// Host and tag follow.
    Log,
    /// With its year at the end, as ctime and date write it: a priority may follow.
    Calendar,
}

/// A stamp without brackets, and what follows: `Feb  3 12:25:01`, `Feb  3 2026 12:25:01`,
/// `2026-02-03 12:25:01`, `2026-02-03T12:25:01.123456+00:00`, `Tue 2026-02-03 12:25:01 UTC`,
/// `Tue Feb  3 12:25:01 2026`, `1770121501.123456`.
fn wall_stamp(line: &str) -> Option<(&str, &str, WallForm)> {
    let mut form = WallForm::Log;
    let first = line.get(..3)?;
    let rest = if first.as_bytes()[0].is_ascii_digit() {
        after_date(line).or_else(|| after_seconds(line))?
    } else if MONTHS.contains(&first) {
        after_month(&line[3..])?
    } else if WEEKDAYS.contains(&first) {
        let rest = line[3..].strip_prefix(' ')?;
        match after_date(rest) {
            Some(rest) => after_word(rest),
            None => {
                let month = rest.get(..3).filter(|month| MONTHS.contains(month))?;
                let rest = after_month(&rest[month.len()..])?;
                let with_year = after_year(rest);
                if with_year.is_some() {
                    form = WallForm::Calendar;
                }
                with_year.unwrap_or(rest)
            }
        }
    } else {
        return None;
    };
    let stamp = line[..line.len() - rest.len()].trim_end();
    if stamp.contains(',') {
        form = WallForm::Dmesg;
    }
    Some((stamp, rest, form))
}

/// What follows ` 3 12:25:01` or ` 3 2026 12:25:01`.
fn after_month(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(' ')?.trim_start_matches(' ');
    let day = rest.get(..rest.find(' ')?).filter(|day| day.len() <= 2 && all_digits(day))?;
    let rest = rest[day.len()..].trim_start_matches(' ');
    after_time(after_year(rest).unwrap_or(rest))
}

/// What follows `2026 `, or `UTC 2026 `.
fn after_year(text: &str) -> Option<&str> {
    let zone = first_word(text);
    let is_zone =
        (3..=5).contains(&zone.len()) && zone.bytes().all(|byte| byte.is_ascii_uppercase());
    let rest = if is_zone { after_word(text) } else { text };
    is_like(first_word(rest), "0000").then(|| after_word(rest))
}

/// What follows `2026-02-03T12:25:01 `.
fn after_date(text: &str) -> Option<&str> {
    let date = text.get(..10).filter(|date| is_like(date, "0000-00-00"))?;
    after_time(text[date.len()..].strip_prefix(['T', ' '])?)
}

/// What follows `1770121501.123456 ` (`journalctl -o short-unix`).
fn after_seconds(text: &str) -> Option<&str> {
    let (word, rest) = text.split_once(' ')?;
    is_like(word, "0000000000.000000").then_some(rest)
}

/// What follows `12:25:01`, its fraction, its zone and a blank.
fn after_time(text: &str) -> Option<&str> {
    let end = text.find(' ').unwrap_or(text.len());
    let of_zone = |byte: u8| byte.is_ascii_digit() || b".,+-:Z".contains(&byte);
    let clock = text.get(..8).filter(|clock| is_like(clock, "00:00:00"))?;
    text[clock.len()..end].bytes().all(of_zone).then(|| after_blank(&text[end..]))
}

/// A digit for each digit, and every other byte as it is.
fn is_like(text: &str, shape: &str) -> bool {
    let like =
        |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(like)
}

pub(super) fn after_blank(text: &str) -> &str {
    text.strip_prefix([' ', '\u{a0}']).unwrap_or(text)
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or("")
}

fn after_word(text: &str) -> &str {
    text.split_once(' ').map_or(text, |(_, rest)| rest)
}

pub(super) fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn facility_from_name(name: &str) -> Option<u16> {
    FACILITIES.iter().position(|known| *known == name).map(|index| index as u16)
}
