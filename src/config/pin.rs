//! A pin: the SHA-256 of the one key, or the one certificate, that a client believes.

use std::fmt;

const SHA256_BYTES: usize = 32;
/// Of 32 bytes, with the `=` that fills the last group of four.
const BASE64_CHARS: usize = 44;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin([u8; SHA256_BYTES]);

impl Pin {
    pub(super) const RULE: &str = "write the SHA-256 of the collector's key or certificate: 64 hex \
        digits, with or without colons, or base64, with or without \"sha256//\" before it";

    pub(crate) fn new(sha256: [u8; SHA256_BYTES]) -> Self {
        Self(sha256)
    }

    /// As the usual programs print it: openssl's fingerprint or digest, curl's `sha256//`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let base64 = text.strip_prefix("sha256//").unwrap_or(text);
        from_base64(base64).or_else(|| from_hex(text)).map(Self)
    }
}

/// As openssl prints a digest, so that the two can be compared and pasted.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A colon between all bytes, or none.
fn from_hex(text: &str) -> Option<[u8; SHA256_BYTES]> {
    let step = if text.contains(':') { 3 } else { 2 };
    let text = text.as_bytes();
    if text.len() != SHA256_BYTES * step - (step - 2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; SHA256_BYTES];
    for (byte, written) in bytes.iter_mut().zip(text.chunks(step)) {
        *byte = (digit(written[0])? << 4 | digit(written[1])?) as u8;
        if written.get(2).is_some_and(|colon| *colon != b':') {
            return None;
        }
    }
    Some(bytes)
}

fn from_base64(text: &str) -> Option<[u8; SHA256_BYTES]> {
    let digits = text.strip_suffix('=').filter(|_| text.len() == BASE64_CHARS)?;
    let mut bytes = Vec::with_capacity(SHA256_BYTES);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // What the last digit has beyond the last byte is nothing.
    if bits == 0 { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of nothing, as every program knows it.
    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const BASE64: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn with_colons(hex: &str) -> String {
        let pairs: Vec<_> = hex.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
        pairs.join(":")
    }

    #[test]
    fn each_usual_form_is_the_same_pin() {
        for text in [
            HEX.to_owned(),
            HEX.to_uppercase(),
            with_colons(HEX),
            with_colons(HEX).to_uppercase(),
            format!(" {HEX}\n"),
            BASE64.to_owned(),
            format!("sha256//{BASE64}"),
        ] {
            let pin = Pin::parse(&text).map(|pin| pin.to_string());
            assert_eq!(pin.as_deref(), Some(HEX), "{text:?}");
        }
    }

    #[test]
    fn every_byte_survives_each_form() {
        for byte in 0..=255_u8 {
            let mut sha256 = [0x5a; SHA256_BYTES];
            sha256[usize::from(byte) % SHA256_BYTES] = byte;
            let pin = Pin::new(sha256);
            assert_eq!(Pin::parse(&pin.to_string()), Some(pin));
            assert_eq!(Pin::parse(&with_colons(&pin.to_string())), Some(pin));
        }
    }

    #[test]
    fn what_is_no_pin() {
        for text in [
            String::new(),
            "sha256//".to_owned(),
            HEX[1..].to_owned(),
            format!("{HEX}0"),
            HEX.replace('e', "g"),
            HEX.replace('e', "é"),
            format!("sha256//{HEX}"),
            with_colons(HEX).replacen(':', "-", 1),
            with_colons(HEX).replacen(':', "", 1),
            format!("{}:", with_colons(HEX)),
            format!("SHA256 Fingerprint={HEX}"),
            BASE64[1..].to_owned(),
            BASE64.trim_end_matches('=').to_owned(),
            BASE64.replace('+', "-"),
            // Bits beyond the last byte.
            BASE64.replace("U=", "V="),
            // SHA-1, and a whole line of curl's list.
            "da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned(),
            format!("sha256//{BASE64};sha256//{BASE64}"),
        ] {
            assert_eq!(Pin::parse(&text), None, "{text:?}");
        }
    }
}
