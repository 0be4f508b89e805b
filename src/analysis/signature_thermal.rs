//! The signatures of heat: what is too hot, and what slowed down or stopped because of it.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/thermal, net, gpu, scsi; arch/x86).

use super::Category::Thermal;
use super::signature_table::{Part, Signature, critical, warning};

pub(super) const THERMAL: &[Signature] = &[
    Signature {
        id: "nic-overheated",
        any: &[
            "stopped because it *over",
            "Fan Failure on Network Controller",
            "Fan has stopped, replace the adapter",
            "temperature *exceeds maximum allowed. Hardware has been shut down",
            "Fan failure was detected on the network interface card",
        ],
        part: Part::Head,
        meaning: "the network adapter overheated and stopped",
        action: "check the fans and the air around the slot; power-cycle the host afterwards",
        example: "ixgbe 0000:3b:00.0 eth4: Network adapter has been stopped because it has over \
                  heated. Restart the computer.",
        ..critical(Thermal, "net", "drivers/net/ethernet/intel/ixgbe, igb; broadcom/bnx2x")
    },
    Signature {
        id: "nic-hot",
        any: &[
            "^mlx*High temperature",
            "Chip temperature has gone above",
            "link speed was downshifted because it overheated",
            "temperature *exceeds operating range",
        ],
        part: Part::Head,
        meaning: "the network adapter is too hot",
        action: "check the fans, the air around the slot and the transceivers (ethtool -m DEV)",
        example: "mlx5_core 0000:3b:00.0: High temperature on sensors with bit set 0 1",
        ..warning(Thermal, "net", "drivers/net/ethernet/mellanox/mlx5/core/events.c")
    },
    Signature {
        id: "gpu-overheated",
        any: &[
            "GPU HW Critical Temperature Fault",
            "System is going to shutdown due to GPU",
            "emperature * hit the 'shutdown' threshold",
        ],
        meaning: "a device reached its critical temperature",
        action: "check the fans and filters; the GPU shuts down, and the host with it",
        example: "nouveau 0000:3b:00.0: therm: temperature (105 C) hit the 'shutdown' threshold",
        ..critical(Thermal, "gpu", "drivers/gpu/drm/amd/pm, drivers/gpu/drm/nouveau")
    },
    Signature {
        id: "thermal-critical",
        any: &[
            "ritical temperature reached",
            "HARDWARE PROTECTION shutdown (Temperature",
            "GPU over temperature range",
            "THERMAL EMERGENCY: ",
            "Possible thermal failure (CPU on fire",
            "Temperature too high, shutting down",
            "Critical Temperature Shutdown",
            "Critical power/cooling issue detected",
            "^critical temperature event",
            "TSHUT temperature reached",
        ],
        part: Part::Head,
        meaning: "a critical temperature was reached",
        action: "check fans, filters and the room (ipmitool sdr type temperature); the host shuts \
                 itself down at this temperature",
        example: "thermal thermal_zone2: critical temperature reached (105 C), shutting down",
        ..critical(Thermal, "thermal", "drivers/thermal/thermal_core.c, drivers/acpi/thermal.c")
    },
    Signature {
        id: "cpu-throttled",
        any: &[
            "emperature above threshold",
            "emperature is above threshold",
            "Running in modulated clock mode",
        ],
        meaning: "the processor or a device is too hot and slows itself down",
        action: "check fans, heat sinks and filters (ipmitool sdr type temperature, sensors)",
        example: "CPU11: Core temperature above threshold, cpu clock throttled (total events = 9)",
        ..warning(Thermal, "mce", "drivers/thermal/intel/therm_throt.c")
    },
    Signature {
        id: "device-hot",
        any: &[
            "emperature * hit the 'critical' threshold",
            "THERMAL ALERT: *too hot",
            "specified temperature exceeded",
            "Temperature Threshold flags *exceeded",
            "TEMPERATURE ALERT: ",
            "THERMAL ALARM: ",
            "High ambient temperature detected",
            "Overheat alarm (",
            "Possible fan fault",
            "^mega*emperature threshold exceeded",
        ],
        part: Part::Disk,
        meaning: "a device is hotter than it should be",
        action: "check the fans and the air around the device (smartctl -A, nvidia-smi, sensors)",
        example: "sd 0:0:3:0: [sdd] tag#9 Add. Sense: Warning - specified temperature exceeded",
        ..warning(Thermal, "thermal", "drivers/scsi, drivers/platform/x86/thinkpad_acpi.c")
    },
];
