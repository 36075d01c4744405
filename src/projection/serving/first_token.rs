//! Prefill and decode on chips of their own: a queue of prompts before workers that prefill, and steps of decode that no
//! prompt interrupts.

/// The load of a deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptLoad {
    /// Requests in flight.
    pub concurrency: f64,
    /// Tokens of an answer.
    pub output_len: f64,
    /// Prompts that the workers compute side by side.
    pub prefill_lanes: f64,
    /// Share of the requests that start all at once.
    pub first_wave: f64,
}

/// Times of prompts, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptTimes {
    /// Time per token of decode with the requests of a worker.
    pub token_s: f64,
    /// A prompt on its own.
    pub prefill_s: f64,
    /// A prompt among others, of one worker.
    pub packed_s: f64,
    /// Fixed time of a request before its first token, transfer of the cache included.
    pub request_s: f64,
}

/// Prompts before one's own in the queue, of `others` requests: those of random arrivals (Pollaczek and Khinchine:
/// `utilisation / 2` over the idle share), bounded by half of all, and half of those that start at once.
pub(super) fn prompts_before(utilisation: f64, others: f64, first_wave: f64) -> f64 {
    let used = utilisation.min(1.0);
    let queued = (used / 2.0 / (1.0 - used).max(1e-9)).min(others / 2.0);
    first_wave * others / 2.0 + (1.0 - first_wave) * queued
}

/// Mean time to the first token, in seconds.
///
/// - It waits for the prompts before it.
/// - Where the workers cannot prefill as fast as requests end, requests wait for them: `concurrency` prompts per lifetime.
pub fn first_token(load: &PromptLoad, times: &PromptTimes) -> f64 {
    let packed_s = times.packed_s / load.prefill_lanes.max(1.0);
    let decode_s = load.output_len * times.token_s;
    let others = (load.concurrency - 1.0).max(0.0);
    let lifetime_s = times.request_s + times.prefill_s + decode_s;
    let waiting = prompts_before(load.concurrency * packed_s / lifetime_s, others, load.first_wave);
    let served_s = times.request_s + times.prefill_s + waiting * packed_s;
    served_s.max(load.concurrency * packed_s - decode_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: PromptTimes = PromptTimes { token_s: 0.01, prefill_s: 0.1, packed_s: 0.08, request_s: 0.02 };

    fn load(concurrency: f64) -> PromptLoad {
        PromptLoad { concurrency, output_len: 1024.0, prefill_lanes: 1.0, first_wave: 0.1 }
    }

    #[test]
    fn one_request_waits_for_its_own_prompt_alone() {
        assert!((first_token(&load(1.0), &TIMES) - 0.12).abs() < 1e-3);
    }

    #[test]
    fn more_load_waits_longer_and_more_workers_less() {
        let mut before = 0.0;
        for concurrency in 1..1000 {
            let load = load(f64::from(concurrency));
            let alone = first_token(&load, &TIMES);
            assert!(alone >= before && first_token(&PromptLoad { prefill_lanes: 2.0, ..load }, &TIMES) <= alone);
            before = alone;
        }
    }
}
