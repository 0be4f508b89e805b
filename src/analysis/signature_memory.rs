//! The signatures of failing memory and processors, and of what the firmware reports for them.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (arch/x86, drivers/edac, drivers/acpi/apei, mm/memory-failure.c).

use super::Category::{Driver, Memory};
use super::signature_table::{Part, Signature, critical, warning};

pub(super) const MEMORY: &[Signature] = &[
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
];
