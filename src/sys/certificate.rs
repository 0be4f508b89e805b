//! A server's own certificate: P-256, signed by itself, made without any other program; and the
//! names that a certificate holds.
//!
//! X.509 as RFC 5280 has it, written for this one purpose: a crate that writes any certificate
//! brings seven more.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::{files, random, tls};
use crate::time::Wall;

/// Nobody is to be woken by a date: agents go by the key.
const VALID: Duration = Duration::from_secs(3650 * DAY_SECONDS);
/// Hosts whose clocks are behind believe it too.
const BACKDATED: Duration = Duration::from_secs(DAY_SECONDS);
const DAY_SECONDS: u64 = 24 * 3600;
const SERIAL_BYTES: usize = 16;
const PEM_COLUMNS: usize = 64;

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Dns(String),
    Address(IpAddr),
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// A private key on P-256, with its PKCS#8 form.
pub(crate) struct SigningKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn generate() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .expect("the kernel's generator is seeded at boot");
        Self::parse(pkcs8.as_ref()).expect("it was made a line above")
    }

    /// One that is there.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let key = tls::private_key(path)?;
        Self::parse(key.secret_der()).ok_or_else(|| {
            let shown = files::quoted(path);
            let hint = ", or PKCS#8 of it by openssl pkcs8 -topk8 -nocrypt";
            let hint = if tls::is_sec1(&key) { hint } else { "" };
            format!(
                "the key in {shown} is no P-256 key in PKCS#8; make its certificate by \
                 openssl{hint}"
            )
        })
    }

    fn parse(pkcs8: &[u8]) -> Option<Self> {
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &SystemRandom::new()).ok()?;
        Some(Self { pair, pkcs8: pkcs8.to_vec() })
    }

    pub(crate) fn pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// A certificate of this key for these names, as PEM.
    pub(crate) fn certificate(&self, names: &[Name], now: Wall) -> String {
        let to_be_signed = self.to_be_signed(names, now);
        let signature = self.pair.sign(&SystemRandom::new(), &to_be_signed);
        let signature = signature.expect("the kernel's generator is seeded at boot");
        let parts = [to_be_signed, algorithm(), bit_string(signature.as_ref())];
        pem("CERTIFICATE", &tlv(SEQUENCE, &parts.concat()))
    }

    fn to_be_signed(&self, names: &[Name], now: Wall) -> Vec<u8> {
        let mut serial: [u8; SERIAL_BYTES] = random::bytes();
        // Positive, and as long as it says.
        serial[0] = serial[0] & 0x7f | 0x40;
        let subject = name(COMMON_NAME);
        let begin = now.minus(BACKDATED);
        let validity = [time(begin), time(begin.plus(VALID))].concat();
        let curve = [tlv(OID, EC_PUBLIC_KEY), tlv(OID, PRIME256V1)].concat();
        let public = bit_string(self.pair.public_key().as_ref());
        let parts = [
            tlv(VERSION, &tlv(INTEGER, &[2])),
            tlv(INTEGER, &serial),
            algorithm(),
            subject.clone(),
            tlv(SEQUENCE, &validity),
            subject,
            tlv(SEQUENCE, &[tlv(SEQUENCE, &curve), public].concat()),
            tlv(EXTENSIONS, &tlv(SEQUENCE, &extensions(names))),
        ];
        tlv(SEQUENCE, &parts.concat())
    }
}

/// The names of a certificate in DER, in their order; none where it holds none that are known.
pub(crate) fn names(certificate: &[u8]) -> Vec<Name> {
    let Some(list) = alternative_names(certificate) else { return Vec::new() };
    let known = elements(list).filter_map(|(tag, value)| match (tag, value.len()) {
        (DNS_NAME, _) => Some(Name::Dns(String::from_utf8(value.to_vec()).ok()?)),
        (IP_ADDRESS, 4) => Some(Name::Address(<[u8; 4]>::try_from(value).ok()?.into())),
        (IP_ADDRESS, 16) => Some(Name::Address(<[u8; 16]>::try_from(value).ok()?.into())),
        _ => None,
    });
    known.collect()
}

/// The last instant at which a certificate in DER is valid.
pub(crate) fn expiry(certificate: &[u8]) -> Option<Wall> {
    let (_, certificate) = elements(certificate).next()?;
    let (_, to_be_signed) = elements(certificate).next()?;
    // Of the sequences, the third: how it is signed, by whom, from when to when.
    let (_, validity) = elements(to_be_signed).filter(|(tag, _)| *tag == SEQUENCE).nth(2)?;
    let (tag, digits) = elements(validity).nth(1)?;
    let digits = std::str::from_utf8(digits).ok()?;
    let century = match tag {
        GENERALIZED_TIME => "",
        _ if digits < "50" => "20",
        _ => "19",
    };
    let digits = format!("{century}{digits}");
    Wall::parse(&format!("{}T{}", digits.get(..8)?, digits.get(8..)?))
}

fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate) = elements(certificate).next()?;
    let (_, to_be_signed) = elements(certificate).next()?;
    let (_, extensions) = elements(to_be_signed).find(|(tag, _)| *tag == EXTENSIONS)?;
    let (_, extensions) = elements(extensions).next()?;
    let is_names = |extension: &&[u8]| elements(extension).next() == Some((OID, ALTERNATIVE_NAMES));
    let extension = elements(extensions).map(|(_, extension)| extension).find(is_names)?;
    let (_, value) = elements(extension).find(|(tag, _)| *tag == OCTET_STRING)?;
    Some(elements(value).next()?.1)
}

