//! Which kernels are run at which shapes: the presets of `measure`, and the suite of `verify`.
//!
//! Shapes come from the models in specs/models. `full` and `quick` use the true sizes of a layer; `smoke` divides the
//! hidden, intermediate and head counts by 8 (the router keeps its experts, since its cost depends on them), so that a
//! software adapter finishes in minutes. Experts are those of one chip under expert parallelism: 8 local experts.

use super::attention::{Decode, Heads, MlaDecode, PagedDecode, Prefill};
use super::gating::{Gate, Logits, Sort, TopK};
use super::layer::{AttentionBlock, BlockPhase, MoeLayer};
use super::matmul::{Combine, Matmul, MatmulRole};
use super::routing::Load;
use super::{Element, Kernel, Phase};
use crate::record::Preset;
use crate::specs::{Attention, Model, Moe, Scoring};

/// One kernel at one shape in one variant and type.
#[derive(Debug)]
pub struct CaseSpec {
    /// The kernel and its shape.
    pub kernel: Box<dyn Kernel>,
    /// One of its variants.
    pub variant: &'static str,
    /// One of its types.
    pub element: Element,
    /// The model that the shape comes from; in the verification suite, what is special about the inputs.
    pub model: String,
    /// The phase that the shape comes from.
    pub phase: Phase,
    /// What the layer's sizes were divided by.
    pub scale_divisor: u32,
}

impl CaseSpec {
    /// `family/kernel/variant/element/model/phase/name=size,...`: unique and stable between runs and devices.
    pub fn id(&self) -> String {
        self.id_as(self.variant)
    }

    /// The id with another word for the variant.
    pub fn id_as(&self, variant: &str) -> String {
        let shape: Vec<String> = self.kernel.shape().iter().map(|(name, size)| format!("{name}={size}")).collect();
        format!(
            "{}/{}/{}/{}/{}/{}/{}",
            self.kernel.family(),
            self.kernel.name(),
            variant,
            self.element,
            self.model,
            self.phase,
            shape.join(",")
        )
    }
}

/// Sizes that a preset sets.
struct Scale {
    models: &'static [&'static str],
    divisor: usize,
    /// Rows an expert, or tokens of a dense layer / 4, in prefill.
    prefill_rows: usize,
    /// Rows an expert, or sequences of a dense layer / 4, in decode.
    decode_rows: usize,
    /// Tokens that are routed: (prefill, decode).
    routed_tokens: [usize; 2],
    /// Prompt length of attention.
    prompt: usize,
    /// Cache length and sequences of decode attention.
    cache: [usize; 2],
}

/// Experts of one chip.
const LOCAL_EXPERTS: usize = 8;

fn scale(preset: Preset) -> Scale {
    match preset {
        Preset::Smoke => Scale {
            models: &["llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3"],
            divisor: 8,
            prefill_rows: 64,
            decode_rows: 4,
            routed_tokens: [1024, 64],
            prompt: 512,
            cache: [1024, 8],
        },
        Preset::Quick => Scale {
            models: &["llama-3.1-70b", "qwen3-235b-a22b", "deepseek-v3"],
            divisor: 1,
            prefill_rows: 512,
            decode_rows: 16,
            routed_tokens: [4096, 128],
            prompt: 2048,
            cache: [4096, 32],
        },
        Preset::Full => Scale {
            models: &[
                "llama-3.1-8b",
                "llama-3.1-70b",
                "llama-3.1-405b",
                "qwen3-30b-a3b",
                "qwen3-235b-a22b",
                "deepseek-v3",
            ],
            divisor: 1,
            prefill_rows: 4096,
            decode_rows: 16,
            routed_tokens: [16_384, 128],
            prompt: 4096,
            cache: [8192, 64],
        },
    }
}

/// The names of the models that a preset takes its shapes from.
pub fn preset_models(preset: Preset) -> &'static [&'static str] {
    scale(preset).models
}

/// All cases of a preset, in order: by model, phase, kernel, variant, type.
pub fn preset_cases(preset: Preset, models: &[Model]) -> Vec<CaseSpec> {
    let scale = scale(preset);
    let mut cases = Vec::new();
    for model in models {
        for phase in [Phase::Prefill, Phase::Decode] {
            for kernel in layer_kernels(model, phase, &scale) {
                let suits = expand(kernel, &model.name, phase, u32::try_from(scale.divisor).unwrap_or(1));
                cases.extend(suits);
            }
        }
    }
    cases
}

