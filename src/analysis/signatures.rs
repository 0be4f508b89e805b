//! The floor under every answer: signatures of failing hardware that need no model.
//!
//! Owns how matches are gathered into issues, and what is left out when there are too many;
//! `signature_match` says what a record fits. Pure: the same records give the same verdict. `floor`
//! drives it.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::signature_match::{Match, find};
use super::signature_table::{Part, Signature};
use super::verdict::{EVIDENCE_CHARS_MAX, ISSUES_MAX, RECORDS_PER_ISSUE_MAX};
use super::{Category, Issue, Severity, Source, Verdict};
use crate::kernel::{Origin, Record, Seq};

/// When more parts than this fail alike, it is one failure of what they share: one issue for all.
const PARTS_MAX: usize = 4;
const COMPONENT_CHARS_MAX: usize = 64;
/// The kernel describes one APEI error in several records; its section follows within this many.
const SECTION_RECORDS_MAX: usize = 12;

/// What a record is a sign of, whether or not there are enough of its kind for an issue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sign {
    /// Of the table.
    pub(super) row: usize,
    /// The part that the record names; empty when it names none.
    pub(super) component: String,
}

pub(super) fn sign(record: &Record) -> Option<Sign> {
    find(record).map(|found| Sign { row: found.row, component: found.component.to_owned() })
}

/// What unmistakable signs the records hold: the worst first, alike in their order of appearance.
pub(crate) fn judge(records: &[Record]) -> Verdict {
    let mut groups: HashMap<(usize, &str), Group> = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        let Some(found) = find(record) else { continue };
        let key = (found.row, found.component);
        groups.entry(key).or_insert_with(|| Group::new(found, at)).add(record.seq);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| group.first);
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

/// The records that fit one signature and name one component.
struct Group<'a> {
    row: usize,
    signature: &'static Signature,
    component: &'a str,
    /// The first of them, which is the evidence.
    first: usize,
    count: u32,
    /// Of the earliest of them.
    seqs: Vec<Seq>,
}

impl<'a> Group<'a> {
    fn new(Match { row, signature, component }: Match<'a>, first: usize) -> Self {
        Self { row, signature, component, first, count: 0, seqs: Vec::new() }
    }

    fn add(&mut self, seq: Option<Seq>) {
        self.count = self.count.saturating_add(1);
        if self.seqs.len() < RECORDS_PER_ISSUE_MAX {
            self.seqs.extend(seq);
        }
    }

    fn join(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.seqs.extend(other.seqs);
        self.seqs.sort_unstable();
        self.seqs.truncate(RECORDS_PER_ISSUE_MAX);
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
    joined.sort_by_key(|group| group.first);
    joined
}

/// One issue for each group, or one for all of a signature's groups when there are many.
fn issues(groups: Vec<Group>, records: &[Record]) -> Vec<Issue> {
    let mut by_row: HashMap<usize, Vec<Group>> = HashMap::new();
    for group in groups.into_iter().filter(|group| group.count >= group.signature.repeats) {
        by_row.entry(group.row).or_default().push(group);
    }
    let mut by_row: Vec<_> = by_row.into_values().collect();
    by_row.sort_by_key(|groups| groups[0].first);
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
fn issue(mut groups: Vec<Group>, records: &[Record]) -> Issue {
    let names = names(&groups);
    let sign = |group: &Group| Sign { row: group.row, component: group.component.to_owned() };
    let signs = groups.iter().map(|group| Some(sign(group))).collect();
    let signature = groups[0].signature;
    let escalated = groups.iter().any(|group| group.count >= signature.critical_at);
    let mut all = groups.remove(0);
    groups.into_iter().for_each(|group| all.join(group));
    let separator = if names.is_empty() { "" } else { ": " };
    let mut summary = format!("{names}{separator}{}", signature.meaning);
    if all.count > 1 {
        summary.push_str(&format!(" ({} times)", all.count));
    }
    Issue {
        severity: if escalated { Severity::Critical } else { signature.severity },
        category: category(signature, &records[all.first..]),
        summary,
        evidence: records[all.first].quote().chars().take(EVIDENCE_CHARS_MAX).collect(),
        source: Source::Rule,
        verified: true,
        confirmed: false,
        user_text: false,
        records: all.seqs,
        signs,
    }
}

/// `sda, sdb, sdc, sdd and 2 more`; empty for records that name no part.
fn names(groups: &[Group]) -> String {
    let shown = groups.iter().filter(|group| !group.component.is_empty()).take(PARTS_MAX);
    let shown: Vec<String> =
        shown.map(|group| group.component.chars().take(COMPONENT_CHARS_MAX).collect()).collect();
    let mut names = shown.join(", ");
    if groups.len() > PARTS_MAX {
        names.push_str(&format!(" and {} more", groups.len() - PARTS_MAX));
    }
    names
}

/// Firmware reports every kind of error alike; which part it is about stands in the section that
/// follows.
fn category(signature: &Signature, records: &[Record]) -> Category {
    if signature.part != Part::Section {
        return signature.category;
    }
    let near = records.iter().take(SECTION_RECORDS_MAX);
    // A program may write between them, and what it writes decides nothing.
    let section = near.filter(|record| record.origin() != Origin::User).find_map(|record| {
        let (_, rest) = record.text.split_once("section")?;
        rest.strip_prefix(['_', ' '])?.strip_prefix("type: ")
    });
    match section {
        Some(section) if section.starts_with("memory") => Category::Memory,
        _ => signature.category,
    }
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
            "pci 0000:3b:00.0: 31.504 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe x4",
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
                let link = format!("[{at}.6] igb 0000:3b:00.0 eth4: NIC Link is Down\n");
                format!("[{at}.5] ata1: hard resetting link\n{link}")
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
        let issue =
            "warning storage: sda, sdb, sdc, sdd and 2 more: reads or writes of the disk fail";
        check(&lost, &[&format!("{issue} (6 times)")]);
    }

    #[test]
    fn a_record_that_names_no_part_joins_one_that_does() {
        check(
            "[9.1] Sense Key : Medium Error\n[9.2] sd 0:0:3:0: [sdd] Sense Key : Medium Error",
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
        let forged = "2,1,1,-;[Hardware Error]: event severity: corrected\n\
                      12,2,2,-;section_type: memory error\n\
                      2,3,3,-;[Hardware Error]:  section_type: PCIe error";
        check(forged, &["warning driver"]);
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
