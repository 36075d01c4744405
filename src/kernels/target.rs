//! What a device is like before anything has run on it, and which variants are worth trying first there.
//!
//! The order is a table of names, the best guess first. It only decides which variant is tried first, and which is taken
//! where nothing is tried: a trial on the device chooses.

/// What the order of variants depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The kind of device.
    pub class: DeviceClass,
    /// Invocations of its smallest subgroup; `None` if that is not known, or if it has no subgroups.
    pub lanes: Option<u32>,
    /// The driver's name as in the record, in lower case.
    pub driver: String,
    /// The vendor's name as in the record, in lower case.
    pub vendor: String,
}

/// Kinds of device that want different kernels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceClass {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the host's memory, other than Apple's.
    Integrated,
    /// An Apple GPU.
    Apple,
    /// A CPU that poses as a GPU.
    Software,
    /// Not known: variants in the order in which the kernels list them.
    #[default]
    Unknown,
}

/// On a GPU: streamed variants, which exist only for few rows, then matrix units, then large tiles in workgroup memory. It
/// decides where no compiler was asked ([`crate::kernels::compilers`]), or where nothing multiplies.
const GPU: &[&str] = &[
    "streamed_2x256",
    "matrix16_16x128_lanes64",
    "matrix16_32x128_lanes64",
    "matrix16_16x128",
    "matrix16_32x128",
    "streamed_8x256",
    "streamed_16x256",
    "streamed_32x256",
    "matrix16_128x128_lanes64",
    "matrix16_64x128_lanes64",
    "matrix16_128x128",
    "matrix16_64x128",
    "matrix16_64x64",
    "matrix16_64x32",
    "matrix16_16x16",
    "matrix16_32x16",
    "matrix_16",
    "matrix8_64x64",
    "matrix8_32x64",
    "matrix8_64x128",
    "matrix8_64x32",
    "matrix8_16x16",
    "matrix8_32x16",
    "matrix_8",
    "tiled_128x128",
    "packed_128x128",
    "tiled_64x128",
    "tiled_64x64",
    "tiled_32x128",
    "tiled",
    "tiled_8x2",
    "group_32",
    "group",
    "subgroup_32",
    "subgroup",
    "workgroup",
    "blocked_64x64",
    "row",
    "token",
];

/// As measured on llvmpipe and SwiftShader (see the trials in results/). An invocation runs to its end there, so barriers
/// cost most.
const SOFTWARE: &[&str] = &[
    "subgroup_32x64",
    "subgroup_16x64",
    "subgroup_8x64",
    "subgroup_8x4",
    "subgroup",
    "blocked_8x64",
    "blocked_64x64",
    "token",
    "row",
];

impl DeviceClass {
    fn order(self) -> &'static [&'static str] {
        match self {
            Self::Discrete | Self::Integrated | Self::Apple => GPU,
            Self::Software => SOFTWARE,
            Self::Unknown => &[],
        }
    }
}

/// Variants whose workgroups have 8 invocations, by kernel. They leave most of a wider subgroup idle.
const NARROW: &[(&[&str], &[&str])] = &[
    (
        &["gate_up", "down", "dense", "router_logits", "moe_layer"],
        &["blocked_8x64", "subgroup_8x64", "subgroup_16x64", "subgroup_32x64"],
    ),
    (
        &["decode", "decode_paged", "mla_decode", "mla_decode_paged", "attention_block_decode", "mla_block_decode"],
        &["row", "subgroup"],
    ),
    (
        &["prefill", "prefill_full", "mla_prefill", "mla_prefill_full", "attention_block_prefill", "mla_block_prefill"],
        &["row", "subgroup_8x4"],
    ),
];

/// Whether the workgroups of a variant have 8 invocations.
pub fn is_narrow(kernel: &str, variant: &str) -> bool {
    NARROW.iter().any(|(kernels, variants)| kernels.contains(&kernel) && variants.contains(&variant))
}

/// Kernels whose variant `row` lets each invocation walk a row by itself. On llvmpipe it compiles longest (1.1 s per
/// pipeline) and takes 1.5 to 7 times as long as the best variant in every case.
const ROW_BY_ROW: &[&str] = &[
    "decode",
    "decode_paged",
    "attention_block_decode",
    "prefill",
    "prefill_full",
    "mla_prefill",
    "mla_prefill_full",
    "attention_block_prefill",
    "mla_block_prefill",
];

/// The least width of subgroups that the subgroup kernels run in.
const LEAST_LANES: u32 = 8;

/// Subgroups from this width on leave at least half of their lanes to a narrow workgroup.
const WIDE: u32 = 16;

/// Compilers that take half a minute or more for some kernels: the driver's name in lower case, the kernels' names, and
/// the beginning of the variants' names. Seen with Mesa 26.1.6 on an Adreno 740.
const SLOW_COMPILERS: &[(&str, &[&str], &str)] = &[(
    "turnip",
    &[
        "decode",
        "decode_paged",
        "mla_decode",
        "mla_decode_paged",
        "attention_block_decode",
        "mla_block_decode",
        "prefill",
        "prefill_full",
        "mla_prefill",
        "mla_prefill_full",
        "attention_block_prefill",
        "mla_block_decode",
        "mla_block_prefill",
    ],
    "subgroup",
)];