/// One spec for each variant and type of a kernel.
fn expand(kernel: Factory, model: &str, phase: Phase, scale_divisor: u32) -> Vec<CaseSpec> {
    let probe = kernel();
    let mut specs = Vec::new();
    for &variant in probe.variants().iter().filter(|variant| probe.suits(variant)) {
        for &element in probe.variant_elements(variant) {
            specs.push(CaseSpec { kernel: kernel(), variant, element, model: model.to_owned(), phase, scale_divisor });
        }
    }
    specs
}

/// Makes the same kernel shape again: a spec owns its kernel.
type Factory = Box<dyn Fn() -> Box<dyn Kernel>>;

fn factory<K: Kernel + Clone + 'static>(kernel: K) -> Factory {
    Box::new(move || Box::new(kernel.clone()))
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn layer_kernels(model: &Model, phase: Phase, scale: &Scale) -> Vec<Factory> {
    let mut kernels = Vec::new();
    let hidden = size(model.hidden) / scale.divisor;
    let rows = if phase == Phase::Prefill { scale.prefill_rows } else { scale.decode_rows };
    if let Some(moe) = &model.moe {
        kernels.extend(moe_kernels(moe, hidden, rows, phase, scale));
    } else {
        let intermediate = size(model.dense_intermediate) / scale.divisor;
        kernels.extend(ffn_kernels(1, rows * 4, hidden, intermediate));
    }
    kernels.extend(attention_kernels(model.attention, phase, scale));
    kernels.extend(attention_block(model.attention, hidden, phase, scale));
    kernels.extend(model.moe.as_ref().map(|moe| moe_layer(moe, hidden, rows.div_ceil(4), scale)));
    kernels
}

/// Attention with its projections; the latent kind has no kernels for all of them.
fn attention_block(attention: Attention, hidden: usize, phase: Phase, scale: &Scale) -> Option<Factory> {
    let Attention::Gqa { heads, kv_heads, head_dim } = attention else { return None };
    let divided = |count: u64| (size(count) / scale.divisor).max(1);
    let heads = Heads { heads: divided(heads), kv_heads: divided(kv_heads), head_dim: size(head_dim) };
    let [kv_len, sequences] = scale.cache;
    let phase = match phase {
        Phase::Prefill => BlockPhase::Prefill { tokens: scale.prompt },
        Phase::Decode => BlockPhase::Decode { sequences, kv_len },
    };
    Some(factory(AttentionBlock { heads, hidden, phase }))
}

/// Experts of a layer that is measured as a whole: an eighth of the model's, so that their weights fit a device, and
/// no fewer than a token takes.
const LAYER_SHARE: usize = 8;
/// Tokens of such a layer at most.
const LAYER_TOKENS: usize = 4096;

/// A whole layer with `rows` rows an expert on average: fewer than in the cases of single kernels, since it has more
/// experts.
fn moe_layer(moe: &Moe, hidden: usize, rows: usize, scale: &Scale) -> Factory {
    let mut gate = gate(moe);
    let least = gate.top_k.max(2 * gate.groups).next_multiple_of(4);
    gate.experts = (gate.experts / LAYER_SHARE).max(least).min(gate.experts);
    let tokens = (rows * gate.experts / gate.top_k).clamp(1, LAYER_TOKENS);
    factory(MoeLayer { gate, tokens, hidden, intermediate: size(moe.intermediate) / scale.divisor })
}

/// Keys of a block of the paged cache, vLLM's default.
const BLOCK: usize = 16;

