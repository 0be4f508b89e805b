//! Names that strangers choose: of tasks, files, volumes, servers and of what is plugged in.
//!
//! Owns where in a record the kernel repeats them. Pure. `signature_match` compares its patterns
//! with what is left, so that no name looks like a failure or takes one away. A mark that is not
//! tied to the record's head covers only what follows it: what failed stands before.

use std::borrow::Cow;

use super::signature_pattern::{Heads, Pattern};

/// `TASK_COMM_LEN` of the kernel, without the NUL.
const TASK_BYTES_MAX: usize = 15;
/// What stands between a task's name at the record's head and what tells it: `[4194304` or
/// ` (4194304`.
const TASK_ID_BYTES_MAX: usize = 10;
/// Takes the place of a name; in no pattern.
const COVER: &str = "\u{1}";

/// Everything behind these is strangers' text.
const LINES: &[&str] = &[
    "^Command line:",
    "^Kernel command line:",
    "^Unknown kernel command line parameters",
    "^audit: ",
    "^audit(",
    "^type=1*audit(",
    "^input: ",
    "^usb *: Product: ",
    "^usb *: Manufacturer: ",
    "^usb *: SerialNumber: ",
    " HID v",
    "^uvcvideo*Found UVC ",
    "^thunderbolt *: ",
    "^Bluetooth: *name ",
    "^scsi *: Direct-Access",
    "^scsi *: Sequential-Access",
    "^scsi *: Processor",
    "^scsi *: CD-ROM",
    "^scsi *: WORM",
    "^scsi *: Scanner",
    "^scsi *: Optical",
    "^scsi *: Medium Changer",
    "^scsi *: Communications",
    "^scsi *: RAID ",
    "^scsi *: Enclosure",
    "^scsi *: Unknown ",
    "^Vendor: *Model: ",
    "^ata*: ATA-",
    "^ata*: ATAPI: ",
    "^DMI: ",
    "^Hardware name: ",
    "^BTRFS: device label ",
    "^UDF-fs*volume '",
    "^NTFS *volume ",
    "^nfs: server ",
    "^NFS: ",
    "^nfs4: ",
    "^NFSD: ",
    "^lockd: ",
    "^RPC: ",
    "^CIFS: ",
    "^ceph: ",
    "^libceph: ",
    "^process '",
    "^process `",
    "in process `",
    "^warning: `",
    "^warning: process `",
    "^capability: warning: `",
    "^ptrace attach of ",
    "^oom-kill:",
    "^Out of memory: ",
    "^Memory cgroup out of memory: ",
    "^Memory cgroup stats for ",
    "^Tasks in /",
    "^Task in /",
    "^cgroup: ",
    "^oom_reaper: reaped process ",
    "^traps: ",
    "^split lock detection: ",
    "^x86/split lock detection: ",
    "^request_module: ",
    "nknown parameter '",
    "nrecognized mount option \"",
    "^IPVS: ",
    "^wl",
    "^ieee80211 ",
];

/// What stands before a task's name, and what behind it.
const TASKS: &[(&str, &str)] = &[
    ("comm ", ": "),
    ("comm: ", " "),
    ("Comm: ", " "),
    ("name=", ","),
    ("Killing ", ":"),
    ("SIGBUS to ", ":"),
    ("task ", ":"),
    ("s! [", ":"),
    ("in process ", "  p"),
    ("for process ", " pid "),
    (" process ", " pid "),
    (" thread ", " pid "),
    (", in ", " ["),
];

/// What follows a task's name that begins the record.
const BEHIND_TASK: &[&str] = &[
    " invoked oom-killer: ",
    ": page allocation failure",
    ": page allocation stalls",
    ": vmalloc error",
    "]: segfault at ",
    "]: unhandled signal ",
    "] general protection ",
    "] trap ",
    "] bad frame in ",
    "] vsyscall ",
    ": potentially unexpected fatal signal ",
    "): drop_caches: ",
    ") used greatest stack depth",
    " used greatest stack depth",
    " uses obsolete ",
    " uses deprecated ",
    ": uses ",
];

