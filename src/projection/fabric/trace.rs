//! Flows as a trace that Perfetto and Chrome open: one track a rank, one slice a flow.

use serde_json::{Value, json};

use crate::projection::fabric::flows::{Flow, Schedule};

/// The most flows that are written; a larger exchange keeps those that end last.
pub const MOST_FLOWS: usize = 50_000;

/// The trace, and how many flows were left out of it.
pub fn trace(name: &str, unit: &str, flows: &[Flow], schedule: &Schedule) -> (Value, usize) {
    let mut order: Vec<usize> = (0..flows.len()).collect();
    let end = |place: usize| schedule.end_s.get(place).copied().unwrap_or(0.0);
    order.sort_unstable_by(|&a, &b| end(b).total_cmp(&end(a)).then(a.cmp(&b)));
    let left_out = order.len().saturating_sub(MOST_FLOWS);
    order.truncate(MOST_FLOWS);
    order.sort_unstable();
    let mut events = vec![json!({ "ph": "M", "pid": 0, "name": "process_name", "args": { "name": name } })];
    let mut named = std::collections::BTreeSet::new();
    for place in order {
        let Some(flow) = flows.get(place) else { continue };
        if named.insert(flow.from) {
            let label = format!("{unit} {}", flow.from);
            events.push(
                json!({ "ph": "M", "pid": 0, "tid": flow.from, "name": "thread_name", "args": { "name": label } }),
            );
        }
        // Slices of a track would have to nest; asynchronous ones may overlap.
        let shared =
            json!({ "pid": 0, "tid": flow.from, "cat": "flow", "id": place, "name": format!("to {unit} {}", flow.to) });
        for (phase, at) in [("b", flow.start_s), ("e", end(place))] {
            let mut event = shared.clone();
            event["ph"] = json!(phase);
            event["ts"] = json!(at * 1e6);
            if phase == "b" {
                event["args"] = json!({ "bytes": flow.bytes, "to": flow.to });
            }
            events.push(event);
        }
    }
    (json!({ "displayTimeUnit": "ns", "traceEvents": events }), left_out)
}
