//! Incidents: matches gathered by the part that fails, so that one failure is one issue.
//!
//! Owns what belongs together: everything about one device; a line that names none and the device
//! beside it; what a failure brought about and the failure. Pure. `signatures` drives it.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use super::signature_match::{BOOT_USEC, Match, find_at, is_bare};
use super::signature_part::{Aliases, section_part};
use super::signature_table::{Part, Role, Signature};
use super::verdict::RECORDS_PER_ISSUE_MAX;
use super::{Category, Severity};
use crate::kernel::{Event, Origin, Record, Seq, events};

/// What names no part is about a part that is named this close to it.
const NEAR_RECORDS_MAX: usize = 25;
/// What a failure brings about may be noticed this long before the failure is.
const BEFORE_RECORDS_MAX: usize = 200;
/// A part's first records are enough to tell what stands near it.
const PLACES_MAX: usize = 256;
/// The kernel describes one APEI error in several records; its section follows within this many.
const SECTION_RECORDS_MAX: usize = 12;
/// What comes again after longer than this is no trend.
const TREND_USEC: u64 = 24 * 60 * 60 * 1_000_000;
/// A boot without times ends after this many records at the latest.
const BOOT_RECORDS_MAX: usize = 1_500;

/// The records that fit one signature and name one component.
pub(super) struct Group<'a> {
    pub(super) row: usize,
    pub(super) signature: &'static Signature,
    pub(super) component: &'a str,
    /// Errors, not records: one may be told in several.
    pub(super) count: u32,
    /// When the last of them came, as many as make a trend.
    times: VecDeque<Option<u64>>,
    /// Whether as many as the signature wants came close to each other.
    pub(super) is_trend: bool,
    /// Where the record to quote stands.
    evidence: usize,
    /// What of it is quoted.
    pub(super) quote: &'a str,
    /// Where the event begins that was counted last.
    last: usize,
    /// Of the earliest of them.
    pub(super) seqs: Vec<Seq>,
    /// Where the earliest of them stand.
    places: Vec<usize>,
}

impl<'a> Group<'a> {
    fn new(Match { row, signature, component }: Match<'a>) -> Self {
        Self {
            row,
            signature,
            component,
            count: 0,
            times: VecDeque::new(),
            is_trend: false,
            evidence: 0,
            quote: "",
            last: usize::MAX,
            seqs: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Adds the record at `at`, which belongs to `event`.
    fn add(&mut self, (at, quote): (usize, &'a str), record: &Record, event: &Event) {
        if !event.is_one || self.last != event.records.start {
            self.last = event.records.start;
            self.count = self.count.saturating_add(1);
            self.is_trend |= self.comes_again(record.usec);
        }
        if self.places.is_empty() || self.count == 1 && at == event.head {
            (self.evidence, self.quote) = (at, quote);
        }
        if self.seqs.len() < RECORDS_PER_ISSUE_MAX {
            self.seqs.extend(record.seq);
        }
        if self.places.len() < PLACES_MAX {
            self.places.push(at);
        }
    }

    /// Whether it is a trend with this one.
    fn comes_again(&mut self, usec: Option<u64>) -> bool {
        self.times.push_back(usec);
        if self.times.len() < self.signature.repeats as usize {
            return false;
        }
        let first = self.times.pop_front().flatten();
        // A clock that goes back is another boot; who has none says nothing of the time between.
        first.zip(usec).is_none_or(|(first, last)| last.saturating_sub(first) <= TREND_USEC)
    }

    fn join(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.is_trend |= other.is_trend || self.count >= self.signature.repeats;
        if other.evidence < self.evidence {
            (self.evidence, self.quote) = (other.evidence, other.quote);
        }
        self.seqs.extend(other.seqs);
        self.seqs.sort_unstable();
        self.seqs.truncate(RECORDS_PER_ISSUE_MAX);
        self.places.extend(other.places);
        self.places.sort_unstable();
        self.places.truncate(PLACES_MAX);
    }

    pub(super) fn first(&self) -> usize {
        self.places[0]
    }

    pub(super) fn severity(&self) -> Severity {
        let escalated = self.count >= self.signature.critical_at;
        if escalated { Severity::Critical } else { self.signature.severity }
    }

    fn is(&self, role: Role) -> bool {
        self.signature.role == role
    }
}

/// What failed at one part, or at several alike.
pub(super) struct Incident<'a> {
    pub(super) category: Category,
    /// The one that says it best first.
    pub(super) groups: Vec<Group<'a>>,
    /// The device that all is about; empty when no record names one.
    device: &'a str,
    /// What the summary calls it: more than one when several parts fail alike.
    pub(super) parts: Vec<&'a str>,
}

impl<'a> Incident<'a> {
    fn new(category: Category, device: &'a str, mut groups: Vec<Group<'a>>) -> Self {
        groups.sort_by_key(|group| {
            let role = match group.signature.role {
                Role::Cause | Role::Carrier => 0,
                Role::Effect => 1,
                Role::Echo => 2,
            };
            (Reverse(group.severity()), role, group.row, group.first())
        });
        let parts = Self::parts(device, &groups);
        Self { category, groups, device, parts }
    }

    /// `ata5`, and `sdd` when that is the same disk.
    fn parts(device: &'a str, groups: &[Group<'a>]) -> Vec<&'a str> {
        let named = groups.iter().map(|group| group.component).find(|name| !name.is_empty());
        named.or(Some(device)).filter(|name| !name.is_empty()).into_iter().collect()
    }

