//! The spool: what was read and is not acknowledged yet, on disk beside the state file.
//!
//! A folder of segments, each of one boot, appended to and never changed; a segment goes once all
//! of it is acknowledged. Over `spool_max_bytes` the oldest segment goes before that: a block that
//! says what was lost takes its place, so that the loss is told whatever else is known of its boot.
//! What a crash tore is cut off: the ring still has it. A block that is damaged, or a segment that
//! is gone, is passed over, and told as a loss.
//!
//! ```text
//!  10000006  tasseograph spool v=1 boot=422187ae-...
//!            block ... lost 800 8001 spool_full
//!  10000007  tasseograph spool v=1 boot=422187ae-...
//!            block ...   <- head: the first that is not acknowledged
//!            block ...
//!  10000008  ...         <- tail: appended to
//! ```

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::block::Block;
use super::dispatch::Added;
use super::segment::{Reader, segment_head};
use crate::kernel::{BootId, LossReason, Seq, SeqRange};
use crate::sys::syncer::Syncer;
use crate::sys::{crash, files, log::Limited};
use crate::time::Mono;

pub(super) struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Where the first block that is not acknowledged begins in the first segment, if not at its
    /// start, and with which record.
    head: Option<(usize, Seq)>,
    /// Appends to the last segment.
    tail: Option<File>,
    syncer: Syncer,
    /// There is what a power cut would take: since the last `sync`.
    unsynced: bool,
    /// The kernel may have dropped what it could not write: the last segment is written anew.
    sync_failed: bool,
    /// The last segment may end in half a block, and nothing may follow that.
    torn: bool,
    overflow: Limited,
    damage: Limited,
}

struct Segment {
    number: u64,
    boot: BootId,
    bytes: u64,
    /// What its blocks cover.
    range: SeqRange,
    /// It holds no records any more: it says that they are lost.
    is_loss: bool,
}

/// The cap is kept by dropping whole segments: an eighth of it at a time, or less.
const SEGMENTS: u64 = 8;
/// A segment is read as a whole.
const SEGMENT_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// What is larger is none of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Eight digits from the first on, so that names sort as numbers do.
const NUMBER_FIRST: u64 = 10_000_000;
const NAME_DIGITS: usize = 8;

impl Spool {
    /// Opens what an earlier process left; `Err` where the folder cannot be used at all.
    /// `boot` is the present one: of that, the ring may still have what is damaged here.
    pub(super) fn open(folder: &Path, bytes_max: u64, boot: &BootId) -> Result<Self, String> {
        files::make_private_folder(folder)?;
        let mut spool = Self {
            folder: folder.into(),
            bytes_max,
            segments: VecDeque::new(),
            head: None,
            tail: None,
            syncer: Syncer::start()?,
            unsynced: false,
            sync_failed: false,
            torn: false,
            overflow: Limited::default(),
            damage: Limited::default(),
        };
        let mut numbers = Vec::new();
        for name in files::names_in(folder)? {
            numbers.extend(name.parse::<u64>().ok().filter(|_| name.len() == NAME_DIGITS));
        }
        numbers.sort_unstable();
        for number in numbers {
            spool.recover(number, boot)?;
        }
        // Who wrote them may have been killed before it synced them.
        for number in spool.segments.iter().map(|segment| segment.number).collect::<Vec<_>>() {
            let path = spool.path(number);
            let synced = File::open(&path).and_then(|file| spool.syncer.sync(file, folder));
            synced.map_err(|error| failed(&path, &error))?;
        }
        Ok(spool)
    }

