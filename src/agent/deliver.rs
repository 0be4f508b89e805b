//! Delivery: everything that is new goes to the collector, and what it answers is taken in.
//!
//! The order is what makes SIGKILL harmless: the collector's answer, then the state file, then the
//! spool. Driven by the loop in `agent`.

use std::time::Duration;

use super::Agent;
use super::block::Block;
use super::dispatch::{Added, Malformed, Moved};
use super::intake::{Intake, Offer};
use super::pace::Setback;
use super::sender::Answer;
use super::state;
use crate::kernel::{BootId, Cursor, Head, Seq, SeqRange};
use crate::sys::kmsg::Reading;
use crate::sys::{clock, crash, files};
use crate::wire::Reply;

/// Why a delivery did not end well.
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) setback: Setback,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, setback: Setback::Soon(None) }
    }
}

#[derive(Default)]
pub(super) struct Sent {
    pub(super) posts: u64,
    pub(super) records: u64,
    pub(super) lost: u64,
}

impl Agent {
    /// Sends all that is new by now, oldest first, in as many posts as it takes; at least one, so
    /// that the collector knows that we live. What comes meanwhile is for the next time: in a flood
    /// this would not end, and the posts would be ever so small.
    pub(super) fn deliver(&mut self) -> Result<Sent, Failure> {
        let mut sent = Sent::default();
        let mut went_back = false;
        self.look()?;
        let until = self.intake.expected();
        loop {
            self.dispatch.begin();
            let (spool, dispatch) = (&self.spool, &mut self.dispatch);
            let mut added = Added::All;
            spool.read(|boot, block| {
                added = dispatch.add(boot, block);
                added
            })?;
            if added == Added::All {
                self.add_unspooled();
            }
            let now = clock::wall();
            let batch = self.dispatch.finish(now, self.boot_clock.boot_time());
            if batch.range.len() == 0 && sent.posts > 0 {
                return Ok(sent);
            }
            if let Some(back) = self.post(&mut sent)? {
                if went_back {
                    return Err(again_and_again());
                }
                went_back = true;
                self.refill(back, &mut sent)?;
            }
            let acknowledged = self.dispatch.acknowledged_cursor();
            if until.is_some() && acknowledged.boot == self.boot && acknowledged.next >= until {
                return Ok(sent);
            }
        }
    }

    /// Where the disk does not take the newest block, it goes straight to the collector.
    fn add_unspooled(&mut self) {
        if let Some(block) = self.intake.take(self.boot_clock.boot_time()) {
            self.dispatch.add(&self.boot, block.clone());
            self.intake.put_back(block);
        }
    }

    /// Posts the batch; says what the collector lacks, if it asks for older records.
    fn post(&mut self, sent: &mut Sent) -> Result<Option<SeqRange>, Failure> {
        let Some(batch) = self.dispatch.batch() else { return Ok(None) };
        let records = batch.lines.len() as u64;
        let lost: u64 = batch.lost.iter().map(|loss| loss.range.len()).sum();
        crash::point("before send");
        self.sender.post(batch);
        match self.answer() {
            Answer::Taken(reply) => {
                sent.posts += 1;
                sent.records += records;
                sent.lost += lost;
                if lost > 0 {
                    log::warn!("{lost} records were lost before they could be sent");
                }
                let moved = self.adopt(&reply)?;
                Ok(if let Moved::Back(range) = moved { Some(range) } else { None })
            }
            Answer::TooLarge if self.dispatch.too_large() => {
                log::info!("the collector finds a post of {records} records too large; halving it");
                Ok(None)
            }
            Answer::TooLarge => Err(Failure {
                reason: "the collector finds a single record too large; raise its \
                         max_payload_bytes"
                    .to_owned(),
                setback: Setback::Slow,
            }),
            Answer::Malformed(reason) => self.isolate(&reason).map(|()| None),
            Answer::Failed(reason, setback) => Err(Failure { reason, setback }),
        }
    }

    /// Waits for the collector, and keeps up with the ring meanwhile.
    fn answer(&mut self) -> Answer {
        loop {
            self.notifier.alive();
            if let Some(answer) = self.sender.answer(super::GATHER) {
                return answer;
            }
            if let Err(reason) = self.look() {
                log::debug!("{reason}"); // The next poll fails with it.
            }
            self.sync_if_due(clock::mono());
        }
    }

