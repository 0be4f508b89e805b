//! The signatures themselves: what kernels print when hardware fails, and what only looks like it.
//!
//! Data, no logic; `signatures` matches it, and the rows about storage stand in `signature_storage`. The
//! wording is the kernel's own (drivers/edac, acpi/apei, pci/pcie, net, gpu; arch/x86). In a pattern `*` is
//! any text between two fragments. A record counts for the first row that it fits, so within a subject the
//! graver row stands first. A row is here only when its line means trouble on any host: what needs judgement
//! is left to a model.

use super::Category::{self, Driver, Memory, Network, Thermal};
use super::Severity;

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
    /// The last PCI address: a root port reports on behalf of the device that it names behind itself.
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

/// Records that are never a sign, whatever they quote: the firmware's bugs, user space's doings, and lines
/// that carry text which anybody may choose.
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

/// What is not storage.
pub(super) const MACHINE: &[Signature] = &[
    // Memory and the processor.
    critical(
        Memory,
        Part::None,
        &[
            "Kernel panic - not syncing: *machine check",
            "Kernel panic - not syncing: *Machine check",
            "Machine check: Processor context corrupt",
            "[Hardware Error]: *Machine Check Exception: ",
            "[Hardware Error]: System Fatal error",
            "[Hardware Error]: Uncorrected",
            "machine check (Severe)",
        ],
        "the processor reported an uncorrected machine check: data was lost",
    ),
    critical(
        Memory,
        Part::None,
        &[
            "due to hardware memory corruption",
            "Uncorrected hardware memory error",
            "Memory failure: 0x",
            "Unrecoverable hardware memory error",
        ],
        "memory failed beyond what ECC corrects; its users may have been killed",
    )
    .unless(&["Memory failure: *already hardware poisoned"]),
    critical(
        Memory,
        Part::After(" on "),
        &["EDAC * UE ", "EDAC * UE: "],
        "uncorrectable memory error",
    ),
    warning(
        Memory,
        Part::After(" on "),
        &["EDAC * CE ", "EDAC * CE: "],
        "memory errors are being corrected by ECC",
    ),
    critical(
        Memory,
        Part::None,
        &["bad mem addr * reserved"],
        "the memory test at boot found bad memory",
    ),
    warning(
        Memory,
        Part::None,
        &["Soft offlining pfn", "Soft-offlining pfn", "soft offline: 0x", "soft_offline: 0x"],
        "a page with repeated corrected errors was taken out of use",
    ),
    critical(
        Driver,
        Part::Section,
        &["[Hardware Error]: event severity: fatal"],
        "firmware reported a fatal hardware error",
    ),
    critical(
        Driver,
        Part::Section,
        &[
            "Kernel panic - not syncing: Fatal hardware error",
            "[Hardware Error]: event severity: panic",
        ],
        "the kernel stopped on a fatal hardware error",
    ),
    critical(
        Driver,
        Part::Section,
        &["[Hardware Error]: event severity: recoverable"],
        "firmware reported an uncorrected hardware error that can be survived",
    ),
    warning(
        Driver,
        Part::Section,
        &["[Hardware Error]: event severity: corrected"],
        "firmware reported corrected hardware errors",
    ),
    warning(
        Driver,
        Part::None,
        &["BERT: Error records from previous boot", "BERT: *Skipped * error records"],
        "firmware kept hardware errors from before the last boot",
    ),
    warning(
        Memory,
        Part::None,
        &["[Hardware Error]: Deferred error"],
        "uncorrectable data was found before anything used it (deferred error)",
    ),
    warning(
        Memory,
        Part::None,
        &["[Hardware Error]: Corrected error", "machine check (Warning)"],
        "the processor corrected hardware errors",
    ),
    warning(
        Memory,
        Part::None,
        &["Machine check events logged", "[Hardware Error]: *Machine Check: "],
        "machine check events were logged: the processor saw hardware errors",
    ),
    // PCI Express, the IOMMU and interrupts.
    critical(
        Driver,
        Part::PciLast,
        &[
            "severity=Uncorrect*(Fatal)",
            "AER: *Uncorrect*(Fatal)",
            "AER: can't recover",
            "AER: device recovery failed",
            "DPC: containment event",
        ],
        "a fatal PCIe error: the link or the device behind it failed",
    ),
    critical(
        Driver,
        Part::PciLast,
        &["severity=Uncorrect*(Non-Fatal)", "AER: *Uncorrect*(Non-Fatal)"],
        "an uncorrected PCIe error: a transaction was lost",
    ),
    warning(
        Driver,
        Part::PciLast,
        &["AER: Correct", "AER: Multiple Correct", "severity=Correct", "AER: aer_status: "],
        "PCIe errors are being corrected: the link or the device is marginal",
    )
    .unless(&["AER: enabled with"]),
    critical(
        Driver,
        Part::Head,
        &["(config space inaccessible)", "Unable to change power state from *device inaccessible"],
        "the device no longer answers on PCIe",
    ),
    critical(
        Driver,
        Part::Head,
        &["not ready *ms after *; giving up"],
        "the device did not come back after a reset",
    ),
    warning(
        Driver,
        Part::Head,
        &["retraining failed"],
        "the PCIe link could not be trained to its speed",
    ),
    warning(
        Driver,
        Part::Head,
        &["pciehp: Slot(*): Link Down"],
        "the PCIe link of this slot keeps going down",
    )
    .from(3)
    .settled(),
    warning(
        Driver,
        Part::PciLast,
        &["DMAR: [*fault addr", "AMD-Vi: Event logged [IO_PAGE_FAULT", "arm-smmu* event 0x"],
        "a device keeps accessing memory that it was not given",
    )
    .from(10),
    warning(
        Driver,
        Part::None,
        &[
            "AMD-Vi: Completion-Wait loop timed out",
            "Invalidation Queue Error",
            "Invalidation Time-out Error",
        ],
        "the IOMMU does not get answers from a device",
    ),
    critical(
        Driver,
        Part::None,
        &[
            "NMI: IOCK error",
            "NMI: PCI system error (SERR)",
            "NMI: Not continuing",
            "An NMI occurred",
        ],
        "the hardware raised a non-maskable interrupt for an error on its buses",
    ),
    warning(
        Driver,
        Part::None,
        &["NMI received for unknown reason", "NMI: *for unknown reason"],
        "a non-maskable interrupt came without a reason",
    ),
    warning(
        Driver,
        Part::After("irq "),
        &["irq *: nobody cared"],
        "an interrupt that no driver claims was shut off",
    ),
    warning(
        Driver,
        Part::Head,
        &["HC died; cleaning up", "host controller not responding, assume dead"],
        "the USB controller died",
    ),
    // Network.
    critical(
        Thermal,
        Part::Head,
        &[
            "Network adapter has been stopped because it has over",
            "stopped because it has overheated",
        ],
        "the network adapter overheated and stopped",
    ),
    warning(Thermal, Part::Head, &["mlx*High temperature"], "the network adapter is too hot"),
    critical(
        Network,
        Part::Head,
        &[
            ": Adapter removed",
            "irmware recovery mode detected",
            "firmware error detected",
            "PCIe link lost",
            "Received ECC Err, initiating reset",
            "device's health compromised",
            "mlx*Internal error detected",
            "mlx*Fatal error",
            "mlx*firmware internal error",
            "bnx2x*MC assert!",
            "bnx2x*FW assert",
            "bnxt_en*Firmware not responding",
            "bnxt_en*FW reported fatal",
            "NVM Checksum Is Not Valid",
        ],
        "the network adapter or its firmware failed",
    ),
    warning(
        Network,
        Part::After("WATCHDOG: "),
        &[
            "NETDEV WATCHDOG: * (*transmit",
            "NETDEV WATCHDOG: * (*timed out",
            "NETDEV WATCHDOG: * (",
        ],
        "the network adapter stopped sending (transmit timeout)",
    )
    .unless(&["NETDEV WATCHDOG: CPU"]),
    warning(
        Network,
        Part::Head,
        &[
            "NETDEV WATCHDOG: CPU",
            "Reset adapter",
            "Detected Hardware Unit Hang",
            "Detected Tx Unit Hang",
            "tx hang *detected, resetting adapter",
            "initiating reset due to tx timeout",
            "transmit timed out, resetting",
            "hw csum failure",
            "igc*failed to read reg",
            "mlx*timeout. Will cause a leak",
            "mlx5_core*probe of *failed with error",
            "mlx*Port module event[error]",
            "i40e*PF reset failed",
            "ice *PF reset failed",
        ],
        "the network adapter hangs or had to be reset",
    ),
    warning(
        Network,
        Part::After("for interface "),
        &["link status definitely down for interface "],
        "the link keeps going down: suspect the cable, the transceiver or the switch port",
    )
    .from(3),
    warning(
        Network,
        Part::Head,
        &["Link is Down", "Link is down", "link is down", ": Link down", ": link down"],
        "the link keeps going down: suspect the cable, the transceiver or the switch port",
    )
    .unless(&["SATA", "ata", "pciehp", "usb"])
    .from(3)
    .settled(),
    // Heat.
    critical(
        Thermal,
        Part::Head,
        &[
            "ritical temperature reached",
            "HARDWARE PROTECTION shutdown (Temperature",
            "GPU over temperature range",
        ],
        "a critical temperature was reached",
    ),
    critical(
        Thermal,
        Part::None,
        &["GPU HW Critical Temperature Fault", "emperature * hit the 'shutdown' threshold"],
        "a device reached its critical temperature",
    ),
    warning(
        Thermal,
        Part::None,
        &["emperature above threshold", "emperature * hit the 'critical' threshold"],
        "the processor or a device is too hot and slows itself down",
    ),
    // Graphics and compute adapters.
    critical(
        Driver,
        Part::After("NVRM: Xid ("),
        &[
            "NVRM: Xid (*): 48,",
            "NVRM: Xid (*): 62,",
            "NVRM: Xid (*): 64,",
            "NVRM: Xid (*): 74,",
            "NVRM: Xid (*): 79,",
            "NVRM: Xid (*): 95,",
            "NVRM: Xid (*): 119,",
            "NVRM: Xid (*): 120,",
            "NVRM: Xid (*): 140,",
        ],
        "the GPU reports a hardware failure (Xid)",
    ),
    critical(
        Driver,
        Part::PciLast,
        &["GPU has fallen off the bus", "NVRM: *RmInitAdapter failed", "NVRM: *GPU is lost"],
        "the GPU is lost or cannot be started",
    ),
    warning(Driver, Part::After("NVRM: Xid ("), &["NVRM: Xid ("], "the GPU reports errors (Xid)")
        // These are mostly an application's own faults and its clean-up.
        .unless(&["): 13,", "): 31,", "): 43,", "): 45,"]),
    critical(
        Driver,
        Part::PciLast,
        &[
            "SMU is in hanged state",
            "SMU: response:0xFFFFFFFF",
            "amdgpu*device lost from bus",
            "amdgpu*GPU Recovery Failed",
            "amdgpu*GPU reset end with ret = -",
            "amdgpu*uncorrectable hardware errors detected",
        ],
        "the GPU hangs beyond recovery",
    )
    .unless(&["amdgpu*: 0 uncorrectable"]),
    warning(
        Driver,
        Part::PciLast,
        &["amdgpu*ring *timeout", "amdgpu*GPU reset begin", "i915 *GPU HANG", "radeon *GPU lockup"],
        "the GPU hung and was reset",
    ),
    warning(
        Driver,
        Part::PciLast,
        &["amdgpu* correctable hardware errors detected"],
        "the GPU's memory errors are being corrected",
    )
    .unless(&["amdgpu*: 0 correctable"]),
    // A kernel that waits for hardware.
    critical(
        Driver,
        Part::None,
        &[
            "Watchdog detected hard LOCKUP",
            "Kernel panic - not syncing: *LOCKUP",
            "Kernel panic - not syncing: *lockup",
            "Kernel panic - not syncing: *Watchdog",
            "Kernel panic - not syncing: *NMI",
        ],
        "a processor stopped responding",
    ),
    warning(
        Driver,
        Part::None,
        &[
            "BUG: soft lockup - CPU#",
            "stall on CPU",
            "detected stalls on CPUs",
            "detected expedited stalls on CPUs",
        ],
        "processors were stuck in the kernel, often because a device does not answer",
    ),
    warning(
        Driver,
        Part::None,
        &["INFO: task * blocked for more than "],
        "tasks wait for minutes, often for a disk that does not answer",
    ),
];
