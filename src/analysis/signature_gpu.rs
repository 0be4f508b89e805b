//! The signatures of failing graphics and compute adapters.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (drivers/gpu), and that of NVIDIA's module.

use super::Category::Driver;
use super::signature_table::{Part, Signature, critical, warning};

const XID: &str = "NVIDIA's module; docs.nvidia.com/deploy/xid-errors";
const AMDGPU: &str = "drivers/gpu/drm/amd/amdgpu, drivers/gpu/drm/amd/pm";

pub(super) const GPU: &[Signature] = &[
    Signature {
        id: "xid-fatal",
        any: &[
            "^NVRM: Xid (*): 48,",
            "^NVRM: Xid (*): 62,",
            "^NVRM: Xid (*): 64,",
            "^NVRM: Xid (*): 74,",
            "^NVRM: Xid (*): 79,",
            "^NVRM: Xid (*): 95,",
            "^NVRM: Xid (*): 110,",
            "^NVRM: Xid (*): 119,",
            "^NVRM: Xid (*): 120,",
            "^NVRM: Xid (*): 140,",
            "^NVRM: Xid (*): 143,",
            "^NVRM: Xid (*): 149,",
        ],
        part: Part::After("NVRM: Xid ("),
        meaning: "the GPU reports a hardware failure (Xid)",
        action: "drain the host and reset the GPU (nvidia-smi --gpu-reset); run the field \
                 diagnostics, and replace it when the same number comes again",
        example: "NVRM: Xid (PCI:0000:3b:00): 48, pid=91, name=train, DBE (double bit error)",
        ..critical(Driver, "nvidia", XID)
    },
    Signature {
        id: "nvidia-lost",
        any: &[
            "GPU has fallen off the bus",
            "^NVRM: *allen off the bus",
            "^NVRM: *RmInitAdapter failed",
            "^NVRM: *GPU is lost",
            "^NVRM: *GPU *lost",
        ],
        part: Part::PciLast,
        meaning: "the GPU is lost or cannot be started",
        action: "power-cycle the host; check the GPU's power and seating, then replace it",
        example: "NVRM: GPU at PCI:0000:3b:00.0 has lost: GPU has fallen off the bus.",
        ..critical(Driver, "nvidia", XID)
    },
    Signature {
        id: "nvswitch-sxid",
        any: &["SXid (*Fatal", "SXid ("],
        unless: &["Non-fatal"],
        part: Part::After("SXid ("),
        meaning: "an NVSwitch reports errors (SXid)",
        action: "look the number up in the fabric manager's guide; reset the switches, then \
                 replace the board",
        example: "nvidia-nvswitch3: SXid (PCI:0000:3b:00.0): 19084, Fatal, Link 12 AN1 Heartbeat",
        ..critical(Driver, "nvidia", "NVIDIA's module; the fabric manager user guide")
    },
    // 13, 31, 43 and 45 are mostly an application's own faults and its clean-up.
    Signature {
        id: "xid",
        any: &["^NVRM: Xid ("],
        unless: &["): 13,", "): 31,", "): 43,", "): 45,"],
        part: Part::After("NVRM: Xid ("),
        meaning: "the GPU reports errors (Xid)",
        action: "look the number up (63, 92 and 94 are memory errors: nvidia-smi -q -d \
                 ECC,ROW_REMAPPER); reset the GPU, replace it when it comes again",
        example: "NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper: new row marked for remapping",
        ..warning(Driver, "nvidia", XID)
    },
    Signature {
        id: "amdgpu-dead",
        any: &[
            "SMU is in hanged state",
            "SMU: response:0xFFFFFFFF",
            "amdgpu*device lost from bus",
            "amdgpu*GPU Recovery Failed",
            "amdgpu*GPU reset end with ret = -",
            "amdgpu*GPU reset(*) failed",
            "amdgpu*uncorrectable hardware errors detected",
            "amdgpu*Fatal error during GPU init",
            "amdgpu*amdgpu_device_ip_init failed",
            "amdgpu*hw_init of IP block <*failed",
            "amdgpu*resume of IP block <*failed",
            "amdgpu*asic atom init failed",
            "amdgpu*probe *failed with error -",
            "amdgpu*uncorrectable hardware error(",
        ],
        unless: &["amdgpu*: 0 uncorrectable", "error -517"],
        part: Part::PciLast,
        meaning: "the GPU hangs beyond recovery",
        action: "power-cycle the host; update its firmware, then replace the GPU",
        example: "amdgpu 0000:3b:00.0: amdgpu: SMU is in hanged state, failed to send smu message!",
        ..critical(Driver, "amdgpu", AMDGPU)
    },
    Signature {
        id: "amdgpu-hang",
        any: &[
            "amdgpu*ring *timeout",
            "amdgpu*GPU reset begin",
            "amdgpu*failed to write reg *wait reg",
            "amdgpu*VRAM is lost due to GPU reset",
            "SMU: I'm not done with your previous command",
            "amdgpu*failed to send message",
            "amdgpu*MES failed to respond to msg",
            "amdgpu*MES might be in unrecoverable state",
        ],
        part: Part::PciLast,
        meaning: "the GPU hung and was reset",
        action: "update kernel and firmware first, since work that is sent to it can do this; \
                 replace the GPU when any work does it",
        example: "amdgpu 0000:3b:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=9, emitted \
                  seq=11",
        ..warning(Driver, "amdgpu", AMDGPU)
    },
    Signature {
        id: "amdgpu-ras",
        any: &[
            "amdgpu* correctable hardware errors detected",
            "amdgpu*Saved bad pages *reaches threshold",
            "amdgpu*deferred hardware errors detected",
        ],
        unless: &["amdgpu*: 0 correctable", "amdgpu* 0 deferred", "amdgpu* 0 new "],
        part: Part::PciLast,
        meaning: "the GPU's memory errors are being corrected",
        action: "count them (rocm-smi --showrasinfo); replace the GPU when they come again",
        example: "amdgpu 0000:3b:00.0: amdgpu: 3 correctable hardware errors detected in umc block",
        ..warning(Driver, "amdgpu", "drivers/gpu/drm/amd/amdgpu/amdgpu_ras.c")
    },
    Signature {
        id: "i915-wedged",
        any: &[
            "i915*declaring it wedged",
            "i915*Failed to reset chip",
            "i915*Failed to initialize GPU",
            "xe *declaring device wedged",
            "xe *CRITICAL: Xe has declared device",
        ],
        part: Part::PciLast,
        meaning: "the GPU hangs beyond recovery",
        action: "reboot; update kernel and firmware; replace the part when it happens again",
        example: "i915 0000:00:02.0: [drm] *ERROR* Failed to initialize GPU, declaring it wedged!",
        ..critical(Driver, "i915", "drivers/gpu/drm/i915/gt/intel_gt.c, drivers/gpu/drm/xe")
    },
    Signature {
        id: "habanalabs-dead",
        any: &["^habanalabs*Device heartbeat failed"],
        part: Part::Head,
        meaning: "the accelerator stopped answering",
        action: "reset it or power-cycle the host; update its firmware; replace it when it happens \
                 again",
        example: "habanalabs hl0: Device heartbeat failed!",
        ..critical(Driver, "habanalabs", "drivers/accel/habanalabs/common/device.c")
    },
    Signature {
        id: "gpu-hang",
        any: &[
            "GPU HANG: ecode",
            "[drm:i915_hangcheck_elapsed",
            "i915*Resetting *for stopped heartbeat",
            "i915*Resetting chip for",
            "radeon*GPU lockup",
            "radeon*ring *stalled for more than",
            "radeon*GPU reset failed",
            "nouveau*GPU lockup",
            "nouveau*SCHED_ERROR",
            "nouveau*fifo:*killed",
            "nouveau*fifo: fault",
            "^NVRM: *RC watchdog: GPU is probably locked",
        ],
        part: Part::PciLast,
        meaning: "the GPU hung and was reset",
        action: "update kernel and firmware first, since work that is sent to it can do this; \
                 replace the GPU when any work does it",
        example: "i915 0000:00:02.0: [drm] GPU HANG: ecode 9:1:85dffffb, in Xorg [1234]",
        ..warning(Driver, "gpu", "drivers/gpu/drm/i915, xe, radeon, nouveau")
    },
];
