//! The forms of events: how what the kernel prints in several records begins, goes on and ends.
//!
//! Data and the predicates that data cannot say; `event` drives it. A fragment with `^` stands at
//! the beginning of the text. Wordings are those of kernels from 2.6 to today; the file that prints
//! them is named beside each form.

use super::trace::is_trace_part;

const SECOND_USEC: u64 = 1_000_000;

pub(super) struct Form {
    /// What texts begin with that open it: almost no record is held against most forms. Empty: any.
    letters: &'static [u8],
    /// What a record is about, where all records of one event are about the same; empty when it
    /// does not say. `None`: no record of this form.
    subject: fn(&str) -> Option<&str>,
    /// Any of these begins an event.
    opens: &'static [&'static [&'static str]],
    /// What an event has once each, in this order: what comes again, or too late, is of the next.
    stages: &'static [&'static [&'static str]],
    goes_on: fn(&str) -> bool,
    ends: &'static [&'static str],
    /// These only announce what the next record says.
    announces: &'static [&'static str],
    /// These say what happened better than the record that comes first.
    says: &'static [&'static str],
    /// After what announces comes a message in any words.
    pub(super) takes_message: bool,
    /// Its records tell one error between them, however often they use the same words.
    pub(super) tells_one: bool,
    /// Records further apart than this are no one event.
    pub(super) patience_usec: u64,
}

impl Form {
    /// The form that a text begins an event of, and what that is about.
    pub(super) fn opened_by(text: &str) -> Option<(&'static Self, &str)> {
        let first = text.as_bytes().first().map_or(0, |first| OPENED_BY[usize::from(*first)]);
        let may = |at: &usize| first & 1 << at != 0;
        let mut forms = (0..FORMS.len()).filter(may).map(|at| &FORMS[at]);
        forms.find_map(|form| Some((form, form.opens(text)?)))
    }

    fn opens<'a>(&self, text: &'a str) -> Option<&'a str> {
        let subject = (self.subject)(text)?;
        self.opens.iter().any(|opens| any(opens, text)).then_some(subject)
    }

    pub(super) fn subject<'a>(&self, text: &'a str) -> Option<&'a str> {
        (self.subject)(text)
    }

    pub(super) fn stage(&self, text: &str) -> Option<usize> {
        self.stages.iter().position(|stage| any(stage, text))
    }

    pub(super) fn has_part(&self, text: &str) -> bool {
        (self.goes_on)(text)
    }

    pub(super) fn ends(&self, text: &str) -> bool {
        any(self.ends, text)
    }

    pub(super) fn announces(&self, text: &str) -> bool {
        any(self.announces, text)
    }

    pub(super) fn says(&self, text: &str) -> bool {
        any(self.says, text)
    }
}

fn any(fragments: &[&str], text: &str) -> bool {
    let first = text.as_bytes().first();
    fragments.iter().any(|fragment| match fragment.as_bytes() {
        [b'^', begin @ ..] => begin.first() == first && text.as_bytes().starts_with(begin),
        _ => text.contains(fragment),
    })
}

const NONE: Form = Form {
    letters: b"",
    subject: any_subject,
    opens: &[],
    stages: &[],
    goes_on: |_| false,
    ends: &[],
    announces: &[],
    says: &[],
    takes_message: false,
    tells_one: false,
    patience_usec: 10 * SECOND_USEC,
};

/// The first that opens wins.
const FORMS: &[Form] =
    &[TRACE, FIRMWARE, BUS, ATA, DISK, NVME, GPU, ADAPTER, RAID, FILES, IOMMU, NMI];

/// For each first letter of a text, a bit for each form that it may open.
static OPENED_BY: [u16; 256] = {
    let mut letters = [0; 256];
    let mut form = 0;
    while form < FORMS.len() {
        let opened_by = FORMS[form].letters;
        let mut at = 0;
        while at < opened_by.len() {
            letters[opened_by[at] as usize] |= 1 << form;
            at += 1;
        }
        let mut letter = 0;
        while opened_by.is_empty() && letter < letters.len() {
            letters[letter] |= 1 << form;
            letter += 1;
        }
        form += 1;
    }
    letters
};

/// `kernel/panic.c`, `lib/bug.c`, `kernel/hung_task.c`, `kernel/watchdog.c`, `kernel/rcu/`,
/// `mm/oom_kill.c`, `mm/page_alloc.c`, `arch/*/kernel/traps.c`.
const TRACE: Form = Form {
    opens: &[TRACES, TRACES_TOO],
    stages: &[&["[ cut here ]"], TRACES],
    goes_on: is_trace_part,
    ends: &["^oom_reaper: ", "^---[ end Kernel panic"],
    announces: &["[ cut here ]", "^WARNING: CPU: ", "^WARNING: at "],
    takes_message: true,
    ..NONE
};

