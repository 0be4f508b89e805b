//! The server's certificate and key, read again when their files change.
//!
//! A pair that cannot be used leaves the old one in service. It is reported once, and only at the
//! second look: who renews writes one file after the other.

use std::path::{Path, PathBuf};

use crate::config::Pin;
use crate::gate::Gate;
use crate::sys::files::{self, Stamp};
use crate::sys::tls;

pub(super) struct Renewal {
    cert: PathBuf,
    key: PathBuf,
    /// The files as they were when the certificate was read that is served.
    served: Stamps,
    /// The files as they were when they could not be used; whether that was said.
    refused: Option<(Stamps, bool)>,
}

type Stamps = [Option<Stamp>; 2];

fn stamps(cert: &Path, key: &Path) -> Stamps {
    [files::stamp(cert), files::stamp(key)]
}

impl Renewal {
    /// To be made before the files are read.
    pub(super) fn new(cert: &Path, key: &Path) -> Self {
        let served = stamps(cert, key);
        Self { cert: cert.to_owned(), key: key.to_owned(), served, refused: None }
    }

    pub(super) fn look(&mut self, gate: &Gate) {
        let now = stamps(&self.cert, &self.key);
        if now == self.served {
            self.refused = None;
            return;
        }
        if self.refused == Some((now, true)) {
            return;
        }
        match tls::server_identity(&self.cert, &self.key) {
            Ok(identity) => {
                gate.renew(identity.config);
                self.served = now;
                self.refused = None;
                log::info!("a renewed certificate is served; {}", shown(&identity.key_pin));
            }
            Err(error) => {
                let again = self.refused == Some((now, false));
                self.refused = Some((now, again));
                if again {
                    let what = error.cert.and(error.key).err().unwrap_or_default();
                    log::error!(
                        "the renewed certificate cannot be used, the old one stays: {what}"
                    );
                }
            }
        }
    }

    /// Said, and not mended yet.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.refused, Some((_, true)))
    }
}

/// What an operator puts into the agents' configuration.
pub(super) fn shown(pin: &Pin) -> String {
    format!("certificate key SHA-256 (for tls_pin_sha256): {pin}")
}
