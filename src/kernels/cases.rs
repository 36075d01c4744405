//! Which kernels are run at which shapes: the presets of `measure`, and the suite of `verify`.
//!
//! Shapes come from the models in specs/models. `full` and `quick` use the true sizes of a layer; `smoke` divides the
//! hidden, intermediate and head counts by 8 (the router keeps its experts, since its cost depends on them), so that a
//! software adapter finishes in minutes. Experts are those of one chip under expert parallelism: 8 local experts.

mod capacity;
mod suite;

pub use capacity::Capacity;
pub use suite::verification_cases;

use std::sync::Arc;

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
    pub kernel: Arc<dyn Kernel>,
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

/// All cases of a preset, in order: by model, phase, kernel, variant, type. Kernels that are too much for the device are
/// made smaller first, for all variants and types alike.
pub fn preset_cases(preset: Preset, models: &[Model], capacity: &Capacity) -> Vec<CaseSpec> {
    let scale = scale(preset);
    let mut cases = Vec::new();
    for model in models {
        for phase in [Phase::Prefill, Phase::Decode] {
            for kernel in layer_kernels(model, phase, &scale) {
                let fitting = capacity.fit(kernel);
                let suits = expand(&fitting, &model.name, phase, u32::try_from(scale.divisor).unwrap_or(1));
                cases.extend(suits);
            }
        }
    }
    cases
}

/// One spec for each variant and type of a kernel.
fn expand(kernel: &Arc<dyn Kernel>, model: &str, phase: Phase, scale_divisor: u32) -> Vec<CaseSpec> {
    let mut specs = Vec::new();
    for &variant in kernel.variants().iter().filter(|variant| kernel.suits(variant)) {
        for &element in kernel.variant_elements(variant) {
            let (kernel, model) = (Arc::clone(kernel), model.to_owned());
            specs.push(CaseSpec { kernel, variant, element, model, phase, scale_divisor });
        }
    }
    specs
}

