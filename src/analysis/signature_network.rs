//! The signatures of links that come and go, and of queues that stand still.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/net, net/sched).

use super::Category::Network;
use super::signature_table::{Part, Signature, warning};

const FLAPS: &str =
    "the link keeps going down: suspect the cable, the transceiver or the switch port";
const SWAP: &str = "swap the cable, then the transceiver, then the switch port; ethtool -S DEV and \
                    the switch count the errors";

pub(super) const NETWORK: &[Signature] = &[
    Signature {
        id: "netdev-watchdog",
        any: &["NETDEV WATCHDOG: "],
        unless: &["NETDEV WATCHDOG: CPU"],
        part: Part::After("WATCHDOG: "),
        meaning: "the network adapter stopped sending (transmit timeout)",
        action: "update its firmware and driver; replace the adapter when it happens again",
        example: "NETDEV WATCHDOG: eth4 (igb): transmit queue 3 timed out",
        ..warning(Network, "net", "net/sched/sch_generic.c")
    },
    Signature {
        id: "netdev-watchdog-cpu",
        any: &["NETDEV WATCHDOG: CPU"],
        part: Part::Head,
        meaning: "the network adapter stopped sending (transmit timeout)",
        action: "update its firmware and driver; replace the adapter when it happens again",
        example: "igb 0000:3b:00.0 eth4: NETDEV WATCHDOG: CPU: 7: transmit queue 3 timed out 5012 \
                  ms",
        ..warning(Network, "net", "net/sched/sch_generic.c (6.5 and later)")
    },
    Signature {
        id: "bond-link-flap",
        any: &["link status definitely down for interface ", "link status down for *interface "],
        part: Part::After("interface "),
        repeats: 3,
        meaning: FLAPS,
        action: SWAP,
        example: "bond1: link status definitely down for interface eth4, disabling it",
        ..warning(Network, "bonding", "drivers/net/bonding/bond_main.c")
    },
    Signature {
        id: "bond-slave-flap",
        any: &["(slave *): link status definitely down", "(slave *): link status down for"],
        part: Part::After("(slave "),
        repeats: 3,
        meaning: FLAPS,
        action: SWAP,
        example: "bond1: (slave eth4): link status definitely down, disabling slave",
        ..warning(Network, "bonding", "drivers/net/bonding/bond_main.c (5.3 and later)")
    },
    Signature {
        id: "bond-down",
        any: &["now running without any active interface"],
        part: Part::Head,
        settled: true,
        meaning: "no interface of the bond has a link",
        action: "check cables and switch ports of all its interfaces: cat /proc/net/bonding/DEV",
        example: "bond1: now running without any active interface!",
        ..warning(Network, "bonding", "drivers/net/bonding/bond_main.c")
    },
    Signature {
        id: "link-flap",
        any: &[
            "Link is Down",
            "Link is down",
            "link is down",
            ": Link down",
            ": link down",
            "carrier lost",
            "link lost",
            "^mlx4_en*Link Down",
            "^enic *Link DOWN",
            "^atlantic*link change old *new 0",
        ],
        unless: &["SATA link", "pciehp", "usb", "rport", "hotplug"],
        part: Part::Head,
        repeats: 3,
        settled: true,
        meaning: FLAPS,
        action: SWAP,
        example: "tg3 0000:3b:00.0 eth4: Link is down",
        ..warning(Network, "net", "drivers/net")
    },
    Signature {
        id: "nic-mdio",
        any: &["MDIO read timeout", "MDIO write timeout", "MDIO bus timeout"],
        part: Part::Head,
        repeats: 3,
        meaning: "the network adapter cannot talk to its PHY",
        action: "power-cycle the host; replace the adapter or the board",
        example: "fec 2188000.ethernet eth4: MDIO read timeout",
        ..warning(Network, "net", "drivers/net/ethernet, drivers/net/mdio")
    },
    Signature {
        id: "sfp-fault",
        any: &["module transmit fault indicated", "module persistently indicates fault"],
        part: Part::Head,
        meaning: "a transceiver reports that its transmitter failed",
        action: "replace the transceiver",
        example: "sfp sfp-2: module transmit fault indicated",
        ..warning(Network, "sfp", "drivers/net/phy/sfp.c")
    },
];
