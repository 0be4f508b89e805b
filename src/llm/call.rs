//! What each question to an endpoint cost: tokens, money, time.
//!
//! Values alone. `analyze::endpoint` makes one for every call, also for those that failed; the
//! store keeps them.

/// One question to one endpoint, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// Its place in `llm_endpoints`, from 0.
    pub(crate) endpoint: usize,
    pub(crate) provider: String,
    /// As the endpoint names it, else as it was asked for.
    pub(crate) model: String,
    /// `ANSWERED`, or the short reason of the failure; safe to store.
    pub(crate) outcome: String,
    pub(crate) usage: Usage,
    /// In millionths of the currency that `price` is in; `None` without a price, in whatever
    /// currency the endpoint may reckon.
    pub(crate) cost_micros: Option<u64>,
    /// To the last byte.
    pub(crate) latency_ms: u64,
    pub(crate) prompt_version: u32,
}

pub(crate) const ANSWERED: &str = "answered";

/// In tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// With those that were cached.
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) completion: u64,
    /// Not the endpoint's own figures.
    pub(crate) estimated: bool,
}

/// In millionths of a currency for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) input: u64,
    pub(crate) cached_input: u64,
    pub(crate) output: u64,
}

const TOKENS_OF_PRICE: u128 = 1_000_000;
/// An endpoint routes to dearer and cheaper ones. What differs by more is a slip, or worse.
const TIMES_PRICE_MAX: u64 = 10;

impl Price {
    /// In millionths, rounded up: a call is never for nothing.
    pub(crate) fn of(self, usage: Usage) -> u64 {
        let cached = usage.cached.min(usage.prompt);
        let part = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let sum = part(usage.prompt - cached, self.input)
            .saturating_add(part(cached, self.cached_input))
            .saturating_add(part(usage.completion, self.output));
        u64::try_from(sum.div_ceil(TOKENS_OF_PRICE)).unwrap_or(u64::MAX)
    }

    /// What the endpoint says that a call cost, where that can be; else by the price.
    pub(crate) fn believing(self, stated: Option<u64>, usage: Usage) -> u64 {
        let own = self.of(usage);
        let likely = own.div_ceil(TIMES_PRICE_MAX)..=own.saturating_mul(TIMES_PRICE_MAX);
        stated.filter(|stated| likely.contains(stated)).unwrap_or(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_for_a_million_tokens() {
        let price = Price { input: 150_000, cached_input: 75_000, output: 600_000 };
        for (prompt, cached, completion, micros) in [
            (0, 0, 0, 0),
            (1_000_000, 0, 0, 150_000),
            (1_000_000, 1_000_000, 1_000_000, 675_000),
            (2_000, 1_000, 100, 285),
            (1, 0, 0, 1),
            // More cached than sent is a slip of the endpoint's.
            (100, 200, 0, 8),
        ] {
            let usage = Usage { prompt, cached, completion, estimated: false };
            assert_eq!(price.of(usage), micros, "{usage:?}");
        }
        let usage = Usage { prompt: 1_000_000, cached: 0, completion: 0, estimated: false };
        for (stated, micros) in [
            (None, 150_000),
            (Some(140_000), 140_000),
            (Some(15_000), 15_000),
            (Some(1_500_000), 1_500_000),
            (Some(1_500_001), 150_000),
            (Some(14_999), 150_000),
            (Some(0), 150_000),
            (Some(u64::MAX), 150_000),
        ] {
            assert_eq!(price.believing(stated, usage), micros, "{stated:?}");
        }
        let all = Usage { prompt: u64::MAX, cached: 0, completion: u64::MAX, estimated: true };
        let dear = Price { input: u64::MAX, cached_input: 0, output: u64::MAX };
        assert_eq!(dear.of(all), u64::MAX);
    }
}
