//! Events: consecutive records that the kernel prints as one thing, such as a stack trace, a
//! machine check bank or a disk's sense data.
//!
//! Owns when an event begins, goes on and ends, and which of its records says what happened;
//! `event_form` says how each kind of them looks. Pure. A record that is no part of anything is an
//! event by itself. What another processor or task prints in between is not taken in: it splits.
//!
//! ```text
//!             opens                      goes on
//!  nothing ──────────▶ open, of a form ──────────┐
//!     ▲                    │    ▲ ▲──────────────┘
//!     └────────────────────┘    └─ what only comes once comes again: the next of its kind
//!       ends, or another record
//! ```

use std::ops::Range;

use super::event_form::Form;
use super::{Origin, Record};

/// Some of the records, one after the other. The events of a log leave no record out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) records: Range<usize>,
    /// The record that says what happened: the first, unless that only announces.
    pub(crate) head: usize,
    /// Whether it is one error, however often it uses the same words. Others may tell of several: a
    /// port's recovery lasts a minute.
    pub(crate) is_one: bool,
}

/// All records, in order, as events.
pub(crate) fn events(records: &[Record]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::with_capacity(records.len());
    let mut open: Option<Block> = None;
    for (at, record) in records.iter().enumerate() {
        if let (Some(block), Some(event)) = (&mut open, events.last_mut())
            && block.takes(&records[at - 1], record)
        {
            event.records.end = at + 1;
            if block.heads(&record.text) {
                event.head = at;
            }
            if block.form.ends(&record.text) {
                open = None;
            }
            continue;
        }
        open = Block::open(record);
        let is_one = open.as_ref().is_some_and(|block| block.form.tells_one);
        events.push(Event { records: at..at + 1, head: at, is_one });
    }
    events
}

/// An event that may go on.
struct Block<'a> {
    form: &'static Form,
    /// What all its lines are about: a port, a disk.
    subject: &'a str,
    /// How far it has come among what comes once.
    stage: Option<usize>,
    head: Head,
}

/// What is known of the record that says what happened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// The last record only announced: the next says it.
    Next,
    /// One is found, and a better one may come.
    Found,
    /// There is none better.
    Best,
}

impl<'a> Block<'a> {
    fn open(record: &'a Record) -> Option<Self> {
        if record.origin() == Origin::User {
            return None;
        }
        let text = &record.text;
        let (form, subject) = Form::opened_by(text)?;
        let head = match (form.says(text), form.announces(text)) {
            (true, _) => Head::Best,
            (false, true) => Head::Next,
            (false, false) => Head::Found,
        };
        Some(Self { form, subject, stage: form.stage(text), head })
    }

    /// Whether the event goes on with this record, which follows `last`.
    fn takes(&mut self, last: &Record, record: &Record) -> bool {
        if record.origin() == Origin::User || is_apart(last, record, self.form.patience_usec) {
            return false;
        }
        let text = &record.text;
        let about = self.form.subject(text);
        if about.is_none_or(|about| !about.is_empty() && about != self.subject) {
            return false;
        }
        match self.form.stage(text) {
            Some(stage) => {
                let next = self.stage.is_none_or(|before| before < stage);
                self.stage = Some(stage);
                next
            }
            None => {
                self.form.has_part(text)
                    || (self.form.takes_message
                        && self.head == Head::Next
                        && Form::opened_by(text).is_none())
            }
        }
    }

    /// Whether this record, one of its own, says what happened better than those before.
    fn heads(&mut self, text: &str) -> bool {
        let before = self.head;
        let best = before != Head::Best && self.form.says(text);
        let announces = self.form.announces(text);
        self.head = match before {
            _ if best => Head::Best,
            Head::Next if announces => Head::Next,
            Head::Next => Head::Found,
            known => known,
        };
        // A warning without a message of its own is the best that there is.
        let message = !self.form.takes_message
            || self.form.stage(text).is_some()
            || !self.form.has_part(text);
        best || (before == Head::Next && message)
    }
}