const TRACES: &[&str] = &[
    "^------------[ cut here ]",
    "^WARNING: ",
    "^BUG: ",
    "^BUG ",
    "^kernel BUG at ",
    "^Kernel BUG at ",
    "^Unable to handle kernel ",
    "^Unhandled fault",
    "^SError Interrupt",
    "^Bad mode in ",
    "^Kernel panic - ",
    "^INFO: task ",
    "^INFO: rcu",
    "^rcu: INFO: ",
    "^watchdog: BUG: ",
    "^watchdog: Watchdog detected ",
    "^watchdog: CPU",
    "^NMI watchdog: BUG: ",
    "^NMI watchdog: Watchdog detected ",
    "^Watchdog detected ",
    "^Severe Machine check interrupt",
    "^Machine check in kernel mode",
    "^UBSAN: ",
    "^list_add corruption",
    "^list_del corruption",
    "^refcount_t: ",
    "^irq ",
    " invoked oom-killer: ",
    ": page allocation failure",
];

/// Either the first of a trace or one of its lines.
const TRACES_TOO: &[&str] = &[
    "^Oops",
    "^Internal error: ",
    "^general protection fault",
    "^divide error",
    "^double fault",
    "^stack segment",
    "^invalid opcode",
    "^NMI backtrace for ",
    "^Call Trace:",
    "^Call trace:",
];

fn any_subject(_: &str) -> Option<&str> {
    Some("")
}

/// Machine checks and what firmware reports: `arch/x86/kernel/cpu/mce/`, `drivers/edac/`,
/// `drivers/acpi/apei/ghes.c`, `drivers/firmware/efi/cper.c`.
const FIRMWARE: Form = Form {
    letters: b"{[mceEHBMC",
    subject: firmware_subject,
    opens: &[&[
        "[Hardware Error]",
        "^BERT: Error records ",
        "HANDLING MCE MEMORY ERROR",
        "^HARDWARE ERROR",
        "Machine Check Exception:",
        "^Machine check events logged",
        "^MCE: The hardware reports ",
    ]],
    stages: &[
        &["achine check events logged", "^BERT: ", "^HARDWARE ERROR", "HANDLING MCE MEMORY ERROR"],
        &["Hardware error from APEI"],
        &["event severity: ", "APEI generic hardware error status"],
        &[
            "no action required",
            "Uncorrected, software ",
            "System Fatal error",
            "Uncorrected error, ",
            "^MCE: The hardware reports ",
        ],
        &["_STATUS[", "Machine Check: ", "Machine Check Exception: ", "Machine Check Event: "],
        &[" CE ", " UE "],
    ],
    goes_on: firmware_goes_on,
    announces: &["achine check events logged", "^HARDWARE ERROR", "HANDLING MCE MEMORY ERROR"],
    tells_one: true,
    ..NONE
};

/// `{57}`, the number that the kernel gives a firmware's error; all without one are alike.
fn firmware_subject(text: &str) -> Option<&str> {
    let end = text.strip_prefix('{').and_then(|rest| rest.find("}[Hardware Error]"));
    Some(end.map_or("unnumbered", |end| &text[..end + 2]))
}

fn firmware_goes_on(text: &str) -> bool {
    const BEGINNINGS: [&str; 13] = [
        "EDAC ",
        "TSC ",
        "ADDR ",
        "MISC ",
        "RIP ",
        "RIP!INEXACT! ",
        "PROCESSOR ",
        "Bank ",
        "This is not a software problem",
        "Run the above through ",
        "Run through mcelog",
        "Machine check: ",
        "Some CPUs didn't answer in synchronization",
    ];
    text.contains("[Hardware Error]") || BEGINNINGS.iter().any(|begin| text.starts_with(begin))
}

/// `drivers/pci/pcie/aer.c`, `err.c`, `dpc.c`.
const BUS: Form = Form {
    subject: bus_subject,
    opens: &[&[
        "rror message received from ",
        "rror received: ",
        "Bus Error: ",
        "PCIE Bus Error ",
        "AER: aer_status: ",
        "^aer_status: ",
        "DPC: containment event",
        "PCI-Express Device Error",
    ]],
    stages: &[
        &["DPC: containment event"],
        &["rror message received from ", "rror received: "],
        &["Bus Error: ", "aer_status: ", "PCI-Express Device Error"],
    ],
    goes_on: bus_goes_on,
    tells_one: true,
    ..NONE
};

