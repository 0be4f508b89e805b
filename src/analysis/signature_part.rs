//! Parts: which part of the host a record names, and under which other names it goes.
//!
//! Owns how names are read off a text, and which of them mean the same device. Pure.
//! `signature_match` reads them, `signature_incident` joins what they name.

use std::collections::HashMap;

use super::signature_table::Part;

/// The kernel turns from a port's error to its disk's within this many records.
const PORT_RECORDS_MAX: usize = 30;
/// Ports that fail at the same time and are told apart.
const PORTS_MAX: usize = 8;
/// More names than this are a flood, not a host.
const NAMES_MAX: usize = 4_096;

/// The part that the text names; empty when it names none.
pub(super) fn component(part: Part, text: &str) -> &str {
    let found = match part {
        Part::None | Part::Section => None,
        Part::After(mark) => after(text, mark),
        Part::Head => head(text),
        Part::Disk => disk(text),
        Part::Member => member(text),
        Part::Port => text.split([' ', ':', '.', '(']).find(|word| numbered(word, "ata")),
        Part::Nvme => text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| numbered(word, "nvme"))
            // A namespace is on its controller, and it is the controller that fails.
            .map(|name| name[4..].find('n').map_or(name, |end| &name[..4 + end]))
            // Before 4.4 the driver named the slot alone.
            .or_else(|| text.starts_with("nvme ").then(|| pci_last(text)).flatten()),
        Part::Array => array(text),
        Part::Module => module(text),
        Part::PciLast => pci_last(text),
    };
    found
        .filter(|name| !matches!(*name, "unknown" | "any" | "block" | "NULL" | "reboot"))
        .unwrap_or("")
}

/// The part that a line of firmware's report names (`drivers/firmware/efi/cper.c`): its label, its
/// place on the board, its PCI address, or its numbers.
pub(super) fn section_part(text: &str) -> Option<&str> {
    let (_, text) = text.split_once("[Hardware Error]:")?;
    let value = |mark| text.split_once(mark).map(|(_, rest): (_, &str)| rest.trim());
    let named = value("fru_text: ").filter(|name| !name.to_lowercase().contains("unknown"));
    let placed = || value("DIMM location: ").filter(|place| !place.starts_with("not present"));
    let on_bus = || value("device_id: ").map(token).filter(|address| is_pci(address));
    let numbers = || {
        let rest = text.trim_start();
        let module = rest.find("module:").filter(|_| rest.starts_with("node:"))? + "module:".len();
        let digits = rest[module..].trim_start();
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        Some(&rest[..rest.len() - digits.len() + end])
    };
    named.or_else(placed).or_else(on_bus).or_else(numbers).filter(|name| !name.is_empty())
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    // ` dev` stands for both ` dev sda` and ` device sda1`.
    let rest = rest.strip_prefix("ice ").unwrap_or(rest);
    Some(token(rest.trim_start().trim_start_matches("device ").trim_start_matches("dev ")))
}

fn head(text: &str) -> Option<&str> {
    let colon = text
        .match_indices(':')
        .find(|(at, _)| text[at + 1..].starts_with([' ', '[']) || text.len() == at + 1)?;
    let head = &text[..colon.0];
    // Old drivers put their own name first: `tg3: eth0: Link is down`.
    let next = text[colon.0 + 1..].split([' ', ':']).find(|word| !word.is_empty());
    match next {
        Some(interface) if !head.contains(' ') && is_interface(interface) => Some(interface),
        // `qla2xxx [0000:3b:00.0]-801c:1: ...` ends with the number of the message.
        _ => head.rsplit(' ').next().map(|word| match word.strip_prefix('[') {
            Some(word) => word.split_once(']').map_or(word, |(address, _)| address),
            None => word,
        }),
    }
}

fn is_interface(word: &str) -> bool {
    let numbered = word.ends_with(|last: char| last.is_ascii_digit());
    numbered && ["eth", "eno", "ens", "enp", "em", "bond"].iter().any(|kind| word.starts_with(kind))
}