    pub(super) fn severity(&self) -> Severity {
        self.groups.iter().map(Group::severity).max().unwrap_or(Severity::Warning)
    }

    pub(super) fn first(&self) -> usize {
        self.groups.iter().map(Group::first).min().unwrap_or(0)
    }

    fn all(&self, role: Role) -> bool {
        self.groups.iter().all(|group| group.is(role))
    }

    fn some(&self, role: Role) -> bool {
        self.groups.iter().any(|group| group.is(role))
    }

    fn is_near(&self, other: &Self) -> bool {
        let places = || other.groups.iter().flat_map(|group| &group.places);
        self.groups.iter().any(|group| {
            let first = group.first();
            places().any(|place| place.abs_diff(first) <= NEAR_RECORDS_MAX)
        })
    }

    /// What firmware says of the parts, where no record names one.
    fn name_by_sections(&mut self, records: &'a [Record]) {
        if !self.parts.is_empty() {
            return;
        }
        let groups = self.groups.iter().filter(|group| group.signature.part == Part::Section);
        let places = groups.flat_map(|group| group.places.iter().copied());
        self.parts =
            places.filter_map(|at| section(&records[at..]).find_map(section_part)).collect();
    }

    /// Adds what is the same failure under another name.
    fn absorb(&mut self, other: Self) {
        let parts = std::mem::take(&mut self.parts);
        let groups = std::mem::take(&mut self.groups).into_iter().chain(other.groups).collect();
        let category = self.category;
        *self = Self::new(category, self.device, groups);
        if !parts.is_empty() {
            self.parts = parts;
        }
    }

    /// One incident of several parts that fail alike; at least one.
    pub(super) fn of_all(incidents: Vec<Self>) -> Self {
        let category = incidents[0].category;
        let parts = incidents.iter().flat_map(|incident| incident.parts.iter().copied()).collect();
        let groups = incidents.into_iter().flat_map(|incident| incident.groups).collect();
        Self { parts, ..Self::new(category, "", groups) }
    }
}

/// Lines that a mail program cut in two, put together: the rest has no stamp of its own.
pub(super) struct Wrapped(HashMap<usize, String>);