/// Only what names a PCI device is of the bus, but for the frames of old kernels; a root port
/// reports for others, so which does not matter.
fn bus_subject(text: &str) -> Option<&str> {
    (pci_rest(text).is_some() || is_framed(text)).then_some("")
}

fn is_framed(text: &str) -> bool {
    const FRAME: [&str; 8] = [
        "+------",
        "Error Severity",
        "PCIE Bus Error",
        "Unaccessible",
        "Requester ID",
        "VendorID=",
        "TLP Header:",
        "AER: ",
    ];
    FRAME.iter().any(|begin| text.starts_with(begin))
}

/// What stands behind `pcieport 0000:3a:00.0: `.
fn pci_rest(text: &str) -> Option<&str> {
    let driver = text.bytes().take(DRIVER_CHARS_MAX).position(|byte| byte == b' ')?;
    let (address, rest) = text[driver + 1..].split_at_checked("0000:00:00.0".len())?;
    let address = address.as_bytes();
    let points = [(4, b':'), (7, b':'), (10, b'.')];
    let is_address =
        points.iter().all(|(at, point)| address[*at] == *point) && address[0].is_ascii_hexdigit();
    is_address.then(|| rest.strip_prefix(": ")).flatten()
}

const DRIVER_CHARS_MAX: usize = 32;

fn bus_goes_on(text: &str) -> bool {
    let Some(rest) = pci_rest(text) else { return is_framed(text) };
    const BEGINNINGS: [&str; 7] =
        [" ", "AER: ", "DPC: ", "aer_", "device [", "TLP Header:", "broadcast "];
    BEGINNINGS.iter().any(|begin| rest.starts_with(begin)) || rest.contains("ecovery")
}

/// `drivers/ata/libata-eh.c`.
const ATA: Form = Form {
    letters: b"a",
    subject: ata_subject,
    opens: &[&["exception Emask ", "qc timeout (", "failed command: ", "COMRESET failed"]],
    stages: &[&["exception Emask "]],
    goes_on: |_| true,
    ends: &["EH complete"],
    patience_usec: 60 * SECOND_USEC,
    ..NONE
};

/// `ata3` of `ata3.00: failed command`; nothing for a line that goes on without it.
fn ata_subject(text: &str) -> Option<&str> {
    let Some(rest) = text.strip_prefix("ata") else {
        return text.trim_start().starts_with("res ").then_some("");
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0 && rest[digits..].starts_with(['.', ':'])).then(|| &text[.."ata".len() + digits])
}

/// `drivers/scsi/scsi_logging.c`, `drivers/scsi/sd.c`, and what `block/blk-core.c` says then.
const DISK: Form = Form {
    letters: b"sS",
    subject: disk_subject,
    opens: &[&["FAILED Result: ", "Unhandled sense code", "Unhandled error code", "Sense Key : "]],
    stages: &[
        &["FAILED Result: ", "Unhandled sense code", "Unhandled error code"],
        &["Sense Key : "],
        &["error, dev "],
    ],
    goes_on: |_| true,
    says: &["Sense Key : "],
    tells_one: true,
    ..NONE
};

/// `sdf` of `sd 6:0:1:0: [sdf] tag#9 ...` and of `I/O error, dev sdf, sector 9`; nothing for what
/// old kernels print on lines of its own.
fn disk_subject(text: &str) -> Option<&str> {
    const ALONE: [&str; 10] = [
        "Result: ",
        "Sense Key : ",
        "Add. Sense: ",
        "Info fld=",
        "CDB: ",
        "Read(",
        "Write(",
        "Synchronize",
        "ASC=",
        "        ",
    ];
    if let Some((driver, rest)) = text.split_once(' ')
        && matches!(driver, "sd" | "sr" | "st" | "ses" | "scsi")
    {
        let named = || rest.split_once('[')?.1.split_once(']').map(|(name, _)| name);
        return named().or_else(|| rest.split_once(": ").map(|(address, _)| address));
    }
    if ALONE.iter().any(|begin| text.starts_with(begin)) {
        return Some("");
    }
    block_device(text).filter(|device| device.starts_with("sd") || device.starts_with("sr"))
}

/// `sdf` of `critical medium error, dev sdf, sector 9` and of `Buffer I/O error on dev sdf1, ...`.
fn block_device(text: &str) -> Option<&str> {
    if !text.contains("error") {
        return None;
    }
    let (_, rest) = text.split_once(" dev ").or_else(|| text.split_once(" device "))?;
    let end = rest.find([',', ' ', ':']).unwrap_or(rest.len());
    let name = &rest[..end];
    // A disk's partitions are the disk.
    Some(if name.starts_with("sd") {
        name.trim_end_matches(|c: char| c.is_ascii_digit())
    } else {
        name
    })
}

