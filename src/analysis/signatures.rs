//! The floor under every answer: signatures of failing hardware that need no model.
//!
//! Owns how incidents are worded as issues, and what is left out when there are too many;
//! `signature_match` says what a record fits, `signature_incident` what belongs together. Pure: the
//! same records give the same verdict. `floor` drives it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::signature_incident::{Group, Incident, Wrapped, incidents};
use super::signature_match::find;
use super::verdict::{EVIDENCE_CHARS_MAX, ISSUES_MAX, RECORDS_PER_ISSUE_MAX};
use super::{Issue, Source, Verdict};
use crate::kernel::Record;

/// When more parts than this fail alike, it is one failure of what they share: one issue for all.
const PARTS_MAX: usize = 4;
/// Four of them, the meaning and the ids stay within what a summary may be.
const COMPONENT_CHARS_MAX: usize = 48;
/// What else was seen of the same failure, by the ids of its signatures.
const ALSO_MAX: usize = 4;

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
    let wrapped = Wrapped::of(records);
    let mut incidents = with_many_as_one(incidents(records, &wrapped));
    incidents.sort_by_key(|incident| (Reverse(incident.severity()), incident.first()));
    let found = incidents.len();
    incidents.truncate(ISSUES_MAX);
    let issues = incidents.into_iter().map(issue).collect();
    let mut verdict = Verdict::from_issues(issues);
    if found > ISSUES_MAX {
        verdict.complaints.push(format!("{found} issues cut to {ISSUES_MAX}"));
    }
    verdict
}

/// One incident for all parts that fail alike when there are many.
fn with_many_as_one(incidents: Vec<Incident>) -> Vec<Incident> {
    let mut alike: BTreeMap<_, Vec<Incident>> = BTreeMap::new();
    for incident in incidents {
        let key = (incident.category.name(), incident.groups[0].signature.subsystem);
        alike.entry(key).or_default().push(incident);
    }
    let one = |incidents: Vec<_>| match incidents.len() {
        0..=PARTS_MAX => incidents,
        _ => vec![Incident::of_all(incidents)],
    };
    alike.into_values().flat_map(one).collect()
}

fn issue(incident: Incident) -> Issue {
    let names = names(&incident.parts);
    let Group { row, signature, quote, .. } = incident.groups[0];
    let alike = incident.groups.iter().filter(|group| group.row == row);
    let count = alike.fold(0u32, |count, group| count.saturating_add(group.count));
    let separator = if names.is_empty() { "" } else { ": " };
    let mut summary = format!("{names}{separator}{}", signature.meaning);
    if count > 1 {
        summary.push_str(&format!(" ({count} times)"));
    }
    summary.push_str(&also(&incident));
    let mut seqs: Vec<_> =
        incident.groups.iter().flat_map(|group| group.seqs.iter().copied()).collect();
    seqs.sort_unstable();
    seqs.truncate(RECORDS_PER_ISSUE_MAX);
    let sign = |group: &Group| Sign { row: group.row, component: group.component.to_owned() };
    Issue {
        severity: incident.severity(),
        category: incident.category,
        summary,
        evidence: quote.chars().take(EVIDENCE_CHARS_MAX).collect(),
        source: Source::Rule,
        signature: Some(signature.id),
        component: Some(names).filter(|names| !names.is_empty()),
        verified: true,
        confirmed: false,
        user_text: false,
        records: seqs,
        signs: incident.groups.iter().map(|group| Some(sign(group))).collect(),
    }
}

/// `; also ata-crc, disk-io-error`: what else belongs to the incident.
fn also(incident: &Incident) -> String {
    let mut ids: Vec<&str> = Vec::new();
    for group in &incident.groups {
        let id = group.signature.id;
        if id != incident.groups[0].signature.id && !ids.contains(&id) {
            ids.push(id);
        }
    }
    match ids.len() {
        0 => String::new(),
        1..=ALSO_MAX => format!("; also {}", ids.join(", ")),
        all => format!("; also {} and {} more", ids[..ALSO_MAX].join(", "), all - ALSO_MAX),
    }
}

