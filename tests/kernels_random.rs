//! The expert matmul at random shapes on a real adapter, against its twin. A failing shape is shrunk and printed.

#![cfg(feature = "gpu")]

#[path = "fixture/device.rs"]
mod device;

use std::sync::{LazyLock, Mutex};

use device::open;
use proptest::prelude::*;
use proptest::test_runner::Config;
use supernode_bench::kernels::matmul::{Matmul, MatmulRole};
use supernode_bench::kernels::routing::Load;
use supernode_bench::kernels::{Kernel, KernelCase, StorageType};
use supernode_bench::measure::features;
use supernode_bench::measure::gpu::Gpu;
use supernode_bench::measure::verify::accuracy;

/// One device for all cases, so that each pipeline is compiled once.
static GPU: LazyLock<Mutex<Gpu>> = LazyLock::new(|| Mutex::new(open(true)));

fn matmul() -> impl Strategy<Value = Matmul> {
    let role = prop_oneof![Just(MatmulRole::GateUp), Just(MatmulRole::Down), Just(MatmulRole::Dense)];
    let load = prop_oneof![
        Just(Load::Uniform),
        Just(Load::Even),
        Just(Load::PowerLaw),
        Just(Load::HotExpert),
        Just(Load::OneExpert),
        Just(Load::EvenExperts),
    ];
    (role, load, 1usize..20, 1usize..80, 1usize..4, 1usize..200, 1usize..300).prop_map(
        |(role, load, experts, tokens, top_k, k, n)| {
            let dense = role == MatmulRole::Dense;
            let (experts, top_k) = if dense { (1, 1) } else { (experts, top_k.min(experts)) };
            Matmul { role, experts, tokens, top_k, k, n, load }
        },
    )
}

fn way() -> impl Strategy<Value = (&'static str, StorageType)> {
    let any = Matmul::dense(1, 1, 1);
    let ways: Vec<_> = any
        .variants()
        .iter()
        .flat_map(|&variant| any.variant_elements(variant).iter().map(move |&element| (variant, element)))
        .collect();
    proptest::sample::select(ways)
}

proptest! {
    #![proptest_config(Config { cases: 96, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_shape_in_any_variant_and_type_matches_its_twin((variant, element) in way(), matmul in matmul(), seed in 0u64..1000) {
        let gpu = GPU.lock().expect("no case panics while it holds the device");
        prop_assume!(features::missing(&matmul.plan(variant, element), &gpu.info).is_none());
        let case = KernelCase { kernel: &matmul, variant, storage: element };
        let compared = accuracy(&*gpu, &case, seed, 400_000);
        drop(gpu);
        let compared = compared.map_err(|error| TestCaseError::fail(format!("{variant} {element}: {error}")))?;
        prop_assert!(compared.verification.passed(), "{variant} {element}: {:?}", compared.verification);
        // With the largest of 32 numbers at code 7, half a step of int4 is a tenth of their deviation. silu may double a
        // relative error if its argument is near zero.
        let most = match element {
            StorageType::F32 => 1e-5,
            StorageType::F16 => 2e-3,
            StorageType::Bf16 => 2e-2,
            StorageType::Int8 => 0.1,
            StorageType::Fp8 => 0.1,
            StorageType::Int4 | StorageType::Mxfp4 | StorageType::Nvfp4 => 0.5,
        };
        prop_assert!(compared.error_of_type <= most, "{variant} {element}: {} from f64", compared.error_of_type);
    }
}
