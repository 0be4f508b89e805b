//! Matching: which signature a record fits, and which part of the host it names.
//!
//! Owns how patterns are compared with a text, and whose text never counts: user space's, and that
//! of look-alikes. Pure: knows nothing of other records. `signatures` drives it.

use std::sync::LazyLock;

use super::signature_driver::DRIVER;
use super::signature_memory::MEMORY;
use super::signature_network::NETWORK;
use super::signature_storage::STORAGE;
use super::signature_table::{BENIGN, Part, Signature};
use super::signature_thermal::THERMAL;
use crate::kernel::{Origin, Record};

/// While a host boots, links are trained and controllers reset: the same lines mean nothing then.
const BOOT_USEC: u64 = 120 * 1_000_000;

/// What a record fits.
pub(super) struct Match<'a> {
    /// Where the signature stands in the table: the same for every record that fits it.
    pub(super) row: usize,
    pub(super) signature: &'static Signature,
    /// The part that the record names; empty when it names none.
    pub(super) component: &'a str,
}

/// The first signature that the record fits.
pub(super) fn find(record: &Record) -> Option<Match<'_>> {
    TABLE.find(record)
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// The signatures with their patterns taken apart.
struct Table {
    rows: Vec<Row>,
    /// Each with the index of its row. In one piece: every record is held against all of them.
    patterns: Vec<(usize, Pattern)>,
    benign: Vec<Pattern>,
}

struct Row {
    signature: &'static Signature,
    unless: Vec<Pattern>,
}

impl Table {
    fn new() -> Self {
        let signatures = || [MEMORY, THERMAL, DRIVER, NETWORK, STORAGE].into_iter().flatten();
        let any = |(at, signature): (usize, &'static Signature)| {
            patterns(signature.any).into_iter().map(move |pattern| (at, pattern))
        };
        let row =
            |signature: &'static Signature| Row { signature, unless: patterns(signature.unless) };
        Self {
            rows: signatures().map(row).collect(),
            patterns: signatures().enumerate().flat_map(any).collect(),
            benign: patterns(BENIGN),
        }
    }

    fn find<'a>(&self, record: &'a Record) -> Option<Match<'a>> {
        if record.origin() == Origin::User {
            return None;
        }
        let line = Line::of(&record.text);
        let booting = record.usec.is_some_and(|usec| usec < BOOT_USEC);
        let fitting = self.patterns.iter().filter(|(_, pattern)| pattern.fits(&line));
        let found = fitting.map(|(row, _)| *row).find_map(|row| {
            let Row { signature, unless } = &self.rows[row];
            let component = component(signature.part, line.text);
            let unnamed = component.is_empty() && matches!(signature.part, Part::Port | Part::Nvme);
            let ordinary = booting && signature.settled;
            let counts = !unnamed && !ordinary && !any_fits(unless, &line);
            counts.then_some(Match { row, signature, component })
        })?;
        // Almost no record comes this far, so that the long list of look-alikes costs nothing.
        let believed = !is_program(record) && !any_fits(&self.benign, &line);
        believed.then_some(found)
    }
}

/// `systemd[1]: `: how a program's text in the kernel's log looks where the form does not carry the
/// facility.
fn is_program(record: &Record) -> bool {
    if record.seq.is_some() {
        return false;
    }
    let Some((tag, _)) = record.text.split_once("]: ") else { return false };
    let Some((name, pid)) = tag.split_once('[') else { return false };
    let named = !name.is_empty() && !name.contains(' ');
    named && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())
}

/// The part that the text names; empty when it names none.
fn component(part: Part, text: &str) -> &str {
    let found = match part {
        Part::None | Part::Section => None,
        Part::After(mark) => {
            text.split_once(mark).map(|(_, rest)| token(rest.trim_start_matches("device ")))
        }
        Part::Head => text
            .match_indices(':')
            .find(|(at, _)| text[at + 1..].starts_with([' ', '[']))
            .and_then(|(at, _)| text[..at].rsplit(' ').next()),
        Part::Disk => text.split('[').skip(1).map(token).find(|name| name.starts_with("sd")),
        Part::Port => text.split([' ', ':', '.']).find(|word| numbered(word, "ata")),
        Part::Nvme => text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| numbered(word, "nvme"))
            // A namespace is on its controller, and it is the controller that fails.
            .map(|name| name[4..].find('n').map_or(name, |end| &name[..4 + end])),
        Part::PciLast => text
            .split(|c: char| !(c.is_ascii_hexdigit() || ":.".contains(c)))
            .map(|word| word.trim_matches([':', '.']))
            .rfind(|word| word.len() >= 12 && word.contains('.') && word.matches(':').count() == 2),
    };
    found.filter(|name| *name != "unknown").unwrap_or("")
}