/// `drivers/nvme/host/pci.c`, `drivers/nvme/host/core.c`.
const NVME: Form = Form {
    letters: b"n",
    subject: nvme_subject,
    opens: &[&["controller is down", " timeout, ", " @ LBA ", "Device not ready"]],
    stages: &[&["controller is down"], &[" timeout, ", " @ LBA "]],
    goes_on: |_| true,
    patience_usec: 60 * SECOND_USEC,
    ..NONE
};

/// `nvme0` of `nvme nvme0: ...`, of `nvme0n1: ...` and of `I/O error, dev nvme0n1, ...`.
fn nvme_subject(text: &str) -> Option<&str> {
    let name = match text.strip_prefix("nvme ") {
        Some(rest) => rest,
        None if text.starts_with("nvme") => text,
        None => block_device(text)?,
    };
    let rest = name.strip_prefix("nvme")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| &name[.."nvme".len() + digits])
}

/// `drivers/gpu/drm/amd/amdgpu/`, `drivers/gpu/drm/i915/`, and NVIDIA's own driver.
const GPU: Form = Form {
    letters: b"ai[N",
    subject: gpu_subject,
    opens: &[&[
        "page fault (",
        "GPU HANG: ",
        "GPU reset begin",
        " timeout, signaled seq",
        "NVRM: Xid",
    ]],
    stages: &[&["page fault (", "GPU HANG: ", " timeout, signaled seq", "NVRM: Xid"]],
    goes_on: |_| true,
    ends: &["GPU reset end", "GPU reset succeeded", "GPU reset failed"],
    ..NONE
};

fn gpu_subject(text: &str) -> Option<&str> {
    if text.starts_with("NVRM: ") {
        return Some("NVRM");
    }
    if text.starts_with("[drm") {
        return Some("");
    }
    let rest = text.strip_prefix("amdgpu ").or_else(|| text.strip_prefix("i915 "))?;
    rest.split_once(": ").map(|(address, _)| address)
}

/// `drivers/net/ethernet/intel/`, `drivers/net/ethernet/mellanox/mlx5/core/health.c`.
const ADAPTER: Form = Form {
    letters: b"eim0",
    opens: &[&["Unit Hang", "print_health_info:", "poll_health:"]],
    stages: &[&["Unit Hang", "poll_health:"]],
    goes_on: |text| {
        text.starts_with(' ')
            || text.contains("print_health_info:")
            || text.contains("buffer_info[")
    },
    ..NONE
};

/// `drivers/md/`.
const RAID: Form = Form {
    letters: b"mRr",
    opens: &[&["Disk failure on ", "conf printout:"]],
    stages: &[&["Disk failure on ", "conf printout:"]],
    goes_on: |text| {
        text.contains("Operation continuing on ")
            || ["--- ", "disk "].iter().any(|begin| text.trim_start().starts_with(begin))
    },
    ..NONE
};

/// `fs/xfs/xfs_error.c`.
const FILES: Form = Form {
    letters: b"X",
    subject: files_subject,
    opens: &[&["orruption detected", "CRC error detected", ": Internal error "]],
    stages: &[&["orruption detected", "CRC error detected", ": Internal error "]],
    goes_on: |text| {
        ["Unmount and run ", " bytes of corrupted "].iter().any(|part| text.contains(part))
            || is_trace_part(text)
    },
    ..NONE
};

/// `XFS (md9)`; nothing for a line of a dump.
fn files_subject(text: &str) -> Option<&str> {
    let Some(rest) = text.strip_prefix("XFS (") else { return Some("") };
    rest.find(')').map(|end| &text[.."XFS (".len() + end])
}

/// `drivers/iommu/intel/dmar.c`.
const IOMMU: Form = Form {
    letters: b"D",
    opens: &[&["DRHD: handling fault status"]],
    stages: &[&["DRHD: handling fault status"]],
    goes_on: |text| text.starts_with("DMAR:") || text.starts_with("fault reason"),
    announces: &["DRHD: handling fault status"],
    ..NONE
};

/// `arch/x86/kernel/nmi.c`.
const NMI: Form = Form {
    letters: b"UN",
    opens: &[&["NMI received for unknown reason", "NMI: IOCK error", "NMI: PCI system error"]],
    stages: &[&["NMI received for unknown reason"]],
    goes_on: |text| {
        text.starts_with("Do you have a strange power") || text.starts_with("Dazed and")
    },
    ..NONE
};
