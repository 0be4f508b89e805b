//! The signatures of failing storage: NVMe, SATA, SAS, their controllers, arrays, file systems.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/nvme, ata, scsi, md; block; fs).

use super::Category::Storage;
use super::signature_table::{Part, Signature, critical, warning};

/// Disks that fail by nature (floppies, optical drives without a medium) or that are files and
/// memory. Controllers also refuse WRITE SAME and UNMAP with these words, once, and the kernel then
/// goes without.
const NO_DISK: &[&str] = &[
    " dev fd",
    " dev sr",
    " dev loop",
    " dev nbd",
    " dev ram",
    " dev zram",
    "critical target error*WRITE_ZEROES",
    "critical target error*WRITE_SAME",
    "critical target error*DISCARD",
];

pub(super) const STORAGE: &[Signature] = &[
    // NVMe.
    critical(
        Storage,
        Part::Nvme,
        &[
            "nvme*controller is down; will reset",
            "nvme*Removing after probe failure",
            "nvme*Disabling device after reset failure",
            "nvme*Device not ready; aborting",
            "nvme*failed to mark controller live",
            "nvme*persistent internal error",
        ],
        "the NVMe controller stopped answering",
    ),
    critical(
        Storage,
        Part::Nvme,
        &["nvme*critical warning"],
        "the NVMe drive raised a critical warning of its own",
    ),
    warning(Storage, Part::Nvme, &["nvme*QID *timeout"], "commands to the NVMe drive time out")
        .critical_at(10),
    warning(
        Storage,
        Part::Nvme,
        &[
            "nvme*frozen state error detected",
            "nvme*Fw activation timeout",
            "nvme*Abort status: 0x",
        ],
        "the NVMe controller had to be reset",
    ),
    critical(
        Storage,
        Part::Nvme,
        &["nvme*Unrecovered Read Error", "nvme*(sct 0x2 /", "critical medium error, dev nvme"],
        "the NVMe drive cannot read or write some of its blocks",
    ),
    // Disks, SATA and SAS.
    critical(
        Storage,
        Part::Disk,
        &[
            "FAILURE PREDICTION",
            "Failure prediction threshold exceeded",
            "Sense Key : Hardware Error",
            "Sense: Internal target failure",
        ],
        "the disk itself reports that it is failing",
    ),
    warning(
        Storage,
        Part::After(" dev "),
        &["medium error, dev "],
        "sectors of the disk cannot be read or written",
    )
    .unless(NO_DISK)
    .critical_at(5),
    warning(
        Storage,
        Part::Disk,
        &["Sense Key : Medium Error", "Sense: Unrecovered read error", "Sense: Write error"],
        "the disk reports damaged sectors (medium error)",
    )
    .unless(&["] sr", "sr *[sr"])
    .critical_at(5),
    critical(
        Storage,
        Part::Port,
        &["ata*: disabled", "ata*: disable device", "ata*: reset failed, giving up"],
        "the disk was given up after it did not answer resets",
    )
    .unless(&["NCQ", "ACPI", "DIPM"]),
    warning(
        Storage,
        Part::Port,
        &["ata*: error: {*UNC", "(media error)"],
        "the disk cannot read some of its sectors (UNC)",
    )
    .critical_at(5),
    warning(
        Storage,
        Part::Port,
        &["ata*: error: {*ICRC", "ata*: SError: {*BadCRC"],
        "data is damaged between disk and controller: suspect the cable or the backplane",
    ),
    warning(
        Storage,
        Part::Port,
        &["ata*: exception Emask", "ata*: NCQ disabled due to excessive errors"],
        "the disk or its link failed commands",
    ),
    warning(
        Storage,
        Part::Port,
        &["ata*: limiting SATA link speed to"],
        "the SATA link was slowed down after errors",
    ),
    warning(
        Storage,
        Part::Port,
        &["ata*: COMRESET failed", "ata*: qc timeout", "ata*: revalidation failed"],
        "the disk does not answer resets or commands",
    )
    .from(2),
    warning(
        Storage,
        Part::Port,
        &["ata*: hard resetting link", "ata*: link is slow to respond", "ata*: softreset failed"],
        "the SATA link has to be reset again and again",
    )
    .from(3)
    .settled(),
    critical(
        Storage,
        Part::Disk,
        &["Device offlined - not ready after error recovery"],
        "the disk was taken offline after it did not recover",
    ),
    critical(
        Storage,
        Part::Head,
        &["rejecting I/O to offline device", "rejecting I/O to dead device"],
        "the device is offline and everything sent to it is refused",
    )
    .unless(&["sr *rejecting"]),
    critical(
        Storage,
        Part::Head,
        &[
            "SAS host is non-operational",
            "mpt*fault_state(0x",
            "mpt*dead_ioc",
            "mpi3mr*unrecoverable",
            "megaraid*Found FW in FAULT state",
            "megaraid*Adapter is OFFLINE",
            "megaraid*adapter is dead",
            "megaraid*/FATAL)",
            "megaraid*/DEAD)",
            "smartpqi *controller*offline",
            "hpsa *ontroller lockup detected",
            "aac*BLINK LED",
            "aac*adapter kernel panic",
            "aac*Host adapter dead",
            "qla2xxx*System Error",
        ],
        "the storage controller failed: all disks behind it are at risk",
    ),
    warning(
        Storage,
        Part::Head,
        &[
            "mpt*sending diag reset",
            "megaraid*resetting fusion adapter",
            "megaraid*waiting for controller reset",
            "megaraid*/CRIT)",
            "aacraid: Host *reset request",
            "aacraid: Host adapter abort request",
            "hpsa *resetting ",
            "smartpqi *resetting scsi",
            "3w-*AEN: ERROR",
            "host reset: FAILED",
            "task abort: FAILED",
        ],
        "the storage controller had to be reset or reports trouble of its own",
    )
    .settled(),
    warning(
        Storage,
        Part::Head,
        &[
            "attempting task abort!",
            "attempting device reset!",
            "attempting host reset!",
            "mpt*log_info(0x",
        ],
        "commands to disks of this controller fail and are retried",
    )
    .from(10)
    .settled(),
    warning(
        Storage,
        Part::Disk,
        &[
            "Sense: Logical unit communication failure",
            "hostbyte=DID_NO_CONNECT",
            "hostbyte=DID_BAD_TARGET",
        ],
        "the disk cannot be reached",
    )
    .unless(&["[sr"])
    .critical_at(20),
    warning(
        Storage,
        Part::After(" dev "),
        &[
            "I/O error, dev ",
            "critical target error, dev ",
            "timeout error, dev ",
            "Buffer I/O error on dev ",
        ],
        "reads or writes of the disk fail",
    )
    .unless(NO_DISK)
    .critical_at(20),
    warning(
        Storage,
        Part::After("path "),
        &["device-mapper: multipath: *Failing path"],
        "a path to storage failed",
    ),
    // Arrays and file systems.
    critical(
        Storage,
        Part::After("Disk failure on "),
        &["Disk failure on *, disabling device"],
        "the disk failed and was removed from its array",
    ),
    critical(
        Storage,
        Part::After("kicking non-fresh "),
        &["md: kicking non-fresh "],
        "the disk had dropped out of its array, which runs without it",
    ),
    critical(
        Storage,
        Part::After("md/"),
        &["md/*Cannot continue operation", "md/*not enough operational", "md/*too many failures"],
        "the array has lost more disks than it can do without",
    ),
    critical(
        Storage,
        Part::After(" on "),
        &["read error not correctable", "unrecoverable I/O read error", "uncorrectable read error"],
        "an array could not repair a read error of this disk",
    ),
    warning(
        Storage,
        Part::After(" on "),
        &["md/*read error corrected"],
        "an array repaired read errors of this disk from its other disks",
    ),
    warning(
        Storage,
        Part::After("Disk failure on "),
        &["Disk failure on ", "md: super_written gets error"],
        "an array cannot write to one of its disks",
    ),
    critical(
        Storage,
        Part::After("integrity: "),
        &["device-mapper: integrity: *hecksum failed"],
        "the device mapper found data that does not match its checksum",
    ),
    critical(
        Storage,
        Part::After("("),
        &[
            "EXT*-fs*emounting filesystem read-only",
            "EXT*-fs*I/O error while writing",
            "EXT*-fs error (device ",
            "EXT*-fs (*): failed to convert unwritten extents",
            "XFS (*Metadata corruption detected",
            "XFS (*Metadata CRC error",
            "XFS (*Corruption ",
            "XFS (*metadata I/O error",
            "XFS (*log I/O error",
            "XFS (*Internal error",
            "XFS (*xfs_do_force_shutdown",
            "XFS (*hutting down filesystem",
            "XFS (*ilesystem has been shut down",
            "XFS (*unmount and run xfs_repair",
            "XFS (*Unmount and run xfs_repair",
            "BTRFS*forced readonly",
            "BTRFS*parent transid verify failed",
        ],
        "the file system is damaged or was stopped after errors of its disk",
    )
    .unless(&["device loop", "(loop"]),
    critical(
        Storage,
        Part::After("device "),
        &[
            "Aborting journal on device ",
            "JBD2: I/O error ",
            "JBD2: *Error -5 detected",
            "Detected aborted journal",
        ],
        "the file system's journal cannot be written",
    )
    .unless(&["loop"]),
    warning(
        Storage,
        Part::After("device "),
        &[
            "EXT*-fs warning*I/O error",
            "EXT*-fs *mounting fs with errors",
            "BTRFS*csum failed",
            "BTRFS*checksum verify failed",
            "BTRFS error*errs: wr",
            "F2FS-fs (*invalid crc",
        ],
        "the file system met damaged data or errors of its disk",
    )
    .unless(&["loop"]),
];