/// `sda, sdb, sdc, sdd and 2 more`; empty for records that name no part.
fn names(parts: &[&str]) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for part in parts {
        if !distinct.contains(part) {
            distinct.push(part);
        }
    }
    let shown = distinct.iter().take(PARTS_MAX);
    let shown: Vec<String> =
        shown.map(|part| part.chars().take(COMPONENT_CHARS_MAX).collect()).collect();
    let mut names = shown.join(", ");
    if distinct.len() > PARTS_MAX {
        names.push_str(&format!(" and {} more", distinct.len() - PARTS_MAX));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Status;
    use super::*;
    use crate::kernel::Seq;

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
    fn other_look_alikes_are_no_sign() {
        for line in [
            "HEST: Table parsing has been initialized.",
            "ACPI Error: Aborting method \\_SB._OSC due to previous error (AE_NOT_FOUND)",
            "Command line: BOOT_IMAGE=/vmlinuz note=I/O error, dev sda",
            "audit: type=1400 comm=\"EDAC MC0: 1 UE \"",
            "MMIO Stale Data: disabled",
            "Memory failure: 0x12ab: already hardware poisoned",
            "NVRM: Xid (PCI:0000:3b:00): 31, pid=7, name=train, MMU Fault",
            "EXT4-fs error (device loop3): ext4_lookup:1855: inode #2",
            "amdgpu 0000:3b:00.0: amdgpu: 0 correctable hardware errors detected in total",
            "pcieport 0000:3a:00.0: AER: enabled with IRQ 34",
            "usb usb1-port3: device not accepting address 4, error -71",
            "lost page write due to I/O error on fd0",
            "md/raid1:md4: active with 2 out of 2 mirrors",
            "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            "XFS (sdd1): User initiated shutdown received. Shutting down filesystem",
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
    fn a_trend_is_what_comes_again_within_a_day() {
        let down = |hours: [u32; 3]| -> String {
            let line = |hour: &u32| {
                format!("[{}.5] igb 0000:3b:00.0 eth4: NIC Link is Down\n", 900 + hour * 3600)
            };
            hours.iter().map(line).collect()
        };
        let flaps = "warning network: eth4: the link keeps";
        check(&down([0, 12, 24]), &[flaps]);
        check(&down([0, 480, 960]), &[]);
        check(&down([0, 12, 25]), &[]);
        let then = |hours| down(hours).replace(".5]", ".6]");
        check(&(down([0, 480, 960]) + &then([2000, 2001, 2002])), &[flaps]);
    }

    /// And what stands beside the report names it better.
    #[test]
    fn firmware_says_in_its_section_which_part_it_is() {
        let report = |severity: &str, lines: &[&str]| -> String {
            let head = format!("[ 500.1] {{7}}[Hardware Error]: event severity: {severity}\n");
            let line = |line: &&str| format!("[ 500.1] {{7}}[Hardware Error]:   {line}\n");
            head + &lines.iter().map(line).collect::<String>()
        };
        let memory = ["fru_text: B2", "section_type: memory error", "node: 0 card: 1 module: 2"];
        let uncorrected = report("recoverable", &memory);
        check(&uncorrected, &["critical memory: B2: firmware reported an uncorrected"]);
        let edac = "[ 500.2] EDAC MC0: 1 UE memory read error on DIMM_B2 (channel:1 slot:0)\n";
        check(&(uncorrected.clone() + edac), &["critical memory: DIMM_B2: "]);
        let other = report("recoverable", &["fru_text: B3", "section_type: memory error"]);
        check(&(uncorrected + &other), &["critical memory: B2, B3: firmware reported"]);
        let bus = ["section_type: PCIe error", "device_id: 0000:3b:00.0"];
        check(&report("fatal", &bus), &["critical driver: 0000:3b:00.0: firmware reported"]);
        let processor = ["section_type: ARM processor error"];
        check(&report("fatal", &processor), &["critical memory: firmware reported a fatal"]);
    }

    /// What one failure brings about is not ten findings, and two failures are two.
    #[test]
    fn one_failure_is_one_issue() {
        let stamped = |lines: &str| -> String {
            lines.lines().map(|line| format!("[ 500.1] {}\n", line.trim_start())).collect()
        };
        for (lines, expected) in [
            // A disk, its port and its partition.
            (
                "ata6.00: exception Emask 0x0 SAct 0x1 SErr 0x0 action 0x0
                 ata6.00: error: { UNC }
                 sd 5:0:0:0: [sde] tag#9 Sense Key : Medium Error [current]
                 I/O error, dev sde, sector 4096
                 Buffer I/O error on dev sde1, logical block 9, async page read",
                &["warning storage: sde: the disk reports damaged sectors"][..],
            ),
            // Two ports at the same time, told apart by the SCSI host's number.
            (
                "ata6.00: error: { UNC }
                 ata8.00: error: { UNC }
                 sd 7:0:0:0: [sdg] tag#9 Sense Key : Medium Error [current]
                 sd 5:0:0:0: [sde] tag#9 Sense Key : Medium Error [current]",
                &["warning storage: sde: the disk", "warning storage: sdg: the disk"],
            ),
            // A card, its function and its interface.
            (
                "ixgbe 0000:3b:00.1 eth5: Adapter removed
                 ixgbe 0000:3b:00.0: Adapter removed
                 NETDEV WATCHDOG: eth5 (ixgbe): transmit queue 3 timed out",
                &["critical network: eth5: the network adapter or its firmware failed"],
            ),
            // A port that reports for the device behind it.
            (
                "pcieport 0000:3a:00.0: AER: Uncorrected (Fatal) error received: 0000:3b:00.0
                 nic 0000:3b:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=x
                 nic 0000:3b:00.1: AER: can't recover (no error_detected callback)
                 pcieport 0000:3a:00.0: AER: device recovery failed",
                &["critical driver: 0000:3b:00.0: a fatal PCIe error"],
            ),
            // A line that names no part, beside one that does.
            (
                "mce: [Hardware Error]: Machine check events logged
                 [Hardware Error]: Corrected error, no action required.
                 EDAC MC0: 1 CE on DIMM_A1 (channel:0)",
                &["warning memory: DIMM_A1: memory errors are being corrected"],
            ),
            (
                "mce: [Hardware Error]: Machine check events logged
                 CPU1: Core temperature above threshold, cpu clock throttled (total events = 7)",
                &["warning thermal: the processor"],
            ),
            // What waits behind a disk, and what is built on it.
            (
                "nvme nvme3: controller is down; will reset: CSTS=0xffffffff
                 I/O error, dev nvme3n1, sector 8
                 Buffer I/O error on dev dm-3, logical block 9
                 Aborting journal on device dm-3-8.
                 INFO: task jbd2/dm-3-8:301 blocked for more than 120 seconds.",
                &["critical storage: nvme3: the NVMe controller stopped answering"],
            ),
            (
                "smartpqi 0000:3b:00.0: controller is offline: status code 0x6100c
                 I/O error, dev sdd, sector 4096
                 I/O error, dev sde, sector 4096",
                &["critical storage: 0000:3b:00.0: the storage controller failed"],
            ),
            // Another disk has nothing to do with it.
            (
                "nvme nvme3: controller is down; will reset: CSTS=0xffffffff
                 EXT4-fs error (device sdd1): ext4_find_entry:1455: inode #2: comm ls: reading",
                &["critical storage: nvme3: the NVMe", "critical storage: sdd1: the file system"],
            ),
            // Nor has another category.
            (
                "NETDEV WATCHDOG: eth5 (iavf): transmit queue 3 timed out
                 rcu: INFO: rcu_sched self-detected stall on CPU",
                &["warning network: eth5: the network adapter", "warning driver: processors"],
            ),
        ] {
            check(&stamped(lines), expected);
        }
    }

    /// A mail program cuts long lines; the rest has no stamp.
    #[test]
    fn a_line_that_was_cut_is_read_whole() {
        let cut = "[ 500.1] md/raid:md4: Disk\nfailure on sdd1, disabling device.\n\
                   [ 500.2] md/raid:md4: Operation continuing on 3 devices.\n";
        check(cut, &["critical storage: sdd1: the disk failed and was removed from its array"]);
        check("[ 500.1] md/raid:md4: Disk\n[ 500.2] failure on sdd1, disabling device.", &[]);
    }

    /// Without times, a boot is what follows the kernel's first line.
    #[test]
    fn a_boot_without_times_is_restless_too() {
        let resets = "Feb  3 12:25:01 web kernel: ata1: hard resetting link\n".repeat(4);
        let first = "Feb  3 12:25:01 web kernel: Linux version 6.1.0 (x@example.org)\n";
        check(&resets, &["warning storage: ata1: the SATA link has to be reset"]);
        check(&format!("{first}{resets}"), &[]);
    }

    /// The kernel tells one error in several lines.
    #[test]
    fn errors_are_counted_and_not_their_lines() {
        let bus = "pcieport 0000:3a:00.0: AER: Corrected error received: 0000:3b:00.0
                   nic 0000:3b:00.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer
                   nic 0000:3b:00.0:   device [1234:5678] error status/mask=00000040/00002000";
        let bank = "[Hardware Error]: Corrected error, no action required.
                    [Hardware Error]: CPU:4 (19:1:1) MC17_STATUS[Over|CE|MiscV]: 0x9c2040000";
        let disk = "sd 0:0:3:0: [sdd] tag#9 FAILED Result: hostbyte=DID_OK
                    sd 0:0:3:0: [sdd] tag#9 Sense Key : Medium Error [current]
                    sd 0:0:3:0: [sdd] tag#9 Add. Sense: Unrecovered read error";
        let stamped = |lines: &str, times: usize| -> String {
            let lines = lines.lines().map(|line| format!("[ 500.1] {}\n", line.trim_start()));
            lines.collect::<String>().repeat(times)
        };
        check(&stamped(bus, 1), &[]);
        for (lines, expected) in [
            (bus, "0000:3b:00.0: PCIe errors are being corrected"),
            (bank, "the processor corrected hardware errors"),
            (disk, "sdd: the disk reports damaged sectors"),
        ] {
            let issues = judged(&stamped(lines, 3)).issues;
            let [issue] = issues.as_slice() else { panic!("{issues:?}") };
            assert!(issue.summary.starts_with(expected), "{}", issue.summary);
            assert!(issue.summary.ends_with("(3 times)"), "{}", issue.summary);
        }
    }

    #[test]
    fn an_issue_names_its_signature_and_its_part() {
        let issue = &judged("[ 500.1] EDAC MC0: 1 UE x on DIMM_A1 (channel:0)").issues[0];
        assert_eq!(
            (issue.signature, issue.component.as_deref()),
            (Some("edac-ue"), Some("DIMM_A1"))
        );
        let verdict = judged("[ 500.1] rcu: INFO: rcu_sched self-detected stall on CPU");
        let json: serde_json::Value = serde_json::from_str(&verdict.issues_json()).unwrap();
        assert_eq!(json[0]["signature"], "rcu-stall");
        assert!(json[0]["component"].is_null(), "{json}");
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
