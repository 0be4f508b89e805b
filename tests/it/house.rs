//! Rules over the repository: which room may use which, what decides and what does, where each
//! dependency is named, how files look, what the lock file holds.
//!
//! The map in the header of `src/lib.rs` is the source of truth for rooms. Each rule is a function
//! from text to complaints, a test that runs it over the tree, and a case in `each_rule_can_fail`.

mod map;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use map::{Map, room_of};
use source::{Source, within, words};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LINE_CHARS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 500;
/// Crates in a Linux build, ours among them.
const CRATES_MAX: usize = 68;

/// What a room that decides may not name: the world outside comes to it as arguments.
const DOING: &[&str] = &[
    "crate::sys",
    "log",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::os",
    "std::process",
    "std::thread",
];
/// Addresses are data.
const NET_TYPES: &[&str] = &[
    "AddrParseError",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
];

/// Where each dependency may be named, so that swapping it touches one place.
const PLACES: &[(&str, &[&str])] = &[
    ("env_logger", &["src/sys/log.rs"]),
    ("httparse", &["src/gate/"]),
    ("jiff", &["src/time/"]),
    ("lexopt", &["src/cli/"]),
    ("memchr", &["src/kernel/text.rs", "src/analyze/input.rs"]),
    ("log", &["src/"]), // less where the room decides
    ("regex", &["src/eval/"]),
    ("ring", &["src/sys/", "src/gate/"]),
    ("rusqlite", &["src/store/"]),
    ("rustix", &["src/sys/", "src/gate/"]),
    (
        "rustls",
        &[
            "src/sys/tls.rs",
            "src/sys/verify.rs",
            "src/sys/http.rs",
            "src/sys/http_tls.rs",
            "src/gate/",
        ],
    ),
    ("rustls_native_certs", &["src/sys/tls.rs"]),
    ("serde", &["src/wire/", "src/llm/", "src/config/raw.rs"]),
    ("serde_json", &["src/"]),
    ("serde_yaml", &["src/config/raw.rs"]),
    ("tiny_http", &["src/collector/server.rs"]),
    ("ureq", &["src/sys/http.rs", "src/sys/http_tls.rs"]),
];

/// No async runtime, no second TLS stack, nothing that needs a C++ compiler or is abandoned.
const NEVER_LOCKED: &[&str] = &[
    "async-executor",
    "async-std",
    "aws-lc-rs",
    "aws-lc-sys",
    "cmake",
    "futures-executor",
    "hyper",
    "mio",
    "native-tls",
    "openssl",
    "openssl-sys",
    "polling",
    "reqwest",
    "rustls-pemfile",
    "serde_yml",
    "smol",
    "tokio",
];
const LOCKED_ONCE: &[&str] = &["ring", "rustls", "rustls-webpki"];

const TOP_LEVEL: &[&str] =
    &["Cargo.lock", "Cargo.toml", "LICENSE", "Makefile", "README.md", "src", "systemd", "tests"];

fn rooms_and_rows(map: &Map, paths: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    let rooms: BTreeSet<&str> = paths.iter().filter_map(|path| room_of(path)).collect();
    for room in rooms.iter().filter(|room| map.row(room).is_none()) {
        problems.push(format!("src/lib.rs: no row for `{room}`: say what it holds and may use"));
    }
    for path in paths.iter().filter(|path| path.matches('/').count() > 2) {
        problems.push(format!("{path}:1: rooms are one level deep: move it up"));
    }
    for (at, row) in map.0.iter().enumerate() {
        let room = &row.room;
        if !rooms.contains(room.as_str()) {
            problems.push(format!("src/lib.rs: `{room}` has a row and no folder: take one away"));
        }
        let above: BTreeSet<_> = map.0[..at].iter().map(|row| &row.room).collect();
        for used in row.uses.iter().filter(|used| !above.contains(used)) {
            problems
                .push(format!("src/lib.rs: `{room}` may use `{used}`, which stands not above it"));
        }
    }
    problems
}

