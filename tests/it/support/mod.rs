//! What the tests share: temporary folders, certificates, processes, databases, waiting.

pub(crate) mod client;
pub(crate) mod disk;
pub(crate) mod host;
pub(crate) mod proxy;
pub(crate) mod scripted;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

pub(crate) const KEY: &str = "test-key-3f9a";
/// Everything that a test waits for happens within this, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Takes a database of the present schema back to an older version, whatever it holds.
pub(crate) fn to_schema(version: u32) -> String {
    let steps = [(4, TO_SCHEMA_4), (3, TO_SCHEMA_3)];
    let steps = steps.iter().filter(|(older, _)| *older >= version);
    steps.map(|(_, step)| *step).collect()
}

const TO_SCHEMA_4: &str = "
    DROP VIEW findings; DROP VIEW latest; DROP VIEW recurring; DROP VIEW backlog;
    DROP INDEX results_trouble; DROP INDEX results_found; DROP INDEX results_found_host;
    DROP INDEX results_unverified; DROP INDEX results_disagreement;
    ALTER TABLE results DROP COLUMN disagreement; ALTER TABLE results DROP COLUMN rule_status;
    ALTER TABLE results DROP COLUMN unverified;
    DROP INDEX deltas_pending; DROP INDEX deltas_urgent; DROP INDEX lanes_ready;
    ALTER TABLE deltas DROP COLUMN put_back; ALTER TABLE lanes DROP COLUMN put_back;
    CREATE INDEX deltas_pending ON deltas (hostname, id) WHERE state = 'pending';
    CREATE INDEX deltas_urgent ON deltas (hostname, id) WHERE state = 'pending' AND urgent = 1;
    CREATE INDEX lanes_ready ON lanes (urgent DESC, delta_id) WHERE state = 'ready';
    CREATE VIEW findings AS SELECT results.id AS result_id FROM results;
    PRAGMA user_version = 4;";

const TO_SCHEMA_3: &str = "
    DROP TABLE lanes; DROP TABLE calls;
    DROP INDEX deltas_pending; DROP INDEX deltas_urgent; DROP INDEX deltas_failed;
    ALTER TABLE deltas DROP COLUMN urgent; ALTER TABLE deltas DROP COLUMN unusable;
    ALTER TABLE deltas DROP COLUMN interrupted; ALTER TABLE results DROP COLUMN model_status;
    CREATE INDEX deltas_waiting ON deltas (next_attempt_at, id) WHERE state = 'pending';
    PRAGMA user_version = 3;";

/// A folder that goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tg-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// One that is there already, such as a mounted disk.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.0.as_os_str().is_empty() {
            return;
        }
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The program under test: cargo's, or the one that TASSEOGRAPH_BINARY names, such as a static one.
pub(crate) fn binary() -> PathBuf {
    let named = std::env::var_os("TASSEOGRAPH_BINARY").filter(|path| !path.is_empty());
    named.map_or_else(|| env!("CARGO_BIN_EXE_tasseograph").into(), PathBuf::from)
}

/// The program, with nothing of this process's own settings and the fleet's key.
pub(crate) fn tasseograph(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    with_settings(command.args(arguments));
    command
}

fn with_settings(command: &mut Command) {
    command.stdin(Stdio::null()).env("TASSEOGRAPH_API_KEY", KEY).env_remove("SUDO_USER");
    // The machine that the tests run on need not have a certificate store.
    command.env("SSL_CERT_FILE", &certificates().cert);
    for name in [
        "TASSEOGRAPH_API_KEY_FILE",
        "TASSEOGRAPH_API_KEY_PREVIOUS",
        "TASSEOGRAPH_API_KEY_PREVIOUS_FILE",
        "TASSEOGRAPH_HOSTNAME",
        "TASSEOGRAPH_LOG",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "JOURNAL_STREAM",
        "RUNTIME_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
    ] {
        command.env_remove(name);
    }
}

/// Runs a command to its end, which it has to reach.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let child = tasseograph(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap();
    let pid = child.id();
    let (done, waits) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if waits.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
            if let Err(error) = rustix::process::kill_process(pid, Signal::KILL) {
                println!("cannot end {pid:?}: {error}");
            }
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    guard.join().unwrap();
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asks until it is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says that a test could not run, and why. Not by `println`: of a test that passes, that is
/// hidden.
pub(crate) fn skip(why: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {why}\n", thread.name().unwrap_or("a test"));
    drop(std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()));
}

