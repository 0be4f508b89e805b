//! The signatures of failing disks: SCSI, SATA, IDE, cards, and the block layer above them.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/scsi, ata, ide, mmc; block; fs/buffer.c).

use super::Category::Storage;
use super::signature_table::{Part, Role, Signature, critical, warning};

const SD: &str = "drivers/scsi/scsi_error.c, sd.c, constants.c";
const ATA: &str = "drivers/ata/libata-eh.c";
const CABLE: &str = "reseat or replace the cable or the tray, then try another port; smartctl -x \
                     DEV counts the errors of the link";
const SMART: &str = "smartctl -x DEV says how the disk is: copy its data, replace it, and let the \
                     array rebuild";

pub(super) const DISK: &[Signature] = &[
    Signature {
        id: "disk-predicts-failure",
        any: &[
            "FAILURE PREDICTION",
            "ailure prediction threshold exceeded",
            "Sense Key : Hardware Error",
            "Sense Key : 0x4 ",
            "ense key: Hardware Error",
            "ense key Hardware Error",
            "Sense: Internal target failure",
            "Sense: Logical unit failure",
            "received 'logical unit failure'",
            "Drive reports diagnostics failure",
            "mpending failure",
        ],
        part: Part::Disk,
        meaning: "the disk itself reports that it is failing",
        action: SMART,
        example: "sd 0:0:3:0: [sdd] tag#9 Sense Key : Hardware Error [current]",
        ..critical(Storage, "scsi", SD)
    },
    Signature {
        id: "disk-sector-lost",
        any: &["medium error, dev "],
        part: Part::After(" dev "),
        critical_at: 5,
        meaning: "sectors of the disk cannot be read or written",
        action: SMART,
        example: "critical medium error, dev sdd, sector 4096 op 0x0:(READ)",
        ..warning(Storage, "block", "block/blk-mq.c (blk-core.c before 5.16)")
    },
    Signature {
        id: "disk-medium-error",
        any: &[
            "Sense Key : Medium Error",
            "Sense Key : 0x3 ",
            "ense key: Medium Error",
            "ense key Medium Error",
            "Sense: Unrecovered read error",
            "sense: Unrecovered read error",
            "Sense: Write error",
        ],
        part: Part::Disk,
        critical_at: 5,
        meaning: "the disk reports damaged sectors (medium error)",
        action: SMART,
        example: "sd 0:0:3:0: [sdd] tag#9 Sense Key : Medium Error [current]",
        ..warning(Storage, "scsi", SD)
    },
    Signature {
        id: "ata-disabled",
        any: &["^ata*: disabled", "^ata*: disable device", "^ata*: reset failed, giving up"],
        unless: &["NCQ", "ACPI", "DIPM", "SEMB"],
        part: Part::Port,
        role: Role::Carrier,
        meaning: "the disk was given up after it did not answer resets",
        action: "reseat the disk, its cable and power; replace it when it does not come back",
        example: "ata5.00: disable device",
        ..critical(Storage, "ata", ATA)
    },
    Signature {
        id: "ata-media",
        any: &["^ata*error: {*UNC", "^ata*error=0x*{ UncorrectableError", "^ata*(media error)"],
        part: Part::Port,
        critical_at: 5,
        meaning: "the disk cannot read some of its sectors (UNC)",
        action: SMART,
        example: "ata5.00: error: { UNC }",
        ..warning(Storage, "ata", ATA)
    },
    Signature {
        id: "ata-crc",
        any: &["^ata*error: {*ICRC", "^ata*: SError: {*BadCRC", "^ata*: SError: {*Handshk"],
        part: Part::Port,
        meaning: "data is damaged between disk and controller: suspect the cable or the backplane",
        action: CABLE,
        example: "ata5.00: error: { ICRC ABRT }",
        ..warning(Storage, "ata", ATA)
    },
    Signature {
        id: "ata-exception",
        any: &[
            "^ata*: exception Emask",
            "^ata*: NCQ disabled due to excessive errors",
            "^ata*: command 0x* timeout",
            "^ata*: failed command: ",
        ],
        unless: &["exception Emask 0x10 "],
        part: Part::Port,
        meaning: "the disk or its link failed commands",
        action: "smartctl -x DEV says whether the disk or its link is at fault: replace the disk \
                 or the cable",
        example: "ata5.00: exception Emask 0x0 SAct 0x1 SErr 0x0 action 0x6 frozen",
        ..warning(Storage, "ata", ATA)
    },
    // While links are trained, each change of one is an error of the bus.
    Signature {
        id: "ata-bus-error",
        any: &["^ata*: exception Emask 0x10 "],
        part: Part::Port,
        settled: true,
        meaning: "the link to the disk failed (error of the ATA bus)",
        action: CABLE,
        example: "ata5.00: exception Emask 0x10 SAct 0x1 SErr 0x400100 action 0x6 frozen",
        ..warning(Storage, "ata", ATA)
    },
    Signature {
        id: "ata-slowed",
        any: &["^ata*: limiting SATA link speed to", "^ata*: limiting speed to UDMA"],
        unless: &["<unknown>"],
        part: Part::Port,
        meaning: "the SATA link was slowed down after errors",
        action: CABLE,
        example: "ata5: limiting SATA link speed to 3.0 Gbps",
        ..warning(Storage, "ata", ATA)
    },
    Signature {
        id: "ata-no-answer",
        any: &[
            "^ata*: COMRESET failed",
            "^ata*: qc timeout",
            "^ata*: revalidation failed",
            "^ata*: failed to IDENTIFY (I/O error",
            "^ata*: failed to resume link for reset",
            "^ata*: failed to set xfermode",
            "^ata*: failed to recover some devices, retrying",
            "^ata*: port failed to respond",
        ],
        part: Part::Port,
        repeats: 2,
        meaning: "the disk does not answer resets or commands",
        action: "reseat the disk, its cable and power; replace it when it stays so",
        example: "ata5: COMRESET failed (errno=-16)",
        ..warning(Storage, "ata", ATA)
    },
    Signature {
        id: "ata-resets",
        any: &[
            "^ata*: hard resetting link",
            "^ata*: link is slow to respond",
            "^ata*: softreset failed",
            "^ata*: SRST failed",
        ],
        part: Part::Port,
        repeats: 3,
        settled: true,
        meaning: "the SATA link has to be reset again and again",
        action: CABLE,
        example: "ata5: hard resetting link",
        ..warning(Storage, "ata", ATA)
    },
    Signature {
        id: "ide-media",
        any: &["^hd*{ UncorrectableError", "^hd*{ *SectorIdNotFound", "^hd*{ *AddrMarkNotFound"],
        part: Part::Head,
        critical_at: 5,
        meaning: "the disk cannot read some of its sectors",
        action: SMART,
        example: "hda: dma_intr: error=0x40 { UncorrectableError }, LBAsect=4096, sector=4095",
        ..warning(Storage, "ide", "drivers/ide/ide-lib.c (2.6)")
    },
    Signature {
        id: "ide-crc",
        any: &["^hd*{ *BadCRC", "^hd*: lost interrupt", "^hd*timeout waiting for DMA"],
        unless: &["ATAPI"],
        part: Part::Head,
        repeats: 3,
        meaning: "data is damaged or lost between disk and controller",
        action: CABLE,
        example: "hda: dma_intr: error=0x84 { DriveStatusError BadCRC }",
        ..warning(Storage, "ide", "drivers/ide (2.6)")
    },
    Signature {
        id: "disk-offlined",
        any: &["Device offlined - not ready after error recovery", "Device offlined - "],
        part: Part::Disk,
        role: Role::Carrier,
        meaning: "the disk was taken offline after it did not recover",
        action: "reseat or replace the disk; echo running > /sys/block/DEV/device/state tries it \
                 once more",
        example: "sd 0:0:3:0: Device offlined - not ready after error recovery",
        ..critical(Storage, "scsi", SD)
    },
    Signature {
        id: "disk-gone",
        any: &["rejecting I/O to offline device", "rejecting I/O to dead device"],
        unless: &["sr *rejecting"],
        part: Part::Disk,
        role: Role::Carrier,
        meaning: "the device is offline and everything sent to it is refused",
        action: "reseat or replace the disk; look for what its controller says before it",
        example: "sd 0:0:3:0: rejecting I/O to offline device",
        ..critical(Storage, "scsi", "drivers/scsi/scsi_lib.c")
    },
    Signature {
        id: "disk-unreachable",
        any: &[
            "Sense: Logical unit communication failure",
            "Sense: Logical unit not ready, cause not reportable",
            "Sense: Logical unit not ready, manual intervention",
            "hostbyte=DID_NO_CONNECT",
            "hostbyte=DID_BAD_TARGET",
        ],
        unless: &["[sr", "Synchroniz"],
        part: Part::Disk,
        critical_at: 20,
        role: Role::Effect,
        meaning: "the disk cannot be reached",
        action: "reseat the disk; look at its cable, backplane and controller when others fail too",
        example: "sd 0:0:3:0: [sdd] tag#9 FAILED Result: hostbyte=DID_NO_CONNECT \
                  driverbyte=DRIVER_OK",
        ..warning(Storage, "scsi", SD)
    },
    Signature {
        id: "disk-timeouts",
        any: &[
            "hostbyte=DID_TIME_OUT",
            "hostbyte=DID_ERROR",
            "hostbyte=DID_TRANSPORT_DISRUPTED",
            "hostbyte=DID_ABORT",
            "timing out command, waited",
            "uas_eh_abort_handler",
            "Sense Key : Aborted Command",
            "Sense Key : 0xb ",
        ],
        unless: &["[sr", "Synchroniz"],
        part: Part::Disk,
        repeats: 3,
        role: Role::Effect,
        meaning: "commands to the disk time out or are aborted",
        action: CABLE,
        example: "sd 0:0:3:0: [sdd] tag#9 FAILED Result: hostbyte=DID_TIME_OUT \
                  driverbyte=DRIVER_OK",
        ..warning(Storage, "scsi", SD)
    },
    Signature {
        id: "disk-resets",
        any: &["Power-on or device reset occurred"],
        unless: &["[sr"],
        part: Part::Disk,
        repeats: 5,
        settled: true,
        role: Role::Effect,
        meaning: "the disk starts anew again and again: its power or its link fails",
        action: CABLE,
        example: "sd 0:0:3:0: Power-on or device reset occurred",
        ..warning(Storage, "scsi", SD)
    },
    Signature {
        id: "sas-link",
        any: &["iuCRC error detected", "SCSI parity error", "Ack/nak timeout", "Nak received"],
        part: Part::Disk,
        meaning: "data is damaged between disk and controller: suspect the cable or the backplane",
        action: CABLE,
        example: "sd 0:0:3:0: [sdd] tag#9 Add. Sense: Information unit iuCRC error detected",
        ..warning(Storage, "scsi", "drivers/scsi/sense_codes.h")
    },
    Signature {
        id: "disk-recovered",
        any: &["Sense: Recovered data", "sense: Recovered data"],
        part: Part::Disk,
        repeats: 5,
        meaning: "the disk had to repair what it read",
        action: "smartctl -x DEV: replace the disk when its counts of corrected errors grow",
        example: "sd 0:0:3:0: [sdd] tag#9 Add. Sense: Recovered data with error correction applied",
        ..warning(Storage, "scsi", "drivers/scsi/sense_codes.h")
    },
    Signature {
        id: "disk-io-error",
        any: &[
            "^I/O error, dev ",
            "^I/O error: dev ",
            "^critical target error, dev ",
            "timeout error, dev ",
            "protection error, dev ",
            "^Buffer I/O error on dev ",
            "^Buffer I/O error on device ",
            "^lost page write due to I/O error on ",
            "offline error, dev ",
            "transport error, dev ",
        ],
        part: Part::After(" dev"),
        critical_at: 20,
        role: Role::Effect,
        meaning: "reads or writes of the disk fail",
        action: "look for what the disk and its controller say before it; smartctl -x DEV",
        example: "I/O error, dev sdd, sector 4096 op 0x1:(WRITE) flags 0x800",
        ..warning(Storage, "block", "block/blk-mq.c (blk-core.c before 5.16), fs/buffer.c")
    },
    Signature {
        id: "swap-error",
        any: &["^Read-error on swap-device", "^Write-error on swap-device"],
        role: Role::Effect,
        meaning: "pages that were swapped out cannot be read or written: programs are damaged",
        action: "look for what the disk says before it; swapoff the device, and \
                 restart what was killed",
        example: "Read-error on swap-device (8:48:4096)",
        ..critical(Storage, "mm", "kernel/power/swap.c, mm/page_io.c")
    },
    Signature {
        id: "multipath-failed",
        any: &["^device-mapper: multipath: *Failing path"],
        part: Part::After("path "),
        meaning: "a path to storage failed",
        action: "multipath -ll shows which: check its adapter, cable, switch and the array's port",
        example: "device-mapper: multipath: 254:3: Failing path 8:48.",
        ..warning(Storage, "multipath", "drivers/md/dm-mpath.c")
    },
    Signature {
        id: "mmc-error",
        any: &[
            "^mmc*Timeout waiting for hardware interrupt",
            "^mmcblk*error -",
            "^mmcblk*recovery failed",
            "^mmc*Card stuck in wrong state",
            "^mmc*cache flush error",
            "^mmc*Card stuck being busy",
            "^mmc*cqhci: timeout for tag",
            "^mmcblk*timed out sending * command",
            "^mmc*whilst initialising SD card",
        ],
        part: Part::Head,
        repeats: 2,
        meaning: "the card or the eMMC fails commands",
        action: "copy its data and replace it: mmc extcsd read DEV shows its wear",
        example: "mmcblk0: error -110 transferring data, sector 4096, nr 8, cmd response 0x900",
        ..warning(Storage, "mmc", "drivers/mmc/core/block.c")
    },
    Signature {
        id: "flash-ecc",
        any: &[
            "uncorrectable ECC error",
            "^ubi*error*ECC error",
            "^UBIFS error *bad node",
            "^SQUASHFS error: *data probably corrupt",
            "^SQUASHFS error: *nable to read",
        ],
        part: Part::Head,
        meaning: "flash memory holds damaged data",
        action: "restore it from a copy; replace the flash when it happens again",
        example: "ubi0 error: ubi_io_read: error -74 (ECC error) while reading 2048 bytes from \
                  PEB 7",
        ..warning(Storage, "mtd", "drivers/mtd, fs/squashfs")
    },
];
