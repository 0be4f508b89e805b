//! What only looks like failing hardware, and why it is none.
//!
//! Data, no logic; `signature_match` matches it. A look-alike takes from a record the signatures
//! that it names, or all of them where it names none.

pub(super) struct LookAlike {
    pub(super) id: &'static str,
    /// As in a signature.
    pub(super) any: &'static [&'static str],
    /// The ids of the signatures that do not count beside it; all where it is empty.
    pub(super) beats: &'static [&'static str],
    pub(super) why: &'static str,
    pub(super) example: &'static str,
}

const IO: &[&str] = &["disk-io-error", "disk-sector-lost", "disk-medium-error", "disk-unreachable"];
const DISC: &[&str] = &[
    "disk-io-error",
    "disk-sector-lost",
    "disk-medium-error",
    "disk-unreachable",
    "disk-timeouts",
    "disk-predicts-failure",
];

pub(super) const LOOK_ALIKES: &[LookAlike] = &[
    LookAlike {
        id: "text-of-others",
        any: &[
            "^Command line:",
            "^Kernel command line:",
            "^audit: ",
            "^audit(",
            "^usb *: Product: ",
            "^usb *: Manufacturer: ",
            "^usb *: SerialNumber: ",
        ],
        beats: &[],
        why: "the line carries text that anybody may choose",
        example: "usb 1-3: Product: [Hardware Error]: Deferred error",
    },
    LookAlike {
        id: "acpi-notice",
        any: &["^ACPI Error", "^ACPI Warning", "^ACPI BIOS ", "^ACPI Exception"],
        beats: &[],
        why: "the firmware's tables have bugs on most hosts; the kernel goes on",
        example: "ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0], AE_NOT_FOUND",
    },
    LookAlike {
        id: "firmware-note",
        any: &["[Firmware Bug]", "[Firmware Warn]", "[Firmware Info]"],
        beats: &[],
        why: "the kernel found a fault of the firmware and works around it",
        example: "[Firmware Bug]: TSC_DEADLINE disabled due to Errata",
    },
    LookAlike {
        id: "firmware-missing",
        any: &[
            "Direct firmware load for",
            "firmware: failed to load",
            "failed to load firmware",
            "Failed to load firmware",
        ],
        beats: &[],
        why: "a file that is optional is not installed",
        example: "iwlwifi 0000:02:00.0: Direct firmware load for iwl-debug.bin failed with error \
                  -2",
    },
    LookAlike {
        id: "edac-off",
        any: &[
            "^EDAC *not loaded",
            "^EDAC DEBUG",
            "^EDAC *ECC disabled",
            "^EDAC *ECC is not enabled",
            "^EDAC *Error: F* not found",
            "^EDAC *not detected",
            "^EDAC MC: Ver:",
            "^EDAC *Giving out device",
        ],
        beats: &[],
        why: "the driver says that it has nothing to watch, or begins to",
        example: "EDAC amd64: Error: F0 not found, module not loaded",
    },
    LookAlike {
        id: "mce-set-up",
        any: &[
            "In-kernel MCE decoding enabled",
            "Correctable Errors collector initialized",
            "Thermal monitoring enabled",
            "CPU supports * MCE banks",
            "Package power limit n",
        ],
        beats: &[],
        why: "the kernel says what it will watch; limits of power are no heat",
        example: "mce: CPU0: Thermal monitoring enabled (TM1)",
    },
    LookAlike {
        id: "perf-throttled",
        any: &["^perf: interrupt took too long", "^perf samples too long"],
        beats: &[],
        why: "the profiler samples less often",
        example: "perf: interrupt took too long (2501 > 2500), lowering the sample rate",
    },
    LookAlike {
        id: "nmi-set-up",
        any: &["^NMI watchdog: Enabled", "Perf NMI watchdog permanently disabled"],
        beats: &[],
        why: "the kernel says whether it watches for lockups",
        example: "NMI watchdog: Perf NMI watchdog permanently disabled",
    },
    LookAlike {
        id: "out-of-memory",
        any: &[
            "invoked oom-killer",
            "^Out of memory: Kill",
            "^oom-kill:",
            "^oom_reaper: reaped",
            "page allocation failure",
        ],
        beats: &[],
        why: "the host has too much to do; its memory is sound",
        example: "Out of memory: Killed process 991 (stress-ng) total-vm:9kB",
    },
    LookAlike {
        id: "program-fault",
        any: &["]: segfault at ", "^traps: ", "trap invalid opcode", "trap divide error"],
        beats: &[],
        why: "a program failed, not the kernel",
        example: "traps: train[991] general protection fault ip:55d0 sp:7ffc error:0 in \
                  train[55d0]",
    },
    LookAlike {
        id: "kernel-tainted",
        any: &["module verification failed", "taints kernel", "loading out-of-tree module"],
        beats: &[],
        why: "a module from elsewhere was loaded",
        example: "nvidia: module license 'NVIDIA' taints kernel.",
    },
    LookAlike {
        id: "clocksource",
        any: &[
            "Marking clocksource",
            "^Clocksource *unstable",
            "^clocksource: timekeeping watchdog",
        ],
        beats: &[],
        why: "the kernel takes another clock",
        example: "clocksource: timekeeping watchdog on CPU3: Marking clocksource 'tsc' as unstable",
    },
    LookAlike {
        id: "usb-enumeration",
        any: &[
            "unable to enumerate USB device",
            "device descriptor read",
            "device not accepting address",
            "can't set config #",
            "unable to read config index",
        ],
        beats: &[],
        why: "something that was plugged in does not speak USB well",
        example: "usb usb1-port3: unable to enumerate USB device",
    },
    LookAlike {
        id: "probe-deferred",
        any: &[
            "probe deferral",
            "deferred probe pending",
            "EPROBE_DEFER",
            "failed with error -517",
        ],
        beats: &[],
        why: "a driver waits for another to be loaded",
        example: "mlx5_core 0000:3b:00.0: probe of 0000:3b:00.0 failed with error -517",
    },
    LookAlike {
        id: "pcie-slot-narrow",
        any: &["available PCIe bandwidth"],
        beats: &["aer-corrected", "pci-inaccessible", "link-flap"],
        why: "a driver says at its start that its slot has fewer lanes than its card",
        example: "igb 0000:3b:00.0: 31.504 Gb/s available PCIe bandwidth, limited by 8.0 GT/s PCIe \
                  x4 link at 0000:3a:00.0",
    },
    LookAlike {
        id: "floppy",
        any: &["floppy", " dev fd", " device fd", " on fd0"],
        beats: IO,
        why: "firmware announces a floppy drive that is not there",
        example: "blk_update_request: I/O error, dev fd0, sector 0",
    },
    LookAlike {
        id: "optical-disc",
        any: &[" dev sr", " device sr", ": [sr", "cdrom: ", "CDROM"],
        beats: DISC,
        why: "a disc is scratched or missing, whatever its drive calls it",
        example: "Buffer I/O error on dev sr0, logical block 0, async page read",
    },
    LookAlike {
        id: "no-disk",
        any: &[
            " dev loop",
            " device loop",
            " dev nbd",
            " device nbd",
            " dev ram",
            " dev zram",
            " dev mtdblock",
        ],
        beats: IO,
        why: "the device is a file, memory or a network connection",
        example: "Buffer I/O error on dev loop3, logical block 9, async page read",
    },
    LookAlike {
        id: "command-refused",
        any: &[
            "error, dev *WRITE_ZEROES",
            "error, dev *WRITE_SAME",
            "error, dev *DISCARD",
            "error, dev *op 0x3:",
            "error, dev *op 0x9:",
            "error, dev *op 0xd:",
        ],
        beats: IO,
        why: "controllers refuse WRITE SAME and UNMAP with these words; the kernel goes without",
        example: "critical target error, dev sda, sector 0 op 0x9:(WRITE_ZEROES) flags 0x800",
    },
    LookAlike {
        id: "disk-unplugged",
        any: &["Synchronize Cache(10) failed", "Synchronizing SCSI cache"],
        beats: &["disk-unreachable", "disk-timeouts"],
        why: "a disk that was taken out cannot be flushed",
        example: "sd 6:0:0:0: [sdb] Synchronize Cache(10) failed: Result: hostbyte=DID_NO_CONNECT",
    },
];