fn arrows(map: &Map, source: &Source) -> Vec<String> {
    let Some(room) = room_of(&source.path) else { return Vec::new() };
    let none = BTreeSet::new();
    let uses = map.row(room).map_or(&none, |row| &row.uses);
    let allowed = uses.iter().cloned().collect::<Vec<_>>().join(", ");
    let foreign = |(line, path): (usize, String)| {
        let named = from_root(&source.path, &path)?.split("::").next()?;
        (named != room && !uses.contains(named)).then(|| {
            let path = &source.path;
            format!("{path}:{line}: `{room}` names `{named}`; the map allows it: {allowed}")
        })
    };
    source.paths().into_iter().filter_map(foreign).collect()
}

/// What follows `crate::`, or as many `super::` as lead there.
fn from_root<'a>(file: &str, path: &'a str) -> Option<&'a str> {
    let depth = file.matches('/').count() - usize::from(file.ends_with("/mod.rs"));
    path.strip_prefix("crate::").or_else(|| path.strip_prefix("super::".repeat(depth).as_str()))
}

fn deeds(source: &Source) -> Vec<String> {
    let done = |path: &str| {
        let socket = within(path, "std::net")
            && path.split("::").nth(2).is_none_or(|name| !NET_TYPES.contains(&name));
        let clock = path.split("::").any(|part| matches!(part, "Instant" | "SystemTime"));
        socket || clock || DOING.iter().any(|doing| within(path, doing))
    };
    let told = |(line, path): &(usize, String)| {
        let file = &source.path;
        format!(
            "{file}:{line}: a room that decides names {path}: pass what it needs as an argument"
        )
    };
    source.paths().iter().filter(|(_, path)| done(path)).map(told).collect()
}

fn crates_out_of_place(source: &Source) -> Vec<String> {
    let misplaced = |(line, path): (usize, String)| {
        let (name, places) = PLACES.iter().find(|(name, _)| within(&path, name))?;
        let file = &source.path;
        (!places.iter().any(|place| file.starts_with(place)))
            .then(|| format!("{file}:{line}: {name} belongs to {} alone", places.join(", ")))
    };
    source.all_paths().into_iter().filter_map(misplaced).collect()
}

fn crates_without_place(manifest: &str) -> Vec<String> {
    let section = manifest.split("[dependencies]\n").nth(1).unwrap_or("");
    let names = section.lines().take_while(|line| !line.starts_with('['));
    names
        .filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_")))
        .filter(|name| !PLACES.iter().any(|(known, _)| known == name))
        .map(|name| format!("Cargo.toml: say in PLACES of tests/it/house.rs where {name} belongs"))
        .collect()
}

fn derives(source: &Source) -> Vec<String> {
    let edges = ["src/wire/", "src/llm/", "src/config/raw.rs"];
    if edges.iter().any(|edge| source.path.starts_with(edge)) {
        return Vec::new();
    }
    let derived = |word: &str| matches!(word, "Serialize" | "Deserialize");
    let lines = source.code().filter(|(_, code)| words(code).iter().any(|(_, word)| derived(word)));
    let file = &source.path;
    lines
        .map(|(line, _)| format!("{file}:{line}: convert by hand: serde is for the edges"))
        .collect()
}

fn looks(source: &Source) -> Vec<String> {
    let file = &source.path;
    let mut problems = Vec::new();
    if !source.text.starts_with("//!") {
        problems.push(format!("{file}:1: opens without `//!`: say what it owns and who drives it"));
    }
    for (at, line) in source.text.lines().enumerate() {
        let (line, chars) = (at + 1, line.chars().count());
        if chars > LINE_CHARS_MAX {
            problems.push(format!("{file}:{line}: {chars} characters; at most {LINE_CHARS_MAX}"));
        }
    }
    let lines = source.lines_before_tests();
    if lines > FILE_LINES_MAX {
        problems
            .push(format!("{file}: {lines} lines before its tests; split above {FILE_LINES_MAX}"));
    }
    problems
}

