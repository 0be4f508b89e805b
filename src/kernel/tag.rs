//! Tags of syslog: which are the kernel's, which a program's, and what only looks like one.
//!
//! Pure; `prefix` drives it and owns what stands around them.

use super::prefix::{after_blank, all_digits};

/// Who passes the kernel's text on, as syslog names it.
pub(super) const KERNEL_TAGS: [&str; 4] = ["kernel", "Kernel", "vmunix", "klogd"];

/// What follows `kernel: `, `kernel[0]: `, `kernel:`.
pub(super) fn after_kernel_tag(text: &str) -> Option<&str> {
    let rest = KERNEL_TAGS.iter().find_map(|tag| text.strip_prefix(tag))?;
    let rest = match rest.strip_prefix('[') {
        Some(pid) => {
            pid.trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix(']')?
        }
        None => rest,
    };
    rest.strip_prefix(':').map(after_blank)
}

/// `sshd[71]:`
pub(super) fn has_pid(word: &str) -> bool {
    let named = word.strip_suffix("]:").and_then(|word| word.rsplit_once('['));
    named.is_some_and(|(name, pid)| !name.is_empty() && all_digits(pid))
}

/// `sudo:`, `systemd-logind:`, `/usr/sbin/cron:`.
pub(super) fn is_program_name(word: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./@+".contains(&byte);
    let name = word.strip_suffix(':').unwrap_or("");
    !name.is_empty() && name.bytes().all(of_name)
}

/// Whether `EDAC MC0:`, `nvme nvme1:`, `Memory failure:` is more likely than a host and its
/// program: the kernel numbers its devices, and begins few other lines so.
pub(super) fn is_driver(first: &str, word: &str) -> bool {
    DRIVER_WORDS.contains(&first) || word.bytes().any(|byte| byte.is_ascii_digit())
}

const DRIVER_WORDS: [&str; 16] = [
    "ACPI", "AMD", "BTRFS", "Buffer", "EDAC", "Hardware", "Machine", "Memory", "NMI", "PCI",
    "block", "md", "net", "nvme", "scsi", "thermal",
];
