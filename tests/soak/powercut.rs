//! Power cuts: a file system in an image that holds what reached the disk, and not what waited in
//! memory.
//!
//! Each cut freezes the daemon, copies the image and ends the daemon; the copy is mounted, which
//! replays its journal, and read. ext4's own commits are put off (`commit=300`), so that nothing is
//! there but what was synced.
//!
//! Not seen by this: a disk that holds back what it was told to flush. The image gets each write as
//! soon as ext4 issues it, in that order.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::daemon::Setup;
use crate::random::Random;
use crate::run::collector_config;
use crate::support::client::connect;
use crate::support::{Folder, KEY, agent_config, agent_once, own_port, text, wait_until};
use crate::verdict::{records, repeated};

/// What a series of cuts found.
pub(crate) struct Cuts {
    pub(crate) good: u32,
    pub(crate) lost: usize,
}

const IMAGE_BYTES: u64 = 32 * 1024 * 1024;
const CLIENTS: u64 = 4;
const BOOT: &str = "422187ae-7ed4-4935-b73e-ea4262667985";
/// A cut comes at random within this.
const CUT_MS: u64 = 600;
const DRAIN: Duration = Duration::from_millis(50);
/// A file is looked at every `drain_interval`, what was read is flushed after another one, and a
/// busy machine may be late.
const READ_AND_FLUSHED: Duration = Duration::from_millis(2 * DRAIN.as_millis() as u64 + 400);

/// An ext4 file system in a file, mounted for as long as this lives.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn make(folder: &Folder, name: &str) -> Result<Self, String> {
        let image = folder.path(&format!("{name}.img"));
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
        tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        Self::mount(folder, name, image)
    }

    fn mount(folder: &Folder, name: &str, image: PathBuf) -> Result<Self, String> {
        let at = folder.path(name);
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        let options = ["-t", "ext4", "-o", "loop,commit=300"];
        tool(Command::new("mount").args(options).arg(&image).arg(&at))?;
        Ok(Self { image, at })
    }

    /// What is on the disk now, as another disk.
    fn copy(&self, folder: &Folder, name: &str) -> PathBuf {
        let copy = folder.path(&format!("{name}.img"));
        std::fs::copy(&self.image, &copy).unwrap();
        copy
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(why) = tool(Command::new("umount").arg(&self.at)) {
            println!("{why}");
        }
    }
}

fn tool(command: &mut Command) -> Result<(), String> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{shown}: {error}"))?;
    let said = text(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{shown}: {}", said.trim())) }
}

/// Whether this machine lets us mount an image.
pub(crate) fn possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root may mount an image".to_owned());
    }
    let folder = Folder::new();
    Disk::make(&folder, "try").map(drop)
}

fn wrong_rule(wrong: Option<&'static str>) -> Vec<(&'static str, String)> {
    wrong.map(|rule| ("TASSEOGRAPH_WRONG", rule.to_owned())).into_iter().collect()
}

fn instant(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(CUT_MS * 1000))
}

/// The collector's database lies on the disk; clients post as fast as they can and count what was
/// acknowledged.
pub(crate) fn collector(cuts: u32, wrong: Option<&'static str>, random: &mut Random) -> Cuts {
    let (mut found, mut acknowledged, mut present) = (Cuts { good: 0, lost: 0 }, 0, 0);
    for _ in 0..cuts {
        let folder = Folder::new();
        let disk = Disk::make(&folder, "disk").unwrap();
        let port = own_port();
        let mut setup = collector_config(&folder, &disk.at.join("t.db"), port);
        setup.variables = wrong_rule(wrong);
        let mut daemon = setup.start(&[]);
        wait_until("the collector listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let acks = post_until(
            port,
            || {
                std::thread::sleep(instant(random));
            },
            || {
                daemon.freeze();
                let copy = disk.copy(&folder, "cut");
                daemon.kill();
                copy
            },
        );
        let (acks, copy) = acks;
        drop(disk);
        let cut = Disk::mount(&folder, "cut", copy).unwrap();
        let (lost, kept) = lost_of(&cut.at.join("t.db"), &acks);
        acknowledged += acks.iter().sum::<u64>();
        present += kept;
        found.good += u32::from(lost == 0);
        found.lost += lost as usize;
    }
    println!("acknowledged deltas: {acknowledged}");
    println!("deltas in the databases: {present}");
    println!("acknowledged and lost: {}", found.lost);
    println!("cuts without a loss: {} of {cuts}", found.good);
    found
}

/// Clients post until `cut`; gives how many deltas each had acknowledged before it began.
fn post_until<T>(port: u16, wait: impl FnOnce(), cut: impl FnOnce() -> T) -> (Vec<u64>, T) {
    let counts: Vec<Mutex<u64>> = (0..CLIENTS).map(|_| Mutex::new(0)).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (client, count) in counts.iter().enumerate() {
            let over = &over;
            scope.spawn(move || post_deltas(port, client, count, over));
        }
        wait();
        // Whoever has no answer yet has no promise either.
        let before: Vec<u64> = counts.iter().map(|count| *count.lock().unwrap()).collect();
        let cut = cut();
        over.store(true, Ordering::SeqCst);
        (before, cut)
    })
}

