//! Two variants of a kernel compared over their whole outputs: right ones agree whatever their layout, and one wrong element
//! where no sample of the twin falls is seen.

#![expect(clippy::cast_possible_truncation, reason = "a right kernel stores f32")]

use supernode_bench::kernels::gating::{Gate, Logits, TopK};
use supernode_bench::kernels::matmul::{Matmul, MatmulRole};
use supernode_bench::kernels::routing::{Load, NONE};
use supernode_bench::kernels::{Computed, Kernel, StorageType, Tensor, TensorType, Tensors, twin};
use supernode_bench::specs::Scoring;

/// What a variant that makes no mistake leaves in `c`.
fn product(matmul: &Matmul, variant: &str, inputs: &Tensors) -> Vec<f32> {
    let output = &matmul.outputs(variant, StorageType::F32)[0];
    let (rows, columns) = (output.dims[0], output.padded[1]);
    let (slot_of_row, block_expert) = (&inputs["slot_of_row"], &inputs["block_expert"]);
    let tile = rows / block_expert.dims()[0];
    let mut c = vec![f32::NAN; rows * columns];
    for row in (0..rows).filter(|&row| slot_of_row.index_at(&[row]) != NONE) {
        let expert = block_expert.index_at(&[row / tile]) as usize;
        for column in 0..matmul.n {
            let exact = twin::matmul::product(&inputs["a"], &inputs["b"], row, expert, column);
            c[row * columns + column] = exact as f32;
        }
    }
    c
}

fn outputs(matmul: &Matmul, variant: &str, c: &[f32]) -> Tensors {
    let output = &matmul.outputs(variant, StorageType::F32)[0];
    let bytes = c.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensors::from([("c", Tensor::from_bytes(&output.dims, &output.padded, output.kind, bytes))])
}

#[test]
fn variants_with_other_tiles_agree_and_one_wrong_element_is_seen() {
    let load = Load::Uniform;
    let matmul = Matmul { role: MatmulRole::Down, experts: 3, tokens: 50, top_k: 1, k: 24, n: 37, load };
    let (ours, theirs) = ("blocked_8x64", "tiled_128x128");
    let [our_inputs, their_inputs] = [ours, theirs].map(|variant| matmul.inputs(variant, StorageType::F32, 7));
    let our_c = outputs(&matmul, ours, &product(&matmul, ours, &our_inputs));
    let mut c = product(&matmul, theirs, &their_inputs);
    let agreement = |c: &[f32]| {
        let their_c = outputs(&matmul, theirs, c);
        let ours = Computed { inputs: &our_inputs, outputs: &our_c };
        matmul.agreement(ours, Computed { inputs: &their_inputs, outputs: &their_c }, StorageType::F32)
    };
    let whole = agreement(&c);
    assert!(whole.passed() && whole.checked == 50 * 37, "{whole:?}");
    let at = c.iter().rposition(|value| value.is_finite()).expect("some rows are filled") - 5;
    let right = c[at];
    for wrong in [right + 0.01, f32::NAN, f32::INFINITY] {
        c[at] = wrong;
        assert!(!agreement(&c).passed(), "{wrong} instead of {right}");
    }
}

#[test]
fn gates_agree_unless_one_chose_an_expert_that_the_twin_would_not() {
    let gate = Gate {
        experts: 16,
        top_k: 2,
        scoring: Scoring::Softmax,
        groups: 1,
        kept_groups: 1,
        renormalise: true,
        scale: 1.0,
    };
    let top_k = TopK { gate: gate.clone(), tokens: 9, logits: Logits::Random };
    let inputs = top_k.inputs("token", StorageType::F32, 3);
    let (mut experts, mut weights) = (Vec::new(), Vec::new());
    for token in 0..9 {
        let scores = twin::gating::scores(&gate, &inputs["logits"], &inputs["bias"], token);
        let chosen = twin::gating::chosen(&gate, &scores);
        for &expert in &chosen {
            experts.push(u32::try_from(expert).expect("of sixteen"));
            weights.push(twin::gating::weight(&gate, &scores, &chosen, expert) as f32);
        }
    }
    let outputs = |experts: &[u32]| {
        let bytes = experts.iter().flat_map(|expert| expert.to_le_bytes()).collect();
        let experts = Tensor::from_bytes(&[9, 2], &[9, 2], TensorType::Index, bytes);
        Tensors::from([("expert_of_slot", experts), ("weight", Tensor::floats(&[9, 2], &weights))])
    };
    let ours = outputs(&experts);
    let agreement = |experts: &[u32]| {
        let theirs = outputs(experts);
        let [ours, theirs] = [&ours, &theirs].map(|outputs| Computed { inputs: &inputs, outputs });
        top_k.agreement(ours, theirs, StorageType::F32)
    };
    assert!(agreement(&experts).passed());
    experts[7] = (0..16).find(|expert| !experts[6..8].contains(expert)).expect("sixteen are more than two");
    assert!(!agreement(&experts).passed());
}
