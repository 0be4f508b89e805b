//! A block: what one look at the ring gave, as the spool keeps it.
//!
//! Pure. One line of numbers with a checksum, then the records verbatim:
//!
//! ```text
//! block FIRST NEXT READ_AT BOOT_TIME BYTES CHECKSUM
//! lost FROM TO REASON
//! 6,8001,517252418,-;EDAC MC0: 1 CE on DIMM0
//!  SUBSYSTEM=edac
//! ```
//!
//! A record begins with a digit and goes on with lines that begin with a space, so nothing needs
//! escaping. What was torn by a crash has another checksum, or is too short.

use crate::kernel::{BootId, Loss, LossReason, Seq, SeqRange};
use crate::time::Wall;

/// Records and losses that cover `range` without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) range: SeqRange,
    pub(super) lines: Vec<String>,
    pub(super) lost: Vec<Loss>,
    /// When the ring was read.
    pub(super) read_at: Wall,
    /// The wall time of the kernel's time zero, as it was believed then.
    pub(super) boot_time: Wall,
}

/// The first line of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub(super) range: SeqRange,
    read_at: Wall,
    boot_time: Wall,
    pub(super) payload_bytes: usize,
    checksum: [u8; 8],
}

/// Longer than any head: `block`, five numbers of 20 digits, a checksum.
pub(super) const HEAD_BYTES_MAX: usize = 160;
/// A block is spooled long before it is this large; a larger number is damage.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Block {
    /// To be filled, from `from` on.
    pub(super) fn empty(from: Seq, read_at: Wall) -> Self {
        let range = SeqRange::new(from, from);
        let boot_time = Wall::from_micros(0);
        Self { range, lines: Vec::new(), lost: Vec::new(), read_at, boot_time }
    }

    /// Nothing but a loss.
    pub(super) fn of_loss(range: SeqRange, reason: LossReason) -> Self {
        let lost = vec![Loss { range, reason }];
        Self { range, lost, ..Self::empty(range.from, Wall::from_micros(0)) }
    }

    pub(super) fn encode(&self, boot: &BootId) -> Vec<u8> {
        let mut payload = String::new();
        for loss in &self.lost {
            let (from, to) = (loss.range.from.0, loss.range.to.0);
            payload.push_str(&format!("lost {from} {to} {}\n", loss.reason.name()));
        }
        for line in &self.lines {
            payload.push_str(line);
            if !line.ends_with('\n') {
                payload.push('\n');
            }
        }
        let fields = fields(self.range, self.read_at, self.boot_time, payload.len());
        let sum = hex(&checksum(boot, &fields, payload.as_bytes()));
        format!("{fields} {sum}\n{payload}").into_bytes()
    }

    /// `None`: the payload is not what the head promises.
    pub(super) fn decode(head: &BlockHead, boot: &BootId, payload: &[u8]) -> Option<Self> {
        let fields = fields(head.range, head.read_at, head.boot_time, head.payload_bytes);
        let whole = payload.len() == head.payload_bytes;
        if !whole || checksum(boot, &fields, payload) != head.checksum {
            return None;
        }
        let mut block = Self {
            range: head.range,
            lines: Vec::new(),
            lost: Vec::new(),
            read_at: head.read_at,
            boot_time: head.boot_time,
        };
        for line in std::str::from_utf8(payload).ok()?.split_inclusive('\n') {
            if let Some(loss) = line.strip_prefix("lost ") {
                block.lost.push(decode_loss(loss)?);
            } else if line.starts_with(' ') {
                block.lines.last_mut()?.push_str(line);
            } else {
                block.lines.push(line.to_owned());
            }
        }
        Some(block)
    }
}

impl BlockHead {
    /// `line` is without its end.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("block ")?.split(' ');
        let mut number = || words.next()?.parse::<i64>().ok();
        let (first, next) = (number()?, number()?);
        let (read_at, boot_time) = (number()?, number()?);
        let payload_bytes = usize::try_from(number()?).ok().filter(|n| *n <= PAYLOAD_BYTES_MAX)?;
        let checksum = unhex(words.next()?)?;
        let seq = |number: i64| u64::try_from(number).ok().map(Seq);
        let range = SeqRange::new(seq(first)?, seq(next)?);
        let whole = words.next().is_none() && range.from <= range.to;
        whole.then_some(Self {
            range,
            read_at: Wall::from_micros(read_at),
            boot_time: Wall::from_micros(boot_time),
            payload_bytes,
            checksum,
        })
    }
}

fn fields(range: SeqRange, read_at: Wall, boot_time: Wall, payload_bytes: usize) -> String {
    let (first, next) = (range.from.0, range.to.0);
    format!("block {first} {next} {} {} {payload_bytes}", read_at.micros(), boot_time.micros())
}

/// The boot stands at the head of the segment, once; a block is of this one or none.
fn checksum(boot: &BootId, fields: &str, payload: &[u8]) -> [u8; 8] {
    let parts = [boot.as_str().as_bytes(), fields.as_bytes(), payload];
    let digest = crate::sys::digest::sha256(&parts);
    digest.first_chunk().copied().expect("SHA-256 has 32 bytes")
}

fn decode_loss(line: &str) -> Option<Loss> {
    let mut words = line.trim_end().split(' ');
    let mut seq = || words.next()?.parse().ok().map(Seq);
    let range = SeqRange::new(seq()?, seq()?);
    Some(Loss { range, reason: LossReason::from_name(words.next()?)? })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 8]> {
    let bytes = u64::from_str_radix(text, 16).ok()?.to_be_bytes();
    (hex(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Block {
        let range = |from, to| SeqRange::new(Seq(from), Seq(to));
        Block {
            range: range(5, 12),
            lines: ["6,5,1,-;one\n SUBSYSTEM=a\n DEVICE=b\n", "6,9,2,-;lost 1 2\n"]
                .map(String::from)
                .to_vec(),
            lost: vec![
                Loss { range: range(6, 9), reason: LossReason::Overrun },
                Loss { range: range(10, 12), reason: LossReason::Refused },
            ],
            read_at: Wall::from_micros(1_770_000_000_000_000),
            boot_time: Wall::from_micros(-5),
        }
    }

    fn boot() -> BootId {
        BootId::from_digest(&[1; 32])
    }

    fn decode(bytes: &[u8]) -> Option<Block> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head = BlockHead::parse(std::str::from_utf8(&bytes[..end]).ok()?)?;
        Block::decode(&head, &boot(), &bytes[end + 1..])
    }

    #[test]
    fn a_block_comes_back_as_it_went() {
        assert_eq!(decode(&block().encode(&boot())), Some(block()));
        assert_eq!(decode(&block().encode(&BootId::from_digest(&[2; 32]))), None, "another boot");
        assert!(
            block().encode(&boot()).iter().position(|byte| *byte == b'\n') < Some(HEAD_BYTES_MAX)
        );
    }

    #[test]
    fn a_block_that_is_cut_or_changed_anywhere_is_no_block() {
        let whole = block().encode(&boot());
        for at in 0..whole.len() {
            assert_eq!(decode(&whole[..at]), None, "cut at {at}");
            for change in [1, 0x20, 0x80] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                assert_eq!(decode(&changed), None, "byte {at} changed");
            }
        }
    }
}
