//! The signatures of a kernel that waits for hardware, or that fell over.
//!
//! Data, no logic; `signature_table` says how to read a row and `signature_match` matches it. The
//! wording is the kernel's own (kernel, arch).

use super::Category::Driver;
use super::signature_table::{Role, Signature, critical, warning};

const STUCK: &str = "processors were stuck in the kernel, often because a device does not answer";
const LOOK_BEFORE: &str = "the trace names the driver that waits: look for errors of its device \
                           before it; in a virtual machine the host may be overloaded";

pub(super) const KERNEL: &[Signature] = &[
    Signature {
        id: "hard-lockup",
        any: &[
            "^Watchdog detected hard LOCKUP",
            "^NMI Watchdog detected LOCKUP",
            "CPU * self-detected hard LOCKUP",
            "detected hard LOCKUP on other CPUs",
            "CPU * Hard LOCKUP",
            "^Kernel panic - not syncing: *LOCKUP",
            "^Kernel panic - not syncing: *lockup",
            "^Kernel panic - not syncing: *Watchdog",
            "^Kernel panic - not syncing: *NMI",
            "^Kernel panic - not syncing: *pre-timeout",
        ],
        meaning: "a processor stopped responding",
        action: "look in the BMC's event log for the processor or the device that blocked it; \
                 without one, update kernel and firmware",
        example: "watchdog: Watchdog detected hard LOCKUP on cpu 12",
        ..critical(Driver, "watchdog", "kernel/watchdog_hld.c")
    },
    Signature {
        id: "panic",
        any: &["^Kernel panic - not syncing: "],
        unless: &[
            "Unable to mount root",
            "No working init",
            "Attempted to kill init",
            "Requested init",
            "Out of memory",
            "out of memory",
            "deadlocked on memory",
            "sysrq",
        ],
        meaning: "the kernel stopped",
        action: "read what stands before it; keep the log, and look in the BMC's event log for \
                 failing hardware",
        example: "Kernel panic - not syncing: Fatal exception in interrupt",
        ..critical(Driver, "panic", "kernel/panic.c")
    },
    Signature {
        id: "soft-lockup",
        any: &[
            "^BUG: soft lockup - CPU#",
            "^BUG: soft lockup detected on CPU#",
            "^BUG: workqueue lockup - pool",
            "non-responsive CSD lock",
        ],
        critical_at: 10,
        meaning: STUCK,
        action: LOOK_BEFORE,
        example: "watchdog: BUG: soft lockup - CPU#7 stuck for 26s! [kworker/7:1:99]",
        ..warning(Driver, "watchdog", "kernel/watchdog.c")
    },
    Signature {
        id: "rcu-stall",
        any: &[
            "stall on CPU",
            "detected stalls on CPUs",
            "detected expedited stalls on CPUs",
            "detected stall on CPU",
        ],
        critical_at: 10,
        meaning: STUCK,
        action: LOOK_BEFORE,
        example: "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        ..warning(Driver, "rcu", "kernel/rcu/tree_stall.h (tree.c before 5.1)")
    },
    Signature {
        id: "hung-task",
        any: &["^INFO: task * blocked for more than "],
        critical_at: 10,
        role: Role::Effect,
        meaning: "tasks wait for minutes, often for a disk that does not answer",
        action: "the trace names what they wait for: look for errors of that disk, array or mount \
                 before it (cat /proc/mdstat, iostat -x)",
        example: "INFO: task jbd2/sda1-8:301 blocked for more than 120 seconds.",
        ..warning(Driver, "hung-task", "kernel/hung_task.c")
    },
    Signature {
        id: "cpu-not-started",
        any: &[
            "do_boot_cpu failed",
            "CPU*: failed to come online",
            "CPU*: died during early boot",
            "CPU*: Not responding",
        ],
        meaning: "a processor did not start",
        action: "compare lscpu with what is built in; look in the BMC's event log",
        example: "CPU5: failed to come online",
        ..warning(Driver, "smp", "arch/x86/kernel/smpboot.c, arch/arm64/kernel/smp.c")
    },
    Signature {
        id: "oops",
        any: &[
            "^BUG: unable to handle ",
            "^BUG: kernel NULL pointer dereference",
            "^Unable to handle kernel ",
            "^kernel BUG at ",
            "^general protection fault: 0",
            "^general protection fault, ",
            "invalid opcode: 0000 [#",
            "^Internal error: Oops",
            "^Oops: 0",
            "^PANIC: double fault",
            "Unrecoverable exception ",
        ],
        meaning: "the kernel faulted: a driver's bug, or damaged memory",
        action: "the trace names the code; update the kernel, and test the memory when the places \
                 differ each time; reboot, since the kernel may be damaged",
        example: "BUG: unable to handle page fault for address: ffffb1d2c0a41000",
        ..warning(Driver, "oops", "arch/x86/mm/fault.c, arch/arm64/mm/fault.c, kernel/panic.c")
    },
];