/// What stands before a path, and what behind it; a path may hold anything, so the last counts.
const PATHS: &[(&str, &str)] =
    &[("path /", ": "), ("(path: ", ")"), ("file \"", "\""), ("name '", "'"), ("label \"", "\"")];

/// The marks, with their patterns taken apart.
pub(super) struct Names {
    lines: Vec<Pattern>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { lines: LINES.iter().map(|written| Pattern::new(written)).collect() }
    }

    /// The text with all names covered, as long as it was.
    pub(super) fn covered<'a>(&self, text: &'a str, heads: &Heads) -> Cow<'a, str> {
        let mut covered = Cow::Borrowed(text);
        // A path first: it may begin where a task's name might still go on.
        for (before, behind) in PATHS {
            cover_between(&mut covered, before, |name| name.rfind(behind));
        }
        for (before, behind) in TASKS {
            cover_between(&mut covered, before, |name| {
                name.match_indices(behind).map(|(at, _)| at).take_while(is_task).last()
            });
        }
        let id = TASK_BYTES_MAX + TASK_ID_BYTES_MAX;
        let ends = BEHIND_TASK.iter().filter_map(|behind| covered.find(behind));
        if let Some(end) = ends.filter(|end| *end <= id).max() {
            cover(&mut covered, 0, end);
        }
        if let Some(start) = self.lines.iter().filter_map(|line| line.end_in(&covered, heads)).min()
        {
            let end = covered.len();
            cover(&mut covered, start, end);
        }
        covered
    }
}

fn is_task(bytes: &usize) -> bool {
    *bytes <= TASK_BYTES_MAX
}

/// Covers what follows each `before`, as far as `length` says.
fn cover_between(text: &mut Cow<str>, before: &str, length: impl Fn(&str) -> Option<usize>) {
    let mut from = 0;
    while let Some(at) = text[from..].find(before) {
        from += at + before.len();
        if let Some(length) = length(&text[from..]) {
            cover(text, from, from + length);
        }
    }
}

fn cover(text: &mut Cow<str>, start: usize, end: usize) {
    text.to_mut().replace_range(start..end, &COVER.repeat(end - start));
}

#[cfg(test)]
mod tests {
    use super::super::signature_benign::LOOK_ALIKES;
    use super::super::signature_table::signatures;
    use super::super::signatures::judge;
    use super::*;
    use crate::kernel::Record;

    /// With `#` for what is covered.
    #[test]
    fn what_a_stranger_chose_is_covered_and_nothing_else() {
        let names = Names::new();
        for (text, expected) in [
            ("usb 1-1: Product: EDAC", "usb 1-1: Product: ####"),
            ("EXT4-fs error (device sdd1): x:9: comm a: b: reading", {
                "EXT4-fs error (device sdd1): x:9: comm ####: reading"
            }),
            (
                "inode #2: comm ls: path /a: b/cdefg: bad entry",
                "inode #2: comm ##: path /##########: bad entry",
            ),
            ("BTRFS warning: on dev sdd, inode 2 (path: a) b)", {
                "BTRFS warning: on dev sdd, inode 2 (path: ####)"
            }),
            ("Memory failure: 0x12: Killing audit(:77 due to hardware memory corruption", {
                "Memory failure: 0x12: Killing ######:77 due to hardware memory corruption"
            }),
            (
                "Memory failure: 0x12: Killing a:b:77 due to",
                "Memory failure: 0x12: Killing ###:77 due to",
            ),
            ("EDAC 0 UE 1 invoked oom-killer: gfp", "########### invoked oom-killer: gfp"),
            ("EDAC 0 UE 1[4194304]: segfault at 0", "###################]: segfault at 0"),
            ("soft lockup - CPU#7 stuck for 26s! [traps: a:7]", {
                "soft lockup - CPU#7 stuck for 26s! [########:7]"
            }),
            ("usb 1-1: Product: Müller", "usb 1-1: Product: #######"),
            ("EDAC MC0: 1 UE on DIMM_A1 (channel:1)", "EDAC MC0: 1 UE on DIMM_A1 (channel:1)"),
            ("", ""),
        ] {
            assert_eq!(
                names.covered(text, &Heads::of(text)).replace(COVER, "#"),
                expected,
                "{text}"
            );
        }
    }

