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

use super::event_form::{FORMS, Form};
use super::{Origin, Record};

/// Some of the records, one after the other. The events of a log leave no record out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) records: Range<usize>,
    /// The record that says what happened: the first, unless that only announces.
    pub(crate) head: usize,
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
        events.push(Event { records: at..at + 1, head: at });
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
        FORMS.iter().find_map(|form| {
            let subject = form.opens(text)?;
            let head = if form.announces(text) { Head::Next } else { Head::Found };
            Some(Self { form, subject, stage: form.stage(text), head })
        })
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
                        && FORMS.iter().all(|form| form.opens(text).is_none()))
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
        assert_eq!(found, marked.lines().collect::<Vec<_>>());
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
 [  100.000006] Kernel panic - not syncing: Fatal exception
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
+[  500.000000] md: md9: data-check done.",
        );
    }
}