fn left_overs(source: &Source) -> Vec<String> {
    let file = &source.path;
    let mark = concat!("FIX", "ME");
    let marked = source.text.lines().enumerate().filter(|(_, line)| line.contains(mark));
    let mut problems: Vec<_> =
        marked.map(|(at, _)| format!("{file}:{}: {mark}: do it or drop it", at + 1)).collect();
    let never = ["todo !", "unimplemented !", "dbg !", "# [ ignore", "unsafe"];
    let tested_from = source.lines_before_tests() + 1;
    for (line, code) in source.all_code() {
        let words: Vec<_> = words(code).into_iter().map(|(_, word)| word).collect();
        let words = format!(" {} ", words.join(" "));
        let found = never.iter().find(|never| words.contains(&format!(" {never} ")));
        problems.extend(found.map(|word| format!("{file}:{line}: `{word}` is not for this house")));
        let tested = line >= tested_from || file.starts_with("tests/");
        if !tested && words.contains(" . unwrap ( ) ") {
            let instead = "expect(\"why it cannot happen\")";
            problems.push(format!("{file}:{line}: unwrap() outside tests: {instead}"));
        }
    }
    problems
}

/// Elsewhere the program under test is `support::binary()`, so that another one can be tested.
fn program_out_of_place(source: &Source) -> Vec<String> {
    let name = concat!("CARGO_BIN", "_EXE");
    let named = source.text.lines().enumerate().filter(|(_, line)| line.contains(name));
    named
        .filter(|_| source.path != "tests/it/support/mod.rs")
        .map(|(at, _)| format!("{}:{}: {name}: take support::binary()", source.path, at + 1))
        .collect()
}

fn locked(lock: &str) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in lock.lines().filter_map(|line| line.strip_prefix("name = \"")) {
        *counts.entry(name.trim_end_matches('"')).or_default() += 1;
    }
    let count = |name: &&&str| counts.get(**name).copied().unwrap_or(0);
    let never = NEVER_LOCKED.iter().filter(|name| count(name) > 0);
    let never =
        never.map(|name| format!("Cargo.lock: {name}: find what brings it: cargo tree -i {name}"));
    let once = LOCKED_ONCE.iter().filter(|name| count(name) != 1);
    let once =
        once.map(|name| format!("Cargo.lock: {} versions of {name}; exactly 1", count(&name)));
    never.chain(once).collect()
}

fn strays<'a>(files: impl Iterator<Item = &'a str>) -> Vec<String> {
    let tops: BTreeSet<&str> = files.filter_map(|file| file.split('/').next()).collect();
    let stray = tops.into_iter().filter(|top| !top.starts_with('.') && !TOP_LEVEL.contains(top));
    stray.map(|top| format!("{top}: not for the top level: {}", TOP_LEVEL.join(", "))).collect()
}

/// A path counts where it stands by itself: not the `/src` of `../src`, nor that of `/srcs`.
fn machine_paths(file: &str, text: &str, machine: &[String]) -> Vec<String> {
    let of_path = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}');
    let alone = |line: &str, path: &str| {
        line.match_indices(path).any(|(at, _)| {
            let rest = &line[at + path.len()..];
            let ended = path.ends_with('/') || !rest.starts_with(|c| c != '/' && of_path(c));
            ended && !line[..at].ends_with(of_path)
        })
    };
    let lines = text.lines().enumerate();
    let found = lines.filter_map(|(at, line)| {
        let path = machine.iter().find(|path| alone(line, path))?;
        Some(format!("{file}:{}: {path} is a path of one machine", at + 1))
    });
    found.collect()
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let sources = sources("src");
    let paths: Vec<_> = sources.iter().map(|source| source.path.as_str()).collect();
    assert_none(rooms_and_rows(&map(), &paths));
}

#[test]
fn rooms_use_what_the_map_allows() {
    let map = map();
    assert_none(sources("src").iter().flat_map(|source| arrows(&map, source)));
}

#[test]
fn what_decides_does_not_do() {
    let map = map();
    let sources = sources("src");
    assert_none(sources.iter().filter(|source| map.decides(source)).flat_map(deeds));
}

#[test]
fn each_dependency_is_named_in_its_place() {
    assert_none(crates_without_place(&read("Cargo.toml")));
    assert_none(sources("src").iter().flat_map(crates_out_of_place));
}

