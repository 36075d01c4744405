//! The bits of operands. Records name the seed of their operands, so a seed must always give the same bits, whatever the
//! way in which they are drawn.

use crate::kernels::attention::{Heads, Prefill};
use crate::kernels::gating::Gate;
use crate::kernels::kernel::Kernel;
use crate::kernels::layer::MoeLayer;
use crate::kernels::matmul::{Matmul, MatmulRole};
use crate::kernels::routing::Load;
use crate::kernels::tensor::draw::Random;
use crate::kernels::tensor::layout::{MemoryAxis, ScaleLayout};
use crate::kernels::tensor::operand::{Tensor, Tensors};
use crate::kernels::types::StorageType;
use crate::specs::Scoring;

/// FNV-1a, 64 bits.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}

fn all(inputs: &Tensors) -> u64 {
    hash(inputs.values().map(Tensor::bytes))
}

fn assert_bits(got: &[(String, u64)], want: &[(&str, u64)]) {
    let listed: Vec<String> = got.iter().map(|(name, hash)| format!("(\"{name}\", {hash:#018x}),\n")).collect();
    let same = got.len() == want.len() && got.iter().zip(want).all(|(got, want)| (got.0.as_str(), got.1) == *want);
    assert!(same, "the bits are now\n{}", listed.concat());
}

#[test]
fn tensors_keep_their_bits() {
    let random = |dims: &[usize], padded: &[usize], element| {
        let tensor = Tensor::random(dims, padded, element, Random { sigma: 0.5, seed: 7 });
        (format!("{element} {dims:?} in {padded:?}"), hash([tensor.bytes()]))
    };
    let axis = |dim, step, count| MemoryAxis { dim, step, count };
    let in_order = |name: &str, dims: &[usize], axes: &[MemoryAxis]| {
        let tensor = Tensor::random_in_order(dims, axes, StorageType::F16, Random { sigma: 0.5, seed: 7 });
        (name.to_owned(), hash([tensor.bytes()]))
    };
    let got = [
        random(&[300], &[300], StorageType::F32),
        random(&[70_001], &[70_004], StorageType::F16),
        random(&[5, 7], &[6, 8], StorageType::F16),
        random(&[3, 70_001], &[3, 70_004], StorageType::F32),
        random(&[2, 3, 5], &[2, 4, 8], StorageType::Bf16),
        random(&[1, 300, 700], &[1, 304, 704], StorageType::Bf16),
        random(&[2, 3, 4, 5], &[2, 3, 4, 8], StorageType::F32),
        random(&[2, 50, 40, 33], &[2, 50, 41, 36], StorageType::F16),
        in_order("panels of four", &[2, 3, 5], &[axis(0, 1, 2), axis(2, 4, 2), axis(1, 1, 3), axis(2, 1, 4)]),
        in_order("columns outside", &[2, 300, 201], &[axis(0, 1, 2), axis(2, 1, 204), axis(1, 1, 301)]),
        in_order(
            "every fourth outside",
            &[1, 400, 400],
            &[axis(0, 1, 1), axis(2, 1, 4), axis(1, 1, 400), axis(2, 4, 100)],
        ),
    ];
    assert_bits(
        &got,
        &[
            ("f32 [300] in [300]", 0x2F56_A1BD_4B8C_6D13),
            ("f16 [70001] in [70004]", 0xFF31_58FA_1D9E_A2AC),
            ("f16 [5, 7] in [6, 8]", 0x8A70_C690_CC2D_7A36),
            ("f32 [3, 70001] in [3, 70004]", 0x2CF0_4434_0F46_761B),
            ("bf16 [2, 3, 5] in [2, 4, 8]", 0x1DAE_B1FB_4BFA_060C),
            ("bf16 [1, 300, 700] in [1, 304, 704]", 0x516B_21A6_CCE7_87ED),
            ("f32 [2, 3, 4, 5] in [2, 3, 4, 8]", 0x4DE3_A908_4AA9_7510),
            ("f16 [2, 50, 40, 33] in [2, 50, 41, 36]", 0x002B_B89E_EBB8_0A24),
            ("panels of four", 0xEF79_67D2_4461_0CA4),
            ("columns outside", 0x0F8A_8CBD_C819_F4C3),
            ("every fourth outside", 0xAB7F_3E1E_7818_7BFA),
        ],
    );
}