    /// Reads a segment, and cuts off what a crash left behind its last whole block.
    fn recover(&mut self, number: u64, present: &BootId) -> Result<(), String> {
        let path = self.path(number);
        let bytes = match files::read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(reason) => {
                log::error!("{reason}; it is kept as {number}.damaged, and not sent");
                return files::rename(&path, &files::beside(&path, "damaged"));
            }
        };
        let found = Reader::new(&bytes).map(|mut reader| {
            let (mut range, mut is_loss): (Option<SeqRange>, _) = (None, true);
            while let Some(block) = reader.next_block() {
                range.get_or_insert(block.range).to = block.range.to;
                is_loss &= block.lines.is_empty();
            }
            (reader, range, is_loss)
        });
        let torn = found.as_ref().map_or(!bytes.contains(&b'\n'), |(reader, ..)| reader.is_torn());
        let shown = files::quoted(&path);
        let whole = match &found {
            Some((reader, Some(_), _)) => reader.at(),
            _ if torn => return files::remove(&path),
            _ => {
                // For people to look into; its records are told as a loss.
                log::error!("{shown} is damaged; it is kept as {number}.damaged, and not sent");
                return files::rename(&path, &files::beside(&path, "damaged"));
            }
        };
        if whole < bytes.len() {
            let count = bytes.len() - whole;
            let what = if torn { "cut off" } else { "damaged" };
            log::warn!("{shown}: {count} bytes after its last whole block are {what}");
            if torn {
                files::truncate(&path, whole as u64)?;
            }
        }
        let Some((reader, Some(mut range), is_loss)) = found else { return Ok(()) };
        if !torn && reader.boot != *present {
            range.to = range.to.max(reader.promised().unwrap_or(range.to));
        }
        self.torn = whole < bytes.len() && !torn;
        let bytes = if torn { whole } else { bytes.len() } as u64;
        self.segments.push_back(Segment { number, boot: reader.boot, bytes, range, is_loss });
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:0NAME_DIGITS$}"))
    }

    /// Whether it is so full that records should be sent before their time.
    pub(super) fn is_filling(&self) -> bool {
        self.bytes() > self.bytes_max / 2
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// What is expected after the last block of this boot, if any is here.
    pub(super) fn next_of(&self, boot: &BootId) -> Option<Seq> {
        self.segments
            .iter()
            .rev()
            .find(|segment| segment.boot == *boot)
            .map(|segment| segment.range.to)
    }

    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Has all that was appended put on the disk, where it survives a power cut. The error may be
    /// of an earlier call: nobody waits for the disk here.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        self.note_outcome()?;
        if self.sync_failed {
            return self.write_anew();
        }
        if self.unsynced && !self.syncer.is_busy() {
            self.hand_over()?;
        }
        Ok(())
    }

    /// The same, to its end.
    pub(super) fn sync_and_wait(&mut self) -> Result<(), String> {
        self.sync()?;
        self.syncer.wait().map_err(|error| failed(&self.folder, &error))
    }

    fn note_outcome(&mut self) -> Result<(), String> {
        let outcome = self.syncer.outcome();
        outcome.map_err(|error| {
            (self.sync_failed, self.unsynced) = (true, true);
            failed(&self.folder, &error)
        })
    }

    fn hand_over(&mut self) -> Result<(), String> {
        let Some(segment) = self.segments.back() else { return Ok(()) };
        if crash::wrong("sync-off") {
            return Ok(());
        }
        let path = self.path(segment.number);
        let file = match &self.tail {
            Some(file) => file.try_clone(),
            None => File::open(&path),
        };
        let handed = file.and_then(|file| self.syncer.sync(file, &self.folder));
        handed.map_err(|error| failed(&path, &error))?;
        self.unsynced = false;
        Ok(())
    }

    /// After a failed fsync the kernel may have dropped what it could not write.
    fn write_anew(&mut self) -> Result<(), String> {
        if let Some(segment) = self.segments.back() {
            let path = self.path(segment.number);
            files::replace(&path, &files::read(&path, FILE_BYTES_MAX)?)?;
        }
        self.tail = None;
        (self.sync_failed, self.unsynced) = (false, false);
        Ok(())
    }

    /// When this returns `Ok`, the block survives SIGKILL.
    pub(super) fn append(&mut self, boot: &BootId, block: &Block, now: Mono) -> Result<(), String> {
        let bytes = block.encode(boot);
        self.make_room(bytes.len() as u64, now)?;
        let full = self.segments.back().is_none_or(|segment| {
            segment.boot != *boot
                || segment.is_loss
                || segment.bytes + bytes.len() as u64 > self.segment_bytes_max()
        });
        if full || self.torn {
            self.begin_segment(boot, block.range.from)?;
        } else if self.tail.is_none() {
            self.reopen_segment()?;
        }
        let (Some(file), Some(segment)) = (&mut self.tail, self.segments.back_mut()) else {
            return Err("the spool has no segment to write to".to_owned());
        };
        let path = self.folder.join(format!("{:0NAME_DIGITS$}", segment.number));
        if let Err(error) = crash::write_all(file, &bytes) {
            // Half a block may stand there. Where it cannot be cut off, another segment follows.
            self.tail = None;
            self.torn = files::truncate(&path, segment.bytes).is_err();
            return Err(failed(&path, &error));
        }
        segment.bytes += bytes.len() as u64;
        segment.range.to = block.range.to;
        self.unsynced = true;
        Ok(())
    }

    fn segment_bytes_max(&self) -> u64 {
        (self.bytes_max / SEGMENTS).min(SEGMENT_BYTES_MAX)
    }

    fn begin_segment(&mut self, boot: &BootId, from: Seq) -> Result<(), String> {
        if self.unsynced {
            self.hand_over()?;
        }
        let number = self.segments.back().map_or(NUMBER_FIRST, |segment| segment.number + 1);
        let path = self.path(number);
        let head = segment_head(boot);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let made = opened.and_then(|mut file| {
            file.write_all(head.as_bytes())?;
            Ok(file)
        });
        self.tail = Some(made.map_err(|error| failed(&path, &error))?);
        self.torn = false;
        let (boot, bytes) = (boot.clone(), head.len() as u64);
        let range = SeqRange::new(from, from);
        self.segments.push_back(Segment { number, boot, bytes, range, is_loss: false });
        if self.segments.len() == 1 {
            self.head = None;
        }
        Ok(())
    }

    fn reopen_segment(&mut self) -> Result<(), String> {
        let path = self.segments.back().map(|segment| self.path(segment.number));
        let path = path.unwrap_or_default();
        let opened = OpenOptions::new().append(true).open(&path);
        self.tail = Some(opened.map_err(|error| failed(&path, &error))?);
        Ok(())
    }

    /// Keeps the cap: the oldest records go, and what says so stays.
    fn make_room(&mut self, bytes: u64, now: Mono) -> Result<(), String> {
        while self.bytes() + bytes > self.bytes_max {
            let Some(oldest) = self.segments.iter().position(|segment| !segment.is_loss) else {
                return Ok(());
            };
            if let Some(unsaid) = self.overflow.allow(now) {
                log::warn!(
                    "the spool is larger than {} bytes; its oldest records go, and count as \
                     lost{unsaid}",
                    self.bytes_max
                );
            }
            self.lose(oldest)?;
        }
        Ok(())
    }

    /// Puts a loss in the place of a segment's records; the loss before it becomes part of it.
    fn lose(&mut self, index: usize) -> Result<(), String> {
        let segment = &self.segments[index];
        let before = index.checked_sub(1).map(|before| &self.segments[before]);
        let before = before.filter(|before| before.is_loss && before.boot == segment.boot);
        let from = before.map_or(segment.range.from, |before| before.range.from);
        let joins = before.map(|before| self.path(before.number));
        let range = SeqRange::new(from, segment.range.to);
        if range.len() == 0 {
            // Nothing has been written to it yet.
            return self.drop_at(index);
        }
        let mut bytes = segment_head(&segment.boot).into_bytes();
        bytes.extend(Block::of_loss(range, LossReason::SpoolFull).encode(&segment.boot));
        files::replace(&self.path(segment.number), &bytes)?;
        let segment = &mut self.segments[index];
        (segment.range, segment.bytes, segment.is_loss) = (range, bytes.len() as u64, true);
        if index + 1 == self.segments.len() {
            self.tail = None;
        }
        if let Some(path) = joins {
            files::remove(&path)?;
            self.segments.remove(index - 1);
        }
        self.head = None;
        Ok(())
    }

    fn drop_at(&mut self, index: usize) -> Result<(), String> {
        let Some(segment) = self.segments.get(index) else { return Ok(()) };
        files::remove(&self.path(segment.number))?;
        self.segments.remove(index);
        if index == 0 {
            self.head = None;
        }
        if index == self.segments.len() {
            self.tail = None;
            self.torn = false;
        }
        self.unsynced &= !self.segments.is_empty();
        Ok(())
    }

    /// Drops what is here of this boot; says how many records that was.
    pub(super) fn forget(&mut self, boot: &BootId) -> Result<u64, String> {
        let mut records = 0;
        while let Some(index) = self.segments.iter().position(|segment| segment.boot == *boot) {
            records += self.segments[index].range.len();
            self.drop_at(index)?;
        }
        Ok(records)
    }

    /// The first record at or above `next` that is here of this boot; what was passed over as
    /// acknowledged counts again, where `next` lies before it.
    pub(super) fn first_of(&mut self, boot: &BootId, next: Seq) -> Option<Seq> {
        let index = self.segments.iter().position(|segment| segment.boot == *boot)?;
        self.head = self.head.filter(|(_, seq)| index > 0 || *seq <= next);
        let head = self.head.filter(|_| index == 0).map(|(_, seq)| seq);
        Some(head.unwrap_or(self.segments[index].range.from))
    }

    /// Whether nothing of another boot comes first.
    pub(super) fn begins_with(&self, boot: &BootId) -> bool {
        self.segments.front().is_none_or(|segment| segment.boot == *boot)
    }

    /// Everything before `next` of this boot, and everything of boots before it, is acknowledged.
    pub(super) fn acknowledge(&mut self, boot: &BootId, next: Seq) -> Result<(), String> {
        if !self.segments.iter().any(|segment| segment.boot == *boot) {
            return Ok(());
        }
        while let Some(segment) = self.segments.front() {
            if segment.boot == *boot && segment.range.to > next {
                self.move_head(next);
                return Ok(());
            }
            let last_of_boot = segment.boot == *boot
                && self.segments.get(1).is_none_or(|second| second.boot != *boot);
            self.drop_at(0)?;
            if last_of_boot {
                break;
            }
        }
        Ok(())
    }

    /// Passes over the blocks of the first segment that are acknowledged.
    fn move_head(&mut self, next: Seq) {
        let Some(segment) = self.segments.front() else { return };
        let bytes = self.contents(segment);
        let Some(mut reader) = Reader::new(&bytes) else { return };
        reader.go_to(self.head.map_or(reader.at(), |(at, _)| at));
        while let Some(block) = reader.next_block().filter(|block| block.range.to <= next) {
            self.head = Some((reader.at(), block.range.to));
        }
    }

    /// A segment that somebody removed, or that the disk does not give any more, is empty.
    fn contents(&self, segment: &Segment) -> Vec<u8> {
        files::read(&self.path(segment.number), FILE_BYTES_MAX).unwrap_or_default()
    }

    /// Gives the blocks that are not acknowledged, oldest first, until `take` has enough. What
    /// should be there and is not is a loss.
    pub(super) fn read(&self, now: Mono, mut take: impl FnMut(&BootId, Block) -> Added) {
        for (index, segment) in self.segments.iter().enumerate() {
            let head = self.head.filter(|_| index == 0);
            let mut expected = head.map_or(segment.range.from, |(_, seq)| seq);
            let bytes = self.contents(segment);
            let mut reader = Reader::new(&bytes).filter(|reader| reader.boot == segment.boot);
            if let (Some(reader), Some((at, _))) = (&mut reader, head) {
                reader.go_to(at);
            }
            loop {
                let block = reader.as_mut().and_then(Reader::next_block);
                let hole = block.as_ref().map_or(segment.range.to, |block| block.range.from);
                if expected < hole {
                    let range = SeqRange::new(expected, hole);
                    self.complain_of_damage(segment, range, now);
                    if take(&segment.boot, Block::of_loss(range, LossReason::Gone)) == Added::Full {
                        return;
                    }
                }
                let Some(block) = block else { break };
                expected = expected.max(block.range.to);
                if take(&segment.boot, block) == Added::Full {
                    return;
                }
            }
        }
    }

    fn complain_of_damage(&self, segment: &Segment, range: SeqRange, now: Mono) {
        if let Some(unsaid) = self.damage.allow(now) {
            let shown = files::quoted(&self.path(segment.number));
            let (from, to) = (range.from.0, range.to.0);
            log::error!("{shown} is damaged: records {from} to {to} are lost{unsaid}");
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("cannot use the spool {}: {}", files::quoted(path), files::cause(error))
}

#[cfg(test)]
mod tests {
    use super::super::dispatch::Dispatch;
    use super::*;
    use crate::kernel::Cursor;
    use crate::time::Wall;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tg-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn spool(&self) -> Spool {
            Spool::open(&self.0.join("spool"), BYTES_MAX, &boot('3')).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    const BYTES_MAX: u64 = 64 * 1024;
    const NOW: Mono = Mono(std::time::Duration::ZERO);

    fn boot(digit: char) -> BootId {
        BootId::parse(&"00000000-0000-0000-0000-000000000000".replace('0', &digit.to_string()))
            .unwrap()
    }

    fn block(from: u64, to: u64) -> Block {
        let mut block = Block::empty(Seq(from), Wall::from_micros(1));
        block.range.to = Seq(to);
        block.lines = (from..to).map(|seq| format!("6,{seq},{seq},-;record {seq}\n")).collect();
        block
    }

    /// What a collector would be sent, one text for each boot: `1: 0-5 lost spool_full, 5-9`.
    fn told(spool: &Spool) -> Vec<String> {
        let mut dispatch = Dispatch::new(Cursor { boot: boot('9'), next: None }, 16 * 1024 * 1024);
        let (mut told, mut done): (Vec<String>, Vec<(BootId, Seq)>) = (Vec::new(), Vec::new());
        loop {
            dispatch.begin();
            let take = |boot: &BootId, block: Block| {
                let is_done = done.iter().any(|(of, next)| of == boot && block.range.to <= *next);
                if is_done { Added::All } else { dispatch.add(boot, block) }
            };
            spool.read(NOW, take);
            let batch = dispatch.finish(Wall::from_micros(0), Wall::from_micros(0)).clone();
            if batch.range.len() == 0 {
                return told;
            }
            let mut parts: Vec<_> = batch
                .lost
                .iter()
                .map(|loss| {
                    let (from, to) = (loss.range.from.0, loss.range.to.0);
                    format!("{from}-{to} {}", loss.reason.name())
                })
                .collect();
            parts.push(format!("{} records to {}", batch.lines.len(), batch.range.to.0));
            told.push(format!("{}: {}", &batch.boot.as_str()[..1], parts.join(", ")));
            dispatch.acknowledged(batch.range.to);
            done.push((batch.boot, batch.range.to));
        }
    }

    #[test]
    fn what_is_acknowledged_goes_and_the_rest_comes_back_after_a_restart() {
        let folder = Folder::new("acknowledged");
        let mut spool = folder.spool();
        for (digit, from) in [('1', 0), ('1', 10), ('2', 0), ('2', 10)] {
            spool.append(&boot(digit), &block(from, from + 10), NOW).unwrap();
        }
        assert_eq!(told(&spool), ["1: 20 records to 20", "2: 20 records to 20"]);
        spool.acknowledge(&boot('1'), Seq(20)).unwrap();
        assert_eq!(told(&folder.spool()), ["2: 20 records to 20"]);
        spool.acknowledge(&boot('2'), Seq(10)).unwrap();
        assert_eq!(told(&spool), ["2: 10 records to 20"]);
        spool.append(&boot('2'), &block(20, 30), NOW).unwrap();
        assert_eq!(spool.next_of(&boot('2')), Some(Seq(30)));
        spool.acknowledge(&boot('2'), Seq(30)).unwrap();
        assert_eq!(told(&folder.spool()), [""; 0]);
        assert_eq!(files::names_in(&folder.0.join("spool")).unwrap(), [""; 0]);
    }

    /// Nothing is known but what the spool says, also after a restart: not one record of those that
    /// it dropped may be missing from what it tells.
    #[test]
    fn over_its_cap_it_tells_what_it_dropped_of_every_boot() {
        let folder = Folder::new("cap");
        let mut spool = folder.spool();
        for (digit, blocks) in [('1', 40), ('2', 400)] {
            for at in 0..blocks {
                spool.append(&boot(digit), &block(at * 20, at * 20 + 20), NOW).unwrap();
                assert!(spool.bytes() <= BYTES_MAX, "{}", spool.bytes());
            }
        }
        for spool in [spool, folder.spool()] {
            let told = told(&spool);
            assert_eq!(told[0], "1: 0-800 spool_full, 0 records to 800");
            let rest = told[1].strip_prefix("2: 0-").unwrap();
            let lost: u64 = rest.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(told[1], format!("2: 0-{lost} spool_full, {} records to 8000", 8000 - lost));
            assert!(lost < 8000, "something is left");
            assert_eq!(told.len(), 2);
        }
        let files = files::names_in(&folder.0.join("spool")).unwrap().len();
        assert!(files <= SEGMENTS as usize + 3, "{files} files");
    }

    #[test]
    fn a_loss_that_is_acknowledged_goes_too() {
        let folder = Folder::new("loss");
        let mut spool = folder.spool();
        for at in 0..400 {
            spool.append(&boot('1'), &block(at * 20, at * 20 + 20), NOW).unwrap();
        }
        let lost = spool.segments[0].range.to;
        spool.acknowledge(&boot('1'), lost).unwrap();
        assert_eq!(told(&spool), [format!("1: {} records to 8000", 8000 - lost.0)]);
    }

    /// A crash tears at any byte; a disk returns garbage at any byte.
    #[test]
    fn a_segment_that_is_cut_anywhere_gives_its_whole_blocks() {
        let folder = Folder::new("cut");
        let mut spool = folder.spool();
        let mut ends = Vec::new();
        for at in 0..3 {
            spool.append(&boot('1'), &block(at * 2, at * 2 + 2), NOW).unwrap();
            ends.push(spool.bytes());
        }
        let path = spool.path(NUMBER_FIRST);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            files::replace(&path, &whole[..cut]).unwrap();
            let mut spool = folder.spool();
            let blocks = ends.iter().filter(|end| **end <= cut as u64).count() as u64;
            let expected = (blocks > 0).then(|| format!("1: {0} records to {0}", blocks * 2));
            assert_eq!(told(&spool), Vec::from_iter(expected), "cut at {cut}");
            // It goes on behind what is whole.
            spool.append(&boot('1'), &block(blocks * 2, blocks * 2 + 1), NOW).unwrap();
            let records = blocks * 2 + 1;
            let expected = [format!("1: {records} records to {records}")];
            assert_eq!(told(&folder.spool()), expected, "cut at {cut}");
        }
    }

    #[test]
    fn after_a_write_that_cannot_be_undone_another_segment_follows() {
        let folder = Folder::new("torn");
        let mut spool = folder.spool();
        spool.append(&boot('1'), &block(0, 5), NOW).unwrap();
        let path = spool.path(NUMBER_FIRST);
        let half = block(5, 9).encode(&boot('1'));
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&half[..half.len() / 2]).unwrap();
        (spool.tail, spool.torn) = (None, true);
        spool.append(&boot('1'), &block(5, 9), NOW).unwrap();
        for spool in [spool, folder.spool()] {
            assert_eq!(told(&spool), ["1: 9 records to 9"]);
        }
    }

    #[test]
    fn reading_ends_when_there_is_enough() {
        let folder = Folder::new("read");
        let mut spool = folder.spool();
        spool.append(&boot('1'), &block(0, 5), NOW).unwrap();
        spool.append(&boot('1'), &block(5, 9), NOW).unwrap();
        let mut seen = 0;
        let take = |_: &BootId, _: Block| {
            seen += 1;
            Added::Full
        };
        spool.read(NOW, take);
        assert_eq!(seen, 1);
    }

    /// Whatever byte a disk returns wrongly, before a start or while running, costs at most the
    /// block that it stands in, and what it costs is told.
    #[test]
    fn a_damaged_byte_costs_its_block_and_is_told() {
        let folder = Folder::new("damage");
        let mut spool = folder.spool();
        for at in 0..3 {
            spool.append(&boot('1'), &block(at * 2, at * 2 + 2), NOW).unwrap();
        }
        spool.append(&boot('2'), &block(0, 3), NOW).unwrap();
        let path = spool.path(NUMBER_FIRST);
        let whole = std::fs::read(&path).unwrap();
        let head = segment_head(&boot('1')).len();
        let length = (whole.len() - head) / 3;
        let third = head + 2 * length;
        let line = third + whole[third..].iter().position(|byte| *byte == b'\n').unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            files::replace(&path, &changed).unwrap();
            let rest = "2: 3 records to 3";
            let lost = at.checked_sub(head).map(|at| at / length);
            // Of a segment whose first line is damaged, nobody can say whose records they are.
            let running = match lost {
                None => vec!["1: 0-6 gone, 0 records to 6", rest],
                Some(0) => vec!["1: 0-2 gone, 4 records to 6", rest],
                Some(1) => vec!["1: 2-4 gone, 4 records to 6", rest],
                _ => vec!["1: 4-6 gone, 4 records to 6", rest],
            };
            assert_eq!(told(&spool), running, "byte {at}");
            let started = match lost {
                None => vec![rest],
                // What stood before the first whole block, the ring or the cursor tells.
                Some(0) => vec!["1: 4 records to 6", rest],
                Some(1) => running,
                // Its own first line says how far it went, unless that is what is damaged.
                _ if at <= line => {
                    let told = told(&folder.spool());
                    assert!(told[0].starts_with("1: 4") && told[1] == rest, "byte {at}: {told:?}");
                    continue;
                }
                _ => running,
            };
            assert_eq!(told(&folder.spool()), started, "byte {at}, after a start");
            if lost.is_none() {
                drop(std::fs::remove_file(files::beside(&path, "damaged")));
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(told(&spool), ["1: 0-6 gone, 0 records to 6", "2: 3 records to 3"]);
    }
}