fn attention_kernels(attention: Attention, phase: Phase, scale: &Scale) -> Vec<Factory> {
    let divided = |count: u64| (size(count) / scale.divisor).max(1);
    let [kv_len, sequences] = scale.cache;
    match (attention, phase) {
        (Attention::Gqa { heads, kv_heads, head_dim }, _) => {
            let heads = Heads { heads: divided(heads), kv_heads: divided(kv_heads), head_dim: size(head_dim) };
            if phase == Phase::Prefill {
                vec![factory(Prefill::causal(heads, scale.prompt, scale.prompt))]
            } else {
                vec![
                    factory(Decode { heads, sequences, kv_len }),
                    factory(PagedDecode { heads, sequences, kv_len, block: BLOCK }),
                ]
            }
        }
        (Attention::Mla { heads, rope_head_dim, nope_head_dim, v_head_dim, .. }, Phase::Prefill) => {
            // The latent is expanded: every head has keys and values of its own.
            let heads = divided(heads);
            let head_dim = size(nope_head_dim.saturating_add(rope_head_dim));
            vec![factory(Prefill {
                heads: Heads { heads, kv_heads: heads, head_dim },
                value_dim: size(v_head_dim),
                q_len: scale.prompt,
                kv_len: scale.prompt,
                causal: true,
            })]
        }
        (Attention::Mla { heads, kv_lora_rank, rope_head_dim, nope_head_dim, .. }, Phase::Decode) => {
            vec![factory(MlaDecode {
                heads: divided(heads),
                latent_dim: size(kv_lora_rank),
                rope_dim: size(rope_head_dim),
                key_dim: size(nope_head_dim.saturating_add(rope_head_dim)),
                sequences,
                kv_len,
            })]
        }
    }
}

fn moe_kernels(moe: &Moe, hidden: usize, rows: usize, phase: Phase, scale: &Scale) -> Vec<Factory> {
    let tokens = scale.routed_tokens[usize::from(phase == Phase::Decode)];
    let (experts, top_k) = (size(moe.experts), size(moe.top_k));
    let intermediate = size(moe.intermediate) / scale.divisor;
    let router = Matmul {
        role: MatmulRole::RouterLogits,
        experts: 1,
        tokens,
        top_k: 1,
        k: hidden,
        n: experts,
        load: Load::Uniform,
    };
    let mut kernels = vec![
        factory(router),
        factory(TopK { gate: gate(moe), tokens, logits: Logits::Random }),
        factory(Sort { tokens, top_k, experts, row_tile: 64, load: Load::Uniform }),
    ];
    kernels.extend(ffn_kernels(LOCAL_EXPERTS, rows, hidden, intermediate));
    if moe.scoring == Scoring::Sigmoid && phase == Phase::Prefill {
        kernels.extend(skewed_kernels(LOCAL_EXPERTS, rows, hidden, intermediate));
    }
    kernels.push(factory(Combine { tokens: tokens / 4, top_k, hidden, experts }));
    kernels
}

/// Gate and up, then down, of `experts` experts with `rows` rows each on average. After the dispatch a chip holds one
/// row a token slot, so top_k is 1 here.
fn ffn_kernels(experts: usize, rows: usize, hidden: usize, intermediate: usize) -> Vec<Factory> {
    let matmul = |role, k, n| Matmul { role, experts, tokens: rows * experts, top_k: 1, k, n, load: Load::Uniform };
    vec![
        factory(matmul(MatmulRole::GateUp, hidden, intermediate)),
        factory(matmul(MatmulRole::Down, intermediate, hidden)),
    ]
}

/// Gate and up with the same rows in all, spread unevenly: what imbalance costs. One model of a preset is enough.
fn skewed_kernels(experts: usize, rows: usize, hidden: usize, intermediate: usize) -> Vec<Factory> {
    let matmul = |load| Matmul {
        role: MatmulRole::GateUp,
        experts,
        tokens: rows * experts,
        top_k: 1,
        k: hidden,
        n: intermediate,
        load,
    };
    vec![factory(matmul(Load::PowerLaw)), factory(matmul(Load::HotExpert))]
}

/// Square products as other libraries are measured on: 512 and 1024 cubed, and a batch of 8 x 512 cubed.
pub fn square_matmuls() -> [Matmul; 3] {
    [Matmul::dense(512, 512, 512), Matmul::dense(1024, 1024, 1024), Matmul::batched(8, 512, 512, 512)]
}

/// [`square_matmuls`] in every variant and type.
pub fn square_cases() -> Vec<CaseSpec> {
    square_matmuls().into_iter().flat_map(|matmul| expand(factory(matmul), "square", Phase::Prefill, 1)).collect()
}

