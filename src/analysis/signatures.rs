//! The floor under every answer: signatures of failing hardware that need no model, matched record by record.
//!
//! Owns how the table is matched, how matches are gathered into issues, and what is left out when there are
//! too many. What the signatures are stands in `signature_table` and `signature_storage`. Text that user
//! space wrote never matches. Pure: the same records give the same verdict. The `builtin:` endpoint,
//! `collector` and `analyze` drive it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::signature_storage::STORAGE;
use super::signature_table::{BENIGN, MACHINE, Part, Signature};
use super::{Category, Issue, Severity, Source, Verdict};
use crate::kernel::{Origin, Record, Seq};

/// A host that fails in more ways than this is described well enough by the worst of them.
const ISSUES_MAX: usize = 64;
/// When more parts than this fail alike, it is one failure of what they share: one issue, not one for each.
const PARTS_MAX: usize = 4;
const RECORDS_PER_ISSUE_MAX: usize = 32;
const EVIDENCE_CHARS_MAX: usize = 2_000;
const COMPONENT_CHARS_MAX: usize = 64;
/// While a host boots, links are trained and controllers reset: the same lines mean nothing then.
const BOOT_USEC: u64 = 120 * 1_000_000;
/// The kernel describes one APEI error in several records; its section follows within this many.
const SECTION_RECORDS_MAX: usize = 12;

/// What unmistakable signs the records hold: the worst first, and alike in their order of appearance.
pub(crate) fn judge(records: &[Record]) -> Verdict {
    let mut groups: Vec<Group> = Vec::new();
    let mut index: HashMap<(usize, &str), usize> = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        let Some((row, component)) = TABLE.row(record) else { continue };
        let group = *index.entry((row, component)).or_insert_with(|| {
            groups.push(Group { row, component, first: at, count: 0, seqs: Vec::new() });
            groups.len() - 1
        });
        groups[group].add(record.seq);
    }
    let mut issues = issues(with_nameless_joined(groups), records);
    issues.sort_by_key(|issue| Reverse(issue.severity));
    let found = issues.len();
    issues.truncate(ISSUES_MAX);
    let mut verdict = Verdict::from_issues(issues);
    if found > ISSUES_MAX {
        verdict.complaints.push(format!("{found} issues cut to {ISSUES_MAX}"));
    }
    verdict
}

/// The records that one signature matched for one component.
struct Group<'a> {
    row: usize,
    component: &'a str,
    /// The first of them, which is the evidence.
    first: usize,
    count: u32,
    seqs: Vec<Seq>,
}

impl Group<'_> {
    fn add(&mut self, seq: Option<Seq>) {
        self.count = self.count.saturating_add(1);
        if self.seqs.len() < RECORDS_PER_ISSUE_MAX {
            self.seqs.extend(seq);
        }
    }

    fn join(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        let room = RECORDS_PER_ISSUE_MAX.saturating_sub(self.seqs.len());
        self.seqs.extend(other.seqs.into_iter().take(room));
        self.seqs.sort_unstable();
    }
}

/// A record that does not name its part (a mail program wrapped it, the kernel cut it) is about the part that
/// the others of its signature name, when there is such a one.
fn with_nameless_joined(groups: Vec<Group>) -> Vec<Group> {
    let (nameless, mut joined): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|group| group.component.is_empty());
    let mut named: HashMap<usize, usize> = HashMap::new();
    for (at, group) in joined.iter().enumerate() {
        named.entry(group.row).or_insert(at);
    }
    for group in nameless {
        match named.get(&group.row) {
            Some(at) => joined[*at].join(group),
            None => joined.push(group),
        }
    }
    joined.sort_by_key(|group| group.first);
    joined
}

/// One issue for each group, or one for all of a signature's groups when there are many.
fn issues(groups: Vec<Group>, records: &[Record]) -> Vec<Issue> {
    let mut by_row: Vec<Vec<Group>> = Vec::new();
    let mut index: HashMap<usize, usize> = HashMap::new();
    for group in
        groups.into_iter().filter(|group| group.count >= TABLE.signatures[group.row].repeats)
    {
        let at = *index.entry(group.row).or_insert_with(|| {
            by_row.push(Vec::new());
            by_row.len() - 1
        });
        by_row[at].push(group);
    }
    let mut issues = Vec::new();
    for groups in by_row {
        if groups.len() <= PARTS_MAX {
            issues.extend(groups.into_iter().map(|group| issue(vec![group], records)));
        } else {
            issues.push(issue(groups, records));
        }
    }
    issues
}

