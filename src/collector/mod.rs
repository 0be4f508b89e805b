//! The collector: gate, ingest, store, workers, in one process.
//!
//! Threads: the gate's, tiny_http's and its few handlers, the committer, which writes for all, the
//! analysis workers and who looks for them, the tidier, and this one, in `watch`.

mod failures;
mod ingest;
mod kept;
mod keys;
mod reanalyse;
mod renewal;
mod report;
mod seats;
mod server;
mod tidy;
mod watch;
mod worker;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::analyze::Analyst;
use crate::config::{self, CollectorConfig, Problem};
use crate::exit::Exit;
use crate::gate::{self, Gate, GateSettings};
use crate::store::Store;
use crate::sys::env::Environment;
use crate::sys::notify::Notifier;
use crate::sys::{clock, descriptors, files, out, probe, random, tls};
pub(crate) use reanalyse::reanalyse;
pub(crate) use report::report;

/// `sun_path` holds 108 bytes with its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Requests inside at once. What waits inside is committed together, so this is what one fsync
/// serves at most. tiny_http's pool keeps no thread for a request that waits: it reads the head of
/// a closing connection, hands it over and is free.
const INSIDE_MAX: usize = 128;
/// Descriptors that are no connection's: the database's, the log's, the gate's.
const DESCRIPTORS_OTHERS: usize = 64;

/// Everything that a running collector shares.
struct Collector {
    store: Arc<Store>,
    config: CollectorConfig,
    notifier: Notifier,
    gate: Arc<Gate>,
    keys: Arc<keys::Keys>,
    /// Where it really listens.
    address: SocketAddr,
    _lock: File,
}

/// `tasseograph collector`.
pub(crate) fn run(path: &Path, check_only: bool, environment: &Environment) -> Exit {
    let config = match load(path, environment) {
        Ok(config) => config,
        Err(reason) => {
            out::complain(&reason);
            return Exit::Config;
        }
    };
    if check_only {
        return Exit::ok_if(out::print(&format!("{}: ok\n", path.display())));
    }
    match Collector::start(path, config, environment) {
        Ok(collector) => watch::watch(&collector),
        Err((exit, reason)) => {
            out::complain(&reason);
            exit
        }
    }
}

/// The configuration, or its problems as they are printed.
fn load(path: &Path, environment: &Environment) -> Result<CollectorConfig, String> {
    let bytes = files::read_made(path, config::FILE_BYTES_MAX, config::COLLECTOR_MAKER)?;
    let text = String::from_utf8_lossy(&bytes);
    probe::with_probe(environment, |probe| CollectorConfig::check(&text, probe))
        .map_err(|problems| config::render(path, &problems))
}

