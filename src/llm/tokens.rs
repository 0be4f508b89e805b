//! How many tokens a text takes, without the tokenizer that the endpoint's model has.
//!
//! Measured with six of them (o200k, cl100k, p50k, r50k, Qwen2.5's, SmolLM2's) on the records of 49
//! questions of 12 KB each, made from kernel logs of 64 hosts: 1.7 to 3.6 bytes a token, by the
//! median 2.1 (SmolLM2) to 2.9 (p50k). Of the instructions: 4.1 to 4.4 bytes a token.

const BYTES_OF_TOKEN: u64 = 4;
/// Of the densest records: 1.75 bytes a token.
const DENSE_BYTES: u64 = 7;
const DENSE_TOKENS: u64 = 4;

/// Of English text; a usual guess, also of what a call costs where the endpoint does not say.
pub(super) fn about(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_OF_TOKEN)
}

/// Of records, as a question shows them: hardly any tokenizer makes more of them.
pub(super) fn at_most(record_bytes: usize) -> u64 {
    (record_bytes as u64).saturating_mul(DENSE_TOKENS).div_ceil(DENSE_BYTES)
}

/// No token goes over from letters to digits, to blanks or to other marks; only one mark may stand
/// before letters. So each run takes one at least. Of the records above these are 0.40 to 0.88 of
/// the tokens.
pub(super) fn at_least(text: &str) -> u64 {
    let (mut runs, mut before, mut marks) = (0, Run::Blank, 0);
    for character in text.chars() {
        let run = run_of(character);
        // A mark alone goes to the letters that follow it.
        let joined = before == Run::Marks && run == Run::Letters && marks == 1;
        match run {
            _ if run == before => {}
            Run::Blank => {}
            Run::Letters if joined => {}
            Run::Letters | Run::Digits | Run::Marks => runs += 1,
        }
        marks = if run == Run::Marks { marks + 1 } else { 0 };
        before = run;
    }
    runs
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Blank,
    Letters,
    Digits,
    Marks,
}

fn run_of(character: char) -> Run {
    match character {
        _ if character.is_whitespace() => Run::Blank,
        _ if character.is_numeric() => Run::Digits,
        _ if character.is_alphabetic() => Run::Letters,
        _ => Run::Marks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_token_for_each_run() {
        for (text, least) in [
            ("", 0),
            ("   \n", 0),
            ("link", 1),
            ("link is down", 3),
            ("0x1a2b", 6),
            (" 0000:3b:00.0: ", 9),
            (r#"{"n":12,"text":"x"}"#, 9),
            ("(channel:0 page:7)", 7),
            ("------------", 1),
            ("-- x", 2),
            (r#""":a"#, 2),
            ("temp 45°C", 3),
            ("é水", 1),
        ] {
            assert_eq!(at_least(text), least, "{text:?}");
        }
    }

    /// What the tokenizers counted: a record of each kind, the fewest and the most.
    #[test]
    fn the_bounds_hold_for_real_tokenizers() {
        for (level, n, text, fewest, most) in COUNTED {
            let text = format!(r#"{{"from":"kernel","level":"{level}","n":{n},"text":"{text}"}}"#);
            let (least, most_here) = (at_least(&text), at_most(text.len()));
            assert!(least <= *fewest, "{least} of {fewest}: {text}");
            assert!(most_here + SLACK >= *most, "{most_here} of {most}: {text}");
        }
    }

    /// A short line may be denser than all of them together.
    const SLACK: u64 = 10;
    const COUNTED: &[(&str, u32, &str, u64, u64)] = &[
        (
            "err",
            1,
            "EDAC MC0: 1 CE on DIMM_A1 (channel:0 slot:1 page:0x1f3a2 offset:0x7c0 grain:32)",
            56,
            59,
        ),
        (
            "warn",
            214,
            "nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff",
            40,
            49,
        ),
        (
            "err",
            7,
            "pcieport 0000:3a:02.0: AER: Corrected error message received from 0000:3b:00.0",
            45,
            55,
        ),
        (
            "info",
            31,
            "usb 1-1: New USB device found, idVendor=1d6b, idProduct=0002, bcdDevice= 6.01",
            47,
            55,
        ),
        ("warn", 5, "------------[ cut here ]------------", 22, 22),
        ("warn", 6, "RIP: 0010:native_queued_spin_lock_slowpath+0x6e/0x2b0", 41, 47),
        ("warn", 8, "RAX: 0000000000000001 RBX: ffff9a1c4e2b8000 RCX: 0000000000000000", 41, 74),
        ("info", 3, "ata3: SATA link up 6.0 Gbps (SStatus 133 SControl 300)", 35, 43),
    ];
}
