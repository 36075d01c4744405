//! Serving under load: what requests in flight make of the times of prefill and decode.

pub mod aggregated;
pub mod first_token;