fn disk(text: &str) -> Option<&str> {
    let named = text.split('[').skip(1).map(token).find(|name| is_disk(name));
    let of_block = || after(text, " dev ").filter(|name| is_disk(name));
    named.or_else(of_block).or_else(|| {
        // `sd 0:0:3:0: rejecting I/O`, and `scsi 0:0:3:0: Device offlined`.
        let word = text.split(' ').nth(1)?.trim_end_matches(':');
        // 2.6 began with the name: `sdd: Current: sense key: Medium Error`.
        let first = || text.split_once(": ").map(|(first, _)| first).filter(|name| is_disk(name));
        if is_address(word) { Some(word) } else { first() }
    })
}

/// The disk stands behind the words, or between them and the array's name.
fn member(text: &str) -> Option<&str> {
    let named = || after(text, "Disk failure on ").or_else(|| after(text, "failing device "));
    let second = || text.split(": ").nth(1).filter(|word| !word.contains(' '));
    named().or_else(second)
}

fn is_disk(name: &str) -> bool {
    let letters = name.strip_prefix("sd").unwrap_or("");
    !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `0:0:3:0`.
fn is_address(word: &str) -> bool {
    word.split(':').count() == 4
        && word.split(':').all(|part| part.parse::<u64>().is_ok() && part.len() < 20)
}

fn array(text: &str) -> Option<&str> {
    let names = text.split([':', ' ', '/']);
    names.into_iter().find(|word| {
        word.strip_prefix("md").is_some_and(|rest| {
            rest.starts_with(|first: char| first.is_ascii_digit() || first == '_')
        })
    })
}

/// `on DIMM_A1 (channel:0 ...)`, `label "DIMM_A1"` of older kernels, else the controller: `MC0`.
fn module(text: &str) -> Option<&str> {
    let label = || text.split_once("label \"").map(|(_, rest)| token(rest));
    let named = after(text, " on ").or_else(label);
    let controller = || text.split([' ', ':']).find(|word| numbered(word, "MC"));
    let known = |name: &&str| !matches!(*name, "" | "unknown" | "any" | "the");
    named.filter(known).or_else(controller)
}

fn pci_last(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || ":.".contains(c)));
    let mut words = words.map(|word| word.trim_matches([':', '.']));
    let full = words.clone().rfind(|word| is_pci(word));
    // The IOMMU leaves the domain away: `[3b:00.0]`.
    full.or_else(|| words.rfind(|word| word.len() == 7 && word.ends_with_function()))
}

fn is_pci(word: &str) -> bool {
    word.len() >= 12 && word.matches(':').count() == 2 && word.ends_with_function()
}

trait Address {
    fn ends_with_function(&self) -> bool;
}

impl Address for str {
    /// `:00.0`.
    fn ends_with_function(&self) -> bool {
        let bytes = self.as_bytes();
        let [.., b':', _, _, b'.', function] = bytes else { return false };
        function.is_ascii_digit()
    }
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

/// The device that a name stands for: a partition is on its disk, a function on its card.
fn device(name: &str) -> &str {
    let name = name.trim_start_matches("PCI:");
    if is_pci(name) {
        return &name[..name.len() - 2];
    }
    let journal = name.split_once('-').map_or(name, |(disk, _)| disk);
    if is_disk(journal) {
        return journal.trim_end_matches(|c: char| c.is_ascii_digit());
    }
    if numbered(journal, "nvme") {
        return journal[4..].find('n').map_or(journal, |end| &journal[..4 + end]);
    }
    if numbered(journal, "md") || numbered(journal, "mmcblk") {
        return journal.split_once('p').map_or(journal, |(disk, _)| disk);
    }
    // The journal of `dm-3` is `dm-3-8`.
    match name.strip_prefix("dm-").and_then(|rest| rest.split_once('-')) {
        Some((number, _)) => &name[..3 + number.len()],
        None => name,
    }
}

/// Which names mean the same device, as far as the records tell.
#[derive(Default)]
pub(super) struct Aliases<'a> {
    of: HashMap<&'a str, &'a str>,
    /// The ports that failed last, and where.
    ports: Vec<(&'a str, usize)>,
}

impl<'a> Aliases<'a> {
    /// Learns from a record that fits a signature.
    pub(super) fn learn(&mut self, at: usize, part: Part, name: &'a str, text: &'a str) {
        if self.of.len() >= NAMES_MAX {
            return;
        }
        match part {
            Part::Port => self.port_failed(name, at),
            Part::Disk | Part::Member | Part::After(_) if is_disk(device(name)) => {
                self.disk_failed(device(name), text, at);
            }
            Part::Head => {
                // `ixgbe 0000:3b:00.0 eth4: ...`
                let before = text.split_once(name).map_or("", |(before, _)| before);
                let address = before.trim_end().rsplit(' ').next().unwrap_or("");
                if is_pci(address) && !name.is_empty() {
                    self.of.entry(name).or_insert(device(address));
                }
            }
            Part::PciLast if text.contains(" received") => {
                let port = text.split(' ').map(|word| word.trim_end_matches(':'));
                if let Some(port) = port.into_iter().find(|word| is_pci(word))
                    && device(port) != device(name)
                {
                    self.of.entry(device(port)).or_insert(device(name));
                }
            }
            _ => {}
        }
    }

