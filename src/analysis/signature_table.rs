//! How a signature is written down, and what only looks like one.
//!
//! Data, no logic; `signature_match` matches it. The rows stand by subject in `signature_memory`,
//! `signature_thermal`, `signature_driver`, `signature_network` and `signature_storage`. In a
//! pattern `*` is any text between two fragments. A record counts for the first row that it fits,
//! so within a subject the graver row stands first. A row is there only when its line means trouble
//! on any host: what needs judgement is left to a model.

use super::{Category, Severity};

pub(super) struct Signature {
    pub(super) category: Category,
    pub(super) severity: Severity,
    /// Any of these makes a record count.
    pub(super) any: &'static [&'static str],
    /// None of these may fit the record.
    pub(super) unless: &'static [&'static str],
    pub(super) part: Part,
    /// So many records about one part make it an issue.
    pub(super) repeats: u32,
    /// So many make it critical, whatever `severity` says.
    pub(super) critical_at: u32,
    /// Records of the first minutes do not count: there they are ordinary.
    pub(super) settled: bool,
    /// What it means, for the operator.
    pub(super) meaning: &'static str,
}

/// Where a record names the part that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    None,
    /// The word that follows this.
    After(&'static str),
    /// The word before the first colon: `e1000e 0000:00:19.0 eno1: NIC Link is Down`.
    Head,
    /// `sdb` of `sd 0:0:1:0: [sdb] tag#3`.
    Disk,
    /// `ata3` of `ata3.00: exception`. A record that names no port does not count.
    Port,
    /// `nvme0` of `nvme0n1`. A record that names no controller does not count.
    Nvme,
    /// The last PCI address: a root port reports for the device that it names behind itself.
    PciLast,
    /// None, and the firmware's section says whether it is memory or another device.
    Section,
}

pub(super) const fn critical(
    category: Category,
    part: Part,
    any: &'static [&'static str],
    meaning: &'static str,
) -> Signature {
    Signature {
        category,
        severity: Severity::Critical,
        any,
        unless: &[],
        part,
        repeats: 1,
        critical_at: u32::MAX,
        settled: false,
        meaning,
    }
}

pub(super) const fn warning(
    category: Category,
    part: Part,
    any: &'static [&'static str],
    meaning: &'static str,
) -> Signature {
    Signature { severity: Severity::Warning, ..critical(category, part, any, meaning) }
}

impl Signature {
    pub(super) const fn unless(self, unless: &'static [&'static str]) -> Self {
        Self { unless, ..self }
    }

    pub(super) const fn from(self, repeats: u32) -> Self {
        Self { repeats, ..self }
    }

    pub(super) const fn critical_at(self, critical_at: u32) -> Self {
        Self { critical_at, ..self }
    }

    pub(super) const fn settled(self) -> Self {
        Self { settled: true, ..self }
    }
}

/// Records that are never a sign, whatever they quote: the firmware's bugs, user space's doings,
/// and lines that carry text which anybody may choose.
pub(super) const BENIGN: &[&str] = &[
    "Command line:",
    "audit: ",
    "audit(",
    ": Product: ",
    ": Manufacturer: ",
    ": SerialNumber: ",
    "ACPI Error",
    "ACPI Warning",
    "ACPI BIOS ",
    "[Firmware Bug]",
    "[Firmware Warn]",
    "[Firmware Info]",
    "EDAC *not loaded",
    "EDAC DEBUG",
    "EDAC *ECC disabled",
    "MCE: In-kernel MCE decoding enabled",
    "perf: interrupt took too long",
    "invoked oom-killer",
    "Out of memory: Kill",
    "oom-kill:",
    "floppy",
    "unable to enumerate USB device",
    "device descriptor read",
    "device not accepting address",
    "Direct firmware load for",
    "firmware: failed to load",
    "failed to load firmware",
    "available PCIe bandwidth, limited by",
    "NMI watchdog: Enabled",
    "NMI watchdog: Perf NMI watchdog permanently disabled",
    "segfault at",
    "traps: ",
];
