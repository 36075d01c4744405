//! Whether a device has what a plan's shaders need.

use crate::kernels::{Need, Plan};
use crate::record::Device;

/// The subgroup kernels divide this many rows among the lanes of a subgroup. A launch may need more.
const MIN_LANES: u64 = 8;
/// Where a launch does not say more, kernels with cooperative matrices divide a tile among four subgroups of 64.
const MOST_MATRIX_LANES: u64 = 64;

/// What a plan needs that the device lacks, in words.
pub fn missing(plan: &Plan, device: &Device) -> Option<String> {
    let lacks = |feature: &str| !device.features.iter().any(|has| has == feature);
    for launch in &plan.launches {
        let mut features = launch.needs.iter().filter_map(|need| feature(*need));
        if let Some(feature) = features.find(|feature| lacks(feature)) {
            return Some(format!("the adapter lacks the feature {feature}"));
        }
        let matrix = launch.has_matrices().then_some(MOST_MATRIX_LANES);
        let most_lanes = launch.most_lanes.map(u64::from).or(matrix);
        if launch.needs.contains(&Need::Subgroup)
            && let Some(problem) = subgroups_unfit(device, MIN_LANES.max(launch.least_lanes.into()), most_lanes)
        {
            return Some(problem);
        }
        let bindings = launch.bindings.len() as u64;
        let most = device.limits.get("max_storage_buffers_per_shader_stage").copied().unwrap_or(u64::MAX);
        if bindings > most {
            return Some(format!("needs {bindings} storage buffers, the adapter's limit is {most}"));
        }
    }
    None
}

/// The adapter's feature for a need; `None` if every adapter has it. Only Metal has matrices with f32 operands.
fn feature(need: Need) -> Option<&'static str> {
    match need {
        Need::ShaderF16 => Some("shader_f16"),
        Need::Subgroup => Some("subgroup"),
        Need::Matrix8 => Some("cooperative_matrix_8x8x8_f16_f32"),
        Need::Matrix8F32 => Some("cooperative_matrix_8x8x8_f32_f32"),
        Need::Matrix16 => Some("cooperative_matrix_16x16x16_f16_f32"),
        Need::PackedDot => None,
    }
}

/// The reason why a kernel for subgroups of `needed` invocations or more cannot run in those of this device, if there is one.
fn subgroups_unfit(device: &Device, needed: u64, most_lanes: Option<u64>) -> Option<String> {
    let seen = !device.subgroup_sizes_seen.is_empty();
    let have = if seen { "the device has" } else { "the adapter may have" };
    let (least, most) = device.subgroup_sizes().unwrap_or((0, 0));
    if least < needed {
        return Some(format!("needs subgroups of {needed} invocations, {have} some of {least}"));
    }
    let too_few = most_lanes.filter(|lanes| most > *lanes)?;
    Some(format!("needs subgroups of at most {too_few} invocations, {have} some of {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gating::{Gate, Logits, TopK};
    use crate::kernels::matmul::Matmul;
    use crate::kernels::{Kernel, StorageType};
    use crate::specs::Scoring;

    /// A device with every feature, as one that reports such a range of subgroup sizes and ran in those seen.
    fn with_subgroups(reported: [u64; 2], seen: &[u32]) -> Device {
        let features = ["subgroup", "shader_f16", "cooperative_matrix", "cooperative_matrix_8x8x8_f16_f32"];
        let limits = ["min_subgroup_size", "max_subgroup_size"].map(str::to_owned).into_iter().zip(reported);
        Device {
            features: features.map(str::to_owned).to_vec(),
            limits: limits.collect(),
            subgroup_sizes_seen: seen.to_vec(),
            ..Device::default()
        }
    }

    /// Whether each of a kernel with subgroups and one with matrices of 8 x 8 can run.
    fn offered(device: &Device) -> [bool; 2] {
        let matmul = Matmul::dense(64, 64, 64);
        ["subgroup_16x64", "matrix8_64x64"]
            .map(|variant| missing(&matmul.plan(variant, StorageType::F16), device).is_none())
    }

    #[test]
    fn subgroups_of_32_on_metal_are_offered_though_the_adapter_reports_4_to_64() {
        // Apple's M2 through wgpu 30.
        assert_eq!(offered(&with_subgroups([4, 64], &[32])), [true, true]);
        assert_eq!(offered(&with_subgroups([4, 64], &[])), [false, false], "nothing seen");
    }

    #[test]
    fn a_device_that_ran_subgroups_too_small_or_too_large_is_refused_whatever_it_reports() {
        assert_eq!(offered(&with_subgroups([32, 32], &[4])), [false, false]);
        assert_eq!(offered(&with_subgroups([32, 32], &[4, 32])), [false, false], "some of them");
        assert_eq!(offered(&with_subgroups([32, 32], &[128])), [true, false], "too wide");
        assert_eq!(offered(&with_subgroups([64, 128], &[])), [true, false], "nothing seen");
        assert_eq!(offered(&with_subgroups([64, 128], &[64])), [true, false], "matrices share a tile among four of 32");
        assert_eq!(offered(&with_subgroups([32, 128], &[32])), [true, true]);
    }

    /// Whether the gate for 32 lanes with so many experts can run.
    fn wide_gate_is_offered(device: &Device, experts: usize) -> bool {
        let gate = Gate {
            experts,
            top_k: 8,
            scoring: Scoring::Softmax,
            groups: 1,
            kept_groups: 1,
            renormalise: true,
            scale: 1.0,
        };
        let top_k = TopK { gate, tokens: 3, logits: Logits::Random };
        missing(&top_k.plan("subgroup_32", StorageType::F32), device).is_none()
    }

    #[test]
    fn a_kernel_for_wide_subgroups_is_offered_where_all_are_wide_or_its_shape_is_small() {
        assert!(wide_gate_is_offered(&with_subgroups([32, 64], &[]), 256));
        assert!(wide_gate_is_offered(&with_subgroups([128, 128], &[]), 256));
        assert!(!wide_gate_is_offered(&with_subgroups([8, 8], &[8]), 256));
        assert!(!wide_gate_is_offered(&with_subgroups([8, 32], &[8, 32]), 256), "some of them");
        assert!(wide_gate_is_offered(&with_subgroups([8, 8], &[8]), 32));
    }
}
