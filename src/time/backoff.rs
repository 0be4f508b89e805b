//! Backoff with full jitter: a random wait between nothing and a doubling ceiling, so that a fleet
//! that failed together does not come back together.

use std::time::Duration;

use super::Random;

/// The wait before try number `failures + 1`: uniform in `[0, min(base * 2^(failures-1), cap)]`.
pub(crate) fn full_jitter(
    failures: u32,
    base: Duration,
    cap: Duration,
    random: &mut Random,
) -> Duration {
    let doublings = failures.saturating_sub(1).min(32);
    let ceiling = base.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(cap);
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random.below(micros.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_fill_their_range() {
        let mut random = Random::from_seed(7);
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(60));
        for (failures, ceiling) in [(1, 1), (2, 2), (3, 4), (7, 60), (40, 60), (u32::MAX, 60)] {
            let waits: Vec<_> =
                (0..1000).map(|_| full_jitter(failures, base, cap, &mut random)).collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            let ceiling = Duration::from_secs(ceiling);
            assert!(*most <= ceiling && *most > ceiling * 9 / 10, "{failures}: {most:?}");
            assert!(*least < ceiling / 10, "{failures}: {least:?}");
        }
    }
}
