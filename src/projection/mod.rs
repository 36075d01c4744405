//! What 384 of them would deliver: pure functions over values, no GPU, no clock, no file.
//!
//! [`project`] answers one [`Request`]; [`compare`] also asks it on another fabric; [`search`] finds the front of
//! latency against throughput.
//!
//! # Floors
//!
//! Each file uses only files of the floors above it in this list, or files before it on its own floor:
//!
//! 1. Words: [`parallel_plan`], [`terms`], [`expert_load`], [`caveat`].
//! 2. Costs of ops: [`op`], [`ops`] (the ops of a layer), [`costs`] (measured kernels), [`slowest`] (the spread of devices), [`chip`],
//!    [`request`] (the question), [`result`] (the answer's types).
//! 3. The network: [`fabric`].
//! 4. One rank: [`machine`] (chip and fabric as it sees them), [`memory`], [`wire`] (a layer's collectives).
//! 5. One pass: [`schedule`] (nodes on lanes), [`pass`] (a layer as nodes), [`experts_apart`] (experts on other ranks).
//! 6. One plan: [`phases`] (a step by terms), [`plan`] (all plans, and the best).
//! 7. About a plan: `inputs` (what is uncertain), [`uncertainty`] (intervals), `binding` (what binds), `operators`,
//!    [`timeline`], [`on_network`] (ports and faults instead of closed forms).
//! 8. [`answer`](project): [`project`], [`compare`], [`estimate`], [`search`].
//!    [`energy`]: what its tokens draw and cost.
//! 9. [`serving`]: prefill and decode of the same requests under a load.
//! 10. [`questions`]: sweeps, scaling, explanations, claims, what-ifs. [`validation`]: published figures next to the
//!     model's.
//! 11. [`calibration`]: fits of fabrics on published or measured figures.

mod answer;
mod binding;
pub mod calibration;
pub mod caveat;
pub mod chip;
pub mod costs;
pub mod energy;
pub mod expert_load;
pub mod experts_apart;
pub mod fabric;
mod framework_costs;
mod inputs;
pub mod machine;
pub mod memory;
pub mod on_network;
pub mod op;
#[cfg(feature = "parquet")]
pub mod operator_source;
mod operators;
pub mod ops;
mod parallel;
pub mod parallel_plan;
pub mod pass;
pub mod phases;
pub mod plan;
pub mod questions;
pub mod request;
pub mod result;
pub mod schedule;
pub mod serving;
pub mod slowest;
pub mod tabled;
pub mod terms;
pub mod timeline;
pub mod uncertainty;
pub mod validation;
pub mod wire;

pub use crate::specs::{NumberType, Provenance};
pub use answer::{Comparison, compare, estimate, project, search, trace_of};
pub use caveat::ProjectionCaveat;
pub use chip::ChipModel;
pub use costs::CostOrigin;
pub use energy::{PowerUnknown, Prices, SystemPower, TokenCosts};
pub use expert_load::ExpertLoad;
pub use parallel_plan::{ExpertExchange, ExpertWorker, ParallelPlan, Phase, Recompute};
pub use plan::{ScoredPlan, Search};
pub use questions::{
    catalogue, claims, explain, explain_chips, explain_serving, explain_slowest, model_table, outlook, scaling,
    served_systems, serving_point, surface, sweep,
};
pub use request::{Infeasible, Pins, PipelineSchedule, Request, Workload};
pub use result::{
    BoundBy, CostSource, Interval, Intervals, MemoryUse, Operator, OperatorBound, Projection, Resource, Swing,
};
pub use terms::{Term, Terms};