    fn port_failed(&mut self, name: &'a str, at: usize) {
        self.ports.retain(|(port, last)| *port != name && at - last <= PORT_RECORDS_MAX);
        if self.ports.len() < PORTS_MAX {
            self.ports.push((name, at));
        }
    }

    /// A SATA disk's error is its port's: the one whose number follows the SCSI host's, as long as
    /// no other adapter came first, else the only one that failed just before.
    fn disk_failed(&mut self, disk: &'a str, text: &'a str, at: usize) {
        let address = text.split(' ').nth(1).map(|word| word.trim_end_matches(':'));
        let address = address.filter(|word| is_address(word));
        if let Some(address) = address {
            self.of.entry(address).or_insert(disk);
        }
        if self.of.contains_key(disk) {
            return;
        }
        self.ports.retain(|(_, last)| at - last <= PORT_RECORDS_MAX);
        let host = address.and_then(|word| word.split(':').next()?.parse::<u64>().ok());
        let number = |port: &str| port[3..].parse::<u64>().ok();
        let of_host = |(port, _): &&(&str, usize)| {
            host.is_some_and(|host| number(port) == host.checked_add(1))
        };
        let port = self.ports.iter().find(of_host).or(match &self.ports[..] {
            [only] => Some(only),
            _ => None,
        });
        if let Some((port, _)) = port {
            self.of.insert(disk, port);
        }
    }