/// The groups are of one signature, in order of appearance, and at least one.
fn issue(groups: Vec<Group>, records: &[Record]) -> Issue {
    let signature = TABLE.signatures[groups[0].row];
    let first = groups[0].first;
    let escalated = groups.iter().any(|group| group.count >= signature.critical_at);
    let names: Vec<String> = groups
        .iter()
        .filter(|group| !group.component.is_empty())
        .take(PARTS_MAX)
        .map(|group| group.component.chars().take(COMPONENT_CHARS_MAX).collect())
        .collect();
    let mut summary = names.join(", ");
    if groups.len() > PARTS_MAX {
        summary.push_str(&format!(" and {} more", groups.len() - PARTS_MAX));
    }
    if !summary.is_empty() {
        summary.push_str(": ");
    }
    summary.push_str(signature.meaning);
    let count = groups.iter().fold(0, |sum: u32, group| sum.saturating_add(group.count));
    if count > 1 {
        summary.push_str(&format!(" ({count} times)"));
    }
    let mut seqs: Vec<Seq> = groups.into_iter().flat_map(|group| group.seqs).collect();
    seqs.sort_unstable();
    seqs.truncate(RECORDS_PER_ISSUE_MAX);
    Issue {
        severity: if escalated { Severity::Critical } else { signature.severity },
        category: category(signature, &records[first..]),
        summary,
        evidence: records[first].text.chars().take(EVIDENCE_CHARS_MAX).collect(),
        source: Source::Rule,
        verified: true,
        records: seqs,
    }
}

/// Firmware reports every kind of error alike; which part it is about stands in the section that follows.
fn category(signature: &Signature, records: &[Record]) -> Category {
    let sections = records.iter().take(SECTION_RECORDS_MAX).filter_map(|record| {
        let (_, rest) = record.text.split_once("section")?;
        rest.strip_prefix(['_', ' '])?.strip_prefix("type: ")
    });
    match sections.into_iter().next() {
        Some(section) if signature.part == Part::Section && section.starts_with("memory") => {
            Category::Memory
        }
        _ => signature.category,
    }
}

/// `systemd[1]: `: how a program's text in the kernel's log looks where the form does not carry the facility.
fn is_program(record: &Record) -> bool {
    if record.seq.is_some() {
        return false;
    }
    let Some((tag, _)) = record.text.split_once("]: ") else { return false };
    let Some((name, pid)) = tag.split_once('[') else { return false };
    let named = !name.is_empty() && !name.contains(' ');
    named && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())
}

/// The part that the text names; empty when it names none.
fn component(part: Part, text: &str) -> &str {
    let found = match part {
        Part::None | Part::Section => None,
        Part::After(mark) => {
            text.split_once(mark).map(|(_, rest)| token(rest.trim_start_matches("device ")))
        }
        Part::Head => text
            .match_indices(':')
            .find(|(at, _)| text[at + 1..].starts_with([' ', '[']))
            .and_then(|(at, _)| text[..at].rsplit(' ').next()),
        Part::Disk => text.split('[').skip(1).map(token).find(|name| name.starts_with("sd")),
        Part::Port => text.split([' ', ':', '.']).find(|word| numbered(word, "ata")),
        Part::Nvme => text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| numbered(word, "nvme"))
            // A namespace is on its controller, and it is the controller that fails.
            .map(|name| name[4..].find('n').map_or(name, |end| &name[..4 + end])),
        Part::PciLast => text
            .split(|c: char| !(c.is_ascii_hexdigit() || ":.".contains(c)))
            .map(|word| word.trim_matches([':', '.']))
            .rfind(|word| word.len() >= 12 && word.contains('.') && word.matches(':').count() == 2),
    };
    found.filter(|name| *name != "unknown").unwrap_or("")
}

fn token(text: &str) -> &str {
    let end =
        text.find(|c: char| !(c.is_alphanumeric() || "-_.:#/@".contains(c))).unwrap_or(text.len());
    text[..end].trim_end_matches([':', '.'])
}