fn gate(moe: &Moe) -> Gate {
    Gate {
        experts: size(moe.experts),
        top_k: size(moe.top_k),
        sigmoid: moe.scoring == Scoring::Sigmoid,
        groups: size(moe.groups),
        kept_groups: size(moe.kept_groups),
        renormalise: moe.renormalise,
        scale: moe.routed_scaling,
    }
}

/// The suite of `verify`: small shapes that sit on no tile's edge, and the edge cases of each kernel.
pub fn verification_cases() -> Vec<CaseSpec> {
    let mut kernels = Vec::new();
    kernels.extend(matmul_suite());
    kernels.extend(gating_suite());
    kernels.extend(attention_suite());
    kernels.extend(layer_suite());
    let phase = Phase::Prefill;
    kernels.into_iter().flat_map(|(label, kernel)| expand(kernel, label, phase, 1)).collect()
}

/// A kernel of the suite, with what is special about its inputs.
type Labelled = (&'static str, Factory);

/// At least eight shapes for each variant and type: single tokens, odd k and n, all tokens on one expert, experts without
/// any, k beyond what int8 sums hold in f32, skewed and even loads, and whole tiles.
fn matmul_suite() -> Vec<Labelled> {
    use Load::{Even, EvenExperts, HotExpert, OneExpert, PowerLaw, Uniform};
    use MatmulRole::{Dense, Down, GateUp};
    let mut kernels = Vec::new();
    for (role, experts, tokens, top_k, k, n, load) in [
        (Dense, 1, 1, 1, 4, 4, Uniform),
        (GateUp, 1, 1, 1, 37, 19, Uniform),
        (Dense, 1, 2, 1, 129, 133, Uniform),
        (Dense, 1, 70, 1, 129, 133, Uniform),
        (GateUp, 5, 33, 2, 65, 41, Uniform),
        (Down, 8, 31, 1, 96, 260, OneExpert),
        (GateUp, 16, 9, 3, 31, 70, EvenExperts),
        (Down, 256, 12, 8, 20, 36, Uniform),
        (Down, 4, 16, 1, 300, 65, Even),
        (GateUp, 32, 40, 2, 33, 130, PowerLaw),
        (Down, 12, 24, 1, 1100, 12, HotExpert),
        (GateUp, 6, 20, 1, 64, 128, Uniform),
    ] {
        kernels.push((load.label(), factory(Matmul { role, experts, tokens, top_k, k, n, load })));
    }
    for (experts, tokens, top_k, hidden) in [
        (1, 1, 1, 4),
        (1, 1, 1, 19),
        (1, 70, 1, 133),
        (5, 33, 2, 41),
        (8, 40, 1, 260),
        (16, 9, 3, 70),
        (256, 12, 8, 36),
        (32, 40, 2, 129),
    ] {
        kernels.push(("uniform", factory(Combine { tokens, top_k, hidden, experts })));
    }
    kernels
}

fn gating_suite() -> Vec<Labelled> {
    let softmax = |experts, top_k, renormalise| Gate {
        experts,
        top_k,
        sigmoid: false,
        groups: 1,
        kept_groups: 1,
        renormalise,
        scale: 1.0,
    };
    let deepseek =
        |scale| Gate { experts: 256, top_k: 8, sigmoid: true, groups: 8, kept_groups: 4, renormalise: true, scale };
    let small = Gate { experts: 24, top_k: 3, sigmoid: true, groups: 4, kept_groups: 2, renormalise: true, scale: 1.5 };
    let mut kernels = Vec::new();
    for (gate, tokens) in [
        (softmax(8, 2, true), 1),
        (softmax(128, 8, true), 77),
        (softmax(60, 4, false), 130),
        (softmax(1, 1, true), 3),
        (deepseek(2.5), 1),
        (deepseek(2.5), 131),
        (small, 66),
    ] {
        for (label, logits) in [("random", Logits::Random), ("ties", Logits::Ties), ("constant", Logits::Constant)] {
            kernels.push((label, factory(TopK { gate: gate.clone(), tokens, logits })));
        }
    }
    for (tokens, top_k, experts, row_tile, load) in [
        (1, 1, 1, 16, Load::Uniform),
        (1, 8, 256, 64, Load::Uniform),
        (301, 8, 256, 64, Load::Uniform),
        (257, 1, 7, 8, Load::OneExpert),
        (90, 3, 33, 16, Load::EvenExperts),
        (700, 2, 512, 1, Load::Uniform),
    ] {
        kernels.push((load.label(), factory(Sort { tokens, top_k, experts, row_tile, load })));
    }
    let router = |tokens, k, n| Matmul {
        role: MatmulRole::RouterLogits,
        experts: 1,
        tokens,
        top_k: 1,
        k,
        n,
        load: Load::Uniform,
    };
    kernels.push(("random", factory(router(1, 64, 8))));
    kernels.push(("random", factory(router(67, 130, 128))));
    kernels
}

fn attention_suite() -> Vec<Labelled> {
    let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim };
    let mut kernels = Vec::new();
    for (heads, q_len, kv_len) in [
        (heads(1, 1, 64), 1, 1),
        (heads(4, 2, 128), 45, 45),
        (heads(8, 1, 64), 33, 33),
        (heads(6, 3, 36), 17, 17),
        (heads(2, 1, 128), 5, 70),
        (heads(2, 2, 96), 1, 129),
        (heads(1, 1, 128), 64, 64),
        (heads(3, 1, 32), 31, 95),
        (heads(2, 1, 64), 65, 81),
    ] {
        kernels.push(("random", factory(Prefill::causal(heads, q_len, kv_len))));
        if kv_len != 129 {
            kernels.push(("random", factory(Prefill { causal: false, ..Prefill::causal(heads, q_len, kv_len) })));
        }
    }
    // More queries than keys: nothing but causal masking ties the two.
    kernels.push(("random", factory(Prefill { causal: false, ..Prefill::causal(heads(2, 2, 64), 37, 19) })));
    // heads, head_dim, value_dim, q_len, kv_len
    for (count, head_dim, value_dim, q_len, kv_len) in [
        (1, 192, 128, 1, 1),
        (2, 192, 128, 40, 40),
        (4, 192, 128, 17, 66),
        (3, 192, 128, 33, 33),
        (1, 192, 128, 1, 97),
        (2, 96, 64, 50, 50),
        (2, 48, 32, 31, 47),
        (1, 36, 20, 19, 19),
        (2, 100, 96, 7, 130),
    ] {
        let prefill = Prefill { heads: heads(count, count, head_dim), value_dim, q_len, kv_len, causal: true };
        kernels.push(("random", factory(prefill)));
    }
    for (heads, sequences, kv_len) in [
        (heads(1, 1, 64), 1, 1),
        (heads(8, 1, 128), 1, 63),
        (heads(8, 2, 128), 3, 257),
        (heads(16, 1, 64), 2, 130),
        (heads(6, 3, 36), 2, 65),
        (heads(4, 4, 80), 1, 511),
        (heads(40, 2, 128), 1, 100),
        (heads(4, 1, 128), 2, 64),
        (heads(5, 1, 32), 3, 129),
    ] {
        kernels.push(("random", factory(Decode { heads, sequences, kv_len })));
    }
    for (heads, sequences, kv_len, block) in [
        (heads(1, 1, 64), 1, 1, 16),
        (heads(8, 1, 128), 1, 63, 16),
        (heads(8, 2, 128), 3, 257, 16),
        (heads(16, 1, 64), 2, 130, 32),
        (heads(6, 3, 36), 2, 65, 7),
        (heads(4, 4, 80), 1, 511, 128),
        (heads(40, 2, 128), 1, 100, 64),
        (heads(2, 1, 32), 5, 48, 1),
        (heads(4, 1, 128), 2, 128, 16),
    ] {
        kernels.push(("random", factory(PagedDecode { heads, sequences, kv_len, block })));
    }
    // heads, latent_dim, rope_dim, key_dim, sequences, kv_len
    for (heads, latent_dim, rope_dim, key_dim, sequences, kv_len) in [
        (1, 512, 64, 192, 1, 1),
        (16, 512, 64, 192, 1, 63),
        (16, 512, 64, 192, 2, 65),
        (17, 512, 64, 192, 1, 200),
        (8, 512, 64, 192, 1, 129),
        (128, 64, 64, 96, 1, 40),
        (5, 128, 64, 96, 3, 77),
        (24, 64, 64, 64, 2, 256),
        (3, 36, 20, 28, 2, 70),
        (9, 192, 64, 96, 1, 7),
    ] {
        kernels.push(("random", factory(MlaDecode { heads, latent_dim, rope_dim, key_dim, sequences, kv_len })));
    }
    kernels
}

