//! The boot id: which boot of which machine a sequence number belongs to.

use std::fmt;

/// A UUID as /proc/sys/kernel/random/boot_id gives it: 36 characters, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BootId(String);

impl BootId {
    /// Takes upper case and surrounding white space too; anything but a UUID is `None`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id = text.trim().to_ascii_lowercase();
        let hyphens = [8, 13, 18, 23];
        let well_formed = id.len() == 36
            && id.bytes().enumerate().all(|(at, byte)| match byte {
                b'-' => hyphens.contains(&at),
                byte => !hyphens.contains(&at) && byte.is_ascii_hexdigit(),
            });
        well_formed.then_some(Self(id))
    }

    /// The id of a log that comes from a file instead of a running kernel: made from a digest of
    /// its start, so that reading the same file again is the same boot.
    pub(crate) fn from_digest(digest: &[u8; 32]) -> Self {
        let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        ))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uuids_are_boot_ids() {
        let id = "422187ae-7ed4-4935-b73e-ea4262667985";
        assert_eq!(BootId::parse(&format!("{}\n", id.to_uppercase())).unwrap().as_str(), id);
        for bad in [
            "",
            "422187ae",
            "422187ae-7ed4-4935-b73e-ea426266798",
            "422187ae-7ed4-4935-b73e-ea426266798g",
        ] {
            assert_eq!(BootId::parse(bad), None, "{bad:?}");
        }
        assert_eq!(BootId::parse("422187ae07ed4-4935-b73e-ea4262667985"), None);
    }

    #[test]
    fn an_id_made_from_a_digest_is_one() {
        let id = BootId::from_digest(&[0xab; 32]);
        assert_eq!(BootId::parse(id.as_str()), Some(id));
    }
}