fn numbered(word: &str, prefix: &str) -> bool {
    word.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// The signatures with their patterns taken apart.
struct Table {
    signatures: Vec<&'static Signature>,
    /// Each with the index of its signature, in the table's order.
    patterns: Vec<(usize, Pattern)>,
    benign: Vec<Pattern>,
}

struct Pattern {
    fragments: Vec<&'static str>,
    /// What a text's fingerprint must have for the pattern to fit.
    bits: Vec<usize>,
}

impl Table {
    fn new() -> Self {
        let signatures: Vec<_> = MACHINE.iter().chain(STORAGE).collect();
        let of = |(row, signature): (usize, &&'static Signature)| {
            signature
                .any
                .iter()
                .map(move |pattern| (row, Pattern::new(pattern)))
                .collect::<Vec<_>>()
        };
        Self {
            patterns: signatures.iter().enumerate().flat_map(of).collect(),
            benign: BENIGN.iter().map(|pattern| Pattern::new(pattern)).collect(),
            signatures,
        }
    }

    /// The first signature that the record fits, and the component that it names.
    fn row<'a>(&self, record: &'a Record) -> Option<(usize, &'a str)> {
        if record.origin() == Origin::User {
            return None;
        }
        let text = record.text.as_str();
        let print = Fingerprint::of(text);
        let booting = record.usec.is_some_and(|usec| usec < BOOT_USEC);
        let found = self
            .patterns
            .iter()
            .filter(|(_, pattern)| pattern.fits(text, &print))
            .find_map(|(row, _)| {
                let signature = self.signatures[*row];
                let component = component(signature.part, text);
                let named =
                    !component.is_empty() || !matches!(signature.part, Part::Port | Part::Nvme);
                let excluded =
                    signature.unless.iter().any(|unless| Pattern::new(unless).fits(text, &print));
                (named && !excluded && !(booting && signature.settled)).then_some((*row, component))
            });
        // Almost no record comes this far, so that the long list of look-alikes costs nothing.
        found.filter(|_| {
            !is_program(record) && !self.benign.iter().any(|benign| benign.fits(text, &print))
        })
    }
}

impl Pattern {
    fn new(pattern: &'static str) -> Self {
        let fragments: Vec<_> =
            pattern.split('*').filter(|fragment| !fragment.is_empty()).collect();
        let pairs: Vec<_> =
            fragments.iter().flat_map(|fragment| fragment.as_bytes().windows(2)).collect();
        // Pairs of lower-case letters occur in any line: asked last, they are hardly ever asked.
        let (common, rare): (Vec<&[u8]>, Vec<&[u8]>) = pairs
            .into_iter()
            .partition(|pair| pair.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b' '));
        let bits = rare.into_iter().chain(common).map(bit).collect();
        Self { fragments, bits }
    }

    /// Whether the fragments occur in their order.
    fn fits(&self, text: &str, print: &Fingerprint) -> bool {
        if !self.bits.iter().all(|bit| print.has(*bit)) {
            return false;
        }
        let mut rest = text;
        self.fragments.iter().all(|fragment| match rest.find(fragment) {
            Some(at) => {
                rest = &rest[at + fragment.len()..];
                true
            }
            None => false,
        })
    }
}

/// Which pairs of neighbouring bytes a text holds, hashed to 1024 bits. A pattern with a pair that is not
/// there cannot fit, and the first pair or two settle that for almost every line and pattern.
struct Fingerprint([u64; 16]);

impl Fingerprint {
    fn of(text: &str) -> Self {
        let mut print = Self([0; 16]);
        for bit in text.as_bytes().windows(2).map(bit) {
            print.0[bit / 64] |= 1 << (bit % 64);
        }
        print
    }

    fn has(&self, bit: usize) -> bool {
        self.0[bit / 64] & (1 << (bit % 64)) != 0
    }
}

