//! The signatures of failing memory and processors, and of what the firmware reports for them.
//!
//! Data and what it needs to read a status; `signature_table` says how to read a row and
//! `signature_match` matches it. The wording is the kernel's own (arch, drivers/edac,
//! drivers/acpi/apei, mm/memory-failure.c).

use super::Category::{Driver, Memory};
use super::signature_table::{Part, Role, Signature, critical, warning};

const MCE: &str = "arch/x86/kernel/cpu/mce/core.c (mcheck/mce.c before 4.20)";
const EDAC: &str = "drivers/edac/edac_mc.c";
const GHES: &str = "drivers/acpi/apei/ghes.c, drivers/firmware/efi/cper.c";
const NEXT_DECODE: &str = "decode the bank with mcelog or rasdaemon (ras-mc-ctl --errors)";

pub(super) const MEMORY: &[Signature] = &[
    Signature {
        id: "mce-fatal",
        any: &[
            "^Kernel panic - not syncing: *achine check",
            "^Kernel panic - not syncing: *achine Check",
            "^Kernel panic - not syncing: Timeout: Not all CPUs entered broadcast exception",
            "^Machine check: ",
            "^[Hardware Error]: *Machine Check Exception: ",
            "CPU *: Machine Check Exception: ",
            "CPU#*: Machine Check Exception: ",
            "Unexpected int18 (Machine Check)",
            "CPUs not responding to MCE broadcast",
            "^[Hardware Error]: System Fatal error",
            "^[Hardware Error]: Uncorrected",
            "^HARDWARE ERROR. This is *NOT* a software problem",
            "machine check (Severe)",
            "^Severe Machine check interrupt",
            "^Machine check in kernel mode",
            "^Kernel panic - not syncing: CPU context corrupt",
            "^Kernel panic - not syncing: Unable to continue",
        ],
        meaning: "the processor reported an uncorrected machine check: data was lost",
        action: "take the host out of service; find the part that the bank stands for with mcelog \
                 or rasdaemon and the BMC's event log (ipmitool sel list), and replace it",
        example: "mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 4: be0000000080",
        ..critical(Memory, "mce", MCE)
    },
    // Firmware may hand over at boot what stopped the host before.
    Signature {
        id: "mce-uncorrected",
        any: &["^[Hardware Error]: *Machine Check: * Bank ", "Machine Check: * Bank "],
        holds: is_uncorrected,
        role: Role::Echo,
        meaning: "a machine check bank holds an uncorrected error",
        action: "decode the bank with mcelog or rasdaemon; look in the BMC's event log, and \
                 replace the part it stands for when it comes again",
        example: "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 5: bea0000000000108",
        ..critical(Memory, "mce", MCE)
    },
    Signature {
        id: "memory-failure",
        any: &[
            "due to hardware memory corruption",
            "Uncorrected hardware memory error",
            "^Memory failure: 0x",
            "Unrecoverable hardware memory error",
            "Kernel accessed poison in user space",
            "Memory error not recovered",
            "Uncorrected memory error in page 0x",
            "^MCE 0x*page recovery: ",
            "synchronous unrecoverable error (SIGBUS)",
        ],
        unless: &["Memory failure: *already hardware poisoned"],
        meaning: "memory failed beyond what ECC corrects; its users may have been killed",
        action: "find the module in the BMC's event log or with ras-mc-ctl --errors and replace \
                 it; restart what was killed",
        example: "Memory failure: 0x12ab: recovery action for dirty LRU page: Recovered",
        ..critical(Memory, "memory-failure", "mm/memory-failure.c, arch/x86/mm/fault.c")
    },
    Signature {
        id: "nmi-memory",
        any: &["hardware problem with your RAM chips", "^NMI: *emory parity error"],
        meaning: "the hardware raised a non-maskable interrupt for a memory parity error",
        action: "test and replace the memory; the BMC's event log may name the module",
        example: "You probably have a hardware problem with your RAM chips",
        ..critical(Memory, "nmi", "arch/x86/kernel/traps.c (2.6)")
    },
    Signature {
        id: "edac-ue",
        any: &[
            "^EDAC * UE ",
            "^EDAC * UE: ",
            "^EDAC *: Fatal Error ",
            "^EDAC * FATAL ERRORS Found",
            "^EDAC *ncorrectable error",
        ],
        unless: &["NON-FATAL ERRORS"],
        part: Part::Module,
        meaning: "uncorrectable memory error",
        action: "replace the module that is named (ras-mc-ctl --layout shows its slot); until then \
                 move the load away, since data was lost",
        example: "EDAC MC2: 1 UE memory read error on DIMM_B1 (channel:1 slot:0)",
        ..critical(Memory, "edac", EDAC)
    },
    // One is enough: a delta holds minutes, and a module that is corrected once in each is failing.
    Signature {
        id: "edac-ce",
        any: &[
            "^EDAC * CE ",
            "^EDAC * CE: ",
            "^EDAC *Non-Fatal Error ",
            "^EDAC * NON-FATAL ERRORS Found",
            "^EDAC *orrected error",
        ],
        unless: &["ncorrected error"],
        part: Part::Module,
        meaning: "memory errors are being corrected by ECC",
        action: "count them (ras-mc-ctl --error-count); replace the module that is named when they \
                 come again, reseat it first if it is new",
        example: "EDAC MC2: 4 CE memory scrubbing error on DIMM_B1 (channel:1)",
        ..warning(Memory, "edac", EDAC)
    },
    Signature {
        id: "edac-mce",
        any: &["HANDLING MCE MEMORY ERROR", "HANDLING IBECC MEMORY ERROR"],
        role: Role::Echo,
        meaning: "the memory controller reported an error of its memory",
        action: "look for the line that names the module (EDAC MC0: 1 CE ...), and see edac-ce",
        example: "EDAC sbridge MC1: HANDLING MCE MEMORY ERROR",
        ..warning(Memory, "edac", "drivers/edac/sb_edac.c, skx_common.c")
    },
    Signature {
        id: "memtest-bad",
        any: &["bad mem addr * reserved"],
        meaning: "the memory test at boot found bad memory",
        action: "replace the memory; memtest86+ finds the module",
        example: "  0000000012340000 bad mem addr 0x0000000012345678 - 0x0000000012346000 reserved",
        ..critical(Memory, "memtest", "mm/memtest.c")
    },
    Signature {
        id: "soft-offline",
        any: &[
            "^Soft offlining pfn",
            "Soft-offlining pfn",
            "^soft offline: 0x",
            "^soft_offline: 0x",
        ],
        meaning: "a page with repeated corrected errors was taken out of use",
        action: "replace the module: grep HardwareCorrupted /proc/meminfo shows what is lost, \
                 ras-mc-ctl --errors where",
        example: "soft_offline: 0x1234: page already poisoned",
        ..warning(Memory, "memory-failure", "mm/memory-failure.c, drivers/ras/cec.c")
    },
    Signature {
        id: "arm-external-abort",
        any: &[
            "Asynchronous SError Interrupt",
            "^SError Interrupt on CPU",
            "^Internal error: synchronous external abort",
            "^Unhandled fault: synchronous external abort",
            "^Bad mode in Error handler",
        ],
        meaning: "the bus answered an access with an error (SError or external abort)",
        action: "look in the firmware's and the BMC's log for the device or the memory behind it; \
                 if it comes from one driver alone, update that",
        example: "SError Interrupt on CPU12, code 0x00000000be000011 -- SError",
        ..critical(Driver, "arm64", "arch/arm64/kernel/traps.c, arch/arm64/mm/fault.c")
    },
    Signature {
        id: "arm-ecc-abort",
        any: &["synchronous parity or ECC error", "synchronous parity error (translation"],
        meaning: "the processor read memory or a cache with a parity error",
        action: "find the module in the firmware's log and replace it",
        example: "Internal error: synchronous parity or ECC error: 96000018 [#1] SMP",
        ..critical(Memory, "arm64", "arch/arm64/mm/fault.c")
    },
    Signature {
        id: "hmi-severe",
        any: &["^Severe Hypervisor Maintenance interrupt", "^Fatal Hypervisor Maintenance"],
        meaning: "the processor reported a malfunction to the hypervisor",
        action: "read the OPAL or FSP error log (opal-elog-parse -l) and call for service",
        example: "Severe Hypervisor Maintenance interrupt [Not recovered]",
        ..critical(Memory, "powerpc", "arch/powerpc/platforms/powernv/opal-hmi.c")
    },
    Signature {
        id: "ghes-fatal",
        any: &["^[Hardware Error]: event severity: fatal", "^[Hardware Error]: severity: 1, fatal"],
        part: Part::Section,
        role: Role::Echo,
        meaning: "firmware reported a fatal hardware error",
        action: "the lines that follow name the section (memory, PCIe, processor); the BMC's event \
                 log (ipmitool sel list) mostly names the part: replace it",
        example: "{3}[Hardware Error]: event severity: fatal",
        ..critical(Driver, "ghes", GHES)
    },
    Signature {
        id: "ghes-panic",
        any: &[
            "^Kernel panic - not syncing: Fatal hardware error",
            "^[Hardware Error]: event severity: panic",
        ],
        part: Part::Section,
        role: Role::Echo,
        meaning: "the kernel stopped on a fatal hardware error",
        action: "as for ghes-fatal: the BMC's event log names the part",
        example: "Kernel panic - not syncing: Fatal hardware error!",
        ..critical(Driver, "ghes", GHES)
    },
    Signature {
        id: "ghes-recoverable",
        any: &[
            "^[Hardware Error]: event severity: recoverable",
            "^[Hardware Error]: severity: 0, recoverable",
        ],
        part: Part::Section,
        role: Role::Echo,
        meaning: "firmware reported an uncorrected hardware error that can be survived",
        action: "find the part by the section that follows and the BMC's event log; plan to \
                 replace it soon",
        example: "{3}[Hardware Error]: event severity: recoverable",
        ..critical(Driver, "ghes", GHES)
    },
    Signature {
        id: "ghes-corrected",
        any: &[
            "^[Hardware Error]: event severity: corrected",
            "^[Hardware Error]: severity: 2, corrected",
        ],
        part: Part::Section,
        role: Role::Echo,
        meaning: "firmware reported corrected hardware errors",
        action: "count them by the section that follows; replace or reseat the part when they come \
                 again",
        example: "{3}[Hardware Error]: event severity: corrected",
        ..warning(Driver, "ghes", GHES)
    },
    Signature {
        id: "bert-record",
        any: &["^BERT: Error records from previous boot"],
        role: Role::Echo,
        meaning: "firmware kept hardware errors from before the last boot",
        action: "the host stopped on a hardware error: read the section that follows and the BMC's \
                 event log",
        example: "BERT: Error records from previous boot:",
        ..warning(Driver, "bert", "drivers/acpi/apei/bert.c")
    },
    Signature {
        id: "mce-deferred",
        any: &["^[Hardware Error]: Deferred error"],
        role: Role::Echo,
        meaning: "uncorrectable data was found before anything used it (deferred error)",
        action: NEXT_DECODE,
        example: "[Hardware Error]: Deferred error, no action required.",
        ..warning(Memory, "mce", "drivers/edac/mce_amd.c")
    },
    Signature {
        id: "mce-corrected",
        any: &[
            "^[Hardware Error]: Corrected error",
            "machine check (Warning)",
            "^[Hardware Error]: Northbridge Error",
            "^[Hardware Error]: MC*_STATUS[",
            "DRAM ECC error detected on the NB",
            "^MCE: The hardware reports a non fatal, correctable incident",
        ],
        unless: &["_STATUS[*|UE|", "_STATUS[*|UC|"],
        role: Role::Echo,
        meaning: "the processor corrected hardware errors",
        action: NEXT_DECODE,
        example: "[Hardware Error]: Corrected error, no action required.",
        ..warning(Memory, "mce", "drivers/edac/mce_amd.c")
    },
    Signature {
        id: "mce-bank",
        any: &["^[Hardware Error]: *Machine Check: ", "^[Hardware Error]: *BANK "],
        role: Role::Echo,
        meaning: "machine check events were logged: the processor saw hardware errors",
        action: NEXT_DECODE,
        example: "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 7: 8c00004000010090",
        ..warning(Memory, "mce", MCE)
    },
    Signature {
        id: "mce-logged",
        any: &["^Machine check events logged", "CMCI storm detected"],
        role: Role::Echo,
        meaning: "machine check events were logged: the processor saw hardware errors",
        action: "read them with mcelog --client or ras-mc-ctl --errors: heat and corrected memory \
                 errors are logged so too",
        example: "mce: [Hardware Error]: Machine check events logged",
        ..warning(Memory, "mce", MCE)
    },
    Signature {
        id: "bad-page",
        any: &["^BUG: Bad page state in process", "^BUG: Bad page map in process"],
        meaning: "the kernel's account of a page is damaged: bad memory, or a driver's bug",
        action: "test the memory (memtest86+) when there is no ECC; else update the kernel",
        example: "BUG: Bad page state in process kworker/3:1  pfn:12ab3",
        ..warning(Memory, "mm", "mm/page_alloc.c, mm/memory.c")
    },
];

/// `Bank 5: bea0000000000108`: the processors' manuals call bit 61 of the status UC.
fn is_uncorrected(text: &str) -> bool {
    let status = text.split_once(" Bank ").and_then(|(_, rest)| rest.split_once(": "));
    let status = status.map_or("", |(_, rest)| rest);
    let digits = status.bytes().take_while(u8::is_ascii_hexdigit).count();
    digits == 16 && u64::from_str_radix(&status[..16], 16).is_ok_and(|status| status >> 61 & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bank_tells_whether_its_error_was_corrected() {
        for (text, expected) in [
            ("CPU 2: Machine Check: 0 Bank 5: bea0000000000108", true),
            ("CPU 2: Machine Check: 0 Bank 7: 8c00004000010090", false),
            ("CPU 2: Machine Check: 0 Bank 7: be00", false),
            ("CPU 2: Machine Check: 0 Bank 7", false),
        ] {
            assert_eq!(is_uncorrected(text), expected, "{text}");
        }
    }
}