impl Wrapped {
    pub(super) fn of(records: &[Record]) -> Self {
        let pairs = records.windows(2).enumerate();
        let cut = pairs.filter(|(_, pair)| !is_bare(&pair[0]) && is_bare(&pair[1]));
        Self(
            cut.map(|(at, pair)| (at, format!("{} {}", pair[0].text, pair[1].text.trim_start())))
                .collect(),
        )
    }

    fn whole(&self, at: usize) -> Option<&str> {
        self.0.get(&at).map(String::as_str)
    }
}

/// All incidents of the records, in order of appearance.
pub(super) fn incidents<'a>(records: &'a [Record], wrapped: &'a Wrapped) -> Vec<Incident<'a>> {
    let (groups, aliases) = gathered(records, wrapped);
    let mut groups = with_nameless_joined(groups);
    groups.retain(|group| group.is_trend);
    let mut by_device: HashMap<_, (Category, Vec<Group>)> = HashMap::new();
    for group in groups {
        let category = category(group.signature, &records[group.first()..]);
        let device = aliases.resolve(group.component);
        let own = if device.is_empty() { Some(group.row) } else { None };
        by_device
            .entry((category as usize, device, own))
            .or_insert((category, Vec::new()))
            .1
            .push(group);
    }
    let of = |((_, device, _), (category, groups))| Incident::new(category, device, groups);
    let mut incidents: Vec<_> = by_device.into_iter().map(of).collect();
    incidents.sort_by_key(|incident| (incident.first(), incident.groups[0].row, incident.device));
    let mut incidents = joined(joined(incidents, beside), behind);
    // Whatever stands beside them names the part better than firmware does.
    incidents.iter_mut().for_each(|incident| incident.name_by_sections(records));
    incidents
}

fn gathered<'a>(records: &'a [Record], wrapped: &'a Wrapped) -> (Vec<Group<'a>>, Aliases<'a>) {
    let mut groups: HashMap<(usize, &str), Group> = HashMap::new();
    let mut aliases = Aliases::default();
    let mut booted_at = None;
    let events = events(records);
    let told = events.iter().flat_map(|event| event.records.clone().map(move |at| (at, event)));
    for (at, event) in told {
        let record = &records[at];
        if record.usec.is_none() && record.text.starts_with("Linux version ") {
            booted_at = Some(at);
        }
        let booting = match record.usec {
            Some(usec) => usec < BOOT_USEC,
            None => booted_at.is_some_and(|booted_at| at - booted_at < BOOT_RECORDS_MAX),
        };
        let whole = wrapped.whole(at);
        let found = find_at(record, &record.text, booting)
            .map(|found| (found, &*record.text))
            .or_else(|| whole.and_then(|text| Some((find_at(record, text, booting)?, text))))
            .map(|(found, text)| (found, text, record.quote()));
        for (found, text, quote) in line_by_line(record, booting, found) {
            aliases.learn(at, found.signature.part, found.component, text);
            let key = (found.row, found.component);
            let group = groups.entry(key).or_insert_with(|| Group::new(found));
            group.add((at, quote), record, event);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    // The lines of one record share its place.
    groups.sort_by_key(|group| (group.first(), group.row, group.component));
    (groups, aliases)
}

/// A match, the text that it was found in, and what of it is quoted.
type Found<'a> = (Match<'a>, &'a str, &'a str);

/// What the lines of a record fit each by itself, and `whole` where none does: lines that stand
/// below each other may say several things, or one that only all of them say.
fn line_by_line<'a>(record: &'a Record, booting: bool, whole: Option<Found<'a>>) -> Vec<Found<'a>> {
    if record.line_ends.is_empty() {
        return whole.into_iter().collect();
    }
    let of = |line: &'a str| Some((find_at(record, line, booting)?, line, line));
    let lines: Vec<_> = record.lines().filter_map(of).collect();
    match (lines.as_slice(), whole) {
        ([], whole) => whole.into_iter().collect(),
        // The part may be named on the line above or below, which then says more.
        ([line], Some(whole)) if line.0.row == whole.0.row => {
            let named = line.0.component == whole.0.component;
            let quote = if named { line.2 } else { whole.2 };
            vec![(whole.0, whole.1, quote)]
        }
        _ => lines,
    }
}

