//! Delivery: everything that is new goes to the collector, and what it answers is taken in.
//!
//! The order is what makes SIGKILL harmless: the collector's answer, then the state file, then the
//! spool. Driven by the loop in `agent`.

use std::time::Duration;

use super::Agent;
use super::block::Block;
use super::dispatch::{Added, Malformed, Moved};
use super::intake::{BLOCK_BYTES_MAX, Intake, Offer};
use super::pace::Setback;
use super::sender::Answer;
use super::state;
use crate::kernel::{BootId, Cursor, Head, Seq, SeqRange};
use crate::sys::kmsg::Reading;
use crate::sys::{clock, crash, files};
use crate::wire::{Reply, ReplyStatus};

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
    set_aside: u32,
}

impl Agent {
    /// Sends all that is new by now, oldest first, in as many posts as it takes; at least one, so
    /// that the collector knows that we live. What comes meanwhile is for the next time: in a flood
    /// this would not end, and the posts would be ever so small.
    pub(super) fn deliver(&mut self) -> Result<Sent, Failure> {
        let mut sent = Sent::default();
        let mut went_back = None;
        self.dispatch.try_larger();
        self.look()?;
        let until = self.intake.expected();
        loop {
            self.fill()?;
            let now = clock::wall();
            let batch = self.dispatch.finish(now, self.boot_clock.boot_time());
            if batch.range.len() == 0 && sent.posts > 0 {
                return Ok(sent);
            }
            if let Moved::Back(range) = self.post(&mut sent)? {
                let boot = self.dispatch.acknowledged_cursor().boot.clone();
                if went_back.as_ref() == Some(&boot) {
                    let what = "the collector asks for older records again and again".to_owned();
                    return Err(what.into());
                }
                let (from, to) = (range.from.0, range.to.0);
                log::warn!("the collector lacks records {from} to {to}; looking back for them");
                went_back = Some(boot);
            }
            let acknowledged = self.dispatch.acknowledged_cursor();
            if until.is_some() && acknowledged.boot == self.boot && acknowledged.next >= until {
                return Ok(sent);
            }
        }
    }

    /// Puts into the batch what comes next.
    fn fill(&mut self) -> Result<(), Failure> {
        self.dispatch.begin();
        let older = self.look_back()?;
        if !older.is_empty() {
            let add = |block| self.dispatch.add(&self.boot, block) == Added::All;
            older.into_iter().all(add);
            return Ok(());
        }
        let (spool, dispatch) = (&self.spool, &mut self.dispatch);
        let mut added = Added::All;
        spool.read(clock::mono(), |boot, block| {
            added = dispatch.add(boot, block);
            added
        });
        if added == Added::All {
            self.add_unspooled();
        }
        Ok(())
    }

    /// The collector may lack what comes before all that is here: its database is older than the
    /// state file. Gives what the ring still has of it, oldest first and as much as one post takes;
    /// what the ring has not is lost. Told by what is here, so that it goes on however often a post
    /// fails.
    fn look_back(&mut self) -> Result<Vec<Block>, Failure> {
        let acknowledged = self.dispatch.acknowledged_cursor();
        // What an older boot left goes first.
        let is_mine = acknowledged.boot == self.boot && self.spool.begins_with(&self.boot);
        let Some(next) = acknowledged.next.filter(|_| is_mine) else { return Ok(Vec::new()) };
        let held = self.spool.first_of(&self.boot, next).or(self.intake.first());
        let Some(held) = held.filter(|held| *held > next) else { return Ok(Vec::new()) };
        let cursor = Cursor { boot: self.boot.clone(), next: Some(next) };
        let (mut older, mut blocks) = (Intake::new(cursor), Vec::new());
        let (now, boot_time) = (clock::wall(), self.boot_clock.boot_time());
        self.kmsg.rewind()?;
        loop {
            let line = match self.kmsg.read()? {
                Reading::Record(line) => line,
                Reading::Overrun => continue,
                Reading::End => break,
            };
            match Head::parse(&line) {
                Ok(head) if head.seq >= held => break,
                Ok(_) => {}
                Err(_) => continue,
            }
            if let Ok(Offer::Full(line)) = older.offer(line, now) {
                blocks.extend(older.take(boot_time));
                if blocks.len() * BLOCK_BYTES_MAX >= self.config.payload_bytes {
                    break;
                }
                drop(older.offer(line, now));
            }
        }
        if blocks.len() * BLOCK_BYTES_MAX < self.config.payload_bytes {
            older.close_at(held, now);
            blocks.extend(older.take(boot_time));
        }
        // The look that follows passes over what the intake has.
        self.kmsg.rewind()?;
        Ok(blocks)
    }

