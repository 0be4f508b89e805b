//! The signatures of file systems that met damaged data, or whose disk failed.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (fs), and OpenZFS's.

use super::Category::Storage;
use super::signature_table::{Part, Role, Signature, critical, warning};

const DAMAGED: &str = "the file system is damaged or was stopped after errors of its disk";
const NO_FILE: &[&str] = &["device loop", "(loop", "(dm-loop"];

pub(super) const FILESYSTEM: &[Signature] = &[
    Signature {
        id: "ext4-error",
        any: &[
            "^EXT*-fs*emounting filesystem read-only",
            "^EXT*-fs*I/O error while writing",
            "^EXT*-fs error (device ",
            "^EXT*-fs (*): failed to convert unwritten extents",
            "^EXT*-fs (*): Delayed block allocation failed",
            "^EXT*-fs (*): previous I/O error to superblock",
            "^EXT*-fs abort",
            "^EXT*-fs (*): ext4_check_descriptors: Checksum for group",
            "^EXT*-fs (*): group descriptors corrupted",
            "^EXT*-fs (*): error loading journal",
        ],
        // A full disk (28) and a full quota (122) lose no data that was stored.
        unless: &["device loop", "(loop", "(dm-loop", "with error 28", "with error 122"],
        part: Part::After("("),
        role: Role::Effect,
        meaning: DAMAGED,
        action: "look for errors of its disk before it; then unmount it and run e2fsck -f",
        example: "EXT4-fs error (device sdd1): ext4_find_entry:1455: inode #2: comm ls: reading",
        ..critical(Storage, "ext4", "fs/ext4/super.c (fs/ext3 before 4.3)")
    },
    Signature {
        id: "xfs-error",
        any: &[
            "^XFS (*Metadata corruption detected",
            "^XFS (*Metadata CRC error",
            "^XFS (*Corruption ",
            "^XFS (*metadata I/O error",
            "^XFS (*log I/O error",
            "^XFS (*log recovery *I/O error",
            "^XFS (*Internal error",
            "^XFS (*internal error",
            "^XFS (*xfs_do_force_shutdown",
            "^XFS (*hutting down filesystem",
            "^XFS (*ilesystem has been shut down",
            "^XFS (*nmount and run xfs_repair",
            "^XFS internal error",
            "xfs_force_shutdown(",
            "I/O Error Detected.  Shutting down filesystem",
            "^XFS: failed to read root inode",
        ],
        unless: &["(loop", "User initiated"],
        part: Part::After("("),
        role: Role::Effect,
        meaning: DAMAGED,
        action: "look for errors of its disk before it; then unmount it and run xfs_repair",
        example: "XFS (sdd1): Metadata CRC error detected at xfs_agf_read_verify",
        ..critical(Storage, "xfs", "fs/xfs/xfs_error.c, xfs_fsops.c, xfs_buf.c")
    },
    Signature {
        id: "btrfs-error",
        any: &[
            "^BTRFS*forced readonly",
            "^BTRFS*parent transid verify failed",
            "^BTRFS*tree block corruption detected",
            "^BTRFS critical*corrupt",
            "^BTRFS critical*unable to find chunk map",
            "^BTRFS*IO failure",
            "^BTRFS*super block corruption",
            "^BTRFS*unable to fixup",
            "^BTRFS*ransaction aborted (error -5)",
            "^BTRFS error*failed to read chunk",
            "^BTRFS error*errors while writing supers",
            "^BTRFS error*error writing primary super block",
            "^BTRFS error*failed to read the system array: -5",
            "^BTRFS critical*unable to find logical",
            "^BTRFS*level verify failed on logical",
        ],
        unless: NO_FILE,
        part: Part::After("device "),
        role: Role::Effect,
        meaning: DAMAGED,
        action: "btrfs device stats MOUNT names the disk; copy what can be read, then btrfs scrub \
                 or restore",
        example: "BTRFS error (device sdd1): parent transid verify failed on logical 88 mirror 1",
        ..critical(Storage, "btrfs", "fs/btrfs/disk-io.c, volumes.c, tree-checker.c")
    },
    Signature {
        id: "zfs-suspended",
        any: &["^WARNING: Pool '*uncorrectable I/O failure and has been suspended"],
        part: Part::After("Pool '"),
        meaning: "a ZFS pool stopped: too many of its disks fail",
        action: "zpool status -v names them: bring them back, then zpool clear",
        example: "WARNING: Pool 'tank' has encountered an uncorrectable I/O failure and has been \
                  suspended.",
        ..critical(Storage, "zfs", "OpenZFS: module/zfs/zio.c")
    },
    Signature {
        id: "zfs-io-error",
        any: &["^zio pool=*error="],
        part: Part::After("vdev="),
        role: Role::Effect,
        meaning: "ZFS cannot read or write one of its disks",
        action: "zpool status -v names it; look for what the disk and its controller say before it",
        example: "zio pool=tank vdev=/dev/sdd1 error=5 type=1 offset=8192 size=4096 flags=180880",
        ..warning(Storage, "zfs", "OpenZFS: module/os/linux/zfs/vdev_disk.c, zio.c")
    },
    Signature {
        id: "fs-error",
        any: &[
            "^F2FS-fs (*invalid crc",
            "^F2FS-fs (*corrupted",
            "^FAT-fs (*Filesystem has been set read-only",
            "^REISERFS error (device ",
            "^REISERFS abort (device ",
            "^JFS*ERROR: (device ",
            "^NTFS-fs error (device ",
            "^ntfs3: *is corrupt",
            "^OCFS2: ERROR (device ",
            "^GFS2: fsid=*fatal",
        ],
        unless: NO_FILE,
        part: Part::After("("),
        role: Role::Effect,
        meaning: DAMAGED,
        action: "look for errors of its disk before it; then unmount it and run its fsck",
        example: "REISERFS error (device sdd1): vs-5150 search_by_key: invalid format found",
        ..critical(Storage, "fs", "fs/f2fs, fat, reiserfs, jfs, ntfs, ocfs2, gfs2")
    },
    Signature {
        id: "journal-aborted",
        any: &[
            "^Aborting journal on device ",
            "^JBD2: I/O error ",
            "^JBD2: IO error ",
            "^JBD: I/O error ",
            "^JBD2: *Error -5 detected",
            "Detected aborted journal",
            "^JBD2: recovery failed",
            "journal commit I/O error",
            "^JBD: recovery failed",
            "^JBD2: journal transaction * is corrupt",
        ],
        unless: &["loop"],
        part: Part::After("device "),
        role: Role::Effect,
        meaning: "the file system's journal cannot be written",
        action: "look for errors of its disk before it; then unmount it and run e2fsck -f",
        example: "Aborting journal on device sdd1-8.",
        ..critical(Storage, "jbd2", "fs/jbd2/journal.c (fs/jbd before 4.3)")
    },
    Signature {
        id: "fs-warning",
        any: &[
            "^EXT*-fs warning*I/O error",
            "^EXT*-fs *mounting fs with errors",
            "Filesystem error recorded from previous mount",
            "^EXT*-fs (*): error count",
            "^EXT*-fs (*): last error at time",
            "^JBD2: Detected IO errors while flushing",
            "^BTRFS*csum failed",
            "^BTRFS*checksum verify failed",
            "^BTRFS*bad tree block start",
            "^BTRFS*read error corrected",
            "^BTRFS*fixed up error",
            "^BTRFS*lost page write due to IO error",
            "^BTRFS*lost super block write",
            "^BTRFS error*errs: wr",
            "^btrfs: *checksum verify failed",
            "^btrfs csum failed",
            "^XFS (*corrupt",
            "^XFS (*log record CRC mismatch",
            "^FAT-fs error (device ",
            "^BTRFS*devid *is missing",
            "^XFS (*Failing async write on buffer",
            "^XFS (*SB validate failed with error -117",
            "^XFS (*SB validate failed with error -74",
            "^F2FS-fs (*inconsistent node block",
        ],
        unless: &["loop", "error count since last fsck: 0"],
        part: Part::After("("),
        role: Role::Effect,
        meaning: "the file system met damaged data or errors of its disk",
        action: "look for errors of its disk before it (smartctl -x DEV); check the file system \
                 when it is unmounted",
        example: "BTRFS warning (device sdd1): csum failed root 5 ino 257 off 0",
        ..warning(Storage, "fs", "fs/ext4, fs/btrfs, fs/jbd2, fs/fat")
    },
    Signature {
        id: "fs-writeback",
        any: &[": writeback error on inode "],
        unless: &["loop"],
        part: Part::Head,
        role: Role::Effect,
        meaning: "the file system could not write what programs had left to it",
        action: "look for errors of its disk before it (smartctl -x DEV)",
        example: "sdd1: writeback error on inode 1234, offset 0, sector 5678",
        ..warning(Storage, "fs", "fs/iomap/buffered-io.c, fs/xfs/xfs_aops.c")
    },
];