fn layer_suite() -> Vec<Labelled> {
    let gate = |experts, top_k, sigmoid, groups| Gate {
        experts,
        top_k,
        sigmoid,
        groups,
        kept_groups: groups.div_ceil(2),
        renormalise: true,
        scale: if sigmoid { 2.5 } else { 1.0 },
    };
    let mut kernels = Vec::new();
    for (gate, tokens, hidden, intermediate) in
        [(gate(8, 2, false, 1), 37, 36, 20), (gate(16, 4, true, 4), 70, 68, 41), (gate(4, 1, false, 1), 1, 32, 7)]
    {
        kernels.push(("random", factory(MoeLayer { gate, tokens, hidden, intermediate })));
    }
    let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim };
    for (heads, hidden, phase) in [
        (heads(4, 2, 32), 52, BlockPhase::Prefill { tokens: 45 }),
        (heads(2, 1, 64), 100, BlockPhase::Prefill { tokens: 1 }),
        (heads(8, 2, 32), 40, BlockPhase::Decode { sequences: 3, kv_len: 77 }),
        (heads(4, 4, 36), 64, BlockPhase::Decode { sequences: 1, kv_len: 130 }),
    ] {
        kernels.push(("random", factory(AttentionBlock { heads, hidden, phase })));
    }
    kernels
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn ids_are_unique_in_every_preset() {
        for preset in [Preset::Smoke, Preset::Quick, Preset::Full] {
            let models: Vec<Model> =
                preset_models(preset).iter().map(|name| Model::load(name).expect("built in")).collect();
            let cases = preset_cases(preset, &models);
            let ids: BTreeSet<String> = cases.iter().map(CaseSpec::id).collect();
            assert_eq!(ids.len(), cases.len(), "{preset:?}");
            assert!(cases.len() >= 60, "{preset:?} has {}", cases.len());
        }
    }

    #[test]
    fn ids_are_unique_in_the_verification_suite() {
        let cases = verification_cases();
        let ids: BTreeSet<String> = cases.iter().map(CaseSpec::id).collect();
        assert_eq!(ids.len(), cases.len());
    }

    #[test]
    fn the_verification_suite_covers_every_shader_that_is_not_a_probe() {
        let cases = verification_cases();
        let used: BTreeSet<&str> = cases
            .iter()
            .flat_map(|case| case.kernel.plan(case.variant, case.element).launches)
            .map(|launch| launch.shader)
            .collect();
        let all: BTreeSet<&str> =
            crate::kernels::SHADERS.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("probe")).collect();
        assert_eq!(used, all);
        assert!(cases.len() >= 60);
    }

    #[test]
    fn the_verification_suite_has_eight_shapes_of_every_matmul_variant_and_type() {
        let mut shapes: BTreeMap<(&str, Element), usize> = BTreeMap::new();
        for case in
            verification_cases().iter().filter(|case| ["dense", "gate_up", "down"].contains(&case.kernel.name()))
        {
            *shapes.entry((case.variant, case.element)).or_default() += 1;
        }
        let few: Vec<_> = shapes.iter().filter(|(_, count)| **count < 8).collect();
        assert!(few.is_empty(), "{few:?}");
        for element in Element::ALL {
            assert!(shapes.keys().filter(|(_, of)| *of == element).count() >= 6, "{element}");
        }
    }

    #[test]
    fn inputs_fill_exactly_the_input_buffers_of_the_plan() {
        for case in verification_cases() {
            let plan = case.kernel.plan(case.variant, case.element);
            let inputs = case.kernel.inputs(case.variant, case.element, 3);
            for buffer in plan.buffers.iter().filter(|buffer| buffer.role == crate::kernels::Role::Input) {
                let bytes = inputs[buffer.name].bytes().len() as u64;
                assert!(
                    bytes <= buffer.size_bytes && bytes + 16 > buffer.size_bytes,
                    "{} {}: {bytes} of {}",
                    case.id(),
                    buffer.name,
                    buffer.size_bytes
                );
            }
        }
    }
}
