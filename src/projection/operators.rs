//! The ops of the layer that sets the pace: time, work, what binds each, and where its cost comes from.

use crate::projection::costs::CostOrigin;
use crate::projection::machine::Machine;
use crate::projection::op::Op;
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::pass::{Rank, typical_layer};
use crate::projection::phases::typical;
use crate::projection::request::Request;
use crate::projection::result::{Operator, OperatorBound};
use crate::units::{Bytes, Flop, Seconds};

/// The ops and collectives of one micro-batch in the layer that sets the pace, forward.
pub(super) fn operators(request: &Request, plan: &ParallelPlan, machine: &Machine) -> Vec<Operator> {
    let (pass, setting) = typical(request, plan, machine);
    let rank = Rank { model: &request.model, plan, machine, pass: &pass };
    let (layer, ..) = typical_layer(&rank, &setting);
    let mut list: Vec<Operator> = layer.ops.blocks().into_iter().flatten().map(|op| operator(op, machine)).collect();
    let wire = layer.wire;
    let gathered = if plan.gathering() > 1.0 { wire.ffn } else { Seconds::ZERO };
    let collectives = [
        ("dispatch", wire.dispatch, wire.tabled.dispatch),
        ("combine", wire.combine, wire.tabled.combine),
        ("all-reduce", wire.attention, wire.tabled.attention),
        ("all-reduce of experts", gathered, wire.tabled.ffn),
    ];
    for (name, time_s, coverage) in collectives {
        if time_s > Seconds::ZERO {
            let (flop, bytes, bound_by) = (Flop::ZERO, Bytes::ZERO, OperatorBound::Fabric);
            let cost = coverage.map_or_else(|| CostOrigin::Fabric(request.fabric.name.clone()), CostOrigin::from);
            list.push(Operator { name, time_s, flop, bytes, bound_by, cost });
        }
    }
    list
}

fn operator(op: &Op, machine: &Machine) -> Operator {
    let time = machine.op(op);
    let busy = machine.busy(&time, 1.0);
    let bound_by = if time.launch > busy {
        OperatorBound::Launch
    } else if time.compute > time.memory {
        OperatorBound::Compute
    } else {
        OperatorBound::Memory
    };
    let time_s = busy + time.launch;
    Operator { name: op.name, time_s, flop: op.flop, bytes: op.bytes, bound_by, cost: cost(op, machine) }
}

fn cost(op: &Op, machine: &Machine) -> CostOrigin {
    if machine.operators.is_some() {
        let found = machine.tabled(op).map(|found| CostOrigin::from(found.coverage));
        return found.unwrap_or(CostOrigin::NotInTables(op.class));
    }
    let Some(costs) = &machine.costs else { return CostOrigin::Roofline(op.class) };
    let measured = op.kernel.as_ref().and_then(|shape| costs.origin(shape, machine.number_type));
    measured.unwrap_or(CostOrigin::NotInRecord(op.class))
}

/// The ops whose shapes lie outside the record.
pub(super) fn extrapolated(operators: &[Operator]) -> Vec<&'static str> {
    let outside = operators.iter().filter(|op| op.cost == CostOrigin::Extrapolated);
    let mut names: Vec<&'static str> = outside.map(|op| op.name).collect();
    names.dedup();
    names
}