    /// The name under which everything about a device is gathered.
    pub(super) fn resolve(&self, name: &'a str) -> &'a str {
        let mut name = self.of.get(name).copied().unwrap_or_else(|| device(name));
        // A disk's address leads to its name, and that to its port.
        for _ in 0..2 {
            name = self.of.get(name).copied().unwrap_or(name);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_off_the_text() {
        for (part, text, expected) in [
            (Part::None, "ata5: x", ""),
            (Part::After(" dev"), "I/O error, dev sdd, sector 4096", "sdd"),
            (Part::After(" dev"), "Buffer I/O error on device sdd1, logical block 9", "sdd1"),
            (Part::After("("), "EXT4-fs error (device sdd1): ext4_find_entry", "sdd1"),
            (Part::After("("), "XFS (sdd1): Metadata CRC error", "sdd1"),
            (Part::After("NVRM: Xid ("), "NVRM: Xid (PCI:0000:3b:00): 48, pid=9", "PCI:0000:3b:00"),
            (Part::Head, "e1000e 0000:3b:00.0 eth4: NIC Link is Down", "eth4"),
            (Part::Head, "smartpqi 0000:3b:00.0: controller is offline", "0000:3b:00.0"),
            (Part::Head, "mpt3sas_cm0: fault_state(0x5854)!", "mpt3sas_cm0"),
            (Part::Head, "tg3: eth4: Link is down.", "eth4"),
            (Part::Head, "e1000: eth4 NIC Link is Down", "eth4"),
            (Part::Head, "ixgbe 0000:3b:00.0 p4p1: eth4 is renamed", "p4p1"),
            (Part::Head, "NETDEV WATCHDOG: p4p1: transmit timed out", "WATCHDOG"),
            (Part::Disk, "sd 0:0:3:0: [sdd] tag#9 Sense Key : Medium Error", "sdd"),
            (Part::Disk, "sd 0:0:3:0: rejecting I/O to offline device", "0:0:3:0"),
            (Part::Disk, "Sense Key : Medium Error", ""),
            (Part::Disk, "sdd: Current: sense key: Medium Error", "sdd"),
            (Part::Disk, "megaraid_sas 0000:3b:00.0: 9 (60s/0x0020/CRIT) - hot", ""),
            (Part::Member, "md/raid:md4: Disk failure on sdd1, disabling device.", "sdd1"),
            (Part::Member, "md/raid:md4: Too many read errors, failing device sdd1.", "sdd1"),
            (Part::Member, "md/raid10:md4: sdd1: Failing raid device", "sdd1"),
            (Part::Head, "qla2xxx [0000:3b:00.0]-801c:1: Abort", "0000:3b:00.0"),
            (Part::Head, "reboot: HARDWARE PROTECTION shutdown", ""),
            (Part::Port, "ata5.00: error: { UNC }", "ata5"),
            (Part::Port, "sata_nv 0000:3b:00.0: exception", ""),
            (Part::Nvme, "nvme3n1: Read(0x2) @ LBA 8", "nvme3"),
            (Part::Nvme, "critical medium error, dev nvme0n1p2, sector 8", "nvme0"),
            (Part::Array, "md/raid1:md4: active with 1 out of 2 mirrors", "md4"),
            (Part::Array, "raid5: cannot start dirty degraded array for md_d0", "md_d0"),
            (Part::Module, "EDAC MC2: 1 UE memory read error on DIMM_B1 (channel:1)", "DIMM_B1"),
            (
                Part::Module,
                "EDAC MC2: CE page 0x1, grain 8, row 2, label \"DIMM_A1\": k8",
                "DIMM_A1",
            ),
            (Part::Module, "EDAC MC0: 1 CE single-bit ECC on unknown memory (node:0)", "MC0"),
            (Part::PciLast, "pcieport 0000:3a:00.0: AER: Corrected: 0000:3b:00.1", "0000:3b:00.1"),
            (Part::PciLast, "DMAR: [DMA Write] Request device [3b:00.0] fault addr 0xd", "3b:00.0"),
            (Part::PciLast, "a 12:00:00 clock, a 0000:00:00 date", ""),
        ] {
            assert_eq!(component(part, text), expected, "{part:?} {text}");
        }
    }

    #[test]
    fn firmware_names_a_part_in_some_line_of_its_report() {
        for (text, expected) in [
            ("{1}[Hardware Error]:   fru_text: DIMM B2 ", Some("DIMM B2")),
            ("[Hardware Error]:   fru_text: Unknown FRU", None),
            ("{1}[Hardware Error]:   DIMM location: CPU1 DIMM_B2", Some("CPU1 DIMM_B2")),
            ("{1}[Hardware Error]:   DIMM location: not present. DMI handle: 0x0", None),
            ("{1}[Hardware Error]:   device_id: 0000:3b:00.0", Some("0000:3b:00.0")),
            ("{1}[Hardware Error]:   vendor_id: 0x8086, device_id: 0x1563", None),
            ("{1}[Hardware Error]:   node: 0 card: 1 module: 12 rank: 0", {
                Some("node: 0 card: 1 module: 12")
            }),
            ("{1}[Hardware Error]:   node:0 card:1 module:2", Some("node:0 card:1 module:2")),
            ("{1}[Hardware Error]:   module:", None),
            ("{1}[Hardware Error]:   fru_text: ", None),
            ("sh: fru_text: B2", None),
        ] {
            assert_eq!(section_part(text), expected, "{text}");
        }
    }

    #[test]
    fn what_a_name_stands_on_is_the_device() {
        for (name, expected) in [
            ("sdd1", "sdd"),
            ("sdd1-8", "sdd"),
            ("sdaa12", "sdaa"),
            ("nvme0n1p2", "nvme0"),
            ("nvme12n1", "nvme12"),
            ("md4p1", "md4"),
            ("md4-8", "md4"),
            ("dm-3", "dm-3"),
            ("dm-3-8", "dm-3"),
            ("mmcblk0p1", "mmcblk0"),
            ("0000:3b:00.1", "0000:3b:00"),
            ("PCI:0000:3b:00", "0000:3b:00"),
            ("eth4", "eth4"),
            ("DIMM_A1", "DIMM_A1"),
            ("CPU_SrcID#1_MC#0_Chan#1_DIMM#0", "CPU_SrcID#1_MC#0_Chan#1_DIMM#0"),
            ("", ""),
        ] {
            assert_eq!(device(name), expected, "{name}");
        }
    }
}