impl Collector {
    fn start(
        path: &Path,
        config: CollectorConfig,
        environment: &Environment,
    ) -> Result<Arc<Self>, (Exit, String)> {
        let failed = |reason: String| (Exit::Failed, reason);
        let misconfigured = |key: &str, what: String| {
            (Exit::Config, config::render(path, &[Problem::new(key, what)]))
        };
        let renewal = renewal::Renewal::new(&config.tls_cert, &config.tls_key);
        let identity =
            tls::server_identity(&config.tls_cert, &config.tls_key).map_err(|error| {
                let what = error.cert.and(error.key).err().unwrap_or_default();
                misconfigured("tls_cert", what)
            })?;
        let expired = identity.expired(clock::wall());
        let listener =
            gate::listen(config.listen.address, config.listen.port).map_err(|error| {
                let what = format!("cannot listen on {}: {}", config.listen, files::cause(&error));
                misconfigured("listen_addr", what)
            })?;
        let address = listener.local_addr().map_err(|error| failed(files::cause(&error)))?;
        let analyst = Analyst::new(&config.endpoints).map_err(|what| misconfigured("", what))?;
        files::make_folder_of(&config.db_path).map_err(failed)?;
        let lock = lock(&config.db_path).map_err(failed)?;
        let store = Store::open(&config.db_path).map_err(|error| failed(error.to_string()))?;
        let socket =
            socket_path(&config, environment).map_err(|what| misconfigured("runtime_dir", what))?;
        let room = Room::find(&config).map_err(|what| misconfigured("max_connections", what))?;
        let (store, secret) = (Arc::new(store), hex(&random::bytes::<32>()));
        let bell = Arc::new(worker::Bell::default());
        let keys = Arc::new(keys::Keys::new(&config));
        let judge = Arc::clone(&keys);
        server::start(&socket, &secret, &store, &bell).map_err(failed)?;
        worker::start(config.workers, &store, &bell, Arc::new(analyst)).map_err(failed)?;
        let settings = GateSettings {
            tls: identity.config,
            admit: Box::new(move |head, peer| judge.admit(head, peer)),
            body_bytes_max: config.payload_bytes,
            connections_max: room.connections,
            strangers_max: config.strangers,
            inside_max: room.inside,
            inner: socket,
            secret,
        };
        let gate = Gate::start(settings, listener)
            .map_err(|error| failed(format!("cannot start the gate: {}", files::cause(&error))))?;
        if let Some(what) = &expired {
            log::warn!("the certificate in {} {what}", files::quoted(&config.tls_cert));
        }
        log::info!("{}", renewal::shown(&identity.key_pin));
        log::info!("tasseograph {} listening on https://{address}", env!("CARGO_PKG_VERSION"));
        let notifier = Notifier::new(environment);
        notifier.ready(&format!("listening on {address}"));
        let collector =
            Arc::new(Self { store, config, notifier, gate, keys, address, _lock: lock });
        let tidier = tidy::Tidier::new(Arc::clone(&collector), renewal);
        spawn("tidier", move || tidier.serve()).map_err(failed)?;
        Ok(collector)
    }
}

/// How much may be open at once.
struct Room {
    connections: usize,
    inside: usize,
}

impl Room {
    /// As configured, or what this process's descriptors allow: tiny_http must never find that
    /// there are none left, or its port is dead.
    fn find(config: &CollectorConfig) -> Result<Self, String> {
        let others = DESCRIPTORS_OTHERS + 2 * config.workers;
        let wanted = config.connections + 2 * INSIDE_MAX + others;
        let allowed = usize::try_from(descriptors::reserve(wanted as u64)).unwrap_or(usize::MAX);
        // A part of few descriptors too, but not so many that connections have none.
        let inside = INSIDE_MAX.min(allowed / 8);
        let left = allowed.saturating_sub(2 * inside + others);
        if left == 0 {
            return Err(format!(
                "this process may open {allowed} files, and needs {wanted}; raise LimitNOFILE"
            ));
        }
        let connections = config.connections.min(left);
        if connections < config.connections {
            log::warn!(
                "this process may open {allowed} files: {connections} connections at once, not {}; \
                 raise LimitNOFILE to {wanted}, or lower max_connections",
                config.connections
            );
        }
        Ok(Self { connections, inside })
    }
}

/// Two collectors on one database would take each other's deltas, and each other's socket.
fn lock(db_path: &Path) -> Result<File, String> {
    files::lock(&files::beside(db_path, "lock"))?.ok_or_else(|| {
        let shown = files::quoted(db_path);
        format!("another collector uses {shown}; stop it, or name another db_path")
    })
}

/// A thread that lives as long as the process.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    spawned.map(drop).map_err(|error| format!("no thread for {name}: {}", files::cause(&error)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The private folder that tiny_http's socket lies in: `runtime_dir`, else systemd's, else one
/// beside the database. A socket that an earlier process left is removed.
fn socket_path(config: &CollectorConfig, environment: &Environment) -> Result<PathBuf, String> {
    let from_systemd = environment.get("RUNTIME_DIRECTORY").map(PathBuf::from);
    let beside = || {
        let mut name = config.db_path.clone().into_os_string();
        name.push(".run");
        PathBuf::from(name)
    };
    let folder = config.runtime_dir.clone().or(from_systemd).unwrap_or_else(beside);
    files::make_private_folder(&folder)?;
    let socket = folder.join("http.sock");
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "the socket's path {} is longer than the {SOCKET_PATH_BYTES_MAX} bytes that Linux \
             takes; name a shorter folder with runtime_dir",
            files::quoted(&socket)
        ));
    }
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {}", files::quoted(&socket), files::cause(&error)))
        }
        _ => Ok(socket),
    }
}
