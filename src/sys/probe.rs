//! The world as the configuration's checks see it.

use std::path::Path;

use super::env::Environment;
use super::{files, tls};
use crate::config::Probe;

pub(crate) fn with_probe<T>(environment: &Environment, run: impl FnOnce(&Probe<'_>) -> T) -> T {
    run(&Probe {
        environment: &|name| environment.get(name),
        secret: &|name| environment.secret(name),
        ca_file: &|path| tls::certificates(path).map(drop),
        host_store: &|| tls::host_store().map(drop),
        key_pair: &key_pair,
        writable: &files::writable,
    })
}

/// For those who send nothing: every secret is at hand, and worth nothing.
pub(crate) fn without_secrets<T>(
    environment: &Environment,
    run: impl FnOnce(&Probe<'_>) -> T,
) -> T {
    with_probe(environment, |probe| {
        run(&Probe { secret: &|_| Ok(Some("no-key-is-needed".to_owned())), ..*probe })
    })
}

fn key_pair(cert: Option<&Path>, key: Option<&Path>) -> [Result<(), String>; 2] {
    let (Some(cert), Some(key)) = (cert, key) else {
        let cert = cert.map_or(Ok(()), |path| tls::certificates(path).map(drop));
        return [cert, key.map_or(Ok(()), |path| tls::private_key(path).map(drop))];
    };
    match tls::server_identity(cert, key) {
        Ok(_) => [Ok(()), Ok(())],
        Err(error) => [error.cert, error.key],
    }
}