/// Whether another processor or task printed it, or it came much later.
fn is_apart(last: &Record, record: &Record, patience_usec: u64) -> bool {
    let others = matches!((last.caller, record.caller), (Some(one), Some(other)) if one != other);
    let later = last.usec.zip(record.usec).is_some_and(|(last, usec)| {
        // A clock that goes back is another boot.
        usec < last.saturating_sub(patience_usec) || usec - last.min(usec) > patience_usec
    });
    others || later
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::read_log;
    use crate::time::{Random, tests::generate};

    /// Each line behind a mark: `+` begins an event and says what happened, `-` begins one and does
    /// not, `*` goes on and says it, ` ` goes on.
    fn check(marked: &str) {
        let lines: Vec<_> = marked.lines().map(|line| line.split_at(1)).collect();
        let text: Vec<_> = lines.iter().map(|(_, line)| *line).collect();
        let records = read_log(text.join("\n").as_bytes()).records;
        assert_eq!(records.len(), lines.len(), "a line for each record: {text:#?}");
        let mut marks = vec![" "; records.len()];
        for event in events(&records) {
            marks[event.records.start] = "-";
            marks[event.head] = if event.head == event.records.start { "+" } else { "*" };
        }
        let found: Vec<_> =
            marks.iter().zip(&text).map(|(mark, line)| format!("{mark}{line}")).collect();
        for (found, expected) in found.iter().zip(marked.lines()) {
            assert_eq!(found, expected, "{text:#?}");
        }
    }

    #[test]
    fn warnings_and_what_the_network_watchdog_prints() {
        // Since 5.x the message comes first, before that the place.
        check(
            "+[    9.100000] IPv6: ADDRCONF(NETDEV_CHANGE): eth4: link becomes ready
-[   25.200000] ------------[ cut here ]------------
*[   25.200100] NETDEV WATCHDOG: eth4 (igb): transmit queue 3 timed out
 [   25.200200] WARNING: CPU: 3 PID: 0 at net/sched/sch_generic.c:525 dev_watchdog+0x1ee/0x200
 [   25.200300] Modules linked in: igb nvme_core i2c_algo_bit
 [   25.200400] CPU: 3 PID: 0 Comm: swapper/3 Not tainted 6.1.0 #1
 [   25.200500] Hardware name: Example Corp. Model 9/B1, BIOS 1.0 01/01/2024
 [   25.200600] RIP: 0010:dev_watchdog+0x1ee/0x200
 [   25.200700] Code: 00 48 63 4d e0 eb 93 4c 89 e7 c6 05 bf <0f> 0b eb c0 66
 [   25.200800] RAX: 0000000000000000 RBX: 0000000000000000 RCX: 0000000000000000
 [   25.200900] Call Trace:
 [   25.201000]  <IRQ>
 [   25.201100]  ? qdisc_put+0x30/0x30
 [   25.201200]  </IRQ>
 [   25.201300] ---[ end trace 7e6afe981485542a ]---
+[   25.201400] igb 0000:3b:00.0 eth4: Reset adapter unexpectedly
-[   95.200000] ------------[ cut here ]------------
 [   95.200100] WARNING: at net/sched/sch_generic.c:255 dev_watchdog+0x25f/0x270()
*[   95.200200] NETDEV WATCHDOG: eth4 (igb): transmit queue 3 timed out
 [   95.200300] Modules linked in: igb
 [   95.200400] Pid: 0, comm: swapper Not tainted 2.6.32 #1
 [   95.200500]  [<ffffffff8106b857>] ? warn_slowpath_common+0x87/0xc0
-[   96.200000] ------------[ cut here ]------------
*[   96.200100] WARNING: CPU: 1 PID: 77 at fs/example.c:9 example+0x1/0x2
 [   96.200200] Modules linked in: example",
        );
    }

    #[test]
    fn oopses_hung_tasks_stalls_and_lockups() {
        check(
            "+[  100.000000] BUG: unable to handle page fault for address: ffffb0c0
 [  100.000001] #PF: supervisor read access in kernel mode
 [  100.000002] PGD 100000067 P4D 0
 [  100.000003] Oops: 0000 [#1] PREEMPT SMP NOPTI
 [  100.000004] RIP: 0010:example_read+0x12/0x40 [example]
 [  100.000005] CR2: ffffb0c0 CR3: 0000000102a3e000 CR4: 00000000003506e0
+[  100.000006] Kernel panic - not syncing: Fatal exception
 [  100.000007] Kernel Offset: disabled
 [  100.000008] ---[ end Kernel panic - not syncing: Fatal exception ]---
+[  363.000000] INFO: task md9_raid6:771 blocked for more than 120 seconds.
 [  363.000001]       Not tainted 6.1.51 #1
 [  363.000002] \"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.
 [  363.000003] task:md9_raid6       state:D stack:0     pid:771   ppid:2      flags:0x00004000
 [  363.000004] Call Trace:
 [  363.000005]  __schedule+0x1f5/0x5c0
+[  363.000006] INFO: task jbd2/md9-8:802 blocked for more than 120 seconds.
 [  363.000007] Call Trace:
+[  400.000000] rcu: INFO: rcu_sched self-detected stall on CPU
 [  400.000001] rcu: \t7-....: (20999 ticks this GP) idle=d0a/1/0x4 softirq=21/21 fqs=4849
 [  400.000002] \t(t=21019 jiffies g=19213971 q=42868)
 [  400.000003] Task dump for CPU 7:
 [  400.000004] kworker/7:0     R  running task        0 16950      2 0x80004008
 [  400.000005] Workqueue: example-wq example_work
+[  428.000000] watchdog: BUG: soft lockup - CPU#7 stuck for 26s! [kworker/7:0:16950]
 [  428.000001] Modules linked in: example
+[  428.000002] eth4: 1000 Mbps full duplex
+[  500.000000] md: md9: data-check done.",
        );
    }

    #[test]
    fn machine_checks_in_the_wordings_of_each_decoder() {
        check(
            "-[   61.1] mce: [Hardware Error]: Machine check events logged
*[   61.1] [Hardware Error]: Corrected error, no action required.
 [   61.1] [Hardware Error]: CPU:4 (19:1:1) MC17_STATUS[Over|CE|MiscV|AddrV|CECC]: 0x9c2040000
 [   61.1] [Hardware Error]: Error Addr: 0x0000000123456780
 [   61.1] EDAC MC0: 1 CE on mc#0csrow#1channel#0 (csrow:1 channel:0 page:0x9 offset:0x0 grain:64)
 [   61.1] [Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD
+[   62.1] EDAC MC0: 1 CE on mc#0csrow#1channel#0 (csrow:1 channel:0 page:0x9 offset:0x0 grain:64)
+[   62.2] EDAC MC0: 1 CE on mc#0csrow#1channel#0 (csrow:1 channel:0 page:0x9 offset:0x0 grain:64)
+[   63.1] mce: [Hardware Error]: CPU 9: Machine Check Exception: 5 Bank 7: be00000000800400
 [   63.1] mce: [Hardware Error]: RIP !INEXACT! 10:<ffffffff81234567> {intel_idle+0xb1/0x170}
 [   63.1] mce: [Hardware Error]: TSC 9a8b7c ADDR 123456780 MISC 9
 [   63.1] mce: [Hardware Error]: PROCESSOR 0:306f2 TIME 1770121501 SOCKET 1 APIC 12 microcode 43
+[   63.1] mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 7: be00000000800400
 [   63.1] mce: [Hardware Error]: Run the above through 'mcelog --ascii'
+[   63.2] Kernel panic - not syncing: Fatal machine check
-[   99.1] EDAC sbridge MC1: HANDLING MCE MEMORY ERROR
*[   99.1] EDAC sbridge MC1: CPU 8: Machine Check Event: 0 Bank 9: 8c0000460
 [   99.1] EDAC sbridge MC1: TSC 9a8b7c
 [   99.1] EDAC MC1: 1 CE memory scrubbing error on CPU_SrcID#1_Ha#0_Chan#2_DIMM#0 (channel:2)
-[   99.2] HARDWARE ERROR
*[   99.2] CPU 0: Machine Check Exception: 4 Bank 4: b200000000070f0f
 [   99.2] TSC 1a2b3c4d5e
 [   99.2] This is not a software problem!",
        );
    }

    #[test]
    fn what_firmware_reports_goes_by_its_number() {
        check(
            "+[   10.0] {7}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source
 [   10.0] {7}[Hardware Error]: event severity: recoverable
 [   10.0] {7}[Hardware Error]:  Error 0, type: recoverable
 [   10.0] {7}[Hardware Error]:   section_type: memory error
+[   10.1] {8}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source
 [   10.1] {8}[Hardware Error]: event severity: corrected
+[   10.2] EDAC MC0: 1 CE multi-bit ECC on DIMM_A1 (node:0 card:0 module:1)
+[   11.0] BERT: Error records from previous boot:
 [   11.0] [Hardware Error]: event severity: fatal
 [   11.0] [Hardware Error]:  Error 0, type: fatal",
        );
    }

    #[test]
    fn errors_of_the_pci_bus() {
        check(
            "+[  20.1] pcieport 0000:3a:00.0: AER: Uncorrected (Fatal) error received: 0000:3b:00.0
 [  20.1] mydev 0000:3b:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction
 [  20.1] mydev 0000:3b:00.0:   device [1234:5678] error status/mask=00040000/00000000
 [  20.1] mydev 0000:3b:00.0:    [18] MalfTLP                (First)
 [  20.1] mydev 0000:3b:00.0: AER:   TLP Header: 40000004 0a0000ff fffc0e80 00000000
 [  20.2] pcieport 0000:3a:00.0: AER: device recovery successful
+[  20.3] pcieport 0000:3a:00.0: AER: Corrected error received: id=3b00
 [  20.3] mydev 0000:3b:00.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer, id=3b00
+[  20.4] mydev 0000:3b:00.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer, id=3b00
+[  20.5] mydev 0000:3b:00.0: link up
+[  30.0] pcieport 0000:3a:00.0: DPC: containment event, status:0x1f01 source:0x0000
 [  30.0] pcieport 0000:3a:00.0: DPC: unmasked uncorrectable error detected
 [  30.0] pcieport 0000:3a:00.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction
+[  40.0] +------ PCI-Express Device Error ------+
 [  40.0] Error Severity		: Corrected
 [  40.0] PCIE Bus Error type	: Data Link Layer
+[  41.0] pci 0000:3b:00.1: enabling device",
        );
    }

    #[test]
    fn disks_and_their_ports() {
        check(
            "+[ 50.1] ata9.00: exception Emask 0x0 SAct 0x10 SErr 0x0 action 0x0
 [ 50.1] ata9.00: irq_stat 0x40000008
 [ 50.1] ata9.00: failed command: READ FPDMA QUEUED
 [ 50.1] ata9.00: cmd 60/08:20:08:09:00/00:00:00:00:00/40 tag 4 ncq 4096 in
 [ 50.1]          res 41/40:00:09:09:00/00:00:00:00:00/40 Emask 0x409 (media error) <F>
 [ 50.1] ata9.00: status: { DRDY ERR }
 [ 50.1] ata9.00: error: { UNC }
 [ 55.1] ata9: hard resetting link
 [ 65.2] ata9: SATA link up 6.0 Gbps (SStatus 133 SControl 300)
+[ 65.2] ata8: SATA link up 6.0 Gbps (SStatus 133 SControl 300)
-[ 65.3] sd 8:0:0:0: [sdi] tag#4 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_SENSE
*[ 65.3] sd 8:0:0:0: [sdi] tag#4 Sense Key : Medium Error [current]
 [ 65.3] sd 8:0:0:0: [sdi] tag#4 Add. Sense: Unrecovered read error - auto reallocate failed
 [ 65.3] sd 8:0:0:0: [sdi] tag#4 CDB: Read(10) 28 00 00 00 09 08 00 00 08 00
 [ 65.3] blk_update_request: I/O error, dev sdi, sector 2312
 [ 65.3] Buffer I/O error on dev sdi1, logical block 33, async page read
+[ 65.3] Buffer I/O error on dev sdj1, logical block 33, async page read
-[ 66.3] sd 8:0:0:0: [sdi] Unhandled sense code
 [ 66.3] sd 8:0:0:0: [sdi]
 [ 66.3] Result: hostbyte=DID_OK driverbyte=DRIVER_SENSE
*[ 66.3] Sense Key : Medium Error [current]
 [ 66.3] end_request: critical medium error, dev sdi, sector 2312
+[ 67.3] sd 8:0:0:0: [sdi] tag#5 FAILED Result: hostbyte=DID_NO_CONNECT driverbyte=DRIVER_OK
+[ 67.4] sd 9:0:0:0: [sdj] tag#5 FAILED Result: hostbyte=DID_NO_CONNECT driverbyte=DRIVER_OK
+[ 67.5] md/raid1:md9: Disk failure on sdi1, disabling device.
 [ 67.5] md/raid1:md9: Operation continuing on 1 devices.
+[ 68.0] nvme nvme3: I/O 12 QID 7 timeout, aborting
+[ 68.1] nvme nvme3: I/O 13 QID 7 timeout, aborting
+[ 98.0] nvme nvme3: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10
 [ 99.0] nvme nvme3: Removing after probe failure status: -19
 [ 99.0] blk_update_request: I/O error, dev nvme3n1, sector 2312
+[ 99.1] blk_update_request: I/O error, dev nvme4n1, sector 2312",
        );
    }

    #[test]
    fn adapters_graphics_memory_and_the_rest() {
        check(
            "+[ 70.1] e1000e 0000:00:1f.6 eth4: Detected Hardware Unit Hang:
 [ 70.1]   TDH                  <a>
 [ 70.1]   TDT                  <4b>
 [ 70.1] buffer_info[next_to_clean]:
 [ 70.1]   time_stamp           <1001>
+[ 70.2] e1000e 0000:00:1f.6 eth4: Reset adapter unexpectedly
+[ 71.1] amdgpu 0000:3b:00.0: amdgpu: [gfxhub0] no-retry page fault (src_id:0 ring:24 vmid:3)
 [ 71.1] amdgpu 0000:3b:00.0: amdgpu:   in page starting at address 0x0000 from IH client 0x1b
 [ 71.1] amdgpu 0000:3b:00.0: amdgpu: VM_L2_PROTECTION_FAULT_STATUS:0x00301031
+[ 72.1] i915 0000:00:02.0: [drm] GPU HANG: ecode 9:1:85dffffb, in x
 [ 72.1] [drm] GPU hangs can indicate a bug anywhere in the entire gfx stack
+[ 73.1] example invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
 [ 73.1] CPU: 1 PID: 77 Comm: example Not tainted 6.1.0 #1
 [ 73.1] Mem-Info:
 [ 73.1] active_anon:808378 inactive_anon:3716 isolated_anon:0
 [ 73.1] Node 0 DMA free:14272kB min:296kB
 [ 73.1] 5941 total pagecache pages
 [ 73.1] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
 [ 73.1] [    771]     0   771     1055       21    45056        0             0 example
 [ 73.1] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=example,pid=771,uid=0
 [ 73.1] Out of memory: Killed process 771 (example) total-vm:4220kB, anon-rss:84kB
+[ 73.2] eth4: renamed from eth9
-[ 74.1] DMAR: DRHD: handling fault status reg 3
*[ 74.1] DMAR: [DMA Read] Request device [3b:00.0] fault addr 0xdead0000 [fault reason 06]
+[ 75.1] Uhhuh. NMI received for unknown reason 3d on CPU 9.
 [ 75.1] Do you have a strange power saving mode enabled?
 [ 75.1] Dazed and confused, but trying to continue
+[ 76.1] XFS (md9): Metadata CRC error detected at xfs_agf_read_verify+0x79/0x100, xfs_agf block 0x1
 [ 76.1] XFS (md9): Unmount and run xfs_repair
 [ 76.1] XFS (md9): First 128 bytes of corrupted metadata buffer:
 [ 76.1] 00000000: 58 41 47 46 00 00 00 01  XAGF....
+[ 76.2] XFS (md9): metadata I/O error in \"xfs_trans_read_buf_map\" at daddr 0x1 len 1 error 74",
        );
    }

    #[test]
    fn what_others_print_in_between_is_not_taken_in() {
        // Another processor, user space, a pause, another boot.
        check(
            "+[   25.1][   T71] BUG: unable to handle page fault for address: ffffb0c0
 [   25.1][   T71] RIP: 0010:example_read+0x12/0x40 [example]
+[   25.1][    C3] RIP: 0010:another+0x12/0x40
+[   25.1][   T71] RSP: 0018:ffff9eefddb83ea0 EFLAGS: 00010286
+[   30.0] INFO: task example:77 blocked for more than 120 seconds.
+<12>[   30.0] Call Trace:
+[   31.0] INFO: task example:77 blocked for more than 120 seconds.
+[   61.0] Call Trace:
+[    0.5] Call Trace:
+<12>[   62.0] INFO: task example:77 blocked for more than 120 seconds.
+[   62.0]  __schedule+0x1f5/0x5c0",
        );
    }

    /// Lines that begin, go on, end and announce, in any order.
    fn generated(random: &mut Random) -> Vec<Record> {
        const LINES: [&str; 24] = [
            "[    1.5] ------------[ cut here ]------------",
            "[    1.5] WARNING: CPU: 3 PID: 0 at a.c:5 f+0x1/0x2",
            "[    1.5][ T7]  f+0x1/0x2",
            "[    1.5][ C7] Call Trace:",
            "[    1.5] BUG: bad",
            "[    1.5] mce: [Hardware Error]: Machine check events logged",
            "[    1.5] {7}[Hardware Error]: event severity: fatal",
            "[    1.5] [Hardware Error]: CPU 1: Machine Check: 0 Bank 7: 8c",
            "[    1.5] EDAC MC0: 1 CE on DIMM0",
            "[    1.5] pcieport 0000:3a:00.0: AER: Corrected error received: 0000:3b:00.0",
            "[    1.5] pcieport 0000:3a:00.0:   device [1234:5678]",
            "[    1.5] ata9.00: exception Emask 0x0",
            "[    1.5] ata9: EH complete",
            "[    1.5]          res 41/40",
            "[    1.5] sd 8:0:0:0: [sdi] tag#4 FAILED Result: hostbyte=DID_OK",
            "[    1.5] Sense Key : Medium Error [current]",
            "[    1.5] I/O error, dev sdi, sector 9",
            "[    1.5] nvme nvme3: controller is down",
            "[ 9001.5] eth4: up",
            "[    1.5] ",
            "[    1.5] [",
            "[    1.5] \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} 0000:3a:00.0: \u{e9}",
            "[    1.5] {",
            "<12>[    1.5] BUG: of a program",
        ];
        let lines: Vec<_> = (0..random.below(9)).map(|_| random.one_of(&LINES)).collect();
        let mut bytes = lines.join("\n").into_bytes();
        if random.one_in(3) {
            random.damage(&mut bytes);
        }
        read_log(&bytes).records
    }

    #[test]
    fn events_leave_no_record_out_and_take_none_twice() {
        let tally = generate("events", 0x7a55_e7e7, |random| {
            let records = generated(random);
            let found = events(&records);
            let mut at = 0;
            for event in &found {
                assert_eq!(event.records.start, at);
                assert!(event.records.contains(&event.head));
                let of_user = |at: usize| records[at].origin() == Origin::User;
                assert!(event.records.len() == 1 || !event.records.clone().any(of_user));
                at = event.records.end;
            }
            assert_eq!(at, records.len());
            (found.len() < records.len()).then_some(()).ok_or_else(|| "all alone".to_owned())
        });
        tally.reached(10, &["all alone"]);
    }
}
