//! The signatures of failing devices that are neither disk nor network: PCI Express and the IOMMU,
//! interrupts, graphics and compute adapters, and processors that wait for hardware.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/pci, iommu, usb, gpu; arch/x86; kernel), and NVIDIA's.

use super::Category::Driver;
use super::signature_table::{Part, Signature, critical, warning};

pub(super) const DRIVER: &[Signature] = &[
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
