//! The signatures of failing network adapters and links.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/net, net/sched).

use super::Category::Network;
use super::signature_table::{Part, Signature, critical, warning};

pub(super) const NETWORK: &[Signature] = &[
    critical(
        Network,
        Part::Head,
        &[
            ": Adapter removed",
            "irmware recovery mode detected",
            "firmware error detected",
            "PCIe link lost",
            "Received ECC Err, initiating reset",
            "device's health compromised",
            "mlx*Internal error detected",
            "mlx*Fatal error",
            "mlx*firmware internal error",
            "bnx2x*MC assert!",
            "bnx2x*FW assert",
            "bnxt_en*Firmware not responding",
            "bnxt_en*FW reported fatal",
            "NVM Checksum Is Not Valid",
        ],
        "the network adapter or its firmware failed",
    ),
    warning(
        Network,
        Part::After("WATCHDOG: "),
        &["NETDEV WATCHDOG: * ("],
        "the network adapter stopped sending (transmit timeout)",
    )
    .unless(&["NETDEV WATCHDOG: CPU"]),
    warning(
        Network,
        Part::Head,
        &[
            "NETDEV WATCHDOG: CPU",
            "Reset adapter",
            "Detected Hardware Unit Hang",
            "Detected Tx Unit Hang",
            "tx hang *detected, resetting adapter",
            "initiating reset due to tx timeout",
            "transmit timed out, resetting",
            "hw csum failure",
            "igc*failed to read reg",
            "mlx*timeout. Will cause a leak",
            "mlx5_core*probe of *failed with error",
            "mlx*Port module event[error]",
            "i40e*PF reset failed",
            "ice *PF reset failed",
        ],
        "the network adapter hangs or had to be reset",
    ),
    warning(
        Network,
        Part::After("for interface "),
        &["link status definitely down for interface "],
        "the link keeps going down: suspect the cable, the transceiver or the switch port",
    )
    .from(3),
    warning(
        Network,
        Part::Head,
        &["Link is Down", "Link is down", "link is down", ": Link down", ": link down"],
        "the link keeps going down: suspect the cable, the transceiver or the switch port",
    )
    .unless(&["SATA", "ata", "pciehp", "usb"])
    .from(3)
    .settled(),
];
