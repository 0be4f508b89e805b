//! Randomness from the system.

use ring::rand::{SecureRandom, SystemRandom};

/// Fit for secrets. The system's generator cannot fail once it is seeded, which every boot does
/// long before us.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel's generator is seeded at boot");
    bytes
}

/// A seed for jitter.
pub(crate) fn seed() -> u64 {
    u64::from_ne_bytes(bytes())
}
