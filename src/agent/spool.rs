//! The spool: what was read and is not acknowledged yet, on disk beside the state file.
//!
//! A folder of segments, each of one boot, appended to and never changed; a segment goes once all
//! of it is acknowledged. Over `spool_max_bytes` the oldest segment goes before that: a block that
//! says what was lost takes its place, so that the loss is told whatever else is known of its boot.
//! A write that a crash tore ends in a block whose checksum is wrong: the segment is cut there, and
//! the ring still has what was in it.
//!
//! ```text
//!  00000006  tasseograph spool v=1 boot=422187ae-...
//!            block ... lost 800 8001 spool_full
//!  00000007  tasseograph spool v=1 boot=422187ae-...
//!            block ...   <- head: the first that is not acknowledged
//!            block ...
//!  00000008  ...         <- tail: appended to
//! ```

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::block::{Block, BlockHead, HEAD_BYTES_MAX};
use crate::kernel::{BootId, Loss, LossReason, Seq, SeqRange};
use crate::sys::{crash, files, log::Limited};
use crate::time::{Mono, Wall};

pub(super) struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Where the first block that is not acknowledged begins, in the first segment.
    head: u64,
    /// Appends to the last segment.
    tail: Option<File>,
    /// What a power cut would take: since the last `sync`.
    unsynced: bool,
    /// The last segment may end in half a block, and nothing may follow that.
    torn: bool,
    overflow: Limited,
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

/// The cap is kept by dropping whole segments: an eighth of it at a time.
const SEGMENTS: u64 = 8;

