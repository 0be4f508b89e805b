//! One segment of the spool as bytes: whose boot it is, and its blocks.
//!
//! Pure. A block whose checksum is wrong is passed over, up to the next one that is whole: a byte
//! that a disk returns wrongly costs its own block and no other. `spool` drives it.

use super::block::{Block, BlockHead, HEAD_BYTES_MAX};
use crate::kernel::{BootId, Seq};

pub(super) struct Reader<'a> {
    pub(super) boot: BootId,
    bytes: &'a [u8],
    at: usize,
}

const MARK: &str = "tasseograph spool v=1 boot=";
/// How a block begins. Text may say so too, but its checksum does not fit.
const BLOCK: &[u8] = b"block ";

/// More than a block can hold: a damaged line must not claim them.
const BLOCK_RECORDS_MAX: u64 = 1_000_000;

/// The first line of a segment.
pub(super) fn segment_head(boot: &BootId) -> String {
    format!("{MARK}{boot}\n")
}

impl<'a> Reader<'a> {
    /// `None`: it is no segment, or one that was torn in its first line.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&bytes[..end]).ok()?;
        let boot = line.strip_prefix(MARK).and_then(BootId::parse)?;
        Some(Self { boot, bytes, at: end + 1 })
    }

    /// Behind the last block that was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at.min(self.bytes.len());
    }

    /// The next block that is whole.
    pub(super) fn next_block(&mut self) -> Option<Block> {
        let mut at = self.at;
        loop {
            if let Some((block, end)) = self.block_at(at) {
                self.at = end;
                return Some(block);
            }
            at += 1;
            let rest = self.bytes.get(at..)?;
            at += rest.windows(BLOCK.len()).position(|window| window == BLOCK)?;
        }
    }

    fn block_at(&self, at: usize) -> Option<(Block, usize)> {
        let (head, payload) = self.head_at(at)?;
        let end = payload.checked_add(head.payload_bytes)?;
        Some((Block::decode(&head, &self.boot, self.bytes.get(payload..end)?)?, end))
    }

    fn head_at(&self, at: usize) -> Option<(BlockHead, usize)> {
        let rest = self.bytes.get(at..)?;
        let end = rest.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n')?;
        let head = BlockHead::parse(std::str::from_utf8(&rest[..end]).ok()?)?;
        Some((head, at + end + 1))
    }

    /// How far the damaged block behind the last whole one went, if its first line says so.
    pub(super) fn promised(&self) -> Option<Seq> {
        let range = self.head_at(self.at)?.0.range;
        (range.len() <= BLOCK_RECORDS_MAX).then_some(range.to)
    }

    /// Whether what follows the last block is what a crash leaves of a write: less than it
    /// promises.
    pub(super) fn is_torn(&self) -> bool {
        match self.head_at(self.at) {
            Some((head, payload)) => self.bytes.len() < payload.saturating_add(head.payload_bytes),
            None => !self.bytes[self.at..].contains(&b'\n'),
        }
    }
}
