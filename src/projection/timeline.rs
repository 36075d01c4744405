//! The schedule of a few layers in time, and as a trace for Perfetto or Chrome.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::projection::machine::Machine;
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::pass::{Rank, typical_layer};
use crate::projection::phases::typical;
use crate::projection::request::Request;
use crate::projection::schedule::{Lane, place};

/// Layers of a trace.
const TRACED_LAYERS: usize = 4;

/// A few layers of a plan in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// Names of the lanes that are used, by number.
    pub lanes: BTreeMap<usize, &'static str>,
    /// What runs when.
    pub spans: Vec<Span>,
}

/// One op or collective in time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// Its name.
    pub name: &'static str,
    /// The number of its lane.
    pub lane: usize,
    /// Whether it is communication.
    pub is_fabric: bool,
    /// Counts from 0.
    pub layer: usize,
    /// Counts from 0.
    pub micro_batch: usize,
    /// From the start of the first layer.
    pub start_s: f64,
    /// From the start of the first layer.
    pub end_s: f64,
}

/// The schedule of a few layers of a plan.
pub fn timeline(request: &Request, plan: &ParallelPlan, machine: &Machine) -> Timeline {
    let (pass, setting) = typical(request, plan, machine);
    let rank = Rank { model: &request.model, plan, machine, pass: &pass };
    let (_, nodes, period) = typical_layer(&rank, &setting);
    let placed = place(&nodes, setting.streams, TRACED_LAYERS, period.lag);
    let used = |lane: &Lane| placed.iter().any(|node| node.lane == *lane);
    let lanes = Lane::ALL.into_iter().filter(used).map(|lane| (lane as usize, lane_name(lane))).collect();
    let spans = placed.iter().map(|node| Span {
        name: nodes[node.index % nodes.len()].name,
        lane: node.lane as usize,
        is_fabric: node.lane == Lane::Fabric,
        layer: node.index / nodes.len(),
        micro_batch: node.stream,
        start_s: node.start,
        end_s: node.end,
    });
    Timeline { lanes, spans: spans.collect() }
}

const fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Compute => "compute",
        Lane::Experts => "compute, other cores",
        Lane::Fabric => "fabric",
    }
}

/// The schedule of a few layers of a plan as a Chrome trace, which Perfetto opens: one thread per lane.
pub fn chrome_trace(request: &Request, plan: &ParallelPlan, machine: &Machine) -> Value {
    let Timeline { lanes, spans } = timeline(request, plan, machine);
    let mut events: Vec<Value> = lanes
        .iter()
        .map(|(lane, name)| json!({"name": "thread_name", "ph": "M", "pid": 0, "tid": lane, "args": {"name": name}}))
        .collect();
    events.extend(spans.iter().map(|span| {
        json!({
            "name": span.name,
            "cat": if span.is_fabric { "fabric" } else { "compute" },
            "ph": "X",
            "pid": 0,
            "tid": span.lane,
            "ts": span.start_s * 1e6,
            "dur": (span.end_s - span.start_s) * 1e6,
            "args": {"layer": span.layer, "micro_batch": span.micro_batch},
        })
    }));
    json!({"traceEvents": events, "displayTimeUnit": "ms"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{ChipModel, Phase, estimate};
    use crate::specs::{Chip, Fabric, Model, Scenario};

    #[test]
    fn a_layer_of_the_timeline_takes_as_long_as_was_priced() {
        for phase in [Phase::Decode, Phase::Prefill] {
            let model = Model::load("deepseek-v3").unwrap();
            let chip = ChipModel::from_spec(&Chip::load("ascend-910c").unwrap());
            let request = Request::new(model, chip, Fabric::load("cloudmatrix384").unwrap(), 384, phase);
            let machine = Machine::new(&request, Scenario::Nominal).unwrap();
            let plan = ParallelPlan { microbatches: 2, ..estimate(&request).unwrap().0 };
            let (pass, setting) = typical(&request, &plan, &machine);
            let rank = Rank { model: &request.model, plan: &plan, machine: &machine, pass: &pass };
            let (.., period) = typical_layer(&rank, &setting);
            let spans = timeline(&request, &plan, &machine).spans;
            let start = |layer| spans.iter().find(|span| (span.micro_batch, span.layer) == (0, layer)).unwrap().start_s;
            let took = start(3) - start(2);
            assert!((took / period.time - 1.0).abs() < 0.01, "{phase:?}: {took} for {}", period.time);
        }
    }
}
