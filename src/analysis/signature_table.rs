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

    fn judged(line: &str, times: u32) -> Verdict {
        let record = Record { usec: Some(SETTLED_USEC), ..Record::from_text(line) };
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
}