    fn adopt(&mut self, reply: &Reply) -> Result<Moved, Failure> {
        let Some(batch) = self.dispatch.batch() else { return Ok(Moved::On) };
        let (boot, end) = (batch.boot.clone(), batch.range.to);
        let last = batch.boot_time.plus(Duration::from_micros(batch.last_usec)).min(batch.read_at);
        let next = self.reachable(&boot, reply.next_seq.unwrap_or(end));
        let moved = self.dispatch.acknowledged(next);
        if boot == self.boot {
            self.intake.advance(next);
        }
        crash::point("after the reply");
        // A poll without news writes nothing.
        let cursor = self.dispatch.acknowledged_cursor();
        let written = if self.saved.as_ref() == Some(cursor) || cursor.next.is_none() {
            Ok(())
        } else {
            state::write(&self.config.state_file, cursor, last)
        };
        if written.is_ok() {
            self.saved = Some(cursor.clone());
        }
        // Also where the state cannot be written, since the spool may be what fills the disk: from
        // an older state too much is sent, and the collector's cursor removes it.
        if moved == Moved::On {
            self.spool.acknowledge(&boot, next)?;
        }
        written?;
        Ok(moved)
    }

    /// The collector's cursor, as far as this boot has come: beyond it, the cursor is not ours.
    fn reachable(&self, boot: &BootId, next: Seq) -> Seq {
        match self.intake.expected().filter(|_| *boot == self.boot) {
            Some(reached) if next > reached => {
                log::error!(
                    "the collector is at record {} of this boot, the kernel only at {}: does \
                     another host use this name?",
                    next.0,
                    reached.0
                );
                reached
            }
            _ => next,
        }
    }

    /// A post was refused as malformed. One record is set aside; but if posts without any record
    /// are refused too, no record is to blame.
    fn isolate(&mut self, reason: &str) -> Result<(), Failure> {
        let blame = |reason: &str| Failure { reason: reason.to_owned(), setback: Setback::Slow };
        let (seq, line) = match self.dispatch.malformed() {
            Malformed::Fewer => return Ok(()),
            Malformed::Post => return Err(blame(reason)),
            Malformed::Record { seq, line } => (seq, line),
        };
        self.dispatch.begin();
        let heartbeat = self.dispatch.finish(clock::wall(), self.boot_clock.boot_time());
        self.sender.post(heartbeat);
        match self.answer() {
            Answer::Taken(_) => {}
            Answer::Failed(reason, setback) => return Err(Failure { reason, setback }),
            _ => return Err(blame(reason)),
        }
        let quarantine = files::beside(&self.config.state_file, "quarantine");
        files::append_line(&quarantine, &line)?;
        log::error!("record {} is set aside in {}: {reason}", seq.0, quarantine.display());
        self.dispatch.set_aside(seq);
        Ok(())
    }

    /// The collector lacks records that it had acknowledged: it runs on an older database. What the
    /// ring still has of them is read and sent again, the rest is said to be lost.
    fn refill(&mut self, range: SeqRange, sent: &mut Sent) -> Result<(), Failure> {
        let reached = self.intake.expected();
        if self.dispatch.acknowledged_cursor().boot != self.boot || reached < Some(range.to) {
            return Ok(());
        }
        log::warn!("the collector lacks records {} to {}; looking back", range.from.0, range.to.0);
        self.kmsg.rewind()?;
        let now = clock::wall();
        let cursor = Cursor { boot: self.boot.clone(), next: Some(range.from) };
        let mut refill = Intake::new(cursor);
        loop {
            let line = match self.kmsg.read()? {
                Reading::Record(line) => line,
                Reading::Overrun => continue,
                Reading::End => break,
            };
            let Ok(head) = Head::parse(&line) else { continue };
            if head.seq >= range.to {
                break;
            }
            if let Ok(Offer::Full(line)) = refill.offer(line, now) {
                self.send_block(refill.take(self.boot_clock.boot_time()), sent)?;
                drop(refill.offer(line, now));
            }
        }
        refill.close_at(range.to, now);
        self.send_block(refill.take(self.boot_clock.boot_time()), sent)?;
        // The look that follows passes over what the intake has.
        self.kmsg.rewind()?;
        Ok(())
    }

    fn send_block(&mut self, block: Option<Block>, sent: &mut Sent) -> Result<(), Failure> {
        let Some(block) = block else { return Ok(()) };
        while self.dispatch.acknowledged_cursor().next < Some(block.range.to) {
            self.dispatch.begin();
            self.dispatch.add(&self.boot, block.clone());
            if self.post(sent)?.is_some() {
                return Err(again_and_again());
            }
        }
        Ok(())
    }
}

fn again_and_again() -> Failure {
    "the collector asks for older records again and again".to_owned().into()
}
