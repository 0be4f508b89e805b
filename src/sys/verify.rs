//! Whom a TLS client believes where no certificate authority is asked: the holder of a pinned key,
//! or anyone.
//!
//! A pin replaces names, dates and issuers, as a known host's key does for SSH. What it does not
//! replace is the handshake's signature: the certificate is public, and only who holds its key may
//! stand behind it. Driven by rustls, through the configuration that `sys::tls` makes.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};

use super::digest::sha256;
use crate::config::Pin;

/// Believes whoever shows a certificate that is pinned, or whose key is, and holds that key.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) pins: Vec<Pin>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Believes whoever answers.
#[derive(Debug)]
pub(super) struct Anyone;

/// Why a server that should hold a pinned key is not believed.
#[derive(Debug)]
pub(super) enum Refusal {
    Unreadable(String),
    OtherKey(Pin),
    KeyNotHeld,
}

/// Of a certificate's key (its SubjectPublicKeyInfo). It stays when the certificate is made anew
/// from the same key.
pub(super) fn key_pin(certificate: &CertificateDer<'_>) -> Result<Pin, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Pin::new(sha256(&[&parsed.subject_public_key_info()])))
}

/// rustls has its parser's own name for the one that people make by accident.
pub(super) fn unreadable(error: &rustls::Error) -> String {
    let shown = error.to_string();
    if shown.contains("UnsupportedCertVersion") {
        return "it is of X.509 version 1, which has no names and is not taken; make one by \
                tasseograph collector --init, or by openssl req -x509 with -addext"
            .to_owned();
    }
    shown
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = key_pin(end_entity).map_err(|why| Refusal::Unreadable(unreadable(&why)))?;
        let whole = Pin::new(sha256(&[end_entity]));
        if self.pins.iter().any(|pin| *pin == key || *pin == whole) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Refusal::OtherKey(key).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        held(verify_tls12_signature(message, cert, signature, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        held(verify_tls13_signature(message, cert, signature, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Else it would read like a certificate's own bad signature.
fn held(
    verified: Result<HandshakeSignatureValid, rustls::Error>,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let bad = rustls::Error::InvalidCertificate(CertificateError::BadSignature);
    verified.map_err(|error| if error == bad { Refusal::KeyNotHeld.into() } else { error })
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Those that we could not verify too: nobody does.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as Scheme;
        vec![
            Scheme::ECDSA_NISTP256_SHA256,
            Scheme::ECDSA_NISTP384_SHA384,
            Scheme::ECDSA_NISTP521_SHA512,
            Scheme::ED25519,
            Scheme::ED448,
            Scheme::RSA_PSS_SHA256,
            Scheme::RSA_PSS_SHA384,
            Scheme::RSA_PSS_SHA512,
            Scheme::RSA_PKCS1_SHA256,
            Scheme::RSA_PKCS1_SHA384,
            Scheme::RSA_PKCS1_SHA512,
            Scheme::RSA_PKCS1_SHA1,
        ]
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::OtherKey(key) => write!(
                f,
                "its key's SHA-256 is {key}, none of tls_pin_sha256; if that is the collector's, \
                 which its log tells, put it there"
            ),
            Self::KeyNotHeld => f.write_str(
                "it is one of tls_pin_sha256, but who shows it does not hold its key; something \
                 answers in the collector's place",
            ),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}