/// A record that does not name its part (a mail program wrapped it, the kernel cut it) is about the
/// part that the others of its signature name, when there is such a one.
fn with_nameless_joined(groups: Vec<Group>) -> Vec<Group> {
    let (nameless, mut joined): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|group| group.component.is_empty());
    for group in nameless {
        match joined.iter_mut().find(|named| named.row == group.row) {
            Some(named) => named.join(group),
            None => joined.push(group),
        }
    }
    joined.sort_by_key(Group::first);
    joined
}

/// Adds every incident to the one that `home` finds for it among those before it in rank.
fn joined<'a>(
    incidents: Vec<Incident<'a>>,
    home: fn(&Incident<'a>, &Incident<'a>) -> bool,
) -> Vec<Incident<'a>> {
    let (mut homes, guests): (Vec<_>, Vec<_>) = (Vec::new(), incidents);
    let mut guests: Vec<_> = guests.into_iter().enumerate().collect();
    guests.sort_by_key(|(at, incident)| (rank(incident), *at));
    for (_, guest) in guests {
        match homes.iter_mut().find(|other| home(&guest, other)) {
            Some(other) => other.absorb(guest),
            None => homes.push(guest),
        }
    }
    homes.sort_by_key(Incident::first);
    homes
}

/// What says more takes in what says less.
fn rank(incident: &Incident) -> usize {
    let says = [
        !incident.some(Role::Carrier),
        incident.device.is_empty(),
        incident.all(Role::Effect),
        incident.all(Role::Echo),
    ];
    says.iter().enumerate().map(|(bit, says)| usize::from(*says) << bit).sum()
}

/// Whether `guest`, which names no device, is about what stands beside it.
fn beside(guest: &Incident, other: &Incident) -> bool {
    let echo = guest.all(Role::Echo) && guest.severity() <= other.severity();
    let alike = guest.category == other.category
        || echo && !matches!(other.category, Category::Storage | Category::Network);
    guest.device.is_empty() && alike && guest.is_near(other)
}

/// Whether `guest` is what the failure of `other` brought about.
fn behind(guest: &Incident, other: &Incident) -> bool {
    if !guest.all(Role::Effect) || other.category != Category::Storage {
        return false;
    }
    let before = other.first() <= guest.first() + BEFORE_RECORDS_MAX;
    if guest.category != Category::Storage {
        return before && (!other.all(Role::Effect) || other.severity() > guest.severity());
    }
    // A disk explains what is built on disks; a controller all of them.
    let built = guest.device.starts_with("md") || guest.device.starts_with("dm-");
    let disk = ["ata", "nvme", "sd"].iter().any(|kind| other.device.starts_with(kind))
        || other.device.matches(':').count() == 3;
    before && other.some(Role::Carrier) && (!disk || built || guest.device.is_empty())
}

/// Firmware reports every kind of error alike; which part it is about stands in the section that
/// follows.
fn category(signature: &Signature, records: &[Record]) -> Category {
    if signature.part != Part::Section {
        return signature.category;
    }
    let section = section(records).find_map(|text| {
        let (_, rest) = text.split_once("section")?;
        rest.strip_prefix(['_', ' '])?.strip_prefix("type: ")
    });
    match section {
        // A processor's errors are its caches' and its memory's, as the machine check's are.
        Some(section) if section.starts_with("memory") || section.contains("processor error") => {
            Category::Memory
        }
        _ => signature.category,
    }
}

/// What follows the record that begins a report of firmware's. A program may write between the
/// lines, and what it writes decides nothing.
fn section(records: &[Record]) -> impl Iterator<Item = &str> {
    let near = records.iter().take(SECTION_RECORDS_MAX);
    near.filter(|record| record.origin() != Origin::User).map(|record| record.text.as_str())
}
