//! The signatures of network adapters that failed, or whose firmware did.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/net/ethernet).

use super::Category::Network;
use super::signature_table::{Part, Signature, critical, warning};

const REPLACE: &str = "update the adapter's firmware and driver; power-cycle the host; replace the \
                       adapter when it happens again";

pub(super) const ADAPTER: &[Signature] = &[
    Signature {
        id: "intel-nic-dead",
        any: &[
            ": Adapter removed",
            "irmware recovery mode detected",
            "firmware error detected FWSM",
            "PCIe link lost",
            "device is unrecoverable",
            "unrecoverable device error",
            "ailed to read reg 0x*!",
            "Reset task did not complete, VF disabled",
            "^i40e *PF reset failed",
            "PF reset polling failed",
            "pf_reset failed",
            "^ice *PF reset failed",
            "^ice *Rebuild failed",
            "^ice *rebuild failed",
            "^ice *Critical FW error",
            "Entering recovery mode due to repeated FW resets",
        ],
        part: Part::Head,
        meaning: "the network adapter or its firmware failed",
        action: REPLACE,
        example: "ixgbe 0000:3b:00.0: Adapter removed",
        ..critical(Network, "intel", "drivers/net/ethernet/intel")
    },
    Signature {
        id: "nic-ecc",
        any: &["Received ECC Err, initiating reset", "uncorrectable ECC data error"],
        part: Part::Head,
        meaning: "the network adapter's own memory failed (ECC)",
        action: REPLACE,
        example: "ixgbe 0000:3b:00.0 eth4: Received ECC Err, initiating reset",
        ..critical(Network, "net", "drivers/net/ethernet/intel/ixgbe, chelsio/cxgb4")
    },
    Signature {
        id: "nic-nvm",
        any: &["NVM Checksum Is Not Valid", "EEPROM Checksum Is Not Valid", "NVM Read Error"],
        part: Part::Head,
        meaning: "the network adapter's configuration memory is damaged",
        action: "write its firmware anew with the vendor's tool, or replace the adapter",
        example: "igb 0000:3b:00.0: The NVM Checksum Is Not Valid",
        ..critical(Network, "intel", "drivers/net/ethernet/intel")
    },
    Signature {
        id: "mlx-dead",
        any: &[
            "device's health compromised",
            "^mlx*Internal error detected",
            "^mlx*Catastrophic error detected",
            "^mlx*Fatal error",
            "^mlx*FW fatal error",
            "^mlx*firmware internal error",
            "^mlx*Health issue observed",
            "^mlx*Firmware over *pre-initializing",
            "^mlx*health recovery f",
            "^mlx4*FATAL WARNING",
            "^mlx4*did not come back after reset",
            "^mlx4*Failed to reset HCA",
        ],
        part: Part::Head,
        meaning: "the network adapter or its firmware failed",
        action: REPLACE,
        example: "mlx5_core 0000:3b:00.0: poll_health:800: device's health compromised - reached",
        ..critical(Network, "mlx", "drivers/net/ethernet/mellanox")
    },
    Signature {
        id: "broadcom-dead",
        any: &[
            "^bnx2x*MC assert!",
            "^bnx2x*FW assert",
            "^bnx2x*FATAL HW block attention",
            "^bnx2x*HW error detected",
            "^bnx2x*arity error",
            "^bnxt_en*Firmware not responding",
            "^bnxt_en*FW reported fatal",
            "^bnxt_en*: Fatal firmware reset",
            "^bnxt_en*firmware fatal condition",
            "^bnxt_en*Firmware reset aborted",
            "^tg3*Cannot restart hardware after reset",
            "^bnx2*failed to reset NIC, closing",
            "Chip reset did not complete",
        ],
        part: Part::Head,
        meaning: "the network adapter or its firmware failed",
        action: REPLACE,
        example: "bnxt_en 0000:3b:00.0 eth4: Firmware not responding, status: 0xdead",
        ..critical(Network, "broadcom", "drivers/net/ethernet/broadcom")
    },
    Signature {
        id: "nic-dead",
        any: &[
            "encountered fatal error, adapter stopped",
            "encountered fatal error, operation suspended",
            "^cxgb*arity error",
            "^cxgb*FW assertion",
            "Firmware reports adapter error",
            "^be2net*Unrecoverable",
            "^be2net*Adapter in non recoverable",
            "^be2net*POST timeout",
            "Recovery handling has failed. Power cycle",
            "^qed*FW assertion!",
            "^qlcnic*irmware hang",
            "^qlcnic*FW hung",
            "^netxen*irmware hang",
            "^sfc *MC *reboot",
            "^enic *devcmd*timed out",
            "^be2net*Error detected in the",
            "^be2net*UE: *bit set",
            "The MFW failed to respond to command",
        ],
        part: Part::Head,
        meaning: "the network adapter or its firmware failed",
        action: REPLACE,
        example: "cxgb4 0000:3b:00.4: encountered fatal error, adapter stopped",
        ..critical(Network, "net", "drivers/net/ethernet/chelsio, emulex, qlogic, sfc, cisco")
    },
    Signature {
        id: "mlx-command",
        any: &[
            "^mlx*timeout. Will cause a leak",
            "^mlx4*timed out (go bit not cleared)",
            "^mlx*_load_one failed",
            "^mlx4*Failed to initialize",
            "^mlx*Port module event[error]",
            "^mlx*ort module event *error",
        ],
        part: Part::Head,
        meaning: "the network adapter does not take commands, or a transceiver of it is bad",
        action: "check transceiver and cable (ethtool -m DEV); update firmware and driver; replace \
                 the adapter when it happens again",
        example: "mlx5_core 0000:3b:00.0: wait_func:1066: CREATE_EQ(0x301) timeout. Will cause a \
                  leak of a command resource",
        ..warning(Network, "mlx", "drivers/net/ethernet/mellanox")
    },
    // Slots that advertise too little say so at each boot, and the adapter works.
    Signature {
        id: "mlx-power",
        any: &["^mlx*insufficient power on the PCIe slot"],
        part: Part::Head,
        settled: true,
        meaning: "the slot gives the network adapter less power than it asks for",
        action: "try another slot or riser; update the host's firmware",
        example: "mlx5_core 0000:3b:00.0: mlx5_pcie_event:294:(pid 1180): Detected insufficient \
                  power on the PCIe slot (26W).",
        ..warning(Network, "mlx", "drivers/net/ethernet/mellanox/mlx5/core/events.c")
    },
    Signature {
        id: "nic-not-started",
        any: &[
            "^mlx*probe *failed with error -",
            "^e1000*probe *failed with error -",
            "^igb*probe *failed with error -",
            "^igc*probe *failed with error -",
            "^ixgbe*probe *failed with error -",
            "i40e*probe *failed with error -",
            "ice: probe of *failed with error -",
            "with driver ice failed with error -",
            "^bnx*probe *failed with error -",
            "^tg3*probe *failed with error -",
            "^r8169*probe *failed with error -",
            "^be2net*probe *failed with error -",
            "^qed*probe *failed with error -",
            "^cxgb*probe *failed with error -",
        ],
        unless: &["error -517"],
        part: Part::PciLast,
        meaning: "the driver cannot start the network adapter",
        action: "read what it says before it; update firmware and driver, reseat the adapter; \
                 replace it when another works in its place",
        example: "igb: probe of 0000:3b:00.0 failed with error -5",
        ..warning(Network, "net", "drivers/base/dd.c")
    },
    Signature {
        id: "nic-reset",
        any: &[
            "Reset adapter",
            "Detected Hardware Unit Hang",
            "Detected Tx Unit Hang",
            "tx hang *detected*resetting adapter",
            "initiating reset due to tx timeout",
            "nitiating reset due to tx timeout",
            "transmit timed out, resetting",
            "tg3_stop_block timed out",
            "Error.  Resetting chip.",
            "DMA Status error*esetting chip",
            "MSI Status error*esetting chip",
            "hw csum failure",
            "TX driver issue detected",
            "RX driver issue detected",
            "^bnxt_en*TX timeout detected",
            "^bnxt_en*Error (timeout: *) msg {",
            "^bnxt_en*hwrm req_type *timed out",
            "^bnx2*fw sync timeout",
            "^bnx2x*imeout waiting for",
            "^mlx*TX timeout on",
            "^mlx5*RX timeout on channel",
            "TX timeout on queue",
            "^ice *tx_timeout",
            "^i40e *tx_timeout",
            "Admin queue timeout",
            "AQTX: Writeback timeout",
            "Reset never finished",
            "Got tx_timeout",
            "^sky2*tx timeout",
            "^sky2*hardware error",
            "^atl1*hardware error",
            "ransmit timed out, status",
            "RXDCTL.ENABLE on Rx queue *not cleared",
            "^i40e *ARQ Critical Error detected",
            "^tg3*tg3_abort_hw timed out",
            "^r8169*PCI error (cmd = ",
        ],
        part: Part::Head,
        meaning: "the network adapter hangs or had to be reset",
        action: "update its firmware and driver; try another cable and slot; replace the adapter \
                 when it happens again",
        example: "e1000e 0000:3b:00.0 eth4: Detected Hardware Unit Hang:",
        ..warning(Network, "net", "drivers/net/ethernet")
    },
    Signature {
        id: "realtek-stuck",
        any: &["rtl_*_cond == *(loop:", "rtl*_cond == 1"],
        part: Part::Head,
        meaning: "the network adapter does not take commands",
        action: "power-cycle the host; pcie_aspm=off tells whether power saving is at fault; \
                 replace the adapter",
        example: "r8169 0000:02:00.0 eth4: rtl_chipcmd_cond == 1 (loop: 100, delay: 100).",
        ..warning(Network, "realtek", "drivers/net/ethernet/realtek/r8169_main.c")
    },
];