/// Certificates made once, by the README's own kind of command.
pub(crate) struct Certificates {
    _folder: Folder,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// RSA, no names, CA:TRUE: what a bare `openssl req -x509` makes.
    pub(crate) bare_cert: PathBuf,
    pub(crate) bare_key: PathBuf,
}

pub(crate) fn certificates() -> &'static Certificates {
    static MADE: OnceLock<Certificates> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Folder::new();
        let path = |name| folder.path(name);
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        make_pair(&cert, &key);
        let (bare_cert, bare_key) = (path("bare.pem"), path("bare-key.pem"));
        make_certificate("/CN=bare", &["-newkey", "rsa:2048"], &[], &bare_cert, &bare_key);
        Certificates { cert, key, bare_cert, bare_key, _folder: folder }
    })
}

/// P-256, with this machine's names: what README.md shows.
pub(crate) fn make_pair(cert: &Path, key: &Path) {
    let p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    make_certificate("/CN=collector", &p256, &NAMED, cert, key);
}

/// A server's certificate that names this machine.
pub(crate) const NAMED: [&str; 4] = [
    "-addext",
    "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
    "-addext",
    "basicConstraints=critical,CA:FALSE",
];

pub(crate) fn make_certificate(
    subject: &str,
    kind: &[&str],
    more: &[&str],
    cert: &Path,
    key: &Path,
) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-days", "30", "-subj", subject]);
    command.args(kind).args(more).arg("-keyout").arg(key).arg("-out").arg(cert);
    let output = command.output().expect("the tests need openssl");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// A port that stays ours while nobody listens on it: below those that the system gives to others
