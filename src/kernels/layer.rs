//! Whole layers: kernels of the other families as one sequence of launches, each reading what the one before it wrote.
//!
//! The time of the whole beside the times of its parts shows what launch gaps cost, and what the caches carry over.

mod attention_block;
mod moe;

pub use attention_block::{AttentionBlock, BlockPhase};
pub use moe::MoeLayer;

use super::{Element, Kernel, PartOf, Plan, Role};

/// A buffer of a part, the buffer of the layer that it becomes, and the role it plays there. A buffer of the layer that
/// exists already is shared, and grows to the larger of the two sizes; what a reader wants zero behind it becomes so.
type Wire = (&'static str, &'static str, Role);

/// Appends a kernel's launches to the plan of a layer. Every buffer of the kernel must be wired.
fn append(plan: &mut Plan, kernel: &dyn Kernel, variant: &'static str, element: Element, wires: &[Wire]) {
    let part = kernel.plan(variant, element);
    let first = plan.launches.len();
    let operations = part.operations();
    let places: Vec<usize> = part
        .buffers
        .iter()
        .map(|buffer| {
            let wire = wires.iter().find(|(name, _, _)| *name == buffer.name);
            let (_, name, role) = wire.copied().unwrap_or((buffer.name, buffer.name, buffer.role));
            match plan.buffers.iter().position(|known| known.name == name) {
                Some(index) => {
                    let known = &mut plan.buffers[index];
                    known.size_bytes = known.size_bytes.max(buffer.size_bytes);
                    if !buffer.padding.is_empty() {
                        known.padding = buffer.padding.clone();
                    }
                    index
                }
                None => {
                    plan.buffers.push(super::Buffer { name, role, ..buffer.clone() });
                    plan.buffers.len() - 1
                }
            }
        })
        .collect();
    for mut launch in part.launches {
        launch.bindings.iter_mut().for_each(|index| *index = places[*index]);
        plan.launches.push(launch);
    }
    plan.issued_flop += part.issued_flop;
    plan.parts.push(PartOf {
        kernel: kernel.name(),
        variant,
        launches: first..plan.launches.len(),
        work: part.work,
        operations,
    });
}

/// The types of a layer, which every kernel in it has, that are among `all`.
fn floats_of(all: &[Element]) -> &'static [Element] {
    match [Element::F32, Element::F16].map(|element| all.contains(&element)) {
        [true, true] => &[Element::F32, Element::F16],
        [true, false] => &[Element::F32],
        [false, true] => &[Element::F16],
        [false, false] => &[],
    }
}

/// A number as a kernel stores it between two launches.
fn stored(value: f64, element: Element) -> f64 {
    match element {
        Element::F16 => half::f16::from_f64(value).to_f64(),
        #[expect(clippy::cast_possible_truncation, reason = "the kernel stores f32")]
        _ => f64::from(value as f32),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::cases::verification_cases;
    use super::super::{Family, Plan, Role};

    fn layers() -> Vec<Plan> {
        let cases = verification_cases();
        let layers = cases.iter().filter(|case| case.kernel.family() == Family::Layer);
        let plans: Vec<Plan> = layers.map(|case| case.kernel.plan(case.variant, case.element)).collect();
        assert!(plans.len() >= 12, "{} layers in the suite", plans.len());
        plans
    }

    #[test]
    fn parts_cover_every_launch_once_and_add_up_to_the_arithmetic() {
        for plan in layers() {
            let mut next = 0;
            for part in &plan.parts {
                assert_eq!(part.launches.start, next);
                next = part.launches.end;
            }
            assert_eq!(next, plan.launches.len());
            let sum: f64 = plan.parts.iter().map(|part| part.work.flop.get()).sum();
            assert!((sum - plan.work.flop.get()).abs() <= 1e-9 * sum);
            assert!(plan.issued_flop >= plan.work.flop);
        }
    }

    #[test]
    fn buffers_of_a_layer_have_different_names_and_all_are_bound() {
        for plan in layers() {
            let names: BTreeSet<&str> = plan.buffers.iter().map(|buffer| buffer.name).collect();
            assert_eq!(names.len(), plan.buffers.len());
            let bound: BTreeSet<usize> = plan.launches.iter().flat_map(|launch| launch.bindings.clone()).collect();
            assert_eq!(bound.len(), plan.buffers.len());
        }
    }

    #[test]
    fn only_whole_tiles_of_projected_rows_are_padded_and_by_whole_words() {
        let mut padded = BTreeSet::new();
        for plan in layers() {
            for buffer in plan.buffers.iter().filter(|buffer| !buffer.padding.is_empty()) {
                assert!(buffer.padding.end <= buffer.size_bytes, "{}: {:?}", buffer.name, buffer.padding);
                assert!([buffer.padding.start, buffer.padding.end].iter().all(|at| at.is_multiple_of(4)));
                padded.insert((buffer.name, buffer.role == Role::Input));
            }
        }
        assert_eq!(padded, BTreeSet::from([("q", false), ("k", false), ("v", false)]));
    }

    #[test]
    fn what_the_gate_chose_reaches_the_matmul() {
        for plan in layers().iter().filter(|plan| plan.parts.iter().any(|part| part.kernel == "sort")) {
            for name in ["expert_of_slot", "block_expert", "slot_of_row", "row_of_slot", "weight"] {
                let buffer = plan.buffers.iter().find(|buffer| buffer.name == name).expect("the layer has it");
                assert_ne!(buffer.role, Role::Input, "{name} comes from a launch before");
            }
        }
    }
}