fn token(text: &str) -> &str {
    let end =
        text.find(|c: char| !(c.is_alphanumeric() || "-_.:#/@".contains(c))).unwrap_or(text.len());
    text[..end].trim_end_matches([':', '.'])
}

fn numbered(word: &str, prefix: &str) -> bool {
    word.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

struct Pattern {
    fragments: Vec<&'static str>,
    /// Some of the fragments' pairs: a line that lacks one of them cannot fit.
    bits: [u16; PATTERN_PAIRS],
}

/// The first pair or two settle it for almost every line and pattern.
const PATTERN_PAIRS: usize = 8;

fn patterns(written: &[&'static str]) -> Vec<Pattern> {
    written.iter().map(|pattern| Pattern::new(pattern)).collect()
}

fn any_fits(patterns: &[Pattern], line: &Line<'_>) -> bool {
    patterns.iter().any(|pattern| pattern.fits(line))
}

impl Pattern {
    fn new(pattern: &'static str) -> Self {
        let fragments: Vec<_> =
            pattern.split('*').filter(|fragment| !fragment.is_empty()).collect();
        let pairs = fragments.iter().flat_map(|fragment| fragment.as_bytes().windows(2));
        // Pairs of lower-case letters occur in any line: asked last, they are hardly ever asked.
        let common = |byte: &u8| byte.is_ascii_lowercase() || *byte == b' ';
        let (common, rare): (Vec<&[u8]>, Vec<&[u8]>) =
            pairs.partition(|pair| pair.iter().all(common));
        let mut bits = rare.into_iter().chain(common).map(bit).cycle();
        let bits = std::array::from_fn(|_| bits.next().expect("a fragment has two characters"));
        Self { fragments, bits }
    }

    /// Inlined by order: as a call for each pattern, a healthy log of 2,000 lines takes 1.9 ms, not
    /// 0.8 (release build).
    #[inline(always)]
    fn fits(&self, line: &Line<'_>) -> bool {
        self.bits.iter().all(|bit| line.has(*bit)) && self.occurs_in(line.text)
    }

    /// Whether the fragments occur in their order.
    fn occurs_in(&self, mut text: &str) -> bool {
        self.fragments.iter().all(|fragment| match text.find(fragment) {
            Some(at) => {
                text = &text[at + fragment.len()..];
                true
            }
            None => false,
        })
    }
}

/// A text, and which pairs of neighbouring bytes it holds, hashed to 1024 bits.
struct Line<'a> {
    text: &'a str,
    bits: [u64; 16],
}

impl<'a> Line<'a> {
    fn of(text: &'a str) -> Self {
        let mut bits = [0; 16];
        for bit in text.as_bytes().windows(2).map(bit) {
            bits[usize::from(bit / 64)] |= 1 << (bit % 64);
        }
        Self { text, bits }
    }

    fn has(&self, bit: u16) -> bool {
        self.bits[usize::from(bit / 64)] & (1 << (bit % 64)) != 0
    }
}

fn bit(pair: &[u8]) -> u16 {
    (u16::from(pair[0]) * 37 + u16::from(pair[1])) % 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For every signature a line as the kernel prints it, and the component read off it.
    const EXAMPLES: &[(&str, &str, &str)] = &[
        (
            "Kernel panic - not syncing: Fatal local machine check",
            "",
            "the processor reported an uncorrected",
        ),
        (
            "mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 4: be00000000800400",
            "",
            "the processor rep",
        ),
        (
            "Memory failure: 0x12ab: recovery action for dirty LRU page: Recovered",
            "",
            "memory failed beyond",
        ),
        (
            "MCE: Killing db:77 due to hardware memory corruption fault at 7f00",
            "",
            "memory failed beyond",
        ),
        (
            "EDAC MC2: 1 UE memory read error on DIMM_B1 (channel:1 slot:0)",
            "DIMM_B1",
            "uncorrectable memory error",
        ),
        (
            "EDAC MC2: 4 CE memory scrubbing error on DIMM_B1 (channel:1)",
            "DIMM_B1",
            "memory errors are being",
        ),
        ("EDAC MC0: 1 CE single-bit ECC on unknown memory (node:0)", "", "memory errors are being"),
        (
            "  0000000012340000 bad mem addr 0x0000000012345678 - 0x0000000012346000 reserved",
            "",
            "the memory test",
        ),
        (
            "mce: [Hardware Error]: soft_offline: 0x1234: migrated",
            "",
            "a page with repeated corrected errors",
        ),
        ("{3}[Hardware Error]: event severity: fatal", "", "firmware reported a fatal"),
        ("Kernel panic - not syncing: Fatal hardware error!", "", "the kernel stopped"),
        (
            "{3}[Hardware Error]: event severity: recoverable",
            "",
            "firmware reported an uncorrected",
        ),
        ("{3}[Hardware Error]: event severity: corrected", "", "firmware reported corrected"),
        ("BERT: Error records from previous boot:", "", "firmware kept"),
        ("[Hardware Error]: Deferred error, no action required.", "", "uncorrectable data"),
        ("[Hardware Error]: Corrected error, no action required.", "", "the processor corrected"),
        ("mce: [Hardware Error]: Machine check events logged", "", "machine check events"),
        (
            "mce: [Hardware Error]: CPU 1: Machine Check: 0 Bank 7: 8c00004000010090",
            "",
            "machine check events",
        ),
        (
            "pcieport 0000:3a:00.0: AER: Uncorrected (Fatal) error received: 0000:3b:00.0",
            "0000:3b:00.0",
            "a fatal PCIe",
        ),
        (
            "pcieport 0000:3a:00.0: DPC: containment event, status:0x1f01 source:0x0000",
            "0000:3a:00.0",
            "a fatal PCIe",
        ),
        (
            "mydev 0000:3b:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=x",
            "0000:3b:00.0",
            "an uncorrec",
        ),
        (
            "pcieport 0000:3a:00.0: AER: Correctable error message received from 0000:3b:00.0",
            "0000:3b:00.0",
            "PCIe err",
        ),
        (
            "igb 0000:3b:00.1: PCIe Bus Error: severity=Corrected, type=Data Link Layer",
            "0000:3b:00.1",
            "PCIe errors",
        ),
        (
            "mydev 0000:3b:00.0: can't change power state to D0 (config space inaccessible)",
            "0000:3b:00.0",
            "the device no longer answers",
        ),
        (
            "pci 0000:3b:00.0: not ready 65535ms after FLR; giving up",
            "0000:3b:00.0",
            "the device did not come back",
        ),
        ("pcieport 0000:3a:00.0: retraining failed", "0000:3a:00.0", "the PCIe link could not"),
        (
            "pcieport 0000:3a:00.0: pciehp: Slot(12): Link Down",
            "0000:3a:00.0",
            "the PCIe link of this slot",
        ),
        (
            "DMAR: [DMA Write NO_PASID] Request device [3b:00.0] fault addr 0xdead0000",
            "",
            "a device keeps",
        ),
        (
            "mydev 0000:3b:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x1]",
            "0000:3b:00.0",
            "a device keeps",
        ),
        ("DMAR: VT-d detected Invalidation Time-out Error: SID 0", "", "the IOMMU does not"),
        ("NMI: IOCK error (debug interrupt?) for reason 71 on CPU 0.", "", "the hardware raised"),
        (
            "Uhhuh. NMI received for unknown reason 3d on CPU 9.",
            "",
            "a non-maskable interrupt came",
        ),
        (
            "irq 17: nobody cared (try booting with the \"irqpoll\" option)",
            "17",
            "an interrupt that no driver",
        ),
        ("xhci_hcd 0000:00:14.0: HC died; cleaning up", "0000:00:14.0", "the USB controller died"),
        (
            "ixgbe 0000:3b:00.0 eth4: Network adapter has been stopped because it has over heated.",
            "eth4",
            "the network",
        ),
        (
            "mlx5_core 0000:3b:00.0: High temperature on sensors with bit set 0 1",
            "0000:3b:00.0",
            "the network adapter is",
        ),
        ("ixgbe 0000:3b:00.0: Adapter removed", "0000:3b:00.0", "the network adapter or its"),
        (
            "mlx5_core 0000:3b:00.0: poll_health:800:device's health compromised - reached",
            "0000:3b:00.0",
            "the network adapter or its firmware failed",
        ),
        (
            "NETDEV WATCHDOG: eth4 (igb): transmit queue 3 timed out",
            "eth4",
            "the network adapter stopped",
        ),
        (
            "igb 0000:3b:00.0 eth4: NETDEV WATCHDOG: CPU: 7: transmit queue 3 timed out 5012 ms",
            "eth4",
            "the network",
        ),
        (
            "e1000e 0000:3b:00.0 eth4: Detected Hardware Unit Hang:",
            "eth4",
            "the network adapter hangs",
        ),
        (
            "bond1: link status definitely down for interface eth4, disabling it",
            "eth4",
            "the link keeps going down",
        ),
        ("tg3 0000:3b:00.0 eth4: Link is down", "eth4", "the link keeps going down"),
        (
            "thermal thermal_zone2: critical temperature reached (105 C), shutting down",
            "thermal_zone2",
            "a critical te",
        ),
        (
            "amdgpu 0000:3b:00.0: ERROR: GPU HW Critical Temperature Fault(aka CTF) detected!",
            "",
            "a device reached",
        ),
        (
            "CPU11: Core temperature above threshold, cpu clock throttled (total events = 9)",
            "",
            "the processor or a de",
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', GPU has fallen off the bus.",
            "PCI:0000:3b:00",
            "the GPU reports a hardware failure",
        ),
        (
            "NVRM: GPU at PCI:0000:3b:00.0 has lost: GPU has fallen off the bus.",
            "0000:3b:00.0",
            "the GPU is lost",
        ),
        (
            "NVRM: Xid (PCI:0000:3b:00): 63, Row Remapper: new row marked for remapping",
            "PCI:0000:3b:00",
            "the GPU repor",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: SMU is in hanged state, failed to send smu message!",
            "0000:3b:00.0",
            "the GPU ha",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=9, emitted seq=11",
            "0000:3b:00.0",
            "the GPU",
        ),
        (
            "amdgpu 0000:3b:00.0: amdgpu: 3 correctable hardware errors detected in umc block",
            "0000:3b:00.0",
            "the GPU's",
        ),
        ("watchdog: Watchdog detected hard LOCKUP on cpu 12", "", "a processor stopped"),
        (
            "watchdog: BUG: soft lockup - CPU#7 stuck for 26s! [kworker/7:1:99]",
            "",
            "processors were stuck",
        ),
        ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "", "processors were stuck"),
        ("INFO: task jbd2/sda1-8:301 blocked for more than 120 seconds.", "", "tasks wait"),
        (
            "nvme nvme3: controller is down; will reset: CSTS=0x3, PCI_STATUS=0x10",
            "nvme3",
            "the NVMe controller stopped",
        ),
        (
            "nvme nvme3: critical warning 0x04: reliability degraded",
            "nvme3",
            "the NVMe drive raised",
        ),
        (
            "nvme nvme3: I/O tag 12 (100c) opcode 0x2 (I/O Cmd) QID 4 timeout, aborting",
            "nvme3",
            "commands to the NVMe",
        ),
        (
            "nvme nvme3: frozen state error detected, reset controller",
            "nvme3",
            "the NVMe controller had",
        ),
        (
            "nvme3n1: Read(0x2) @ LBA 8, 8 blocks, Unrecovered Read Error (sct 0x2 / sc 0x81) DNR",
            "nvme3",
            "the NVMe drive",
        ),
        (
            "sd 0:0:3:0: [sdd] tag#9 Sense Key : Hardware Error [current]",
            "sdd",
            "the disk itself reports",
        ),
        ("critical medium error, dev sdd, sector 4096 op 0x0:(READ)", "sdd", "sectors of the disk"),
        (
            "sd 0:0:3:0: [sdd] tag#9 Sense Key : Medium Error [current]",
            "sdd",
            "the disk reports damaged",
        ),
        ("ata5.00: disabled", "ata5", "the disk was given up"),
        ("ata5.00: disable device", "ata5", "the disk was given up"),
        ("ata5.00: error: { UNC }", "ata5", "the disk cannot read"),
        ("ata5.00: error: { ICRC ABRT }", "ata5", "data is damaged"),
        (
            "ata5.00: exception Emask 0x10 SAct 0x1 SErr 0x400100 action 0x6 frozen",
            "ata5",
            "the disk or its link",
        ),
        ("ata5: limiting SATA link speed to 3.0 Gbps", "ata5", "the SATA link was slowed"),
        ("ata5: COMRESET failed (errno=-16)", "ata5", "the disk does not answer"),
        ("ata5: hard resetting link", "ata5", "the SATA link has to be reset"),
        (
            "sd 0:0:3:0: Device offlined - not ready after error recovery",
            "",
            "the disk was taken offline",
        ),
        ("sd 0:0:3:0: rejecting I/O to offline device", "0:0:3:0", "the device is offline"),
        ("mpt3sas_cm0: fault_state(0x5854)!", "mpt3sas_cm0", "the storage controller failed"),
        (
            "megaraid_sas 0000:3b:00.0: Found FW in FAULT state, will reset adapter.",
            "0000:3b:00.0",
            "the storage contr",
        ),
        ("mpt3sas_cm0: sending diag reset !!", "mpt3sas_cm0", "the storage controller had"),
        (
            "mpt3sas_cm0: log_info(0x31110d00): originator(PL), code(0x11), sub_code(0x0d00)",
            "mpt3sas_cm0",
            "commands to",
        ),
        (
            "sd 0:0:3:0: [sdd] tag#9 FAILED Result: hostbyte=DID_NO_CONNECT driverbyte=DRIVER_OK",
            "sdd",
            "the disk cannot",
        ),
        ("I/O error, dev sdd, sector 4096 op 0x1:(WRITE) flags 0x800", "sdd", "reads or writes"),
        (
            "Buffer I/O error on dev sdd1, logical block 9, async page read",
            "sdd1",
            "reads or writes",
        ),
        ("device-mapper: multipath: 254:3: Failing path 8:48.", "8:48", "a path to storage"),
        ("md/raid:md4: Disk failure on sdd1, disabling device.", "sdd1", "the disk failed and was"),
        ("md: kicking non-fresh sdd1 from array!", "sdd1", "the disk had dropped"),
        ("md/raid:md4: Cannot continue operation (2/6 failed).", "raid:md4", "the array has lost"),
        (
            "md/raid:md4: read error not correctable (sector 88 on sdd1).",
            "sdd1",
            "an array could not",
        ),
        (
            "md/raid1:md4: read error corrected (8 sectors at 88 on sdd1)",
            "sdd1",
            "an array repaired",
        ),
        ("md: super_written gets error=-5", "", "an array cannot write"),
        (
            "device-mapper: integrity: dm-3: Checksum failed at sector 0x1f",
            "dm-3",
            "the device mapper",
        ),
        (
            "EXT4-fs error (device sdd1): ext4_find_entry:1455: inode #2: comm ls: reading",
            "sdd1",
            "the file sy",
        ),
        (
            "XFS (sdd1): Metadata CRC error detected at xfs_agf_read_verify",
            "sdd1",
            "the file system is",
        ),
        ("Aborting journal on device sdd1-8.", "sdd1-8", "the file system's journal"),
        (
            "BTRFS warning (device sdd1): csum failed root 5 ino 257 off 0",
            "sdd1",
            "the file system met",
        ),
    ];

    #[test]
    fn every_signature_has_an_example_that_it_fits() {
        let mut unseen: Vec<_> = TABLE.rows.iter().map(|row| row.signature.meaning).collect();
        for (line, component, meaning) in EXAMPLES {
            let record = Record { usec: Some(BOOT_USEC), ..Record::from_text(line) };
            let found = find(&record).unwrap_or_else(|| panic!("{line}"));
            let means = found.signature.meaning;
            assert!(means.starts_with(meaning), "{line}\n{means}");
            assert_eq!(found.component, *component, "{line}");
            unseen.retain(|meaning| *meaning != means);
        }
        assert_eq!(unseen, [""; 0]);
    }
}