    /// Where the disk does not take the newest block, it goes straight to the collector.
    fn add_unspooled(&mut self) {
        if let Some(block) = self.intake.take(self.boot_clock.boot_time()) {
            self.dispatch.add(&self.boot, block.clone());
            self.intake.put_back(block);
        }
    }

    /// Posts the batch, and does what the answer asks for.
    fn post(&mut self, sent: &mut Sent) -> Result<Moved, Failure> {
        let Some(batch) = self.dispatch.batch() else { return Ok(Moved::On) };
        let (range, records) = (batch.range, batch.lines.len() as u64);
        let lost: u64 = batch.lost.iter().map(|loss| loss.range.len()).sum();
        crash::point("before send");
        self.sender.post(batch);
        match self.answer() {
            Answer::Taken(reply) => {
                let next = acknowledged_by(&reply, range)?;
                sent.posts += 1;
                sent.records += records;
                sent.lost += lost;
                if lost > 0 {
                    log::warn!("{lost} records were lost before they could be sent");
                }
                self.adopt(next)
            }
            Answer::TooLarge if self.dispatch.too_large() => {
                let level = if self.halved { log::Level::Debug } else { log::Level::Info };
                self.halved = true;
                log::log!(level, "the collector finds {records} records too large; halving them");
                Ok(Moved::On)
            }
            Answer::TooLarge => {
                let reason = "the collector finds it too large; raise its max_payload_bytes";
                self.isolate(reason, sent)
            }
            Answer::Malformed(reason) => self.isolate(&reason, sent),
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

    fn adopt(&mut self, next: Seq) -> Result<Moved, Failure> {
        let Some(batch) = self.dispatch.batch() else { return Ok(Moved::On) };
        let boot = batch.boot.clone();
        let last = batch.boot_time.plus(Duration::from_micros(batch.last_usec)).min(batch.read_at);
        let next = self.reachable(&boot, next);
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
                if let Some(unsaid) = self.foreign.allow(clock::mono()) {
                    log::error!(
                        "the collector is at record {} of this boot, the kernel only at {}: does \
                         another host use this name?{unsaid}",
                        next.0,
                        reached.0
                    );
                }
                reached
            }
            _ => next,
        }
    }

    /// A post was refused for good. One record is set aside; but if posts without any record are
    /// refused too, no record is to blame.
    fn isolate(&mut self, reason: &str, sent: &mut Sent) -> Result<Moved, Failure> {
        let blame = || Failure { reason: reason.to_owned(), setback: Setback::Slow(None) };
        let (seq, line) = match self.dispatch.malformed() {
            Malformed::Fewer => return Ok(Moved::On),
            Malformed::Post => return Err(blame()),
            Malformed::Record { seq, line } => (seq, line),
        };
        if sent.set_aside == SET_ASIDE_MAX {
            return Err(blame());
        }
        self.dispatch.begin();
        let heartbeat = self.dispatch.finish(clock::wall(), self.boot_clock.boot_time());
        self.sender.post(heartbeat);
        match self.answer() {
            Answer::Taken(_) => {}
            Answer::Failed(reason, setback) => return Err(Failure { reason, setback }),
            _ => return Err(blame()),
        }
        let quarantine = files::beside(&self.config.state_file, "quarantine");
        let kept = files::append_line(&quarantine, &line, QUARANTINE_BYTES_MAX)?;
        let (number, shown) = (seq.0, files::quoted(&quarantine));
        let what = if kept { "set aside in" } else { "dropped, since there is no room in" };
        log::error!("record {number} is {what} {shown}: {reason}");
        self.dispatch.set_aside(seq);
        sent.set_aside += 1;
        Ok(Moved::On)
    }
}

/// More records than this are not to blame one by one within one delivery.
const SET_ASIDE_MAX: u32 = 64;
/// For people to look into; a file that is full takes no more lines.
const QUARANTINE_BYTES_MAX: u64 = 1024 * 1024;

/// What the collector has, by its own words; none of ours would answer otherwise.
fn acknowledged_by(reply: &Reply, range: SeqRange) -> Result<Seq, Failure> {
    let nothing = |next: Seq| reply.status == ReplyStatus::Skipped || next == range.from;
    match reply.next_seq {
        None => Err("the collector does not say where to go on".to_owned().into()),
        Some(next) if range.len() > 0 && nothing(next) => {
            let (from, to) = (range.from.0, range.to.0);
            Err(format!("the collector acknowledges nothing of records {from} to {to}").into())
        }
        Some(next) => Ok(next),
    }
}