#[test]
fn quantised_tensors_keep_their_bits() {
    let axis = |dim, step, count| MemoryAxis { dim, step, count };
    let quantised = |element,
                     dims: &[usize],
                     axes: &[MemoryAxis],
                     block: &[usize],
                     scale_axes: &[MemoryAxis],
                     scale: StorageType| {
        let scaling = ScaleLayout { block: block.to_vec(), axes: scale_axes.to_vec(), kind: scale.into() };
        let tensor = Tensor::random_quantised(dims, axes, element, &scaling, Random { sigma: 0.5, seed: 7 });
        let scales = tensor.scales().map(Tensor::bytes).unwrap_or_default();
        (format!("{element} {dims:?} by {block:?}"), hash([tensor.bytes(), scales]))
    };
    let rows = [axis(0, 1, 300), axis(1, 1, 1008)];
    let words = |columns| [axis(0, 1, 2), axis(1, 8, 24), axis(2, 1, columns), axis(1, 1, 8)];
    let scales = |columns| [axis(0, 1, 2), axis(1, 1, 6), axis(2, 1, columns)];
    let got = [
        quantised(
            StorageType::Int8,
            &[300, 1001],
            &rows,
            &[1, 1001],
            &[axis(0, 1, 300), axis(1, 1, 1)],
            StorageType::F32,
        ),
        quantised(
            StorageType::Int4,
            &[300, 1001],
            &rows,
            &[1, 16],
            &[axis(0, 1, 300), axis(1, 1, 63)],
            StorageType::Bf16,
        ),
        quantised(StorageType::Int4, &[2, 187, 500], &words(501), &[1, 32, 1], &scales(501), StorageType::F16),
        quantised(StorageType::Int8, &[2, 187, 500], &words(504), &[1, 32, 3], &scales(168), StorageType::F16),
    ];
    assert_bits(
        &got,
        &[
            ("int8 [300, 1001] by [1, 1001]", 0x36D0_BACB_8C3D_9E84),
            ("int4 [300, 1001] by [1, 16]", 0x8CA2_CC7A_88FB_3FCA),
            ("int4 [2, 187, 500] by [1, 32, 1]", 0x8F7A_CDBF_2D74_DDC6),
            ("int8 [2, 187, 500] by [1, 32, 3]", 0x0AC1_0837_26CB_5737),
        ],
    );
}

