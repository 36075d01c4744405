//! Continuous batching on the same chips: prompts are computed between, or together with, the steps of decode.
//!
//! Requests are in flight all the time: as one ends, the next one starts. While a request decodes, each of the others
//! starts once, so that a lifetime holds `concurrency` prompts and `output_len` steps, however they take turns.

use crate::projection::serving::first_token::prompts_before;

/// The load of one group of chips.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClosedLoad {
    /// Requests in flight.
    pub concurrency: f64,
    /// Requests whose cache fits into the memory; the others wait.
    pub capacity: f64,
    /// Tokens of an answer.
    pub output_len: f64,
    /// Share of the requests that start all at once, as the first ones of a benchmark do.
    pub first_wave: f64,
}

/// Times of steps, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClosedTimes {
    /// A step of decode with the requests that run.
    pub decode_s: f64,
    /// A prompt on its own.
    pub prefill_s: f64,
    /// A prompt among others, or among the tokens of decode.
    pub packed_s: f64,
    /// Fixed time of a request before its first token.
    pub request_s: f64,
}

/// What a request sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClosedMeans {
    /// Mean time to the first token, seconds.
    pub ttft_s: f64,
    /// Mean time per token after the first, seconds.
    pub tpot_s: f64,
    /// Output tokens per second of all requests.
    pub tokens_per_s: f64,
}

/// Means over a long run.
///
/// - Of the prompts that start during a request's lifetime, those before it in the queue delay its first token, the
///   others its decode.
/// - Requests beyond the capacity wait for a place: `(concurrency - capacity) / capacity` lifetimes.
pub fn steady(load: &ClosedLoad, times: &ClosedTimes) -> ClosedMeans {
    let running = load.concurrency.min(load.capacity).max(1.0);
    let steps = (load.output_len - 1.0).max(1.0);
    let others = (running - 1.0).max(0.0);
    let prompts_s = others * times.packed_s;
    let lifetime_s = times.prefill_s + prompts_s + steps * times.decode_s;
    let waiting = prompts_before(running * times.packed_s / lifetime_s, others, load.first_wave);
    let before_s = waiting * times.packed_s;
    let tpot_s = times.decode_s + (prompts_s - before_s) / steps;
    // A prompt arrives in the middle of a step.
    let residual_s = if running > 1.0 { tpot_s / 2.0 } else { 0.0 };
    let place_s = (load.concurrency - running).max(0.0) / running * lifetime_s;
    let ttft_s = times.request_s + times.prefill_s + before_s + residual_s + place_s;
    let tokens_per_s = running * load.output_len / (lifetime_s + times.request_s);
    ClosedMeans { ttft_s, tpot_s, tokens_per_s }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: ClosedTimes = ClosedTimes { decode_s: 0.01, prefill_s: 0.1, packed_s: 0.08, request_s: 0.02 };

    fn load(concurrency: f64) -> ClosedLoad {
        ClosedLoad { concurrency, capacity: f64::INFINITY, output_len: 1024.0, first_wave: 0.1 }
    }

    #[test]
    fn one_request_takes_one_prefill_and_decode_alone() {
        let seen = steady(&load(1.0), &TIMES);
        assert!((seen.ttft_s - 0.12).abs() < 1e-12 && (seen.tpot_s - 0.01).abs() < 1e-12);
        assert!((seen.tokens_per_s - 1024.0 / (0.12 + 1023.0 * 0.01)).abs() < 1e-9);
    }

    #[test]
    fn more_load_is_never_faster_for_a_user() {
        let mut before = steady(&load(1.0), &TIMES);
        for concurrency in 2..2000 {
            let seen = steady(&load(f64::from(concurrency)), &TIMES);
            assert!(seen.ttft_s >= before.ttft_s && seen.tpot_s >= before.tpot_s, "{concurrency}");
            before = seen;
        }
    }

    #[test]
    fn a_lifetime_holds_a_prompt_of_each_request_however_they_take_turns() {
        for first_wave in [0.0, 0.3, 1.0] {
            let seen = steady(&ClosedLoad { first_wave, ..load(64.0) }, &TIMES);
            let lifetime = seen.ttft_s - 0.02 - seen.tpot_s / 2.0 + 1023.0 * seen.tpot_s;
            assert!((lifetime - (0.1 + 63.0 * 0.08 + 1023.0 * 0.01)).abs() < 1e-9, "{first_wave}: {lifetime}");
        }
    }

    #[test]
    fn requests_beyond_the_memory_wait_for_a_place() {
        let free = steady(&load(8.0), &TIMES);
        let full = steady(&ClosedLoad { capacity: 8.0, ..load(16.0) }, &TIMES);
        assert!((full.tpot_s - free.tpot_s).abs() < 1e-12);
        assert!((full.tokens_per_s - free.tokens_per_s).abs() < 1e-9 && full.ttft_s > 1024.0 * free.tpot_s);
    }
}
