//! How a signature is written down.
//!
//! The rows stand by subject in `signature_memory`, `signature_thermal`, `signature_pci`,
//! `signature_gpu`, `signature_kernel`, `signature_network`, `signature_adapter`,
//! `signature_nvme`, `signature_disk`, `signature_controller`, `signature_array` and
//! `signature_filesystem`; what only looks like one stands in `signature_benign`. A record counts
//! for the first row that it fits, so within a subject the graver row stands first. A row is there
//! only when its line means trouble on any host: what needs judgement is left to a model.

use super::signature_adapter::ADAPTER;
use super::signature_array::ARRAY;
use super::signature_controller::CONTROLLER;
use super::signature_disk::DISK;
use super::signature_filesystem::FILESYSTEM;
use super::signature_gpu::GPU;
use super::signature_kernel::KERNEL;
use super::signature_memory::MEMORY;
use super::signature_network::NETWORK;
use super::signature_nvme::NVME;
use super::signature_pci::PCI;
use super::signature_thermal::THERMAL;
use super::{Category, Severity};

/// A row of the table. In a pattern `*` is any text between two fragments, and `^` says that the
/// record begins so: where the driver's prefix is known, no name that a stranger chose fits.
pub(super) struct Signature {
    /// Stable: it is stored with findings, and people query it.
    pub(super) id: &'static str,
    pub(super) subsystem: &'static str,
    pub(super) category: Category,
    pub(super) severity: Severity,
    /// Any of these makes a record count.
    pub(super) any: &'static [&'static str],
    /// None of these may fit the record.
    pub(super) unless: &'static [&'static str],
    /// What fragments cannot say, mostly about numbers.
    pub(super) holds: fn(&str) -> bool,
    pub(super) part: Part,
    /// So many errors of one part make it an issue.
    pub(super) repeats: u32,
    /// So many make it critical, whatever `severity` says.
    pub(super) critical_at: u32,
    /// Records of the first minutes do not count: there they are ordinary.
    pub(super) settled: bool,
    pub(super) role: Role,
    /// What it means, for the operator.
    pub(super) meaning: &'static str,
    /// What the operator should do.
    pub(super) action: &'static str,
    /// Where the kernel prints it.
    pub(super) source: &'static str,
    /// A line that fits, in the kernel's format.
    pub(super) example: &'static str,
}

/// What a record says about others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Something failed.
    Cause,
    /// Something failed that others stand behind: no `Effect` needs a finding beside it.
    Carrier,
    /// What a failure elsewhere may have brought about.
    Effect,
    /// That something was noticed; a line beside it mostly says what.
    Echo,
}

/// Where a record names the part that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    None,
    /// The word that follows this.
    After(&'static str),
    /// The word before the first colon: `e1000e 0000:00:19.0 eno1: NIC Link is Down`.
    Head,
    /// `sdb` of `sd 0:0:1:0: [sdb] tag#3`, else its SCSI address.
    Disk,
    /// `sdb1` of `md/raid1:md0: Disk failure on sdb1`.
    Member,
    /// `ata3` of `ata3.00: exception`. A record that names no port does not count.
    Port,
    /// `nvme0` of `nvme0n1`. A record that names no controller does not count.
    Nvme,
    /// `md0` of `md/raid1:md0: ...`.
    Array,
    /// `DIMM_A1` of `EDAC MC0: 1 CE read error on DIMM_A1`, else `MC0`.
    Module,
    /// The last PCI address: a root port reports for the device that it names behind itself.
    PciLast,
    /// None, and the firmware's section says whether it is memory or another device.
    Section,
}

/// The rest of a row that is critical at once.
pub(super) const fn critical(
    category: Category,
    subsystem: &'static str,
    source: &'static str,
) -> Signature {
    Signature {
        id: "",
        subsystem,
        category,
        severity: Severity::Critical,
        any: &[],
        unless: &[],
        holds: always,
        part: Part::None,
        repeats: 1,
        critical_at: u32::MAX,
        settled: false,
        role: Role::Cause,
        meaning: "",
        action: "",
        source,
        example: "",
    }
}

/// The rest of a row that is a warning at once.
pub(super) const fn warning(
    category: Category,
    subsystem: &'static str,
    source: &'static str,
) -> Signature {
    Signature { severity: Severity::Warning, ..critical(category, subsystem, source) }
}

pub(super) const fn always(_text: &str) -> bool {
    true
}

