//! The signatures of the buses: PCI Express, the IOMMU, interrupts, USB controllers, i2c.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/pci, iommu, usb, i2c; arch/x86, powerpc).

use super::Category::Driver;
use super::signature_table::{Part, Role, Signature, critical, warning};

const AER: &str = "drivers/pci/pcie/aer.c, err.c";

pub(super) const PCI: &[Signature] = &[
    Signature {
        id: "aer-fatal",
        any: &[
            "severity=Uncorrect*(Fatal)",
            "AER: *Uncorrect*(Fatal)",
            "AER: can't recover",
            "AER: device recovery failed",
            "AER: subordinate device reset failed",
            "^Error Severity*: Uncorrect*(Fatal)",
            "AER: *Uncorrectable (Fatal)",
            "DPC*containment event",
        ],
        part: Part::PciLast,
        meaning: "a fatal PCIe error: the link or the device behind it failed",
        action: "lspci -s names the device: reseat or replace it, then its slot or riser",
        example: "pcieport 0000:3a:00.0: AER: Uncorrected (Fatal) error received: 0000:3b:00.0",
        ..critical(Driver, "aer", AER)
    },
    Signature {
        id: "aer-nonfatal",
        any: &[
            "severity=Uncorrect*(Non-Fatal)",
            "AER: *Uncorrect*(Non-Fatal)",
            "^Error Severity*: Uncorrect*(Non-Fatal)",
        ],
        part: Part::PciLast,
        meaning: "an uncorrected PCIe error: a transaction was lost",
        action: "lspci -s names the device: update its firmware, reseat it; replace it when the \
                 errors come again",
        example: "nic 0000:3b:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=x",
        ..critical(Driver, "aer", AER)
    },
    // One error alone is nothing.
    Signature {
        id: "aer-corrected",
        any: &[
            "AER: Correct",
            "AER: Multiple Correct",
            "severity=Correct",
            "AER: aer_status: ",
            "aer_layer=",
            "Correctable Errors reported by",
        ],
        unless: &["AER: enabled with"],
        part: Part::PciLast,
        repeats: 2,
        meaning: "PCIe errors are being corrected: the link or the device is marginal",
        action: "reseat the card, its riser or cable; update its firmware; pcie_aspm=off tells \
                 whether power saving is at fault",
        example: "pcieport 0000:3a:00.0: AER: Correctable error message received from 0000:3b:00.0",
        ..warning(Driver, "aer", AER)
    },
    Signature {
        id: "pci-inaccessible",
        any: &[
            "(config space inaccessible)",
            "device inaccessible",
            "device lost from bus",
            "Surprise Down Error",
        ],
        part: Part::PciLast,
        meaning: "the device no longer answers on PCIe",
        action: "power-cycle the host (a reboot may not do); reseat or replace the device",
        example: "mydev 0000:3b:00.0: can't change power state to D0 (config space inaccessible)",
        ..critical(Driver, "pci", "drivers/pci/pci.c")
    },
    Signature {
        id: "pci-reset-failed",
        any: &["not ready *ms after *; giving up"],
        part: Part::PciLast,
        meaning: "the device did not come back after a reset",
        action: "power-cycle the host; replace the device when it happens again",
        example: "pci 0000:3b:00.0: not ready 65535ms after FLR; giving up",
        ..critical(Driver, "pci", "drivers/pci/pci.c")
    },
    Signature {
        id: "resume-failed",
        any: &["PM: *failed to resume*: error -", "PM: *failed to restore*: error -"],
        part: Part::PciLast,
        meaning: "a device did not come back from sleep",
        action: "update its driver and firmware; power-cycle the host when it stays away",
        example: "nic 0000:3b:00.0: PM: failed to resume async: error -110",
        ..warning(Driver, "pm", "drivers/base/power/main.c")
    },
    Signature {
        id: "pcie-power-fault",
        any: &["pciehp*Power fault", "Power fault on slot"],
        part: Part::PciLast,
        meaning: "the power of a PCIe slot failed",
        action: "remove the card and look for damage; try it in another slot",
        example: "pcieport 0000:3a:00.0: pciehp: Slot(12): Power fault",
        ..critical(Driver, "pciehp", "drivers/pci/hotplug/pciehp_ctrl.c")
    },
    Signature {
        id: "pcie-retrain",
        any: &[
            "retraining failed",
            "retraining non-functional downstream link",
            "pciehp*Failed to check link status",
            "pciehp*Cannot train link: status",
        ],
        part: Part::PciLast,
        settled: true,
        meaning: "the PCIe link could not be trained to its speed",
        action: "reseat the card, its riser or cable; lspci -vv shows LnkSta against LnkCap",
        example: "pcieport 0000:3a:00.0: retraining failed",
        ..warning(Driver, "pci", "drivers/pci/quirks.c")
    },
    Signature {
        id: "pcie-downtrained",
        any: &["pcieport *available PCIe bandwidth, limited by"],
        part: Part::PciLast,
        settled: true,
        meaning: "the PCIe link runs slower than before",
        action: "reseat the card, its riser or cable; lspci -vv shows LnkSta against LnkCap",
        example: "pcieport 0000:3a:00.0: 15.752 Gb/s available PCIe bandwidth, limited by 8.0 GT/s \
                  PCIe x2 link at 0000:3a:00.0 (capable of 63.008 Gb/s with 16.0 GT/s PCIe x4 \
                  link)",
        ..warning(Driver, "pci", "drivers/pci/pcie/bw_notification.c (5.1 to 5.10)")
    },
    Signature {
        id: "pcie-link-flap",
        any: &["pciehp: Slot(*): Link Down", "pciehp: Slot(*): Card not present"],
        part: Part::PciLast,
        repeats: 3,
        settled: true,
        meaning: "the PCIe link of this slot keeps going down",
        action: "reseat the card, its riser or cable; then try another slot",
        example: "pcieport 0000:3a:00.0: pciehp: Slot(12): Link Down",
        ..warning(Driver, "pciehp", "drivers/pci/hotplug/pciehp_ctrl.c")
    },
    Signature {
        id: "eeh-frozen",
        any: &[
            "EEH: Frozen P",
            "EEH: PHB#* failure detected",
            "EEH: *has failed *times",
            "EEH: Unable to recover from failure",
        ],
        part: Part::PciLast,
        meaning: "the platform froze a PCI slot after errors of its device",
        action: "lspci -s names the device: reseat or replace it (opal-elog-parse -l, lsslot)",
        example: "EEH: Frozen PHB#3-PE#fd detected",
        ..critical(Driver, "eeh", "arch/powerpc/kernel/eeh.c, eeh_driver.c")
    },
    Signature {
        id: "rtas-error",
        any: &[
            "^RTAS: event: *Severity: ",
            "Check RTAS error log for details",
            "Hardware platform error: ",
        ],
        meaning: "the platform's firmware logged an error",
        action: "read it with rtas_errd or errpt and call for service",
        example: "RTAS: event: 12, Type: Platform Error (224), Severity: 2",
        ..warning(Driver, "powerpc", "arch/powerpc/platforms/pseries/ras.c")
    },
    Signature {
        id: "edac-pci",
        any: &["^EDAC PCI*arity Error", "^EDAC PCI*Signaled System Error"],
        part: Part::PciLast,
        meaning: "a PCI device or bridge saw parity errors",
        action: "lspci -s names the device: reseat or replace it",
        example: "EDAC PCI: Detected Parity Error on 0000:3b:00.0",
        ..warning(Driver, "edac", "drivers/edac/edac_pci_sysfs.c")
    },
    Signature {
        id: "iommu-hardware",
        any: &[
            "AMD-Vi: Completion-Wait loop timed out",
            "Invalidation Queue Error",
            "Invalidation Time-out Error",
            "_HARDWARE_ERROR ",
            "IOTLB_INV_TIMEOUT",
            "CMD_SYNC timeout",
            "RMP_HW_ERROR",
        ],
        unless: &["Error (IQE) cleared", "Error (ITE) cleared"],
        part: Part::PciLast,
        meaning: "the IOMMU does not get answers from a device",
        action: "look for the device in the lines around it; power-cycle the host, update the \
                 device's firmware",
        example: "DMAR: VT-d detected Invalidation Time-out Error: SID 0",
        ..warning(Driver, "iommu", "drivers/iommu/amd/iommu.c, drivers/iommu/intel/dmar.c")
    },
    // Firmware that forgot a region makes some at boot.
    Signature {
        id: "iommu-fault",
        any: &[
            "DMAR:*Request device [*fault ",
            "IO_PAGE_FAULT ",
            "INVALID_DEVICE_REQUEST",
            "^arm-smmu*event 0x",
            "^arm-smmu*Unhandled context fault",
        ],
        part: Part::PciLast,
        repeats: 3,
        settled: true,
        meaning: "a device keeps accessing memory that it was not given",
        action: "lspci -s names the device: update its driver and firmware; a failing device does \
                 this too",
        example: "DMAR: [DMA Write NO_PASID] Request device [3b:00.0] fault addr 0xdead0000",
        ..warning(Driver, "iommu", "drivers/iommu/intel/dmar.c, drivers/iommu/amd/iommu.c")
    },
    Signature {
        id: "nmi-bus",
        any: &[
            "^NMI: IOCK error",
            "^NMI: PCI system error (SERR)",
            "^NMI: Not continuing",
            "An NMI occurred",
        ],
        meaning: "the hardware raised a non-maskable interrupt for an error on its buses",
        action: "the BMC's event log (ipmitool sel list) names the part: replace it",
        example: "NMI: IOCK error (debug interrupt?) for reason 71 on CPU 0.",
        ..critical(Driver, "nmi", "arch/x86/kernel/nmi.c, drivers/watchdog/hpwdt.c")
    },
    Signature {
        id: "nmi-unknown",
        any: &["NMI received for unknown reason", "^NMI: *for unknown reason"],
        role: Role::Echo,
        meaning: "a non-maskable interrupt came without a reason",
        action: "look in the BMC's event log; update the firmware when it stays silent",
        example: "Uhhuh. NMI received for unknown reason 3d on CPU 9.",
        ..warning(Driver, "nmi", "arch/x86/kernel/nmi.c")
    },
    Signature {
        id: "irq-nobody-cared",
        any: &["^irq *: nobody cared"],
        part: Part::After("irq "),
        meaning: "an interrupt that no driver claims was shut off",
        action: "cat /proc/interrupts shows who shares it: update that device's driver and \
                 firmware",
        example: "irq 17: nobody cared (try booting with the \"irqpoll\" option)",
        ..warning(Driver, "irq", "kernel/irq/spurious.c")
    },
    Signature {
        id: "usb-controller-dead",
        any: &[
            "HC died; cleaning up",
            "ontroller not responding, assume dead",
            "host not responding to stop endpoint command",
            "hci*WARNING: Host System Error",
            "hci*: fatal error",
        ],
        part: Part::Head,
        meaning: "the USB controller died",
        action: "unbind and bind it again, or power-cycle the host; replace the board or card when \
                 it happens again",
        example: "xhci_hcd 0000:00:14.0: HC died; cleaning up",
        ..warning(Driver, "usb", "drivers/usb/core/hcd.c, drivers/usb/host/xhci-ring.c")
    },
    Signature {
        id: "usb-over-current",
        any: &["over-current condition", "over-current change"],
        part: Part::Head,
        repeats: 3,
        settled: true,
        meaning: "a USB port draws too much current",
        action: "unplug what is connected to the port; else the port or its wiring is damaged",
        example: "usb usb1-port3: over-current condition",
        ..warning(Driver, "usb", "drivers/usb/core/hub.c")
    },
    Signature {
        id: "i2c-stuck",
        any: &[
            "SCL is stuck low",
            "SMBus Timeout!",
            "^i2c_designware *controller timed out",
            "SMBus is busy, can't use it!",
        ],
        part: Part::Head,
        repeats: 5,
        meaning: "an i2c or SMBus does not answer",
        action: "a device holds the bus: power-cycle the host; sensors and memory data are not \
                 read until then",
        example: "i2c_designware AMDI0010:02: controller timed out",
        ..warning(Driver, "i2c", "drivers/i2c/busses")
    },
    Signature {
        id: "power-supply",
        any: &[
            "ndervoltage detected",
            "PSU under voltage",
            "PSU over voltage",
            "Loss of system power",
            "nder-voltage detected",
        ],
        part: Part::Head,
        meaning: "the power supply does not hold its voltage",
        action: "check the power supplies and their feed (ipmitool sdr type 'Power Supply'); \
                 replace the one that is named",
        example: "hwmon hwmon1: Undervoltage detected!",
        ..warning(Driver, "hwmon", "drivers/hwmon, drivers/watchdog/wdt.c, arch/powerpc")
    },
    Signature {
        id: "ipmi-dead",
        any: &[
            "^ipmi*BMC *not respond",
            "KCS in invalid state",
            "SMIC in invalid state",
            "BT in invalid state",
        ],
        part: Part::Head,
        repeats: 3,
        meaning: "the BMC does not answer",
        action: "reset it (ipmitool mc reset cold, or unplug the host); replace the board when it \
                 stays silent",
        example: "ipmi_si 0000:3b:00.0: KCS in invalid state 9",
        ..warning(Driver, "ipmi", "drivers/char/ipmi")
    },
];