#[test]
fn serde_stays_at_the_edges() {
    assert_none(sources("src").iter().flat_map(derives));
}

#[test]
fn files_open_with_their_purpose_and_are_short_and_narrow() {
    assert_none(sources("src").iter().chain(&sources("tests")).flat_map(looks));
}

#[test]
fn nothing_unsafe_or_unfinished_is_left() {
    assert!(read("Cargo.toml").contains("\nunsafe_code = \"forbid\"\n"));
    assert_none(sources("src").iter().chain(&sources("tests")).flat_map(left_overs));
}

#[test]
fn every_test_runs_the_program_that_is_to_be_tested() {
    assert_none(sources("tests").iter().flat_map(program_out_of_place));
}

#[test]
fn the_lock_file_holds_no_runtime_and_one_tls_stack() {
    assert_none(locked(&read("Cargo.lock")));
}

#[test]
fn dependencies_are_few() {
    let crates = linux_crates();
    println!("crates in a Linux build: {}", crates.len());
    assert!(crates.len() <= CRATES_MAX, "{} crates; at most {CRATES_MAX}", crates.len());
}

/// Name and version of each, ours among them.
pub(super) fn linux_crates() -> BTreeSet<(String, String)> {
    let tree = "tree --target x86_64-unknown-linux-gnu -e normal --prefix none --locked --offline";
    let tree = Command::new(env!("CARGO")).args(tree.split(' ')).current_dir(ROOT).output();
    let tree = tree.expect("cargo runs: it runs this test");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8_lossy(&tree.stdout);
    let mut words = lines.lines().map(|line| line.split(' ').map(str::to_owned));
    words.by_ref().filter_map(|mut words| words.next().zip(words.next())).collect()
}

#[test]
fn the_top_level_is_fixed() {
    let Some(files) = tracked() else { return };
    assert_none(strays(files.iter().map(String::as_str)));
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let Some(files) = tracked() else { return };
    let home = std::env::home_dir().map(|home| format!("{}/", home.display()));
    let mut machine = vec![ROOT.to_owned()];
    machine.extend(home.filter(|home| home.len() > 2));
    let problems = files.iter().filter_map(|file| {
        let bytes = std::fs::read(Path::new(ROOT).join(file)).ok()?;
        Some(machine_paths(file, &String::from_utf8_lossy(&bytes), &machine))
    });
    assert_none(problems.flatten());
}

