//! The spool: what was read and is not acknowledged yet, on disk beside the state file.
//!
//! A folder of segments, each of one boot, appended to and never changed; a segment goes once all
//! of it is acknowledged. Over `spool_bytes_max` the oldest segment goes before, and the sequence
//! numbers tell how much that was. A write that a crash tore ends in a block whose checksum is
//! wrong: the segment is cut there, and the ring still has what was in it.
//!
//! ```text
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
use crate::kernel::{BootId, Seq};
use crate::sys::files;

pub(super) struct Spool {
    folder: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Where the first block that is not acknowledged begins, in the first segment.
    head: u64,
    /// Appends to the last segment.
    tail: Option<File>,
}

struct Segment {
    number: u64,
    boot: BootId,
    bytes: u64,
    next: Seq,
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
            let mut next = None;
            while let Some(block) = reader.next_block() {
                next = Some(block.range.to);
            }
            next.map(|next| Segment { number, boot, bytes: reader.at, next })
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
        self.segments.iter().rev().find(|segment| segment.boot == *boot).map(|segment| segment.next)
    }

    /// When this returns `Ok`, the block survives a power cut.
    pub(super) fn append(&mut self, boot: &BootId, block: &Block) -> Result<(), String> {
        let bytes = block.encode();
        let full = self.segments.back().is_none_or(|segment| {
            segment.boot != *boot || segment.bytes + bytes.len() as u64 > self.bytes_max / SEGMENTS
        });
        if full || self.tail.is_none() {
            self.begin_segment(boot, full)?;
        }
        let (Some(file), Some(segment)) = (&mut self.tail, self.segments.back_mut()) else {
            return Err("the spool has no segment to write to".to_owned());
        };
        let path = self.folder.join(format!("{:0NAME_DIGITS$}", segment.number));
        let written =
            crate::sys::crash::write_all(&mut *file, &bytes).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half a block may stand there: cut it off, or write to another segment next time.
            self.tail = None;
            files::truncate(&path, segment.bytes)?;
            return Err(failed(&path, &error));
        }
        segment.bytes += bytes.len() as u64;
        segment.next = block.range.to;
        self.drop_oldest_over_the_cap()
    }

    /// Opens the last segment to append to it, or makes a new one.
    fn begin_segment(&mut self, boot: &BootId, new: bool) -> Result<(), String> {
        if !new {
            let path = self.segments.back().map(|segment| self.path(segment.number));
            let path = path.unwrap_or_default();
            let opened = OpenOptions::new().append(true).open(&path);
            self.tail = Some(opened.map_err(|error| failed(&path, &error))?);
            return Ok(());
        }
        let number = self.segments.back().map_or(0, |segment| segment.number + 1);
        let path = self.path(number);
        let head = segment_head(boot);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let made = opened.and_then(|mut file| {
            file.write_all(head.as_bytes())?;
            files::sync_folder(&self.folder)?;
            Ok(file)
        });
        self.tail = Some(made.map_err(|error| failed(&path, &error))?);
        let (boot, bytes) = (boot.clone(), head.len() as u64);
        self.segments.push_back(Segment { number, boot, bytes, next: Seq(0) });
        if self.segments.len() == 1 {
            self.head = bytes;
        }
        Ok(())
    }

    fn drop_oldest_over_the_cap(&mut self) -> Result<(), String> {
        while self.bytes() > self.bytes_max && self.segments.len() > 1 {
            log::warn!(
                "the spool is larger than {} bytes; its oldest records go, and count as lost",
                self.bytes_max
            );
            self.drop_first()?;
        }
        Ok(())
    }

    fn drop_first(&mut self) -> Result<(), String> {
        if let Some(segment) = self.segments.front() {
            files::remove(&self.path(segment.number))?;
            self.segments.pop_front();
        }
        if self.segments.is_empty() {
            self.tail = None;
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
            if segment.boot == *boot && segment.next > next {
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