fn bit(pair: &[u8]) -> usize {
    (usize::from(pair[0]) * 37 + usize::from(pair[1])) % 1024
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Status;
    use super::*;

    fn judged(lines: &str) -> Verdict {
        judge(&crate::kernel::read_log(lines.as_bytes()).records)
    }

    /// Each issue as `critical memory: SUMMARY`, compared by its start.
    fn check(lines: &str, expected: &[&str]) {
        let shown = |issue: &Issue| {
            format!("{} {}: {}", issue.severity.name(), issue.category.name(), issue.summary)
        };
        let found: Vec<_> = judged(lines).issues.iter().map(shown).collect();
        assert_eq!(found.len(), expected.len(), "{lines}\n{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{lines}\n{found}\n{expected}");
        }
    }

    /// For every signature a line as the kernel prints it, and the component read off it.
    const EXAMPLES: &[(&str, &str, &str)] = &[
        (
            "Kernel panic - not syncing: Fatal local machine check",
            "",
            "the processor reported an uncorrected",
        ),
        (
            "mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 4: be00000000800400",
            "",
            "the processor rep",
        ),
        (
            "Memory failure: 0x12ab: recovery action for dirty LRU page: Recovered",
            "",
            "memory failed beyond",
        ),
        (
            "MCE: Killing db:77 due to hardware memory corruption fault at 7f00",
            "",
            "memory failed beyond",
        ),
        (
            "EDAC MC2: 1 UE memory read error on DIMM_B1 (channel:1 slot:0)",
            "DIMM_B1",
            "uncorrectable memory error",
        ),
        (
            "EDAC MC2: 4 CE memory scrubbing error on DIMM_B1 (channel:1)",
            "DIMM_B1",
            "memory errors are being",
        ),
        ("EDAC MC0: 1 CE single-bit ECC on unknown memory (node:0)", "", "memory errors are being"),
        (
            "  0000000012340000 bad mem addr 0x0000000012345678 - 0x0000000012346000 reserved",
            "",
            "the memory test",
        ),
        (
            "mce: [Hardware Error]: soft_offline: 0x1234: migrated",
            "",
            "a page with repeated corrected errors",
        ),
        ("{3}[Hardware Error]: event severity: fatal", "", "firmware reported a fatal"),
        ("Kernel panic - not syncing: Fatal hardware error!", "", "the kernel stopped"),
        (
            "{3}[Hardware Error]: event severity: recoverable",
            "",
            "firmware reported an uncorrected",
        ),
        ("{3}[Hardware Error]: event severity: corrected", "", "firmware reported corrected"),
        ("BERT: Error records from previous boot:", "", "firmware kept"),
        ("[Hardware Error]: Deferred error, no action required.", "", "uncorrectable data"),
        ("[Hardware Error]: Corrected error, no action required.", "", "the processor corrected"),
        ("mce: [Hardware Error]: Machine check events logged", "", "machine check events"),
        (
            "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 7: 8c00004000010090",
            "",
            "machine check events",
        ),
        (
            "pcieport 0000:3a:00.0: AER: Uncorrected (Fatal) error received: 0000:3b:00.0",
            "0000:3b:00.0",
            "a fatal PCIe",
        ),
        (
            "pcieport 0000:3a:00.0: DPC: containment event, status:0x1f01 source:0x0000",
            "0000:3a:00.0",
            "a fatal PCIe",
        ),
        (
            "mydev 0000:3b:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=x",
            "0000:3b:00.0",
            "an uncorrec",
        ),
        (
            "pcieport 0000:3a:00.0: AER: Correctable error message received from 0000:3b:00.0",
            "0000:3b:00.0",
            "PCIe err",
        ),
        (
            "igb 0000:3b:00.1: PCIe Bus Error: severity=Corrected, type=Data Link Layer",
            "0000:3b:00.1",
            "PCIe errors",
        ),
        (
            "mydev 0000:3b:00.0: can't change power state from D3cold to D0 (config space inaccessible)",
            "0000:3b:00.0",
            "the device no longer answers",
        ),
        (
            "pci 0000:3b:00.0: not ready 65535ms after FLR; giving up",
            "0000:3b:00.0",
            "the device did not come back",
        ),
        ("pcieport 0000:3a:00.0: retraining failed", "0000:3a:00.0", "the PCIe link could not"),
        (
            "pcieport 0000:3a:00.0: pciehp: Slot(12): Link Down",
            "0000:3a:00.0",
            "the PCIe link of this slot",
        ),
        (
            "DMAR: [DMA Write NO_PASID] Request device [3b:00.0] fault addr 0xdead0000",
            "",
            "a device keeps",
        ),
        (
            "mydev 0000:3b:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x1]",
            "0000:3b:00.0",
            "a device keeps",
        ),
        ("DMAR: VT-d detected Invalidation Time-out Error: SID 0", "", "the IOMMU does not"),
        ("NMI: IOCK error (debug interrupt?) for reason 71 on CPU 0.", "", "the hardware raised"),
        (
            "Uhhuh. NMI received for unknown reason 3d on CPU 9.",
            "",
            "a non-maskable interrupt came",
        ),
        (
            "irq 17: nobody cared (try booting with the \"irqpoll\" option)",
            "17",
            "an interrupt that no driver",
        ),
        ("xhci_hcd 0000:00:14.0: HC died; cleaning up", "0000:00:14.0", "the USB controller died"),
        (
            "ixgbe 0000:3b:00.0 eth4: Network adapter has been stopped because it has over heated.",
            "eth4",
            "the network",
        ),
        (
            "mlx5_core 0000:3b:00.0: High temperature on sensors with bit set 0 1",
            "0000:3b:00.0",
            "the network adapter is",
        ),
        ("ixgbe 0000:3b:00.0: Adapter removed", "0000:3b:00.0", "the network adapter or its"),
        (
            "mlx5_core 0000:3b:00.0: poll_health:800:device's health compromised - reached miss count",
            "0000:3b:00.0",
            "the network adapter or its firmware failed",
        ),
        (
            "NETDEV WATCHDOG: eth4 (igb): transmit queue 3 timed out",
            "eth4",
            "the network adapter stopped",
        ),
        (
            "igb 0000:3b:00.0 eth4: NETDEV WATCHDOG: CPU: 7: transmit queue 3 timed out 5012 ms",
            "eth4",
            "the network",
        ),
        (
            "e1000e 0000:3b:00.0 eth4: Detected Hardware Unit Hang:",
            "eth4",
            "the network adapter hangs",
        ),
        (
            "bond1: link status definitely down for interface eth4, disabling it",
            "eth4",
            "the link keeps going down",
        ),
        ("tg3 0000:3b:00.0 eth4: Link is down", "eth4", "the link keeps going down"),
        (
            "thermal thermal_zone2: critical temperature reached (105 C), shutting down",
            "thermal_zone2",
            "a critical te",
        ),
        (
            "amdgpu 0000:3b:00.0: ERROR: GPU HW Critical Temperature Fault(aka CTF) detected!",
            "",
            "a device reached",
        ),
        (
            "CPU11: Core temperature above threshold, cpu clock throttled (total events = 9)",
            "",
            "the processor or a de",
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
            "PCI:0000:3b:00",
            "the GPU reports a hardware failure",
        ),
        (
            "NVRM: GPU at PCI:0000:3b:00.0 has lost: GPU has fallen off the bus.",
            "0000:3b:00.0",
            "the GPU is lost",
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper: new row marked for remapping",
            "PCI:0000:3b:00",
            "the GPU repor",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: SMU is in hanged state, failed to send smu message!",
            "0000:3b:00.0",
            "the GPU ha",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=9, emitted seq=11",
            "0000:3b:00.0",
            "the GPU",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: 3 correctable hardware errors detected in umc block",
            "0000:3b:00.0",
            "the GPU's",
        ),
        ("watchdog: Watchdog detected hard LOCKUP on cpu 12", "", "a processor stopped"),
        (
            "watchdog: BUG: soft lockup - CPU#7 stuck for 26s! [kworker/7:1:99]",
            "",
            "processors were stuck",
        ),
        ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "", "processors were stuck"),
        ("INFO: task jbd2/sda1-8:301 blocked for more than 120 seconds.", "", "tasks wait"),
        (
            "nvme nvme3: controller is down; will reset: CSTS=0x3, PCI_STATUS=0x10",
            "nvme3",
            "the NVMe controller stopped",
        ),
        (
            "nvme nvme3: critical warning 0x04: reliability degraded",
            "nvme3",
            "the NVMe drive raised",
        ),
        (
            "nvme nvme3: I/O tag 12 (100c) opcode 0x2 (I/O Cmd) QID 4 timeout, aborting",
            "nvme3",
            "commands to the NVMe",
        ),
        (
            "nvme nvme3: frozen state error detected, reset controller",
            "nvme3",
            "the NVMe controller had",
        ),
        (
            "nvme3n1: Read(0x2) @ LBA 8, 8 blocks, Unrecovered Read Error (sct 0x2 / sc 0x81) DNR",
            "nvme3",
            "the NVMe drive",
        ),
        (
            "sd 0:0:3:0: [sdd] tag#9 Sense Key : Hardware Error [current]",
            "sdd",
            "the disk itself reports",
        ),
        ("critical medium error, dev sdd, sector 4096 op 0x0:(READ)", "sdd", "sectors of the disk"),
        (
            "sd 0:0:3:0: [sdd] tag#9 Sense Key : Medium Error [current]",
            "sdd",
            "the disk reports damaged",
        ),
        ("ata5.00: disabled", "ata5", "the disk was given up"),
        ("ata5.00: disable device", "ata5", "the disk was given up"),
        ("ata5.00: error: { UNC }", "ata5", "the disk cannot read"),
        ("ata5.00: error: { ICRC ABRT }", "ata5", "data is damaged"),
        (
            "ata5.00: exception Emask 0x10 SAct 0x1 SErr 0x400100 action 0x6 frozen",
            "ata5",
            "the disk or its link",
        ),
        ("ata5: limiting SATA link speed to 3.0 Gbps", "ata5", "the SATA link was slowed"),
        ("ata5: COMRESET failed (errno=-16)", "ata5", "the disk does not answer"),
        ("ata5: hard resetting link", "ata5", "the SATA link has to be reset"),
        (
            "sd 0:0:3:0: Device offlined - not ready after error recovery",
            "",
            "the disk was taken offline",
        ),
        ("sd 0:0:3:0: rejecting I/O to offline device", "0:0:3:0", "the device is offline"),
        ("mpt3sas_cm0: fault_state(0x5854)!", "mpt3sas_cm0", "the storage controller failed"),
        (
            "megaraid_sas 0000:3b:00.0: Found FW in FAULT state, will reset adapter.",
            "0000:3b:00.0",
            "the storage contr",
        ),
        ("mpt3sas_cm0: sending diag reset !!", "mpt3sas_cm0", "the storage controller had"),
        (
            "mpt3sas_cm0: log_info(0x31110d00): originator(PL), code(0x11), sub_code(0x0d00)",
            "mpt3sas_cm0",
            "commands to",
        ),
        (
            "sd 0:0:3:0: [sdd] tag#9 FAILED Result: hostbyte=DID_NO_CONNECT driverbyte=DRIVER_OK",
            "sdd",
            "the disk cannot",
        ),
        ("I/O error, dev sdd, sector 4096 op 0x1:(WRITE) flags 0x800", "sdd", "reads or writes"),
        (
            "Buffer I/O error on dev sdd1, logical block 9, async page read",
            "sdd1",
            "reads or writes",
        ),
        ("device-mapper: multipath: 254:3: Failing path 8:48.", "8:48", "a path to storage"),
        ("md/raid:md4: Disk failure on sdd1, disabling device.", "sdd1", "the disk failed and was"),
        ("md: kicking non-fresh sdd1 from array!", "sdd1", "the disk had dropped"),
        ("md/raid:md4: Cannot continue operation (2/6 failed).", "raid:md4", "the array has lost"),
        (
            "md/raid:md4: read error not correctable (sector 88 on sdd1).",
            "sdd1",
            "an array could not",
        ),
        (
            "md/raid1:md4: read error corrected (8 sectors at 88 on sdd1)",
            "sdd1",
            "an array repaired",
        ),
        ("md: super_written gets error=-5", "", "an array cannot write"),
        (
            "device-mapper: integrity: dm-3: Checksum failed at sector 0x1f",
            "dm-3",
            "the device mapper",
        ),
        (
            "EXT4-fs error (device sdd1): ext4_find_entry:1455: inode #2: comm ls: reading directory",
            "sdd1",
            "the file sy",
        ),
        (
            "XFS (sdd1): Metadata CRC error detected at xfs_agf_read_verify",
            "sdd1",
            "the file system is",
        ),
        ("Aborting journal on device sdd1-8.", "sdd1-8", "the file system's journal"),
        (
            "BTRFS warning (device sdd1): csum failed root 5 ino 257 off 0",
            "sdd1",
            "the file system met",
        ),
    ];

    #[test]
    fn every_signature_has_an_example_that_it_fits() {
        let mut unseen: Vec<_> =
            TABLE.signatures.iter().map(|signature| signature.meaning).collect();
        for (line, expected_component, meaning) in EXAMPLES {
            let record = Record { usec: Some(BOOT_USEC), ..Record::from_text(line) };
            let (row, component) = TABLE.row(&record).unwrap_or_else(|| panic!("{line}"));
            let found = TABLE.signatures[row].meaning;
            assert!(found.starts_with(meaning), "{line}\n{found}");
            assert_eq!(component, *expected_component, "{line}");
            unseen.retain(|meaning| *meaning != found);
        }
        assert_eq!(unseen, [""; 0]);
    }

    #[test]
    fn look_alikes_are_no_sign() {
        for line in [
            "EDAC amd64: Error: F0 not found, module not loaded",
            "EDAC MC: Ver: 3.0.0",
            "EDAC DEBUG: ie31200_check: 1 CE on",
            "ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0], AE_NOT_FOUND",
            "ACPI Error: Aborting method \\_SB._OSC due to previous error (AE_NOT_FOUND)",
            "[Firmware Bug]: TSC_DEADLINE disabled due to Errata",
            "mce: CPU0: Thermal monitoring enabled (TM1)",
            "MCE: In-kernel MCE decoding enabled.",
            "RAS: Correctable Errors collector initialized.",
            "HEST: Table parsing has been initialized.",
            "perf: interrupt took too long (2501 > 2500), lowering the sample rate",
            "stress-ng invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0",
            "Out of memory: Killed process 991 (stress-ng) total-vm:9kB",
            "blk_update_request: I/O error, dev fd0, sector 0",
            "Buffer I/O error on dev sr0, logical block 0, async page read",
            "critical target error, dev sda, sector 0 op 0x9:(WRITE_ZEROES) flags 0x800",
            "usb 1-3: device descriptor read/64, error -71",
            "usb usb1-port3: unable to enumerate USB device",
            "usb 1-3: Product: [Hardware Error]: Deferred error",
            "iwlwifi 0000:02:00.0: Direct firmware load for iwl-debug.bin failed with error -2",
            "pci 0000:3b:00.0: 31.504 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe x4 link",
            "pcieport 0000:3a:00.0: AER: enabled with IRQ 34",
            "Command line: BOOT_IMAGE=/vmlinuz note=I/O error, dev sda",
            "audit: type=1400 comm=\"EDAC MC0: 1 UE \"",
            "MMIO Stale Data: disabled",
            "Memory failure: 0x12ab: already hardware poisoned",
            "NVRM: Xid (PCI:0000:3b:00): 31, pid=7, name=train, MMU Fault",
            "EXT4-fs error (device loop3): ext4_lookup:1855: inode #2",
            "amdgpu 0000:3b:00.0: amdgpu: 0 correctable hardware errors detected in total",
            "systemd[1]: nvme nvme0: controller is down; will reset: CSTS=0x3",
            "",
        ] {
            check(&format!("[  500.0] {line}"), &[]);
        }
    }

    #[test]
    fn a_boot_is_restless_and_a_running_host_is_not() {
        let lines = |start: u32| -> String {
            let reset = |at: u32| {
                format!(
                    "[{at}.5] ata1: hard resetting link\n[{at}.6] igb 0000:3b:00.0 eth4: NIC Link is Down\n"
                )
            };
            (start..start + 4).map(reset).collect()
        };
        check(&lines(3), &[]);
        check(
            &lines(900),
            &["warning storage: ata1: the SATA link has", "warning network: eth4: the link keeps"],
        );
        check("[900.5] igb 0000:3b:00.0 eth4: NIC Link is Down", &[]);
    }

    #[test]
    fn user_space_is_never_believed() {
        let fatal =
            "mce: [Hardware Error]: CPU 0: Machine Check Exception: 5 Bank 1: be00000000800400";
        check(&format!("2,1,1,-;{fatal}"), &["critical memory"]);
        check(&format!("[ 1.5] {fatal}"), &["critical memory"]);
        check(&format!("Feb  3 12:25:01 web kernel: {fatal}"), &["critical memory"]);
        for forged in [
            "12,1,1,-;",
            "<12>[ 1.5] ",
            "Feb  3 12:25:01 web sh: ",
            "user  :err   : [ 1.5] ",
            "12,1,1,-;x\n",
        ] {
            check(&format!("{forged}{fatal}"), &[]);
        }
    }

    #[test]
    fn repeats_are_one_issue_for_each_part() {
        let flood: String = (0..10_000)
            .map(|n| {
                format!(
                    "3,{n},{n},-;EDAC MC0: 1 CE memory read error on DIMM_{} (page:0x{n:x})\n",
                    n % 2
                )
            })
            .collect();
        let verdict = judged(&flood);
        check(
            &flood,
            &["warning memory: DIMM_0: memory errors", "warning memory: DIMM_1: memory errors"],
        );
        assert!(
            verdict.issues[0].summary.ends_with("(5000 times)"),
            "{}",
            verdict.issues[0].summary
        );
        assert_eq!(verdict.issues[1].records.len(), RECORDS_PER_ISSUE_MAX);
        assert_eq!(verdict.issues[1].records[0], Seq(1));
        assert_eq!(
            verdict.issues[1].evidence,
            "EDAC MC0: 1 CE memory read error on DIMM_1 (page:0x1)"
        );
    }

    #[test]
    fn many_parts_that_fail_alike_are_one_issue() {
        let lost: String = ('a'..='f')
            .map(|disk| format!("3,1,1,-;I/O error, dev sd{disk}, sector 8\n"))
            .collect();
        check(
            &lost,
            &[
                "warning storage: sda, sdb, sdc, sdd and 2 more: reads or writes of the disk fail (6 times)",
            ],
        );
    }

    #[test]
    fn a_record_that_names_no_part_joins_one_that_does() {
        check(
            "[9.1] Sense Key : Medium Error [current]\n[9.2] sd 0:0:3:0: [sdd] Sense Key : Medium Error",
            &["warning storage: sdd: the disk reports damaged sectors (medium error) (2 times)"],
        );
    }

    #[test]
    fn enough_of_a_warning_is_critical_and_the_worst_comes_first() {
        let lines = "3,1,1,-;EDAC MC0: 1 CE x on DIMM_0 (p)\n".to_owned()
            + &"3,2,2,-;critical medium error, dev sdd, sector 1\n".repeat(5);
        check(&lines, &["critical storage: sdd: sectors", "warning memory: DIMM_0"]);
        assert_eq!(judged(&lines).status, Status::Critical);
    }

    #[test]
    fn firmware_errors_take_the_category_of_their_section() {
        for (section, expected) in [
            ("memory error", "warning memory"),
            ("PCIe error", "warning driver"),
            ("unknown, 81212a96", "warning driver"),
        ] {
            let lines =
                "[9.1] [Hardware Error]: event severity: corrected\n[9.2] [Hardware Error]: ";
            let lines = format!("{lines}  section_type: {section}");
            check(&lines, &[expected]);
        }
    }

    #[test]
    fn the_sample_shows_every_category_and_no_forgery() {
        let sample = include_str!("../../tests/demo/degraded.kmsg");
        check(
            sample,
            &[
                "critical storage: nvme1: the NVMe controller stopped answering",
                "warning memory: CPU_SrcID#1_MC#0_Chan#1_DIMM#0: memory errors",
                "warning driver: 0000:b1:00.0: PCIe errors",
                "warning thermal: the processor",
                "warning network: eno1np0: the link keeps",
                "warning storage: nvme1: commands",
                "warning storage: nvme1n1: reads",
            ],
        );
        let records = crate::kernel::read_log(sample.as_bytes()).records;
        let mut usec = 0;
        for (at, record) in records.iter().enumerate() {
            assert_eq!(record.seq, Some(Seq(at as u64)), "{}", record.text);
            assert!(record.usec >= Some(usec), "{}", record.text);
            usec = record.usec.unwrap();
        }
    }
}
