//! Serving under a load: time to the first token, time per output token and throughput of a deployment.
//!
//! From steps to answers:
//!
//! 1. [`load`]: what users ask for. [`steady`]: an engine in the steady state, in closed form. [`trace`]: requests as
//!    they were seen.
//! 2. [`engine`]: the engines of a plan, whose steps are those of [`phases`](crate::projection::phases).
//! 3. [`step_table`], [`simulate`]: the same engines request by request. [`watch`] hears what happens, [`picture`] draws it.
//! 4. [`deployment`]: one plan under a load; [`disaggregated`]: two. [`apart_plans`]: attention and experts on different chips.
//!    [`search`], [`worker_search`]: all of them, and the front. [`mod@pinned`]: a question about it alone. [`band`]: its figures
//!    with the uncertain inputs drawn.
//! 5. [`question`], [`answer`](mod@answer), [`simulated`] (the chosen deployment request by request): what `supernode project --phase serving` says.

pub mod aggregated;
pub mod answer;
pub mod apart_plans;
pub mod band;
pub mod deployment;
pub mod disaggregated;
pub mod engine;
mod event;
pub mod first_token;
pub mod load;
pub mod picture;
pub mod pinned;
pub mod question;
pub mod search;
pub mod simulate;
pub mod simulated;
pub mod steady;
pub mod step_table;
pub mod trace;
pub mod watch;
pub mod worker_search;

pub use answer::{ServingAnswer, answer, front, watched};
pub use load::{ApartPins, Lengths, ServiceLimits, ServingLoad, ServingMode, WorkerPins};
pub use question::{ServingRefusal, ServingRequest};
