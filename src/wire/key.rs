//! A host's own key, as it is written: `NAME.HEX`.
//!
//! HEX is the lower hex of HMAC-SHA256, with the collector's key as its key, of the name. The name
//! stands in front, so that a key can be judged without the post that it comes with.

use super::HostName;

/// What HMAC-SHA256 gives.
pub(crate) const MAC_BYTES: usize = 32;

/// Of the right form; whether it is right, the collector's key tells. No `Debug`: it is a secret.
pub(crate) struct HostKey {
    pub(crate) host: HostName,
    pub(crate) mac: [u8; MAC_BYTES],
}

impl HostKey {
    /// `None`: some other key. A name may hold dots, so the last one is where it ends.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        let (name, hex) = key.rsplit_once('.')?;
        Some(Self { host: HostName::parse(name)?, mac: unhex(hex)? })
    }

    pub(crate) fn encode(&self) -> String {
        let hex: String = self.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}.{hex}", self.host)
    }
}

fn unhex(hex: &str) -> Option<[u8; MAC_BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != MAC_BYTES || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; MAC_BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_hosts_key() {
        let hex = "00ff".repeat(16);
        for name in ["a", "web-1", "db.example.org", "10.0.0.7", ".", "a."] {
            let text = format!("{name}.{hex}");
            let key = HostKey::parse(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((key.host.as_str(), key.mac[1], key.encode()), (name, 0xff, text));
        }
        for other in [
            String::new(),
            hex.clone(),
            format!(".{hex}"),
            format!("a b.{hex}"),
            format!("web-1{hex}"),
            format!("web-1.{}", hex.to_uppercase()),
            format!("web-1.{}", &hex[1..]),
            format!("web-1.{hex}0"),
            format!("web-1.{}g", &hex[1..]),
            format!("web-1.{}é", &hex[2..]),
            format!("web-1.{hex}."),
            format!("{}.{hex}", "x".repeat(254)),
        ] {
            assert!(HostKey::parse(&other).is_none(), "{other}");
        }
    }
}