// DER's tags.
const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

// Object identifiers, in DER.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const NAME: &[u8] = &[0x55, 0x04, 0x03];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

const COMMON_NAME: &str = "tasseograph collector";
/// The first bit of seven: it signs handshakes.
const DIGITAL_SIGNATURE: [u8; 2] = [7, 0x80];
const TRUE: [u8; 1] = [0xff];

/// A tag, the length of what follows, and that.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    match value.len() {
        0..=127 => out.push(value.len() as u8),
        _ => {
            out.push(0x80 | significant.len() as u8);
            out.extend_from_slice(significant);
        }
    }
    out.extend_from_slice(value);
    out
}

/// What stands in `der`, one behind the other; ends early at what is no DER.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&tag, rest) = der.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let sum = |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add((*byte).into());
            (length, rest) = (bytes.iter().try_fold(0, sum)?, after);
        }
        let (value, after) = rest.split_at_checked(length)?;
        der = after;
        Some((tag, value))
    })
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

fn algorithm() -> Vec<u8> {
    tlv(SEQUENCE, &tlv(OID, ECDSA_WITH_SHA256))
}

fn name(common: &str) -> Vec<u8> {
    let pair = [tlv(OID, NAME), tlv(UTF8_STRING, common.as_bytes())].concat();
    tlv(SEQUENCE, &tlv(SET, &tlv(SEQUENCE, &pair)))
}

/// Two digits of the year until 2049, four from then on.
fn time(wall: Wall) -> Vec<u8> {
    let digits = wall.to_string().bytes().filter(u8::is_ascii_digit).take(14).collect::<Vec<_>>();
    if digits[..4] < b"2050"[..] {
        tlv(UTC_TIME, &[&digits[2..], b"Z"].concat())
    } else {
        tlv(GENERALIZED_TIME, &[&digits[..], b"Z"].concat())
    }
}

/// It is a server's, and no authority's.
fn extensions(names: &[Name]) -> Vec<u8> {
    let critical = tlv(BOOLEAN, &TRUE);
    let extension = |oid: &[u8], critical: &[u8], value: &[u8]| {
        tlv(SEQUENCE, &[&tlv(OID, oid), critical, &tlv(OCTET_STRING, value)].concat())
    };
    let named = names.iter().flat_map(|name| match name {
        Name::Dns(name) => tlv(DNS_NAME, name.as_bytes()),
        Name::Address(IpAddr::V4(address)) => tlv(IP_ADDRESS, &address.octets()),
        Name::Address(IpAddr::V6(address)) => tlv(IP_ADDRESS, &address.octets()),
    });
    [
        extension(BASIC_CONSTRAINTS, &critical, &tlv(SEQUENCE, &[])),
        extension(KEY_USAGE, &critical, &tlv(BIT_STRING, &DIGITAL_SIGNATURE)),
        extension(EXTENDED_KEY_USAGE, &[], &tlv(SEQUENCE, &tlv(OID, SERVER_AUTH))),
        extension(ALTERNATIVE_NAMES, &[], &tlv(SEQUENCE, &named.collect::<Vec<u8>>())),
    ]
    .concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let lines: Vec<_> = text.as_bytes().chunks(PEM_COLUMNS).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= group.len() { digit.into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_rfc_4648_has_it() {
        for (bytes, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (length, head) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
            (65_536, &[4, 0x83, 1, 0, 0]),
        ] {
            let der = tlv(4, &vec![7; length]);
            assert_eq!((&der[..head.len()], der.len()), (head, head.len() + length));
            assert!(elements(&der).eq([(4, &der[head.len()..])]), "{length}");
        }
    }

    #[test]
    fn what_is_no_der_has_no_names() {
        let certificate = SigningKey::generate();
        let whole = certificate.to_be_signed(&[Name::Dns("a".into())], Wall::from_micros(0));
        let whole = tlv(SEQUENCE, &whole);
        assert_eq!(names(&whole), [Name::Dns("a".into())]);
        for end in 0..whole.len() {
            assert_eq!(names(&whole[..end]), [], "{end}");
        }
        let long = [0x30, 0xff].iter().chain(&[0xff; 200]).copied().collect::<Vec<u8>>();
        assert_eq!(names(&long), []);
    }

    #[test]
    fn years_have_two_digits_until_2049() {
        for (wall, expected) in [
            ("2026-02-03T12:30:00Z", &b"\x17\x0d260203123000Z"[..]),
            ("2049-12-31T23:59:59Z", b"\x17\x0d491231235959Z"),
            ("2050-01-01T00:00:00Z", b"\x18\x0f20500101000000Z"),
        ] {
            assert_eq!(time(Wall::parse(wall).unwrap()), expected, "{wall}");
        }
    }

    #[test]
    fn a_certificate_tells_when_it_expires() {
        let key = SigningKey::generate();
        for made in ["2026-02-03T12:30:00Z", "1960-01-01T00:00:00Z", "2045-12-31T23:59:59Z"] {
            let made = Wall::parse(made).unwrap();
            let whole = tlv(SEQUENCE, &key.to_be_signed(&[], made));
            assert_eq!(expiry(&whole), Some(made.minus(BACKDATED).plus(VALID)), "{made}");
            for end in 0..whole.len() {
                assert!(expiry(&whole[..end]).is_none_or(|at| Some(at) == expiry(&whole)));
            }
        }
    }
}