/// From version 4 of the record on, activations of a product are drawn by token slot, and padding rows hold zeros. int4 has the
/// same numbers as before, in another order in memory.
#[test]
fn operands_of_matmuls_keep_their_bits() {
    let matmul =
        |role, experts, k, n| Matmul { role, experts, tokens: 24, top_k: experts.min(2), k, n, load: Load::Uniform };
    let shapes = [
        matmul(MatmulRole::GateUp, 8, 200, 150),
        matmul(MatmulRole::GateUp, 1, 777, 300),
        matmul(MatmulRole::Down, 8, 150, 200),
        matmul(MatmulRole::Dense, 1, 777, 700),
    ];
    let mut got = Vec::new();
    for (shape, element) in shapes.iter().flat_map(|shape| StorageType::ALL.map(|element| (shape, element))) {
        // Panels of 64, 128 and 256 columns; int8 had none of 128 when these bits were written down.
        let mut variants = vec!["blocked_8x64", "tiled_64x128", "streamed_8x256"];
        variants.retain(|variant| *variant != "tiled_64x128" || element != StorageType::Int8);
        let inputs: Vec<Tensors> = variants.iter().map(|variant| shape.inputs(variant, element, 11)).collect();
        let bits = hash(inputs.iter().flat_map(|inputs| inputs.values().map(Tensor::bytes)));
        got.push((format!("{} {} {element}", shape.name(), shape.experts), bits));
    }
    assert_bits(
        &got,
        &[
            ("gate_up 8 f32", 0x1A53_BC89_F0CE_A697),
            ("gate_up 8 f16", 0xF6CB_AC32_060B_1886),
            ("gate_up 8 bf16", 0x9506_A38E_23E0_2343),
            ("gate_up 8 int8", 0xB734_B384_BF6F_037D),
            ("gate_up 8 int4", 0x83EA_A134_177E_DD6A),
            ("gate_up 8 fp8", 0xB657_7B3C_756A_C223),
            ("gate_up 8 mxfp4", 0xDBDA_87F5_8682_FD30),
            ("gate_up 8 nvfp4", 0x6481_58D1_2721_1657),
            ("gate_up 1 f32", 0x2FB1_9C1B_DA93_3129),
            ("gate_up 1 f16", 0xCB67_24B7_5603_1BD7),
            ("gate_up 1 bf16", 0xF4B8_F5E9_17AB_5578),
            ("gate_up 1 int8", 0x312D_91AF_9F23_BF29),
            ("gate_up 1 int4", 0x37E1_D439_A6AB_B1E2),
            ("gate_up 1 fp8", 0x11A4_C766_C610_E3AD),
            ("gate_up 1 mxfp4", 0x9888_4CDE_7EB2_1A4F),
            ("gate_up 1 nvfp4", 0x132B_0F5B_20DB_F146),
            ("down 8 f32", 0xF723_FA89_9DCE_59A8),
            ("down 8 f16", 0x1631_6E14_F40F_7C58),
            ("down 8 bf16", 0x6492_D3DF_7D73_8998),
            ("down 8 int8", 0x7C4E_8D28_2F2F_5A45),
            ("down 8 int4", 0xCF9B_EC32_CA7A_0EF6),
            ("down 8 fp8", 0x8400_2E8A_187B_748C),
            ("down 8 mxfp4", 0x3D0E_7A9A_3D58_42B3),
            ("down 8 nvfp4", 0x4F25_9359_BA4C_1175),
            ("dense 1 f32", 0x5AD2_CC15_1BD9_FEAA),
            ("dense 1 f16", 0x3416_A1BD_A689_044D),
            ("dense 1 bf16", 0x256C_9897_7A3B_FF01),
            ("dense 1 int8", 0x8909_55FC_F647_22B5),
            ("dense 1 int4", 0x1D6E_BD6D_68BE_4E73),
            ("dense 1 fp8", 0x167C_3EEA_7594_7FA7),
            ("dense 1 mxfp4", 0xE97B_376D_9E42_0343),
            ("dense 1 nvfp4", 0xEA49_7BE2_388F_03B5),
        ],
    );
}

/// A hash of the random operands, each followed by zeros up to whole blocks of 32 queries or 64 keys. The sinks are not drawn
/// here.
fn blocks_of(prefill: &Prefill, element: StorageType) -> u64 {
    let inputs = prefill.inputs("row", element, 11);
    let blocks = [("k", 64), ("q", 32), ("v", 64)].map(|(name, block)| {
        let (rows, mut bytes) = (inputs[name].dims()[0], inputs[name].bytes().to_vec());
        bytes.resize(bytes.len() / rows * rows.next_multiple_of(block), 0);
        bytes
    });
    hash(blocks.iter().map(Vec::as_slice))
}

#[test]
fn operands_of_attention_and_of_a_layer_keep_their_bits() {
    let heads = Heads { heads: 4, kv_heads: 2, head_dim: 128 };
    let prefill = Prefill::causal(heads, 70, 70);
    let gate = Gate {
        experts: 8,
        top_k: 2,
        scoring: Scoring::Softmax,
        groups: 1,
        kept_groups: 1,
        renormalise: true,
        scale: 1.0,
    };
    let layer = MoeLayer { gate, tokens: 37, hidden: 130, intermediate: 70, shared: None, router: None, scoring: None };
    let got: Vec<(String, u64)> = [StorageType::F32, StorageType::F16]
        .into_iter()
        .flat_map(|element| {
            [
                (format!("prefill {element}"), blocks_of(&prefill, element)),
                (format!("layer {element}"), all(&layer.inputs("blocked_8x64", element, 11))),
            ]
        })
        .collect();
    assert_bits(
        &got,
        &[
            ("prefill f32", 0xFA0D_E7F4_1005_7D16),
            ("layer f32", 0xCD4E_20E0_32D9_EDF0),
            ("prefill f16", 0xDE43_D15D_6210_9362),
            ("layer f16", 0x2592_E5AB_69C9_86CF),
        ],
    );
}
