//! The assembly of a layer's plan and operands from those of its parts.

use crate::kernels::kernel_case::KernelCase;
use crate::kernels::plan::{Buffer, PartOf, Plan, Role};
use crate::kernels::tensor::Tensors;
use crate::kernels::types::StorageType;

/// A buffer of a part, the buffer of the layer that it becomes, and the role of that. If the layer has the buffer already,
/// the part shares it. It then grows to the larger of both sizes.
pub(super) type PartBuffer = (&'static str, &'static str, Role);

/// Appends a kernel's launches to the plan of a layer. `buffers` must list every buffer of the kernel.
pub(super) fn append(plan: &mut Plan, case: KernelCase, buffers: &[PartBuffer]) {
    let part = case.plan();
    let first = plan.launches.len();
    let operations = part.operations();
    let places: Vec<usize> = part
        .buffers
        .iter()
        .map(|buffer| {
            let listed = buffers.iter().find(|(name, _, _)| *name == buffer.name);
            let (_, name, role) = listed.copied().unwrap_or((buffer.name, buffer.name, buffer.role));
            match plan.buffers.iter().position(|known| known.name == name) {
                Some(index) => {
                    let known = &mut plan.buffers[index];
                    known.size_bytes = known.size_bytes.max(buffer.size_bytes);
                    index
                }
                None => {
                    plan.buffers.push(Buffer { name, role, ..buffer.clone() });
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
        kernel: case.kernel.name(),
        variant: own_name(&case),
        launches: first..plan.launches.len(),
        work: part.work,
        operations,
    });
}

/// The kernel's own name of the case's variant.
fn own_name(case: &KernelCase) -> &'static str {
    case.kernel.variants().iter().copied().find(|known| *known == case.variant).unwrap_or_default()
}

/// Moves the operand `name` of a part, if it has one, to the operands of the layer as `to`.
pub(super) fn take(inputs: &mut Tensors, from: &mut Tensors, name: &'static str, to: &'static str) {
    if let Some(tensor) = from.remove(name) {
        inputs.insert(to, tensor);
    }
}

/// The storage types of layers that are among `all`. Every kernel of a layer exists in them. Quantised weights would need
/// rows of whole scale groups between two matmuls, which those of the first one do not have.
pub(super) fn floats_of(all: &[StorageType]) -> &'static [StorageType] {
    match [StorageType::F32, StorageType::F16].map(|element| all.contains(&element)) {
        [true, true] => &[StorageType::F32, StorageType::F16],
        [true, false] => &[StorageType::F32],
        [false, true] => &[StorageType::F16],
        [false, false] => &[],
    }
}

/// A number as a kernel stores it between two launches.
pub(super) fn stored(value: f64, element: StorageType) -> f64 {
    match element {
        StorageType::F16 => half::f16::from_f64(value).to_f64(),
        #[expect(clippy::cast_possible_truncation, reason = "the kernel stores f32")]
        _ => f64::from(value as f32),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kernels::cases::verification_cases;
    use crate::kernels::types::Family;

    fn layers() -> Vec<Plan> {
        let cases = verification_cases();
        let layers = cases.iter().filter(|case| case.family == Family::Layer);
        let plans: Vec<Plan> = layers.map(|case| case.case().plan()).collect();
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
    fn what_the_gate_chose_reaches_the_matmul() {
        for plan in layers().iter().filter(|plan| plan.parts.iter().any(|part| part.kernel == "sort")) {
            for name in ["expert_of_slot", "block_expert", "slot_of_row", "row_of_slot", "weight"] {
                let buffer = plan.buffers.iter().find(|buffer| buffer.name == name).expect("the layer has it");
                assert_ne!(buffer.role, Role::Input, "{name} comes from a launch before");
            }
        }
    }
}