/// All rows, in the order in which they are tried.
pub(super) fn signatures() -> impl Iterator<Item = &'static Signature> {
    [MEMORY, THERMAL, PCI, GPU, KERNEL, ADAPTER, NETWORK, NVME, DISK, CONTROLLER, ARRAY, FILESYSTEM]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::super::signature_benign::{LOOK_ALIKES, LookAlike};
    use super::super::signature_pattern::{Heads, Pattern};
    use super::super::signatures::judge;
    use super::super::{Severity, Verdict};
    use super::*;
    use crate::kernel::Record;

    /// After the boot, where nothing is excused.
    const SETTLED_USEC: u64 = 3_600_000_000;
    const BOOT_USEC: u64 = 4_000_000;

    fn judged(line: &str, times: u32) -> Verdict {
        judged_at(SETTLED_USEC, line, times)
    }

    fn judged_at(usec: u64, line: &str, times: u32) -> Verdict {
        let record = Record { usec: Some(usec), ..Record::from_text(line) };
        judge(&vec![record; times as usize])
    }

    #[test]
    fn every_row_is_complete_and_its_id_is_its_own() {
        let mut seen = Vec::new();
        let ids = signatures().map(|row| row.id).chain(LOOK_ALIKES.iter().map(|row| row.id));
        for id in ids {
            let kebab =
                id.bytes().all(|byte| byte.is_ascii_lowercase() || b"-0123456789".contains(&byte));
            assert!(kebab && !id.is_empty() && !id.starts_with('-'), "{id:?}");
            assert!(!seen.contains(&id), "{id} stands twice");
            seen.push(id);
        }
        for Signature { id, subsystem, any, meaning, action, source, example, .. } in signatures() {
            for text in [subsystem, meaning, action, source, example] {
                assert!(
                    !text.is_empty() && !text.ends_with('.') || text == example,
                    "{id}: {text}"
                );
            }
            assert!(!any.is_empty(), "{id}");
        }
        for LookAlike { id, any, beats, why, .. } in LOOK_ALIKES {
            assert!(!any.is_empty() && !why.is_empty(), "{id}");
            let known = |beaten: &&&str| signatures().any(|row| row.id == **beaten);
            assert_eq!(beats.iter().find(|beaten| !known(beaten)), None, "{id}");
        }
    }

    /// The one incident that its example makes is its own, from as many lines as it says.
    #[test]
    fn every_row_fires_on_its_example_and_not_on_fewer() {
        for Signature { id, severity, repeats, critical_at, example, .. } in signatures() {
            let issues = judged(example, *repeats).issues;
            let ids: Vec<_> = issues.iter().map(|issue| issue.signature).collect();
            assert_eq!(ids, [Some(*id)], "{example}");
            assert_eq!(issues[0].severity, *severity, "{id}");
            assert_eq!(judged(example, repeats - 1).issues, [], "{id}");
            if *critical_at < u32::MAX {
                assert_eq!(judged(example, critical_at - 1).issues[0].severity, *severity, "{id}");
                let escalated = &judged(example, *critical_at).issues[0];
                assert_eq!(escalated.severity, Severity::Critical, "{id}");
            }
        }
    }

    #[test]
    fn look_alikes_are_no_sign() {
        for LookAlike { id, any, example, .. } in LOOK_ALIKES {
            assert_eq!(judged(example, 100).issues, [], "{id}");
            let fits = |written: &&'static str| {
                Pattern::new(written).occurs_in(example, &Heads::of(example))
            };
            assert!(any.iter().any(fits), "{id}: {example}");
        }
    }

    /// Wordings of one kind that the examples do not show, from kernels old and new.
    #[test]
    fn other_wordings_fit_too() {
        for (line, expected) in [
            (
                "NVRM: The NVIDIA GPU 0000:3b:00.0\nNVRM: fallen off the bus and is not",
                "nvidia-lost",
            ),
            ("NVRM: GPU at 0000:3b:00.0 has fallen off the bus.", "nvidia-lost"),
            (
                "amdgpu 0000:3b:00.0: amdgpu: MES failed to respond to msg=REMOVE_QUEUE",
                "amdgpu-hang",
            ),
            ("mce: [Hardware Error]: Machine check: Data load in unrecoverable area", "mce-fatal"),
            ("CMCI storm detected: switching to poll mode", "mce-logged"),
            ("EDAC igen6 MC0: HANDLING IBECC MEMORY ERROR", "edac-mce"),
            ("Error Severity\t\t: Uncorrected (Fatal)", "aer-fatal"),
            ("pcieport 0000:3a:00.0: AER: subordinate device reset failed", "aer-fatal"),
            ("BUG: kernel NULL pointer dereference, address: 0000000000000010", "oops"),
            ("tg3 0000:3b:00.0 eth4: DMA Status error.  Resetting chip.", "nic-reset"),
            ("enic 0000:3b:00.0 eth4: devcmd2 9: timed out", "nic-dead"),
            ("nvme 0000:3b:00.0: Failed status: 3, reset controller", "nvme-dead"),
            ("megasas: FW in FAULT state!!", "megaraid-dead"),
            ("AAC1: adapter kernel panic'd 21.", "aacraid-dead"),
            (": mpt2sas1: fault_state(0x0d03)!", "mpt-dead"),
            ("print_req_error: I/O error, dev sdd, sector 4096", "disk-io-error"),
            ("end_request: I/O error, dev sdd, sector 4096", "disk-io-error"),
        ] {
            let ids: Vec<_> = judged(line, 1).issues.iter().map(|issue| issue.signature).collect();
            assert_eq!(ids, [Some(expected)], "{line}");
        }
    }

    /// More of them, with the part that each is about.
    const NAMED: &[(&str, &str, &str)] = &[
        (
            "sd 0:0:3:0: [sdd] tag#5 Add. Sense: Hardware impending failure general hard drive \
             failure",
            "disk-predicts-failure",
            "sdd",
        ),
        (
            "sd 0:0:3:0: [sdd] tag#5 Add. Sense: Media impending failure data error rate too high",
            "disk-predicts-failure",
            "sdd",
        ),
        ("sdd: Current: sense key: Medium Error", "disk-medium-error", "sdd"),
        ("be2net 0000:3b:00.0: Error detected in the adapter", "nic-dead", "0000:3b:00.0"),
        ("be2net 0000:3b:00.0: Error detected in the card", "nic-dead", "0000:3b:00.0"),
        ("be2net 0000:3b:00.0: UE: MPU bit set", "nic-dead", "0000:3b:00.0"),
        (
            "[qed_mcp_cmd_and_union:488(eth4)]The MFW failed to respond to command 0x20000000",
            "nic-dead",
            "",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) \
             detected!",
            "amdgpu-dead",
            "0000:3b:00.0",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: {1}socket: 0, die: 0, 1 new deferred hardware errors \
             detected in umc block",
            "amdgpu-ras",
            "0000:3b:00.0",
        ),
        (
            "NVRM: krcWatchdog_IMPL: RC watchdog: GPU is probably locked! Notify Timeout \
             Seconds: 7",
            "gpu-hang",
            "",
        ),
        ("nvme nvme3: IO queues lost", "nvme-dead", "nvme3"),
        ("nvme nvme3: IO queues not created", "nvme-dead", "nvme3"),
        ("nvme nvme3: Could not set queue count (-4)", "nvme-dead", "nvme3"),
        (
            "device offline error, dev sdd, sector 4096 op 0x1:(WRITE) flags 0x800",
            "disk-io-error",
            "sdd",
        ),
        ("recoverable transport error, dev sdd, sector 4096", "disk-io-error", "sdd"),
        ("device-mapper: crypt: dm-3: INTEGRITY AEAD ERROR, sector 12345", "dm-damaged", ""),
        ("device-mapper: raid1: All sides of mirror have failed.", "dm-damaged", ""),
        (
            "device-mapper: snapshots: Invalidating snapshot: Error reading/writing.",
            "dm-stopped",
            "",
        ),
        ("bcache: bch_cache_set_error() error on 11d2-88: , disabling caching", "bcache-error", ""),
        (
            "bcache: bch_count_backing_io_errors() sdd: IO error on backing device",
            "bcache-error",
            "sdd",
        ),
        (
            "XFS (sdd1): Failing async write on buffer block 0x4bf0. Retrying async write.",
            "fs-warning",
            "sdd1",
        ),
        ("XFS (sdd1): SB validate failed with error -117.", "fs-warning", "sdd1"),
        ("F2FS-fs (sdd1): inconsistent node block, nid:7", "fs-warning", "sdd1"),
        ("BTRFS warning (device sdd1): devid 2 uuid 11d2-88 is missing", "fs-warning", "sdd1"),
        (
            "EXT4-fs (sdd1): ext4_check_descriptors: Checksum for group 0 failed (28163!=0)",
            "ext4-error",
            "sdd1",
        ),
        ("EXT4-fs (sdd1): group descriptors corrupted!", "ext4-error", "sdd1"),
        ("EXT4-fs (sdd1): error loading journal", "ext4-error", "sdd1"),
        ("JBD2: journal transaction 123 on sdd1-8 is corrupt.", "journal-aborted", ""),
        (
            "BTRFS error (device sdd1): error writing primary super block to device 1",
            "btrfs-error",
            "sdd1",
        ),
        ("BTRFS error (device sdd1): failed to read the system array: -5", "btrfs-error", "sdd1"),
        (
            "BTRFS critical (device sdd1): unable to find logical 1234 length 4096",
            "btrfs-error",
            "sdd1",
        ),
        (
            "BTRFS error (device sdd1): level verify failed on logical 88 mirror 1 wanted 1 \
             found 0",
            "btrfs-error",
            "sdd1",
        ),
        (
            "md/raid10:md4: sdd1: Raid device exceeded read_error threshold [cur 21:max 20]",
            "md-disk-failed",
            "sdd1",
        ),
        ("md/raid10:md4: sdd1: Failing raid device", "md-disk-failed", "sdd1"),
        ("ata5: SRST failed (errno=-16)", "ata-resets", "ata5"),
        ("ata5.00: failed to set xfermode (err_mask=0x4)", "ata-no-answer", "ata5"),
        ("ata5: failed to recover some devices, retrying in 5 secs", "ata-no-answer", "ata5"),
        ("ata5: port failed to respond (30 secs, Status 0xd0)", "ata-no-answer", "ata5"),
        (
            "sd 0:0:3:0: WARNING: (0x06:0x002C): Command (0x2a) timed out, resetting card.",
            "controller-reset",
            "0:0:3:0",
        ),
        (
            "megaraid_sas 0000:3b:00.0: [ 5]waiting for 12 commands to complete for scsi0",
            "controller-reset",
            "0000:3b:00.0",
        ),
        ("mpt3sas_cm0: Command Timeout", "controller-reset", "mpt3sas_cm0"),
        (
            "qla2xxx [0000:3b:00.0]-801c:1: Abort command issued nexus=1:0:12 -- 2002.",
            "controller-retries",
            "0000:3b:00.0",
        ),
        (
            "lpfc 0000:3b:00.0: 0:(0):0203 Devloss timeout on WWPN 50:00 NPort x1 Data: x0",
            "fc-port-lost",
            "0000:3b:00.0",
        ),
        (
            "megaraid_sas 0000:3b:00.0: 812 (60s/0x0001/FATAL) - VD 00/0 is now OFFLINE",
            "raid-degraded",
            "0000:3b:00.0",
        ),
        (
            "megaraid_sas 0000:3b:00.0: 9 (60s/0x0020/CRIT) - Controller temperature threshold \
             exceeded",
            "device-hot",
            "",
        ),
        ("ahci: probe of 0000:3b:00.0 failed with error -5", "hba-not-started", "0000:3b:00.0"),
        ("igb: probe of 0000:3b:00.0 failed with error -5", "nic-not-started", "0000:3b:00.0"),
        (
            "igb 0000:3b:00.0: probe with driver igb failed with error -5",
            "nic-not-started",
            "0000:3b:00.0",
        ),
        (
            "[qed_mcp_handle_fan_failure:9(eth4)]Fan failure was detected on the network \
             interface card and it's going to be shut down.",
            "nic-overheated",
            "",
        ),
        ("i40e 0000:3b:00.0: ARQ Critical Error detected", "nic-reset", "0000:3b:00.0"),
        (
            "tg3 0000:3b:00.0 eth4: tg3_abort_hw timed out, TX_MODE_ENABLE will not clear \
             MAC_TX_MODE=ffffffff",
            "nic-reset",
            "eth4",
        ),
        (
            "r8169 0000:3b:00.0 eth4: PCI error (cmd = 0x0407, status_errs = 0x2000)",
            "nic-reset",
            "eth4",
        ),
        ("mlx4_en: eth4: Link Down", "link-flap", "eth4"),
        ("enic 0000:3b:00.0 eth4: Link DOWN", "link-flap", "eth4"),
        ("atlantic: link change old 1000 new 0", "link-flap", "atlantic"),
        (
            "pcieport 0000:3a:00.0: pciehp: Failed to check link status",
            "pcie-retrain",
            "0000:3a:00.0",
        ),
        (
            "pcieport 0000:3a:00.0: pciehp: Slot(3): Cannot train link: status 0x5001",
            "pcie-retrain",
            "0000:3a:00.0",
        ),
        ("Under-voltage detected! (0x00050005)", "power-supply", ""),
        ("i801_smbus 0000:00:1f.4: SMBus is busy, can't use it!", "i2c-stuck", "0000:00:1f.4"),
        ("mmc0: Card stuck being busy! mmc_poll_for_busy", "mmc-error", "mmc0"),
        ("mmc0: cqhci: timeout for tag 2", "mmc-error", "mmc0"),
        (
            "mmcblk0: timed out sending r/w cmd command, card status 0x400900",
            "mmc-error",
            "mmcblk0",
        ),
        ("mmc1: error -110 whilst initialising SD card", "mmc-error", "mmc1"),
        (
            "MCE: The hardware reports a non fatal, correctable incident occurred on CPU 0.",
            "mce-corrected",
            "",
        ),
        ("Kernel panic - not syncing: CPU context corrupt", "mce-fatal", ""),
        ("Kernel panic - not syncing: Unable to continue", "mce-fatal", ""),
        ("reboot: HARDWARE PROTECTION shutdown (Temperature too high)", "thermal-critical", ""),
    ];

    #[test]
    fn other_wordings_name_their_part() {
        for (line, expected, part) in NAMED {
            let row = signatures().find(|row| row.id == *expected);
            let issues = judged(line, row.map_or(1, |row| row.repeats)).issues;
            let found: Vec<_> = issues
                .iter()
                .map(|issue| (issue.signature, issue.component.as_deref().unwrap_or("")))
                .collect();
            assert_eq!(found, [(Some(*expected), *part)], "{line}");
        }
    }

    /// What a host says while it boots, or at any time, and works.
    #[test]
    fn what_healthy_hosts_say_is_no_sign() {
        for (usec, line) in [
            (SETTLED_USEC, "sr 1:0:0:0: [sr0] tag#10 Sense Key : Hardware Error [current]"),
            (SETTLED_USEC, "sr 1:0:0:0: [sr0] tag#10 Sense Key : Aborted Command [current]"),
            (
                SETTLED_USEC,
                "EXT4-fs (sdd1): Delayed block allocation failed for inode 9 with error 28",
            ),
            (
                SETTLED_USEC,
                "EXT4-fs (sdd1): Delayed block allocation failed for inode 9 with error 122",
            ),
            (SETTLED_USEC, "XFS (sdd1): SB validate failed with error -22."),
            (SETTLED_USEC, "BTRFS error (device sdd1): failed to read the system array: -2"),
            (SETTLED_USEC, "mmc1: error -110 whilst initialising SDIO card"),
            (SETTLED_USEC, "amdgpu 0000:3b:00.0: amdgpu: 0 new deferred hardware errors detected"),
            (SETTLED_USEC, "atlantic: link change old 0 new 1000"),
            (
                BOOT_USEC,
                "mlx5_core 0000:3b:00.0: Detected insufficient power on the PCIe slot (26W).",
            ),
            (BOOT_USEC, "pci 0000:3a:00.0: retraining non-functional downstream link at 2.5GT/s"),
            (BOOT_USEC, "pcieport 0000:3a:00.0: retraining failed"),
            (BOOT_USEC, "ata5.00: exception Emask 0x10 SAct 0x0 SErr 0x4050002 action 0xe frozen"),
            (BOOT_USEC, "ata5: SRST failed (errno=-16)"),
            (BOOT_USEC, "DMAR: [DMA Read] Request device [3b:00.0] fault addr 0xdead0000"),
            (BOOT_USEC, "sd 0:0:3:0: Power-on or device reset occurred"),
        ] {
            assert_eq!(judged_at(usec, line, 100).issues, [], "{line}");
        }
    }

    #[test]
    fn one_interrupt_without_a_reason_is_one_issue() {
        let lines = [
            "Uhhuh. NMI received for unknown reason 20.",
            "You probably have a hardware problem with your RAM chips",
        ];
        let records: Vec<_> = lines.iter().map(|line| Record::from_text(line)).collect();
        let ids: Vec<_> = judge(&records).issues.iter().map(|issue| issue.signature).collect();
        assert_eq!(ids, [Some("nmi-memory")]);
    }
}
