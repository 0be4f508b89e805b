//! The signatures of failing NVMe drives.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/nvme/host).

use super::Category::Storage;
use super::signature_table::{Part, Role, Signature, critical, warning};

const NVME_CHECK: &str = "nvme smart-log DEV and nvme error-log DEV say how it is; update its \
                          firmware, reseat it; replace it when it happens again";

pub(super) const NVME: &[Signature] = &[
    Signature {
        id: "nvme-dead",
        any: &[
            "^nvme*controller is down; will reset",
            "^nvme*Removing after probe failure",
            "^nvme*Removing after reset failure",
            "^nvme*Disabling device after reset failure",
            "^nvme*Device not ready; aborting",
            "^nvme*failed to mark controller live",
            "^nvme*persistent internal error",
            "^nvme*Device failed to resume",
            "^nvme*Failed status: *reset controller",
            "^nvme*Identify Controller failed",
            "^nvme*failure state error detected",
            "^nvme*IO queues lost",
            "^nvme*IO queues not created",
            "^nvme*Could not set queue count (",
        ],
        part: Part::Nvme,
        role: Role::Carrier,
        meaning: "the NVMe controller stopped answering",
        action: "power-cycle the host and read nvme smart-log DEV; update its firmware, try \
                 nvme_core.default_ps_max_latency_us=0; replace it when it happens again",
        example: "nvme nvme3: controller is down; will reset: CSTS=0x3, PCI_STATUS=0x10",
        ..critical(Storage, "nvme", "drivers/nvme/host/pci.c, core.c")
    },
    Signature {
        id: "nvme-critical-warning",
        any: &["^nvme*critical warning", "^nvme*eliability degraded"],
        part: Part::Nvme,
        meaning: "the NVMe drive raised a critical warning of its own",
        action: "nvme smart-log DEV tells which (spare, reliability, read-only): replace the drive",
        example: "nvme nvme3: critical warning 0x04: reliability degraded",
        ..critical(Storage, "nvme", "drivers/nvme/host/core.c")
    },
    Signature {
        id: "nvme-media",
        any: &[
            "^nvme*Unrecovered Read Error",
            "^nvme*Write Fault",
            "^nvme*(sct 0x2 /",
            "^critical medium error, dev nvme",
        ],
        part: Part::Nvme,
        meaning: "the NVMe drive cannot read or write some of its blocks",
        action: "restore what is lost and replace the drive (nvme smart-log DEV: media_errors)",
        example: "nvme3n1: Read(0x2) @ LBA 8, 8 blocks, Unrecovered Read Error (sct 0x2 / sc 0x81) \
                  DNR",
        ..critical(Storage, "nvme", "drivers/nvme/host/core.c")
    },
    Signature {
        id: "nvme-timeout",
        any: &[
            "^nvme*QID *timeout",
            "^nvme*Cancelling I/O *QID",
            "^nvme*timeout, reset controller",
        ],
        part: Part::Nvme,
        critical_at: 10,
        meaning: "commands to the NVMe drive time out",
        action: NVME_CHECK,
        example: "nvme nvme3: I/O tag 12 (100c) opcode 0x2 (I/O Cmd) QID 4 timeout, aborting",
        ..warning(Storage, "nvme", "drivers/nvme/host/pci.c")
    },
    Signature {
        id: "nvme-reset",
        any: &[
            "^nvme*frozen state error detected",
            "^nvme*Fw activation timeout",
            "^nvme*Abort status: 0x",
            "^nvme*Device shutdown incomplete",
            "^nvme*identifiers changed for nsid",
        ],
        part: Part::Nvme,
        meaning: "the NVMe controller had to be reset",
        action: NVME_CHECK,
        example: "nvme nvme3: frozen state error detected, reset controller",
        ..warning(Storage, "nvme", "drivers/nvme/host/pci.c")
    },
    Signature {
        id: "nvme-fabrics",
        any: &[
            "^nvme*failed nvme_keep_alive_end_io",
            "^nvme*starting error recovery",
            "^nvme*data digest error",
            "^nvme*header digest error",
        ],
        part: Part::Nvme,
        meaning: "the connection to a remote NVMe target fails",
        action: "check the network path to the target and the target itself",
        example: "nvme nvme3: starting error recovery",
        ..warning(Storage, "nvme", "drivers/nvme/host/rdma.c, tcp.c, fc.c")
    },
    Signature {
        id: "nvme-io-error",
        any: &["^nvme*blocks, *(sct 0x", "^nvme*Admin Cmd(*(sct 0x"],
        unless: &["(sct 0x0 / sc 0x2", "(sct 0x0 / sc 0x1)", "(sct 0x1 /"],
        part: Part::Nvme,
        repeats: 3,
        meaning: "commands to the NVMe drive fail",
        action: NVME_CHECK,
        example: "nvme3n1: Read(0x2) @ LBA 8, 8 blocks, Internal Error (sct 0x0 / sc 0x6) DNR",
        ..warning(Storage, "nvme", "drivers/nvme/host/core.c (5.18 and later)")
    },
];