/// (`ip_local_port_range` begins at 32768), so that no other test's server answers there.
pub(crate) fn own_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id() * 127 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 15_000 + (number % 17_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A process whose stderr is kept.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, copy) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = copy.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log, reader: Some(reader) }
    }

    pub(crate) fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A file of the kernel's about this process.
    pub(crate) fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.map(|task| task.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn rss_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        let mut found = None;
        wait_until(&format!("a line with {part:?}"), || {
            found = self.log().lines().find(|line| line.contains(part)).map(String::from);
            assert!(found.is_some() || self.is_alive(), "it ended:\n{}", self.log());
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// SIGKILL: the program has to bear it at any instant.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A collector on a loopback port of its own.
pub(crate) struct Collector {
    pub(crate) folder: Folder,
    pub(crate) process: Process,
    pub(crate) port: u16,
    config: String,
}

impl Collector {
    /// With the signature table as its chain.
    pub(crate) fn start() -> Self {
        Self::with("llm_endpoints: [{url: \"builtin:\"}]\n")
    }

    /// `more` is YAML: at least `llm_endpoints`.
    pub(crate) fn with(more: &str) -> Self {
        Self::with_environment(more, &[])
    }

    pub(crate) fn with_environment(more: &str, variables: &[(&str, &str)]) -> Self {
        Self::inside(Folder::new(), more, variables)
    }

    /// With its database and everything else in `folder`.
    pub(crate) fn inside(folder: Folder, more: &str, variables: &[(&str, &str)]) -> Self {
        Self::wrapped(folder, more, variables, &[])
    }

    /// Started by another program, whose last arguments are ours.
    pub(crate) fn wrapped(
        folder: Folder,
        more: &str,
        variables: &[(&str, &str)],
        wrapper: &[&str],
    ) -> Self {
        let made = certificates();
        Self::presenting((&made.cert, &made.key), folder, more, variables, wrapper)
    }

    /// With a certificate and its key.
    pub(crate) fn presenting(
        (cert, key): (&Path, &Path),
        folder: Folder,
        more: &str,
        variables: &[(&str, &str)],
        wrapper: &[&str],
    ) -> Self {
        let config = format!(
            "listen_addr: \"127.0.0.1:{}\"\ndb_path: {}\ntls_cert: {}\ntls_key: {}\n{more}",
            own_port(),
            folder.path("t.db").display(),
            cert.display(),
            key.display()
        );
        let (process, port) = Self::launch(&folder, &config, variables, wrapper);
        Self { folder, process, port, config }
    }

    fn launch(
        folder: &Folder,
        config: &str,
        variables: &[(&str, &str)],
        wrapper: &[&str],
    ) -> (Process, u16) {
        let path = folder.write("collector.yaml", config);
        let mut command = match wrapper {
            [] => tasseograph(&["collector", "-c", path.to_str().unwrap()]),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary());
                command.args(["collector", "-c", path.to_str().unwrap()]);
                with_settings(&mut command);
                command
            }
        };
        let mut process = Process::start(command.envs(variables.iter().copied()));
        let line = process.wait_for_line("listening on https://");
        let port = line.rsplit_once(':').unwrap().1.parse().unwrap();
        (process, port)
    }

    /// SIGKILL, and a new process on the same port and database.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.start_again();
    }

    pub(crate) fn start_again(&mut self) {
        self.start_again_with("", &[]);
    }

    /// With other variables, and `more` YAML.
    pub(crate) fn start_again_with(&mut self, more: &str, variables: &[(&str, &str)]) {
        let config = format!("{}{more}", self.config);
        let (process, _) = Self::launch(&self.folder, &config, variables, &[]);
        self.process = process;
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub(crate) fn db(&self) -> rusqlite::Connection {
        let db = rusqlite::Connection::open(self.folder.path("t.db")).unwrap();
        db.busy_timeout(PATIENCE).unwrap();
        db
    }

    /// The first column of every row.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let db = self.db();
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| {
            row.get_ref(0).map(|value| match value {
                rusqlite::types::ValueRef::Null => "NULL".to_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => other.as_str().unwrap_or("?").to_owned(),
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    pub(crate) fn one(&self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.into_iter().next().unwrap()
    }

    pub(crate) fn wait_for(&self, sql: &str, expected: &str) {
        let mut last = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            last = self.rows(sql);
            if last == [expected] {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{sql} gave {last:?}, not {expected:?}; log:\n{}", self.process.log());
    }

    /// As if the wait of all that is postponed were over.
    pub(crate) fn hasten(&self) {
        let due = "UPDATE lanes SET due_at = '' WHERE state = 'later'";
        self.db().execute_batch(due).unwrap();
    }

    /// Until every delta has its result.
    pub(crate) fn wait_analysed(&self) {
        self.wait_for("SELECT COUNT(*) FROM deltas WHERE state != 'done'", "0");
    }

    /// Every verbatim record that is stored, in order.
    pub(crate) fn records(&self, host: &str) -> Vec<String> {
        self.rows(&format!(
            "SELECT line.value FROM deltas, json_each(deltas.records) AS line
             WHERE hostname = '{host}' ORDER BY deltas.id, line.key"
        ))
    }
}

/// An agent's configuration for `collector`; `more` is YAML.
pub(crate) fn agent_config(folder: &Folder, collector: &str, more: &str) -> PathBuf {
    let text = format!(
        "collector_url: {collector}\nstate_file: {}\ntls_ca_file: {}\n{more}",
        folder.path("state").display(),
        certificates().cert.display()
    );
    folder.write("agent.yaml", &text)
}

pub(crate) fn agent_once(config: &Path) -> Output {
    run(&["agent", "--once", "-c", config.to_str().unwrap()])
}

pub(crate) fn must_succeed(output: &Output) {
    assert!(output.status.success(), "{:?}: {}", output.status, text(&output.stderr));
}

/// A file of kernel records `[from, to)`, as `kmsg_path` takes it.
pub(crate) fn kernel_records(from: u64, to: u64) -> String {
    (from..to).map(|seq| format!("6,{seq},{},-;record number {seq}\n", seq * 1000)).collect()
}

/// The same records, one by one.
pub(crate) fn lines(from: u64, to: u64) -> Vec<String> {
    kernel_records(from, to).lines().map(|line| format!("{line}\n")).collect()
}

pub(crate) fn now_rfc3339() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = jiff::Timestamp::from_second(since.as_secs() as i64).unwrap();
    now.to_string()
}