#[test]
fn each_rule_can_fail() {
    let map = Map::parse(
        "//! | room | holds | may use |\n//! |---|---|---|\n//! | `time` | x | |\n\
         //! | `wire` | x | `time` `gate` |\n//! | *do* | | |\n//! | `gate` | x | *decide* |\n\
         //! | *compose* | | |\n//! | `agent` | x | all but `gate` |\n",
    );
    let is = |problems: Vec<String>, expected: &[&str]| {
        assert_eq!(problems.len(), expected.len(), "{problems:#?}\n{expected:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem}\n{expected}");
        }
    };
    let rust = |path: &str, text: &str| Source::new(path, text);
    let tests = "#[cfg(test)]\nmod tests {\n use crate::agent; use std::fs; f().unwrap();\n}\n";
    let paths =
        ["src/time/mod.rs", "src/wire/a/b.rs", "src/agent/x.rs", "src/sys.rs", "src/lib.rs"];
    let expected = ["`sys`", "one level deep", "not above", "`gate` has a row and no folder"];
    is(rooms_and_rows(&map, &paths), &expected);

    let code = "use crate::{time::X, gate::Y};\nfn f() { super::wire::g(crate::nil::C) }\n";
    let source = rust("src/agent/mod.rs", &format!("{code}{tests}"));
    is(arrows(&map, &source), &["mod.rs:1: `agent` names `gate`", "mod.rs:2: `agent` names `nil`"]);
    let source =
        rust("src/gate/x.rs", "use super::super::agent;\nuse super::agent;\nuse crate::wire;");
    is(arrows(&map, &source), &["x.rs:1: `gate` names `agent`"]);

    let code = "use std::{fs::File, net::{IpAddr, TcpStream}, time::Instant};\nuse log::info;\n\
                fn g(at: std::time::SystemTime) { env!(); catalog::x(); std::thread::sleep() }\n";
    let named = ["fs::File", "TcpStream", "Instant", "2: ", "SystemTime", "thread::sleep"];
    is(deeds(&rust("src/time/x.rs", &format!("{code}{tests}"))), &named);

    let source = rust("src/sys/kmsg.rs", "use rustix::fs;\nuse rusqlite::{Row};\n// use ureq::x;");
    is(crates_out_of_place(&source), &["kmsg.rs:2: rusqlite belongs to src/store/ alone"]);
    let manifest = "[dependencies]\nlog = \"0.4\"\na-new = \"1\" # why\n[lints]\nx = 1\n";
    is(crates_without_place(manifest), &["a_new"]);

    is(
        derives(&rust("src/kernel/x.rs", "#[derive(Debug, Deserialize)]\nstruct A;")),
        &["x.rs:1: "],
    );
    is(derives(&rust("src/wire/x.rs", "#[derive(Debug, Deserialize)]\nstruct A;")), &[]);

    let long = format!("// {}\n{}", "é".repeat(98), "\n".repeat(FILE_LINES_MAX));
    is(
        looks(&rust("src/a/b.rs", &long)),
        &["b.rs:1: opens", "b.rs:1: 101 char", "501 lines before"],
    );

    let text =
        concat!("// FIX", "ME\nfn f() { todo!(); x.unwrap() } // unsafe unwrap()\n#[ignore]");
    let expected = ["x.rs:1: FIX", "x.rs:2: `todo", "x.rs:2: unwrap", "x.rs:3: `# [ ignore"];
    is(left_overs(&rust("src/a/x.rs", text)), &expected);
    is(left_overs(&rust("tests/x.rs", "#![forbid(unsafe_code)]\nfn f() { x.unwrap() }")), &[]);
    is(left_overs(&rust("src/a/x.rs", &format!("\n{tests}"))), &[]);

    let text = concat!("f(env!(\"CARGO_BIN", "_EXE_tasseograph\"))");
    is(program_out_of_place(&rust("tests/it/x.rs", text)), &["x.rs:1: CARGO"]);
    is(program_out_of_place(&rust("tests/it/support/mod.rs", text)), &[]);

    let lock = "name = \"ring\"\nname = \"ring\"\nname = \"rustls\"\nname = \"tokio\"\n";
    is(locked(lock), &["tokio", "2 versions of ring", "0 versions of rustls-webpki"]);

    is(strays([".ci/x", "src/a.rs", "docs/x.md", "docs/y"].into_iter()), &["docs: not for"]);

    let machine = ["/home/ann/".to_owned(), "/src".to_owned()];
    let text = "cd /home/ann/x\n../src/lib.rs /srcs {dir}/src\n\"/src\"";
    is(machine_paths("Makefile", text, &machine), &["Makefile:1: ", "Makefile:3: "]);
}

#[track_caller]
fn assert_none(problems: impl IntoIterator<Item = String>) {
    let problems: Vec<_> = problems.into_iter().collect();
    assert!(problems.is_empty(), "{} to mend:\n{}", problems.len(), problems.join("\n"));
}

fn map() -> Map {
    Map::parse(&read("src/lib.rs"))
}

fn read(path: &str) -> String {
    let read = std::fs::read_to_string(Path::new(ROOT).join(path));
    read.unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// Every `.rs` file below a folder, new ones too, in the order of their paths.
fn sources(folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let entries = std::fs::read_dir(Path::new(ROOT).join(folder)).expect("a folder of ours");
    for entry in entries {
        let entry = entry.expect("a folder of ours can be read");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            sources.extend(self::sources(&path));
        } else if path.ends_with(".rs") {
            sources.push(Source::new(&path, read(&path)));
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// What git tracks; nothing where there is no git, as in an unpacked archive.
fn tracked() -> Option<Vec<String>> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(ROOT).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else {
        println!("skipped: git cannot list the files of {ROOT}");
        return None;
    };
    let names = String::from_utf8_lossy(&listed.stdout);
    Some(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}
