//! The signatures of software arrays and mapped devices.
//!
//! Data and what it needs to compare numbers; `signature_table` says how to read a row and
//! `signature_match` matches it. The wording is the kernel's own (drivers/md, block/drbd).

use super::Category::Storage;
use super::signature_table::{Part, Role, Signature, critical, warning};

const MD: &str = "drivers/md/raid1.c, raid10.c, raid5.c, md.c";
const REPLACE: &str = "cat /proc/mdstat shows the array; smartctl -x DEV the disk: replace it \
                       (mdadm --manage ARRAY --add NEW)";

pub(super) const ARRAY: &[Signature] = &[
    Signature {
        id: "md-array-lost",
        any: &[
            "^md/*Cannot continue operation",
            "^md/*not enough operational",
            "^md/*too many failures",
            "^md/*cannot start dirty degraded array",
            "^md/*starting dirty degraded array - data corruption possible",
            "^md/*failed to run raid set",
            "^raid5: *not enough operational devices",
            "^raid5: cannot start dirty degraded array",
            "^raid10: *not enough operational mirrors",
        ],
        part: Part::Array,
        meaning: "the array has lost more disks than it can do without",
        action: "do not write to its disks; bring the missing ones back (cables, controller), then \
                 mdadm --assemble --force as the RAID wiki says",
        example: "md/raid:md4: Cannot continue operation (2/6 failed).",
        ..critical(Storage, "md", MD)
    },
    Signature {
        id: "md-disk-failed",
        any: &[
            "^md/*Disk failure on *, disabling device",
            "^raid*Disk failure on *, disabling device",
            "^raid*Disk failure on *,disabling device",
            "oo many read errors, failing device",
            "exceeded read_error threshold",
            ": Failing raid device",
        ],
        part: Part::Member,
        meaning: "the disk failed and was removed from its array",
        action: REPLACE,
        example: "md/raid:md4: Disk failure on sdd1, disabling device.",
        ..critical(Storage, "md", MD)
    },
    Signature {
        id: "md-not-fresh",
        any: &["^md: kicking non-fresh "],
        part: Part::After("kicking non-fresh "),
        meaning: "the disk had dropped out of its array, which runs without it",
        action: "look for why it dropped out; when it is sound, add it again (mdadm --manage ARRAY \
                 --re-add DEV)",
        example: "md: kicking non-fresh sdd1 from array!",
        ..critical(Storage, "md", "drivers/md/md.c")
    },
    Signature {
        id: "md-read-lost",
        any: &[
            "read error not correctable",
            "read error NOT corrected",
            "unrecoverable I/O read error",
            "uncorrectable read error",
            "recovery aborted due to read error",
        ],
        part: Part::After(" on "),
        meaning: "an array could not repair a read error of this disk",
        action: REPLACE,
        example: "md/raid:md4: read error not correctable (sector 88 on sdd1).",
        ..critical(Storage, "md", MD)
    },
    Signature {
        id: "md-repaired",
        any: &[
            "^md/*read error corrected",
            "raid*read error corrected",
            "^md/*redirecting sector",
            "^raid1: *redirecting sector",
        ],
        part: Part::After(" on "),
        meaning: "an array repaired read errors of this disk from its other disks",
        action: "smartctl -x DEV: replace the disk when its pending or reallocated sectors grow",
        example: "md/raid1:md4: read error corrected (8 sectors at 88 on sdd1)",
        ..warning(Storage, "md", MD)
    },
    Signature {
        id: "md-write-failed",
        any: &[
            "^md/*Disk failure on ",
            "^raid*Disk failure on ",
            "^md: super_written gets error",
            "read correction write failed",
            "could not read superblock",
        ],
        part: Part::After("Disk failure on "),
        role: Role::Effect,
        meaning: "an array cannot write to one of its disks",
        action: REPLACE,
        example: "md: super_written gets error=-5",
        ..warning(Storage, "md", MD)
    },
    Signature {
        id: "md-degraded",
        any: &[
            "^md/*active with * out of ",
            "^raid1: raid set *active with * out of ",
            "raid*active with * out of *devices",
        ],
        holds: lacks_members,
        part: Part::Array,
        meaning: "the array runs without some of its disks",
        action: REPLACE,
        example: "md/raid1:md4: active with 1 out of 2 mirrors",
        ..warning(Storage, "md", MD)
    },
    Signature {
        id: "md-mismatch",
        any: &["^md*: mismatch sector in range "],
        part: Part::Array,
        meaning: "the disks of an array do not agree: data or parity is wrong",
        action: "smartctl -x each of its disks, and test the memory; then echo repair > \
                 /sys/block/ARRAY/md/sync_action",
        example: "md4: mismatch sector in range 4096-4104",
        ..warning(Storage, "md", "drivers/md/raid5.c")
    },
    Signature {
        id: "dm-damaged",
        any: &[
            "^device-mapper: integrity: *hecksum failed",
            "^device-mapper: verity: *is corrupted",
            "^device-mapper: *validator check failed",
            "^device-mapper: *metadata operation *failed: error = -5",
            "^device-mapper: thin: *switching pool to fail",
            "^device-mapper: cache: *switching cache to fail",
            "^device-mapper: *unable to read metadata",
            "^device-mapper: crypt: *INTEGRITY AEAD ERROR",
            "^device-mapper: raid1: All sides of mirror have failed",
        ],
        part: Part::After("integrity: "),
        meaning: "the device mapper found data that does not match its checksum, or lost it",
        action: "check the disks below (dmsetup ls --tree, smartctl -x DEV); restore from a copy",
        example: "device-mapper: integrity: dm-3: Checksum failed at sector 0x1f",
        ..critical(Storage, "dm", "drivers/md/dm-integrity.c, dm-verity-target.c, dm-thin.c")
    },
    Signature {
        id: "dm-stopped",
        any: &[
            "^device-mapper: thin: *switching pool to read-only mode",
            "^device-mapper: snapshots: Invalidating snapshot: Error reading/writing",
        ],
        role: Role::Effect,
        meaning: "a thin pool takes no more writes, or a snapshot was lost, after an error",
        action: "look for what the disks below say before it (dmsetup ls --tree); lvs -a tells \
                 whether the pool's metadata is full, and lvconvert --repair mends it",
        example: "device-mapper: thin: 253:4: switching pool to read-only mode",
        ..warning(Storage, "dm", "drivers/md/dm-thin.c, dm-snap.c")
    },
    Signature {
        id: "bcache-error",
        any: &[
            "^bcache: *IO error",
            "^bcache: *too many IO errors",
            "^bcache: *ournal * bad",
            "^bcache: *disabling caching",
        ],
        part: Part::After("errors() "),
        meaning: "bcache cannot read or write one of its disks",
        action: "smartctl -x DEV: replace the caching or the backing disk",
        example: "bcache: bch_count_io_errors() nvme0n1p3: IO error on reading from cache",
        ..warning(Storage, "bcache", "drivers/md/bcache")
    },
    Signature {
        id: "vdo-damaged",
        any: &["^kvdo*fragment is invalid", "^vdo*ntering read-only mode", "^vdo*VDO_*error"],
        part: Part::Head,
        meaning: "a VDO volume holds damaged data or stopped",
        action: "check the disks below; vdostats and the VDO guide tell how to recover it",
        example: "kvdo2:cpuQ0: Compressed block fragment is invalid",
        ..critical(Storage, "vdo", "drivers/md/dm-vdo, and the kvdo module before it")
    },
    Signature {
        id: "drbd-local-error",
        any: &["drbd*local *IO error", "drbd*Local IO failed", "drbd*disk( UpToDate -> Failed"],
        part: Part::Head,
        meaning: "DRBD cannot read or write its local disk",
        action: "the peer goes on: replace the local disk",
        example: "drbd r0/0 drbd3: Local IO failed in __req_mod. Detaching...",
        ..critical(Storage, "drbd", "drivers/block/drbd")
    },
];

/// `active with 3 out of 4 devices`: whether the first number is below the second.
fn lacks_members(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("active with ") else { return false };
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    let mut next = || numbers.next()?.parse::<u64>().ok();
    matches!((next(), next()), (Some(active), Some(all)) if active < all)
}
