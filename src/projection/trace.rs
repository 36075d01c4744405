//! The typical layer in detail: its ops, and its schedule as a trace for Perfetto or Chrome.

use serde_json::{Value, json};

use super::costs::Origin;
use super::machine::Machine;
use super::ops::{Class, Op, Pass};
use super::pass::{Setting, scope, typical_layer};
use super::phases::typical;
use super::request::Request;
use super::result::{Operator, Plan};
use super::schedule::{COMPUTE, EXPERTS, FABRIC, place};
use crate::units::Seconds;

/// Layers of a trace.
const TRACED_LAYERS: usize = 4;

/// The ops and collectives of the layer that sets the pace, of one micro-batch, forward.
pub(super) fn operators(request: &Request, plan: &Plan, machine: &Machine) -> Vec<Operator> {
    let (pass, setting) = typical(request, plan, machine);
    let (layer, _) = typical_layer(&scope(&request.model, plan, machine, &pass), &setting);
    let ops = &layer.ops;
    let mut list: Vec<Operator> = [&ops.attention, &ops.gate, &ops.shared, &ops.ffn, &ops.after]
        .into_iter()
        .flatten()
        .map(|op| operator(op, machine))
        .collect();
    for (name, time) in
        [("dispatch", layer.wire.dispatch), ("combine", layer.wire.combine), ("all-reduce", layer.wire.attention)]
    {
        if time > 0.0 {
            let (name, cost) = (name.to_owned(), format!("fabric {}", request.fabric.name));
            let time_s = Seconds::new(time);
            list.push(Operator { name, time_s, flop: 0.0, bytes: 0.0, bound_by: "fabric", cost });
        }
    }
    list
}

fn operator(op: &Op, machine: &Machine) -> Operator {
    let time = machine.op(op);
    let busy = machine.busy(&time, 1.0);
    let bound_by = if time.launch > busy {
        "launch"
    } else if time.compute > time.memory {
        "compute"
    } else {
        "memory"
    };
    let (flop, bytes, time_s) = (op.flop, op.bytes, Seconds::new(busy + time.launch));
    Operator { name: op.name.to_owned(), time_s, flop, bytes, bound_by, cost: cost(op, machine) }
}

fn cost(op: &Op, machine: &Machine) -> String {
    let class = match op.class {
        Class::Attention | Class::PrefillAttention => "attention",
        Class::Expert => "experts",
        Class::Dense => "products",
        Class::Gating => "gating",
        Class::Vector => "elementwise",
    };
    let Some(costs) = &machine.costs else { return format!("roofline x share of {class}") };
    match op.kernel.as_ref().and_then(|kernel| costs.origin(kernel, machine.number_type)) {
        Some(Origin::Exact) => "measured at this shape".to_owned(),
        Some(Origin::Interpolated) => "measured, interpolated".to_owned(),
        Some(Origin::Extrapolated) => EXTRAPOLATED.to_owned(),
        None => format!("no such kernel in the record: roofline x share of {class}"),
    }
}

const EXTRAPOLATED: &str = "extrapolated: roofline x nearest measured utilisation";

/// Which ops' shapes lie outside the record, in one line.
pub(super) fn extrapolated(operators: &[Operator]) -> Option<String> {
    let mut names: Vec<&str> =
        operators.iter().filter(|op| op.cost == EXTRAPOLATED).map(|op| op.name.as_str()).collect();
    names.dedup();
    let list = names.join(", ");
    (!names.is_empty())
        .then(|| format!("outside the record's shapes, so extrapolated at the nearest utilisation: {list}"))
}

/// The schedule of a few layers of a plan as a Chrome trace (Perfetto opens it): a process a micro-batch's lane.
pub fn chrome_trace(request: &Request, plan: &Plan, machine: &Machine) -> Value {
    let (pass, setting): (Pass, Setting) = typical(request, plan, machine);
    let (_, nodes) = typical_layer(&scope(&request.model, plan, machine, &pass), &setting);
    let placed = place(&nodes, setting.streams, TRACED_LAYERS, (nodes.len() / 2).max(1));
    let lanes = [(COMPUTE, "compute"), (EXPERTS, "compute, experts' cores"), (FABRIC, "fabric")];
    let mut events: Vec<Value> = lanes
        .into_iter()
        .filter(|(lane, _)| placed.iter().any(|node| node.lane == *lane))
        .map(|(lane, name)| json!({"name": "thread_name", "ph": "M", "pid": 0, "tid": lane, "args": {"name": name}}))
        .collect();
    events.extend(placed.iter().map(|node| {
        let index = node.index % nodes.len();
        json!({
            "name": nodes[index].name,
            "cat": if node.lane == FABRIC { "fabric" } else { "compute" },
            "ph": "X",
            "pid": 0,
            "tid": node.lane,
            "ts": node.start * 1e6,
            "dur": (node.end - node.start) * 1e6,
            "args": {"layer": node.index / nodes.len(), "micro_batch": node.stream},
        })
    }));
    json!({"traceEvents": events, "displayTimeUnit": "ms"})
}