    /// The kernel's lines around names that are as long as they may be.
    fn judged(line: &str) -> Vec<Option<&'static str>> {
        let record = Record { usec: Some(3_600_000_000), ..Record::from_text(line) };
        judge(&[record]).issues.iter().map(|issue| issue.signature).collect()
    }

    #[test]
    fn no_name_takes_a_failure_away() {
        let words = LOOK_ALIKES.iter().flat_map(|row| row.any.iter().copied().chain([row.example]));
        for word in words.chain(LINES.iter().copied()).chain(BEHIND_TASK.iter().copied()) {
            let word = word.trim_start_matches('^').replace('*', "0");
            let task: String = word.chars().take(TASK_BYTES_MAX).collect();
            for (line, expected) in [
                (
                    format!(
                        "Memory failure: 0x12: Killing {task}:77 due to hardware memory corruption"
                    ),
                    "memory-failure",
                ),
                (
                    format!(
                        "EXT4-fs error (device sdd1): ext4_lookup:9: inode #2: comm {task}: reading"
                    ),
                    "ext4-error",
                ),
                (
                    format!("EXT4-fs error (device sdd1): x:9: comm ls: path /{word}: bad entry"),
                    "ext4-error",
                ),
                (
                    format!("BTRFS critical (device sdd1): corrupt leaf at 9 (path: {word})"),
                    "btrfs-error",
                ),
                (
                    format!("NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name={task}, GPU lost"),
                    "xid-fatal",
                ),
                (
                    format!("watchdog: BUG: soft lockup - CPU#7 stuck for 26s! [{task}:77]"),
                    "soft-lockup",
                ),
                (format!("INFO: task {task}:77 blocked for more than 120 seconds."), "hung-task"),
                (format!("BUG: Bad page state in process {task}  pfn:12ab3"), "bad-page"),
            ] {
                assert_eq!(judged(&line), [Some(expected)], "{line}");
            }
        }
    }

    #[test]
    fn no_name_forges_a_failure() {
        let failures = signatures().map(|row| row.example).chain([
            "EDAC 0 UE 1",
            "EDAC MC0: 1 UE ",
            "md/raid1:md0: Disk failure on sda1, disabling device.",
        ]);
        for failure in failures {
            let task: String = failure.chars().take(TASK_BYTES_MAX).collect();
            for line in [
                format!("input: {failure} as /devices/pci0000:00/usb1/1-1/input/input5"),
                format!(
                    "process 'sh' launched '/tmp/{failure}' with NULL argv: empty string added"
                ),
                format!("nfs: server {failure} not responding, still trying"),
                format!("scsi 6:0:0:0: Direct-Access     {failure} 1.00 PQ: 0 ANSI: 6"),
                format!("hid-generic 0003:1:1.0001: input: USB HID v1.11 Mouse [{failure}] on usb"),
                format!("usb 1-1: Product: {failure}"),
                format!("usb 1-1: Manufacturer: {failure}"),
                format!("BTRFS: device label {failure} devid 1 transid 7 /dev/sdd1"),
                format!("wlan0: associated with SSID \"{failure}\""),
                format!("{task} invoked oom-killer: gfp_mask=0x0, order=0"),
                format!("{task}: page allocation failure: order:0"),
                format!("{task}[4194304]: segfault at 0 ip 0 sp 0 error 4 in a[0+1]"),
                format!("traps: {task}[991] general protection fault ip:55d0"),
                format!("{task} (77): drop_caches: 3"),
                format!("warning: `{task}' uses 32-bit capabilities"),
                format!("CPU: 3 PID: 7 Comm: {task} Not tainted 6.1.0"),
                format!("ptrace attach of \"{failure}\"[7] was attempted by \"sh\"[8]"),
                format!("tmpfs: Unknown parameter '{failure}'"),
                format!("Out of memory: Killed process 7 ({task}) total-vm:9kB"),
            ] {
                assert_eq!(judged(&line), [], "{line}");
            }
        }
    }
}
