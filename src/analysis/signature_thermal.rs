//! The signatures of heat: what is too hot, and what slowed down or stopped because of it.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/thermal, net, gpu; arch/x86).

use super::Category::Thermal;
use super::signature_table::{Part, Signature, critical, warning};

pub(super) const THERMAL: &[Signature] = &[
    critical(
        Thermal,
        Part::Head,
        &[
            "Network adapter has been stopped because it has over",
            "stopped because it has overheated",
        ],
        "the network adapter overheated and stopped",
    ),
    warning(Thermal, Part::Head, &["mlx*High temperature"], "the network adapter is too hot"),
    critical(
        Thermal,
        Part::Head,
        &[
            "ritical temperature reached",
            "HARDWARE PROTECTION shutdown (Temperature",
            "GPU over temperature range",
        ],
        "a critical temperature was reached",
    ),
    critical(
        Thermal,
        Part::None,
        &["GPU HW Critical Temperature Fault", "emperature * hit the 'shutdown' threshold"],
        "a device reached its critical temperature",
    ),
    warning(
        Thermal,
        Part::None,
        &["emperature above threshold", "emperature * hit the 'critical' threshold"],
        "the processor or a device is too hot and slows itself down",
    ),
];