impl Spool {
    /// Opens what an earlier process left; `Err` where the folder cannot be used at all.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> Result<Self, String> {
        files::make_private_folder(folder)?;
        let mut spool = Self {
            folder: folder.into(),
            bytes_max,
            segments: VecDeque::new(),
            head: 0,
            tail: None,
            unsynced: false,
            torn: false,
            overflow: Limited::default(),
        };
        let mut numbers = Vec::new();
        for name in files::names_in(folder)? {
            numbers.extend(name.parse::<u64>().ok().filter(|_| name.len() == NAME_DIGITS));
        }
        numbers.sort_unstable();
        for number in numbers {
            spool.recover(number)?;
        }
        spool.head = spool.first_block();
        Ok(spool)
    }

    /// Reads a segment to its last whole block and cuts off what a crash left behind it.
    fn recover(&mut self, number: u64) -> Result<(), String> {
        let path = self.path(number);
        let size = std::fs::metadata(&path).map_err(|error| failed(&path, &error))?.len();
        let found = Reader::open(&path)?.and_then(|mut reader| {
            let boot = reader.boot.clone();
            let mut range: Option<SeqRange> = None;
            let mut is_loss = true;
            while let Some(block) = reader.next_block() {
                range.get_or_insert(block.range).to = block.range.to;
                is_loss &= block.lines.is_empty();
            }
            range.map(|range| Segment { number, boot, bytes: reader.at, range, is_loss })
        });
        let whole = found.as_ref().map_or(0, |segment| segment.bytes);
        if whole < size {
            let shown = files::quoted(&path);
            log::warn!("{shown}: {} bytes after its last whole block are dropped", size - whole);
        }
        match found {
            None => files::remove(&path),
            Some(segment) => {
                if whole < size {
                    files::truncate(&path, whole)?;
                }
                self.segments.push_back(segment);
                Ok(())
            }
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:0NAME_DIGITS$}"))
    }

    fn first_block(&self) -> u64 {
        self.segments.front().map_or(0, |segment| segment_head(&segment.boot).len() as u64)
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

    /// When this returns `Ok`, all that was appended survives a power cut.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        let unsynced = self.unsynced && !crash::wrong("sync-off");
        let Some(segment) = self.segments.back().filter(|_| unsynced) else { return Ok(()) };
        let synced = match &self.tail {
            Some(file) => file.sync_data(),
            None => File::open(self.path(segment.number)).and_then(|file| file.sync_data()),
        };
        let synced = synced.and_then(|()| files::sync_folder(&self.folder));
        synced.map_err(|error| failed(&self.folder, &error))?;
        self.unsynced = false;
        Ok(())
    }

    /// When this returns `Ok`, the block survives SIGKILL.
    pub(super) fn append(&mut self, boot: &BootId, block: &Block, now: Mono) -> Result<(), String> {
        let bytes = block.encode();
        self.make_room(bytes.len() as u64, now)?;
        let full = self.segments.back().is_none_or(|segment| {
            segment.boot != *boot
                || segment.is_loss
                || segment.bytes + bytes.len() as u64 > self.bytes_max / SEGMENTS
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

    fn begin_segment(&mut self, boot: &BootId, from: Seq) -> Result<(), String> {
        self.sync()?;
        let number = self.segments.back().map_or(0, |segment| segment.number + 1);
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
            self.head = bytes;
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
            files::remove(&self.path(segment.number))?;
            self.segments.remove(index);
            self.tail = None;
            return Ok(());
        }
        let mut block = Block::empty(from, Wall::from_micros(0));
        block.range = range;
        block.lost = vec![Loss { range, reason: LossReason::SpoolFull }];
        let mut bytes = segment_head(&segment.boot).into_bytes();
        bytes.extend(block.encode());
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
        self.head = self.first_block();
        Ok(())
    }

    fn drop_first(&mut self) -> Result<(), String> {
        if let Some(segment) = self.segments.front() {
            files::remove(&self.path(segment.number))?;
            self.segments.pop_front();
        }
        if self.segments.is_empty() {
            self.tail = None;
            self.unsynced = false;
        }
        self.head = self.first_block();
        Ok(())
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        while !self.segments.is_empty() {
            self.drop_first()?;
        }
        Ok(())
    }

    /// Everything before `next` of this boot, and everything of boots before it, is acknowledged.
    pub(super) fn acknowledge(&mut self, boot: &BootId, next: Seq) -> Result<(), String> {
        if !self.segments.iter().any(|segment| segment.boot == *boot) {
            return Ok(());
        }
        while let Some(segment) = self.segments.front() {
            if segment.boot == *boot && segment.range.to > next {
                return self.move_head(next);
            }
            let last_of_boot = segment.boot == *boot
                && self.segments.get(1).is_none_or(|second| second.boot != *boot);
            self.drop_first()?;
            if last_of_boot {
                break;
            }
        }
        Ok(())
    }

    /// Passes over the blocks of the first segment that are acknowledged.
    fn move_head(&mut self, next: Seq) -> Result<(), String> {
        let Some(segment) = self.segments.front() else { return Ok(()) };
        let Some(mut reader) = Reader::open(&self.path(segment.number))? else { return Ok(()) };
        reader.go_to(self.head)?;
        while let Some(head) = reader.next_head() {
            if head.range.to > next {
                break;
            }
            reader.skip_payload(&head)?;
            self.head = reader.at;
        }
        Ok(())
    }

    /// Gives the blocks that are not acknowledged, oldest first, until `take` has enough.
    pub(super) fn read(
        &self,
        mut take: impl FnMut(&BootId, Block) -> super::dispatch::Added,
    ) -> Result<(), String> {
        for (index, segment) in self.segments.iter().enumerate() {
            let Some(mut reader) = Reader::open(&self.path(segment.number))? else { continue };
            if index == 0 {
                reader.go_to(self.head)?;
            }
            while let Some(block) = reader.next_block() {
                if take(&segment.boot, block) == super::dispatch::Added::Full {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

const NAME_DIGITS: usize = 8;

fn segment_head(boot: &BootId) -> String {
    format!("tasseograph spool v=1 boot={boot}\n")
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("cannot use the spool {}: {}", files::quoted(path), files::cause(error))
}

/// Reads one segment block by block; what is torn or damaged ends it.
struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    boot: BootId,
    /// Behind the last whole block.
    at: u64,
}

impl Reader {
    /// `None`: it is no segment of ours, or one that was torn in its first line.
    fn open(path: &Path) -> Result<Option<Self>, String> {
        let file = File::open(path).map_err(|error| failed(path, &error))?;
        let mut file = BufReader::new(file);
        let Some(line) = read_line(&mut file) else { return Ok(None) };
        let boot = line.strip_prefix("tasseograph spool v=1 boot=").and_then(BootId::parse);
        let at = line.len() as u64 + 1;
        Ok(boot.map(|boot| Self { path: path.into(), file, boot, at }))
    }

    fn go_to(&mut self, at: u64) -> Result<(), String> {
        self.file.seek(SeekFrom::Start(at)).map_err(|error| failed(&self.path, &error))?;
        self.at = at;
        Ok(())
    }

    fn next_head(&mut self) -> Option<BlockHead> {
        let line = read_line(&mut self.file)?;
        let head = BlockHead::parse(&line)?;
        self.at += line.len() as u64 + 1;
        Some(head)
    }

    fn skip_payload(&mut self, head: &BlockHead) -> Result<(), String> {
        self.go_to(self.at + head.payload_bytes as u64)
    }

    fn next_block(&mut self) -> Option<Block> {
        let begin = self.at;
        let block = self.next_head().and_then(|head| {
            let mut payload = Vec::new();
            let limit = head.payload_bytes as u64;
            self.file.by_ref().take(limit).read_to_end(&mut payload).ok()?;
            self.at += limit;
            Block::decode(&head, &payload)
        });
        if block.is_none() {
            self.at = begin;
        }
        block
    }
}

/// A line without its end; `None` where there is no whole one.
fn read_line(file: &mut BufReader<File>) -> Option<String> {
    let mut line = String::new();
    file.by_ref().take(HEAD_BYTES_MAX as u64).read_line(&mut line).ok()?;
    line.strip_suffix('\n').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::dispatch::{Added, Dispatch};
    use super::*;
    use crate::kernel::Cursor;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tg-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn spool(&self) -> Spool {
            Spool::open(&self.0.join("spool"), BYTES_MAX).unwrap()
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
            spool.read(take).unwrap();
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
        let path = spool.path(0);
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
        let path = spool.path(0);
        let half = block(5, 9).encode();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&half[..half.len() / 2]).unwrap();
        (spool.tail, spool.torn) = (None, true);
        spool.append(&boot('1'), &block(5, 9), NOW).unwrap();
        for spool in [spool, folder.spool()] {
            assert_eq!(told(&spool), ["1: 9 records to 9"]);
        }
    }

    #[test]
    fn added_is_what_read_asks_for() {
        let folder = Folder::new("read");
        let mut spool = folder.spool();
        spool.append(&boot('1'), &block(0, 5), NOW).unwrap();
        spool.append(&boot('1'), &block(5, 9), NOW).unwrap();
        let mut seen = 0;
        spool
            .read(|_, _| {
                seen += 1;
                Added::Full
            })
            .unwrap();
        assert_eq!(seen, 1);
    }
}
