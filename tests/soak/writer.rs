//! The writer: numbered, marked lines into the kernel log, at a pace that the ring can hold.
//!
//! Where /dev/kmsg cannot be opened, a file in the kernel's format stands for it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::kills::Kills;
use crate::random::Random;

pub(crate) const DEVICE: &str = "/dev/kmsg";
/// So many lines come at once.
const BURST_MAX: u64 = 40;
const PAUSE_MAX_MS: u64 = 10;
const NUDGE: Duration = Duration::from_secs(1);
/// Both daemons are killed again and again, but not for so long.
const STUCK: Duration = Duration::from_secs(60);
/// Lines are of different lengths; even the longest leave the ring room for a thousand.
const PADDING_MAX: u64 = 60;

/// Where lines go.
pub(crate) enum Log {
    Device,
    /// Record 0 is there already: it names the boot.
    File(PathBuf),
}

/// What writer, monitor and keepers tell each other.
pub(crate) struct Progress {
    pub(crate) wanted: usize,
    pub(crate) written: AtomicUsize,
    /// How many lines may be written before more is acknowledged.
    pub(crate) allowed: AtomicUsize,
    pub(crate) over: AtomicBool,
}

impl Log {
    pub(crate) fn choose(in_its_place: PathBuf) -> Self {
        let usable =
            File::open(DEVICE).is_ok() && OpenOptions::new().write(true).open(DEVICE).is_ok();
        if usable {
            return Self::Device;
        }
        std::fs::write(&in_its_place, "6,0,0,-;a boot\n").unwrap();
        Self::File(in_its_place)
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Device => DEVICE.into(),
            Self::File(path) => path.clone(),
        }
    }

    /// The kernel limits writes per open file: each line opens its own.
    pub(crate) fn append(&self, number: usize, text: &str) {
        let (path, line) = match self {
            // Below 4, a kernel also prints to its console, which is slow.
            Self::Device => (DEVICE.into(), format!("<{}>{text}\n", 4 + number % 4)),
            Self::File(path) => {
                static BOOT: OnceLock<Instant> = OnceLock::new();
                let usec = BOOT.get_or_init(Instant::now).elapsed().as_micros();
                (path.clone(), format!("6,{},{usec},-;{text}\n", number + 1))
            }
        };
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

impl Progress {
    pub(crate) fn new(wanted: usize) -> Self {
        Self {
            wanted,
            written: AtomicUsize::new(0),
            allowed: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Whether as large a part of the lines is written as of the kills is done.
    pub(crate) fn keeps_up(&self, kills: u32, kills_wanted: u32) -> bool {
        self.written.load(Ordering::SeqCst) >= due(self.wanted, kills, kills_wanted)
    }
}

fn due(lines: usize, kills: u32, kills_wanted: u32) -> usize {
    lines * kills as usize / kills_wanted.max(1) as usize
}

/// Writes until the kills are over, and at least `progress.wanted` lines; gives what it wrote.
pub(crate) fn write(
    log: &Log,
    marker: &str,
    progress: &Progress,
    kills: &Kills,
    mut random: Random,
) -> Vec<String> {
    let (mut lines, mut last) = (Vec::new(), Instant::now());
    let mut moved = (Instant::now(), 0);
    while !kills.are_over() || lines.len() < progress.wanted {
        // Kills need something to be in flight: there is always another line.
        let behind = lines.len() < due(progress.wanted, kills.done() + 1, kills.wanted);
        let burst = if behind { 1 + random.below(BURST_MAX) } else { 1 };
        let allowed = progress.allowed.load(Ordering::SeqCst);
        if allowed > moved.1 {
            moved = (Instant::now(), allowed);
        }
        if moved.0.elapsed() > STUCK {
            kills.surprise("nothing is acknowledged any more".to_owned());
            kills.give_up();
            return lines;
        }
        for _ in 0..burst {
            let allowed = progress.allowed.load(Ordering::SeqCst);
            // Now and then one more: an agent that skipped the last line would else never move.
            if lines.len() >= allowed && (allowed == 0 || last.elapsed() < NUDGE) {
                break;
            }
            let number = lines.len();
            let padding = "x".repeat(random.below(PADDING_MAX) as usize);
            let text = format!("{marker} {number} {:016x} {padding}.", random.next());
            log.append(number, &text);
            lines.push(text);
            last = Instant::now();
            progress.written.store(lines.len(), Ordering::SeqCst);
        }
        std::thread::sleep(Duration::from_micros(random.below(PAUSE_MAX_MS * 1000)));
    }
    lines
}