/// A kernel that all its specs share.
fn shared(kernel: impl Kernel + 'static) -> Arc<dyn Kernel> {
    Arc::new(kernel)
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn layer_kernels(model: &Model, phase: Phase, scale: &Scale) -> Vec<Arc<dyn Kernel>> {
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
fn attention_block(attention: Attention, hidden: usize, phase: Phase, scale: &Scale) -> Option<Arc<dyn Kernel>> {
    let Attention::Gqa { heads, kv_heads, head_dim } = attention else { return None };
    let divided = |count: u64| (size(count) / scale.divisor).max(1);
    let heads = Heads { heads: divided(heads), kv_heads: divided(kv_heads), head_dim: size(head_dim) };
    let [kv_len, sequences] = scale.cache;
    let phase = match phase {
        Phase::Prefill => BlockPhase::Prefill { tokens: scale.prompt },
        Phase::Decode => BlockPhase::Decode { sequences, kv_len },
    };
    Some(shared(AttentionBlock { heads, hidden, phase, projection: None }))
}

/// Experts of a layer that is measured as a whole: an eighth of the model's, so that their weights fit a device, and
/// no fewer than a token takes.
const LAYER_SHARE: usize = 8;
/// Tokens of such a layer at most.
const LAYER_TOKENS: usize = 4096;

/// A whole layer with `rows` rows an expert on average: fewer than in the cases of single kernels, since it has more
/// experts.
fn moe_layer(moe: &Moe, hidden: usize, rows: usize, scale: &Scale) -> Arc<dyn Kernel> {
    let mut gate = gate(moe);
    let least = gate.top_k.max(2 * gate.groups).next_multiple_of(4);
    gate.experts = (gate.experts / LAYER_SHARE).max(least).min(gate.experts);
    let tokens = (rows * gate.experts / gate.top_k).clamp(1, LAYER_TOKENS);
    let intermediate = size(moe.intermediate) / scale.divisor;
    shared(MoeLayer { gate, tokens, hidden, intermediate, router: None, scoring: None })
}

/// Keys of a block of the paged cache, vLLM's default.
const BLOCK: usize = 16;

fn attention_kernels(attention: Attention, phase: Phase, scale: &Scale) -> Vec<Arc<dyn Kernel>> {
    let divided = |count: u64| (size(count) / scale.divisor).max(1);
    let [kv_len, sequences] = scale.cache;
    match (attention, phase) {
        (Attention::Gqa { heads, kv_heads, head_dim }, _) => {
            let heads = Heads { heads: divided(heads), kv_heads: divided(kv_heads), head_dim: size(head_dim) };
            if phase == Phase::Prefill {
                vec![shared(Prefill::causal(heads, scale.prompt, scale.prompt))]
            } else {
                vec![
                    shared(Decode { heads, sequences, kv_len }),
                    shared(PagedDecode { heads, sequences, kv_len, block: BLOCK }),
                ]
            }
        }
        (Attention::Mla { heads, rope_head_dim, nope_head_dim, v_head_dim, .. }, Phase::Prefill) => {
            // The latent is expanded: every head has keys and values of its own.
            let heads = divided(heads);
            let head_dim = size(nope_head_dim.saturating_add(rope_head_dim));
            vec![shared(Prefill {
                heads: Heads { heads, kv_heads: heads, head_dim },
                value_dim: size(v_head_dim),
                q_len: scale.prompt,
                kv_len: scale.prompt,
                causal: true,
            })]
        }
        (Attention::Mla { heads, kv_lora_rank, rope_head_dim, nope_head_dim, .. }, Phase::Decode) => {
            vec![shared(MlaDecode {
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

fn moe_kernels(moe: &Moe, hidden: usize, rows: usize, phase: Phase, scale: &Scale) -> Vec<Arc<dyn Kernel>> {
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
        shared(router),
        shared(TopK { gate: gate(moe), tokens, logits: Logits::Random }),
        shared(Sort { tokens, top_k, experts, row_tile: 64, load: Load::Uniform }),
    ];
    kernels.extend(ffn_kernels(LOCAL_EXPERTS, rows, hidden, intermediate));
    if moe.scoring == Scoring::Sigmoid && phase == Phase::Prefill {
        kernels.extend(skewed_kernels(LOCAL_EXPERTS, rows, hidden, intermediate));
    }
    kernels.push(shared(Combine { tokens: tokens / 4, top_k, hidden, experts }));
    kernels
}

/// Gate and up, then down, of `experts` experts with `rows` rows each on average. After the dispatch a chip holds one
/// row a token slot, so top_k is 1 here.
fn ffn_kernels(experts: usize, rows: usize, hidden: usize, intermediate: usize) -> Vec<Arc<dyn Kernel>> {
    let matmul = |role, k, n| Matmul { role, experts, tokens: rows * experts, top_k: 1, k, n, load: Load::Uniform };
    vec![
        shared(matmul(MatmulRole::GateUp, hidden, intermediate)),
        shared(matmul(MatmulRole::Down, intermediate, hidden)),
    ]
}

/// Gate and up with the same rows in all, spread unevenly: what imbalance costs. One model of a preset is enough.
fn skewed_kernels(experts: usize, rows: usize, hidden: usize, intermediate: usize) -> Vec<Arc<dyn Kernel>> {
    let matmul = |load| Matmul {
        role: MatmulRole::GateUp,
        experts,
        tokens: rows * experts,
        top_k: 1,
        k: hidden,
        n: intermediate,
        load,
    };
    vec![shared(matmul(Load::PowerLaw)), shared(matmul(Load::HotExpert))]
}

/// Square products as other libraries are measured on: 512 and 1024 cubed, and a batch of 8 x 512 cubed.
pub fn square_matmuls() -> [Matmul; 3] {
    [Matmul::dense(512, 512, 512), Matmul::dense(1024, 1024, 1024), Matmul::batched(8, 512, 512, 512)]
}

/// [`square_matmuls`] in every variant and type.
pub fn square_cases() -> Vec<CaseSpec> {
    square_matmuls().into_iter().flat_map(|matmul| expand(&shared(matmul), "square", Phase::Prefill, 1)).collect()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kernels::Extent;
    use crate::units::{Bytes, Flop};

    #[test]
    fn ids_are_unique_in_every_preset() {
        for preset in [Preset::Smoke, Preset::Quick, Preset::Full] {
            let models: Vec<Model> =
                preset_models(preset).iter().map(|name| Model::load(name).expect("built in")).collect();
            let cases = preset_cases(preset, &models, &Capacity::unlimited());
            let ids: BTreeSet<String> = cases.iter().map(CaseSpec::id).collect();
            assert_eq!(ids.len(), cases.len(), "{preset:?}");
            assert!(cases.len() >= 60, "{preset:?} has {}", cases.len());
        }
    }

    #[test]
    fn a_smaller_size_does_less_and_has_the_same_variants() {
        let (flop, mut shrunk) = (Flop::new(3e7), BTreeSet::new());
        let most = Extent { flop, bytes: Bytes::new(1e12) };
        for preset in [Preset::Smoke, Preset::Full] {
            let models: Vec<Model> =
                preset_models(preset).iter().map(|name| Model::load(name).expect("built in")).collect();
            for case in preset_cases(preset, &models, &Capacity::unlimited()) {
                let Some(small) = case.kernel.smaller(most) else { continue };
                let [own, less] =
                    [case.kernel.as_ref(), small.as_ref()].map(|k| k.plan(case.variant, case.element).work.flop);
                assert!(own > flop && less < own && less < flop * 10.0, "{}: {less} of {own}", case.id());
                assert!(small.variants().contains(&case.variant), "{}", case.id());
                assert!(small.variant_elements(case.variant).contains(&case.element), "{}", case.id());
                shrunk.insert(case.kernel.name());
            }
        }
        for name in ["gate_up", "down", "prefill", "mla_prefill", "mla_decode", "decode", "attention_block_prefill"] {
            assert!(shrunk.contains(name), "{name} of {shrunk:?}");
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
