//! The signatures of failing storage controllers, and of the fabrics between them and disks.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/scsi, message).

use super::Category::Storage;
use super::signature_table::{Part, Role, Signature, critical, warning};

const AT_RISK: &str = "the storage controller failed: all disks behind it are at risk";
const POWER_CYCLE: &str = "power-cycle the host; update the controller's firmware, check its \
                           cooling and seating; replace it when it happens again";

pub(super) const CONTROLLER: &[Signature] = &[
    Signature {
        id: "mpt-dead",
        any: &[
            "SAS host is non-operational",
            "^mpt*fault_state(0x",
            "^mpt*dead_ioc",
            "^mpt*coredump_state",
            "^mpi3mr*unrecoverable",
            "^mpi3mr*controller is in fault",
            "^mptbase: *IOC is in FAULT",
            "^mpt*IOC is in FAULT STATE",
            "WarpDrive Fatal Error",
        ],
        part: Part::Head,
        role: Role::Carrier,
        meaning: AT_RISK,
        action: POWER_CYCLE,
        example: "mpt3sas_cm0: fault_state(0x5854)!",
        ..critical(Storage, "mpt3sas", "drivers/scsi/mpt3sas, mpi3mr; drivers/message/fusion")
    },
    Signature {
        id: "raid-degraded",
        any: &[
            "is now DEGRADED",
            "is now PARTIALLY DEGRADED",
            "is now OFFLINE",
            "AEN: ERROR*egraded unit",
            "AEN: ERROR*nit inoperable",
        ],
        part: Part::Head,
        meaning: "an array of the controller lost disks",
        action: "the controller's tool names the disk (storcli /cALL show, ssacli ctrl all show \
                 config, arcconf getconfig 1): replace it",
        example: "megaraid_sas 0000:3b:00.0: 812 (60s/0x0001/CRIT) - VD 00/0 is now DEGRADED",
        ..critical(Storage, "raid", "drivers/scsi/megaraid, 3w-9xxx.c")
    },
    Signature {
        id: "raid-disk-predicts-failure",
        any: &["redictive failure: PD", "Unrecoverable medium error", "AEN: *ECC error detected"],
        part: Part::Head,
        meaning: "a disk behind the controller is failing",
        action: "the controller's tool names it: replace it",
        example: "megaraid_sas 0000:3b:00.0: 96 (60s/0x0002/WARN) - Predictive failure: PD \
                  0a(e0xfc/s2)",
        ..critical(Storage, "raid", "drivers/scsi/megaraid, 3w-9xxx.c")
    },
    Signature {
        id: "raid-battery",
        any: &["^mega*/WARN)*attery", "^mega*/CRIT)*attery", "^mega*/FATAL)*attery"],
        part: Part::Head,
        meaning: "the battery of the controller's cache fails: writes are slow, or lost with power",
        action: "storcli /cALL/bbu show all (or /cv show all) says how it is: replace it",
        example: "megaraid_sas 0000:3b:00.0: 161 (60s/0x0008/CRIT) - Battery needs replacement - \
                  SOH Bad",
        ..warning(Storage, "raid", "drivers/scsi/megaraid")
    },
    Signature {
        id: "megaraid-dead",
        any: &[
            "^mega*FW in FAULT state",
            "^mega*Adapter is OFFLINE",
            "^mega*dapter is dead",
            "^mega*killing adapter",
            "^mega*HBA is killed",
            "^mega*Hardware critical error",
            "^mega*Controller in crit error",
            "^mega*cannot recover from previous reset",
            "^mega*Failed to transition controller to ready",
            "^mega*/FATAL)",
            "^mega*/DEAD)",
            "^megaraid: *hw error, cannot recover",
        ],
        part: Part::Head,
        role: Role::Carrier,
        meaning: AT_RISK,
        action: POWER_CYCLE,
        example: "megaraid_sas 0000:3b:00.0: Found FW in FAULT state, will reset adapter.",
        ..critical(Storage, "megaraid_sas", "drivers/scsi/megaraid")
    },
    Signature {
        id: "smart-array-dead",
        any: &[
            "^smartpqi *controller*offline",
            "^hpsa *ontroller lockup detected",
            "^hpsa *LV failed, device will be skipped",
            "^cciss*ontroller lockup detected",
            "^cciss*controller * failed, stopping",
        ],
        part: Part::Head,
        role: Role::Carrier,
        meaning: AT_RISK,
        action: POWER_CYCLE,
        example: "smartpqi 0000:3b:00.0: controller is offline: status code 0x6100c",
        ..critical(Storage, "smartpqi", "drivers/scsi/smartpqi, hpsa.c; drivers/block/cciss.c")
    },
    Signature {
        id: "aacraid-dead",
        any: &[
            "^aac*BLINK LED",
            "^aac*blinkLED",
            "^aac*adapter kernel panic",
            "^AAC*adapter kernel panic",
            "^AAC*adapter self-test failed",
            "^AAC*adapter monitor panic",
            "^aac*dapter is dead",
            "^aac*adapter self-test failed",
            "^aac*adapter monitor panic",
            "^aac*serious unrecoverable hardware problem",
        ],
        part: Part::Head,
        role: Role::Carrier,
        meaning: AT_RISK,
        action: POWER_CYCLE,
        example: "aacraid: Host adapter BLINK LED 0x11",
        ..critical(Storage, "aacraid", "drivers/scsi/aacraid")
    },
    Signature {
        id: "fc-adapter-dead",
        any: &[
            "^qla2xxx*System Error",
            "^qla2xxx*RISC paused",
            "^qla2xxx*Firmware dump saved",
            "^qla2xxx*Adapter aborted all outstanding",
            "^lpfc *Adapter Hardware Error",
            "^lpfc *HBA Error Attention",
            "^lpfc *Adapter in hardware error",
            "Heart Beat of IOC has failed",
        ],
        part: Part::Head,
        role: Role::Carrier,
        meaning: "the Fibre Channel adapter failed: all disks behind it are at risk",
        action: POWER_CYCLE,
        example: "qla2xxx [0000:3b:00.0]-5003:7: ISP System Error - mbx1=4c82h mbx2=0h mbx3=0h.",
        ..critical(Storage, "fc", "drivers/scsi/qla2xxx, lpfc")
    },
    Signature {
        id: "hba-dead",
        any: &[
            "^arcmsr*wait*abort all outstanding command*timeout",
            "^arcmsr*ardware bus reset*fail",
            "^isci*controller *failed",
            "^pm80xx*atal error",
            "^pm8001*atal error",
            "^hisi_sas*reset failed",
            "^esas2r*Adapter disabled because of hardware failure",
            "^esas2r*firmware has panicked",
            "^ahci *controller reset failed",
            "^3w-*ERROR: *Controller *reset failed",
        ],
        part: Part::Head,
        role: Role::Carrier,
        meaning: AT_RISK,
        action: POWER_CYCLE,
        example: "ahci 0000:3b:00.0: controller reset failed (0xffffffff)",
        ..critical(Storage, "scsi", "drivers/scsi/arcmsr, isci, pm8001, hisi_sas; drivers/ata")
    },
    Signature {
        id: "hba-not-started",
        any: &[
            "^ahci*probe *failed with error -",
            "^mpt*probe *failed with error -",
            "^mega*probe *failed with error -",
            "^hpsa*probe *failed with error -",
            "^smartpqi*probe *failed with error -",
            "^aacraid*probe *failed with error -",
        ],
        unless: &["error -517"],
        part: Part::PciLast,
        role: Role::Carrier,
        meaning: "the driver cannot start the storage controller: all disks behind it are missing",
        action: POWER_CYCLE,
        example: "mpt3sas: probe of 0000:3b:00.0 failed with error -12",
        ..critical(Storage, "scsi", "drivers/base/dd.c")
    },
    Signature {
        id: "controller-reset",
        any: &[
            "^mpt*sending diag reset",
            "^mpt*sending message unit reset",
            "^mptscsih: *attempting *reset",
            "^mega*resetting fusion adapter",
            "^mega*waiting for controller reset",
            "^mega*OCR is requested due to IO timeout",
            "^mega*/CRIT)",
            "^aacraid: Host *reset request",
            "^aacraid: Host adapter abort request",
            "^hpsa *resetting ",
            "^smartpqi *resetting scsi",
            "^3w-*AEN: ERROR",
            "host reset: FAILED",
            "task abort: FAILED",
            "^arcmsr*executing *bus reset",
            "Dump Card State Begins",
            "^megaraid: command posting timed out",
            "^mvsas *Release slot",
            "timed out, resetting card",
            "^mega*waiting for * commands to complete",
            "^mpt*Command Timeout",
        ],
        part: Part::Head,
        settled: true,
        meaning: "the storage controller had to be reset or reports trouble of its own",
        action: "look for the disk that it waits for before it; update the controller's firmware",
        example: "mpt3sas_cm0: sending diag reset !!",
        ..warning(Storage, "scsi", "drivers/scsi")
    },
    Signature {
        id: "controller-retries",
        any: &[
            "attempting task abort!",
            "attempting device reset!",
            "attempting target reset!",
            "attempting host reset!",
            "ttempting to queue an ABORT message",
            "ABORT operation started",
            "Abort command issued nexus=",
        ],
        part: Part::Head,
        repeats: 3,
        settled: true,
        role: Role::Effect,
        meaning: "commands to disks of this controller fail and are retried",
        action: "look for the disk that is named most; check cables and backplane when many are",
        example: "sd 0:0:3:0: attempting task abort! scmd(00000000a7f1)",
        ..warning(Storage, "scsi", "drivers/scsi/mpt3sas, megaraid")
    },
    Signature {
        id: "mpt-log-info",
        any: &["^mpt*log_info(0x"],
        part: Part::Head,
        repeats: 10,
        settled: true,
        role: Role::Effect,
        meaning: "the storage controller keeps noting errors of commands or links",
        action: "look for the disk that is named beside it; check cables and backplane when many \
                 are",
        example: "mpt3sas_cm0: log_info(0x31110d00): originator(PL), code(0x11), sub_code(0x0d00)",
        ..warning(Storage, "mpt3sas", "drivers/scsi/mpt3sas/mpt3sas_base.c")
    },
    Signature {
        id: "fc-port-lost",
        any: &["blocked FC remote port time out: ", "^lpfc *Devloss timeout"],
        part: Part::Head,
        meaning: "a port of the storage network is gone",
        action: "check the array's port, the switch and the cable between",
        example: "rport-7:0-3: blocked FC remote port time out: removing target and saving binding",
        ..warning(Storage, "fc", "drivers/scsi/scsi_transport_fc.c")
    },
    Signature {
        id: "fc-link-flap",
        any: &["LOOP DOWN detected", "^lpfc *Link Down Event"],
        part: Part::Head,
        repeats: 3,
        settled: true,
        meaning: "the Fibre Channel link keeps going down",
        action: "swap the cable, then the transceiver, then the switch port",
        example: "qla2xxx [0000:3b:00.0]-500b:7: LOOP DOWN detected (2 7 0 0).",
        ..warning(Storage, "fc", "drivers/scsi/qla2xxx, lpfc")
    },
    Signature {
        id: "iscsi-lost",
        any: &[
            "session recovery timed out after",
            "detected conn error (1",
            "iscsi*ping timeout of",
        ],
        part: Part::Head,
        repeats: 2,
        meaning: "the connection to an iSCSI target fails",
        action: "check the network path to the target and the target itself",
        example: "connection2:0: detected conn error (1022)",
        ..warning(Storage, "iscsi", "drivers/scsi/scsi_transport_iscsi.c, libiscsi.c")
    },
];