/// One record a delta, numbered from 0, on one connection, until that breaks.
fn post_deltas(port: u16, client: usize, count: &Mutex<u64>, over: &AtomicBool) {
    let mut stream = connect(port);
    for seq in 0.. {
        let body = format!(
            "{{\"hostname\": \"cut-{client}\", \"boot_id\": \"{BOOT}\", \"first_seq\": {seq}, \
             \"next_seq\": {}, \"lines\": [\"6,{seq},{seq},-;delta {seq}\"]}}",
            seq + 1
        );
        let head = format!(
            "POST /ingest HTTP/1.1\r\nHost: c\r\nContent-Length: {}\r\n\
             Authorization: Bearer {KEY}\r\n\r\n",
            body.len()
        );
        let sent = stream.write_all(format!("{head}{body}").as_bytes());
        if sent.is_err() || over.load(Ordering::SeqCst) {
            return;
        }
        if read_status(&mut stream) != Some(200) {
            return;
        }
        *count.lock().unwrap() = seq + 1;
    }
}

/// `None` where the connection ends first.
fn read_status(stream: &mut impl Read) -> Option<u16> {
    let (mut head, mut one) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut one).ok()?;
        head.push(one[0]);
    }
    let head = text(&head);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    head.split(' ').nth(1)?.parse().ok()
}

/// How many of the acknowledged deltas the database does not hold, and how many deltas it holds.
fn lost_of(db: &Path, acks: &[u64]) -> (u64, u64) {
    let all: u64 = acks.iter().sum();
    if !db.exists() {
        return (all, 0);
    }
    let db = Connection::open(db).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u64>(0));
    let Ok(kept) = count("SELECT COUNT(*) FROM deltas") else { return (all, 0) };
    let integrity: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if integrity != "ok" {
        println!("integrity_check: {integrity}");
        return (all.max(1), kept);
    }
    let mut lost = 0;
    for (client, acknowledged) in acks.iter().enumerate() {
        let there = count(&format!(
            "SELECT COUNT(DISTINCT first_seq) FROM deltas
             WHERE hostname = 'cut-{client}' AND first_seq < {acknowledged}"
        ));
        lost += acknowledged - there.unwrap();
    }
    (lost, kept)
}

/// The agent's state and spool lie on the disk; the log that it read is gone after the cut, as a
/// ring is. In every other cut the collector cannot be reached before it.
pub(crate) fn agent(cuts: u32, wrong: Option<&'static str>, random: &mut Random) -> Cuts {
    let home = Folder::new();
    let port = own_port();
    let live = collector_config(&home, &home.path("t.db"), port);
    let mut collector = live.start(&[]);
    wait_until("the collector listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let (mut found, mut due_in_all, mut lines_in_all) = (Cuts { good: 0, lost: 0 }, 0, 0);
    for cut in 0..cuts {
        let reachable = cut % 2 == 1;
        let due = agent_cut(cut, if reachable { port } else { own_port() }, port, wrong, random);
        let db = Connection::open(home.path("t.db")).unwrap();
        let prefix = format!("cut {cut} line ");
        let stored = records(&db);
        let numbers = stored.iter().filter_map(|(_, _, text)| text.strip_prefix(&prefix));
        let mut numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        let in_order = numbers.is_sorted();
        numbers.sort_unstable();
        numbers.dedup();
        let lost = (0..due).filter(|number| numbers.binary_search(number).is_err()).count();
        if !in_order || repeated(&stored) > 0 {
            println!("cut {cut}: repeated or out of order");
        }
        found.good += u32::from(lost == 0 && in_order && repeated(&stored) == 0);
        found.lost += lost;
        due_in_all += due;
        lines_in_all += numbers.len();
    }
    collector.kill();
    println!("lines that had to be on disk or acknowledged: {due_in_all}");
    println!("lines in the database: {lines_in_all}");
    println!("lost: {}", found.lost);
    println!("cuts without a loss: {} of {cuts}", found.good);
    found
}

/// One cut and what comes after it; gives how many lines had to survive.
fn agent_cut(
    cut: u32,
    before: u16,
    after: u16,
    wrong: Option<&'static str>,
    random: &mut Random,
) -> usize {
    let folder = Folder::new();
    let disk = Disk::make(&folder, "disk").unwrap();
    let log = folder.write("kmsg", &format!("6,0,0,-;boot {cut} {}\n", random.next()));
    let config = |port: u16, disk: &Path, log: &Path| {
        let more = format!(
            "hostname: cut-{cut}\npoll_interval: 100ms\ndrain_interval: 50ms\nkmsg_path: {}\n",
            log.display()
        );
        let config = agent_config(&folder, &format!("https://127.0.0.1:{port}"), &more);
        let here = folder.path("state").display().to_string();
        let there = disk.join("state").display().to_string();
        let config_text = std::fs::read_to_string(&config).unwrap().replace(&here, &there);
        std::fs::write(&config, config_text).unwrap();
        config
    };
    let setup = Setup {
        role: "agent",
        config: config(before, &disk.at, &log),
        log: folder.path("agent.log"),
        variables: wrong_rule(wrong),
    };
    let mut daemon = setup.start(&[]);
    let limit = READ_AND_FLUSHED + Duration::from_millis(100) + instant(random);
    let (begun, mut written) = (Instant::now(), Vec::new());
    while begun.elapsed() < limit {
        let number = written.len();
        crate::writer::Log::File(log.clone()).append(number, &format!("cut {cut} line {number}"));
        written.push(Instant::now());
        std::thread::sleep(Duration::from_micros(random.below(4_000)));
    }
    let now = Instant::now();
    let due = written.iter().filter(|at| now.duration_since(**at) > READ_AND_FLUSHED).count();
    daemon.freeze();
    let copy = disk.copy(&folder, "cut");
    daemon.kill();
    drop(disk);
    let cut_disk = Disk::mount(&folder, "cut", copy).unwrap();
    let next_boot = folder.write("kmsg-2", &format!("6,0,0,-;next boot {cut} {}\n", random.next()));
    let output = agent_once(&config(after, &cut_disk.at, &next_boot));
    assert!(output.status.success(), "{}", text(&output.stderr));
    due
}