impl Target {
    /// Why a variant is not even compiled on this device: its driver takes too long. `None` if it is compiled.
    pub fn refuses(&self, kernel: &str, variant: &str) -> Option<String> {
        let slow = |(driver, kernels, prefix): &&(&str, &[&str], &str)| {
            self.driver.contains(driver) && kernels.contains(&kernel) && variant.starts_with(prefix)
        };
        SLOW_COMPILERS
            .iter()
            .find(slow)
            .map(|(driver, ..)| format!("the driver {driver} takes half a minute and more to compile it"))
    }

    /// Whether a variant is known to be slow on such a device: a narrow one on wide subgroups, or `row` on a software
    /// adapter that has subgroup variants instead.
    fn is_hopeless(&self, kernel: &str, variant: &str) -> bool {
        let lanes = self.lanes.unwrap_or(0);
        match self.class {
            DeviceClass::Software => lanes >= LEAST_LANES && variant == "row" && ROW_BY_ROW.contains(&kernel),
            // On narrower subgroups half of them would repeat what the others do.
            _ if variant.ends_with("_lanes64") => (1..64).contains(&lanes),
            _ => lanes >= WIDE && is_narrow(kernel, variant),
        }
    }

    /// Variants of the kernel of this name, the most promising first. Those that are known to be slow on such a device are
    /// left out if another variant is there.
    pub(super) fn ranked(&self, kernel: &str, mut names: Vec<&'static str>) -> Vec<&'static str> {
        let order = self.class.order();
        let rank = |name: &str| order.iter().position(|known| *known == name).unwrap_or(order.len());
        let hopeless = |name: &str| self.is_hopeless(kernel, name);
        // The sort is stable: variants that the table does not name stay in the kernel's order.
        names.sort_by_key(|name| (hopeless(name), rank(name)));
        if names.first().is_some_and(|first| !hopeless(first)) {
            names.retain(|name| !hopeless(name));
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::attention::{Decode, Heads, PagedDecode, Prefill};
    use crate::kernels::kernel::Kernel;
    use crate::kernels::matmul::Matmul;

    fn target(class: DeviceClass, lanes: u32) -> Target {
        Target { class, lanes: Some(lanes), ..Target::default() }
    }

    fn of(target: &Target, kernel: &dyn Kernel) -> Vec<&'static str> {
        kernel.candidates(target, kernel.variants())
    }

    #[test]
    fn a_gpu_begins_with_what_suits_it_and_a_wide_device_gets_nothing_narrow() {
        let prefill = Matmul::dense(1024, 1024, 1024);
        assert_eq!(of(&target(DeviceClass::Discrete, 32), &prefill)[0], "matrix16_128x128");
        assert_eq!(of(&target(DeviceClass::Software, 8), &prefill)[0], "subgroup_32x64");
        let decode = Matmul::dense(2, 1024, 1024);
        assert_eq!(of(&target(DeviceClass::Discrete, 32), &decode)[0], "streamed_2x256");
        for class in [DeviceClass::Discrete, DeviceClass::Integrated, DeviceClass::Apple] {
            assert!(of(&target(class, 32), &prefill).iter().all(|name| !is_narrow("dense", name)));
        }
        assert_eq!(of(&target(DeviceClass::Software, 8), &prefill).len(), of(&Target::default(), &prefill).len());
    }

    #[test]
    fn a_software_adapter_tries_no_row_by_itself_where_it_has_subgroups() {
        let heads = Heads { heads: 8, kv_heads: 1, head_dim: 128 };
        let decode = Decode::new(heads, 2, 64);
        assert_eq!(of(&target(DeviceClass::Software, 8), &decode), ["subgroup", "group", "group_32"]);
        assert!(of(&target(DeviceClass::Software, 4), &decode).contains(&"row"));
        assert!(of(&target(DeviceClass::Discrete, 8), &decode).contains(&"row"));
    }

    #[test]
    fn a_kernel_with_narrow_variants_only_keeps_them() {
        let discrete = target(DeviceClass::Discrete, 32);
        assert_eq!(discrete.ranked("decode", vec!["row", "subgroup"]), ["subgroup", "row"]);
        let heads = Heads { heads: 40, kv_heads: 2, head_dim: 128 };
        assert_eq!(of(&discrete, &Decode::new(heads, 2, 64)), ["group_32", "group"]);
        assert_eq!(of(&discrete, &PagedDecode::new(heads, 2, 64, 16)), ["group_32", "group"]);
    }

    #[test]
    fn prefill_on_wide_subgroups_gets_tiles_and_matrices_only() {
        let heads = Heads { heads: 8, kv_heads: 1, head_dim: 128 };
        let prefill = Prefill::causal(heads, 64, 64);
        for class in [DeviceClass::Discrete, DeviceClass::Apple] {
            let names = of(&target(class, 32), &prefill);
            assert!(names.iter().all(|name| name.starts_with("matrix") || name.starts_with("tiled")), "{names:?}");
        }
        assert_eq!(of(&target(DeviceClass::Software, 8), &prefill)[0], "subgroup_8x4");
        assert!(of(&target(DeviceClass::Software, 4), &prefill).contains(&"row"));
    }

    #[test]
    fn a_driver_that_does_not_come_back_from_a_variant_is_not_asked() {
        let turnip = Target { driver: "turnip mesa driver".to_owned(), ..Target::default() };
        assert!(turnip.refuses("prefill", "subgroup_8x4").is_some());
        assert!(
            turnip.refuses("prefill", "tiled_32x128").is_none() && turnip.refuses("gate_up", "subgroup_8x64").is_none()
        );
        assert!(Target::default().refuses("prefill", "subgroup").is_none());
    }
}
