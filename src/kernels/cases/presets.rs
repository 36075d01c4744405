//! The presets of `measure`: kernels at the shapes of real models.
//!
//! Shapes come from the models in specs/models. `full` and `quick` use the true sizes of a layer. `smoke` divides the
//! hidden, intermediate and head counts by 8, so that a software adapter finishes in minutes. The router keeps all its
//! experts, since its cost depends on them. Expert matmuls have 8 experts, those of one chip under expert parallelism.
//! `phone`, `laptop` and `desktop` are for browsers: few kernels and types, at true sizes as far as their memory goes.
//!
//! gpt-oss: the biases of its matmuls and the clamp in its SwiGLU are left out. Qwen3-Next:
//! three of four layers have linear attention, for which there are no kernels. The others have heads of 256: decode by group
//! takes them, but no prefill does. Its tiles would need 37 KiB of workgroup memory and more registers than some GPUs have.

use std::iter;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernels::attention::{Decode, Heads, MlaDecode, PagedDecode, PagedMlaDecode, Prefill};
use crate::kernels::cases::capacity::Capacity;
use crate::kernels::cases::spec::{CaseGroup, CaseSpec};
use crate::kernels::gate::Gate;
use crate::kernels::gating::{Logits, Sort, TopK};
use crate::kernels::kernel::Kernel;
use crate::kernels::layer::{AttentionBlock, BlockPhase, MlaBlock, MoeLayer, SharedExpert};
use crate::kernels::matmul::{Combine, Matmul, MatmulRole};
use crate::kernels::routing::Load;
use crate::kernels::types::{Family, KernelPhase, StorageType};
use crate::specs::{Attention, CheckpointType, Model, Moe};

/// A set of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Layers scaled down: what a software adapter finishes in minutes.
    Smoke,
    /// True layer sizes of four models, few points.
    Quick,
    /// True layer sizes of all models.
    Full,
    /// A few layers at their true sizes, within 1 GB of memory and 2 minutes of a phone.
    Phone,
    /// The same with more tokens and types, within 2 GB and 4 minutes of a laptop.
    Laptop,
    /// Layers of more models, within 4 GB and 6 minutes of a desktop.
    Desktop,
}

impl Preset {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 6] = [Self::Smoke, Self::Quick, Self::Full, Self::Phone, Self::Laptop, Self::Desktop];

    /// The most memory that a run plans with, in bytes, device and host together; `None` where the device alone decides.
    pub const fn most_memory(self) -> Option<u64> {
        match self {
            Self::Smoke | Self::Quick | Self::Full => None,
            Self::Phone => Some(1_000_000_000),
            Self::Laptop => Some(2_000_000_000),
            Self::Desktop => Some(4_000_000_000),
        }
    }

    /// The most minutes that a run takes on the devices that the preset is for; `None` where no such bound was set.
    pub const fn most_minutes(self) -> Option<u32> {
        match self {
            Self::Smoke | Self::Quick | Self::Full => None,
            Self::Phone => Some(2),
            Self::Laptop => Some(4),
            Self::Desktop => Some(6),
        }
    }
}

/// The sizes of a preset.
struct Scale {
    models: &'static [&'static str],
    /// Divides hidden, intermediate and head counts.
    divisor: usize,
    /// Rows per expert. A dense layer gets four times as many tokens.
    rows: ByPhase,
    /// Tokens that are routed.
    routed_tokens: ByPhase,
    /// Prompt length of attention.
    prompt: usize,
    /// Sequences of decode attention.
    sequences: usize,
    /// Keys per sequence of decode attention.
    kv_len: usize,
    /// Whether it has what came after the first records: latent attention with its projections, shared experts, and the
    /// type that a model ships in. They would make `smoke` longer.
    is_current: bool,
    /// Of each model only the kernels that its time goes to, in these types; all where `None`.
    brief: Option<&'static [StorageType]>,
}

/// What every device computes in, and what most have.
const FLOATS: &[StorageType] = &[StorageType::F32, StorageType::F16];
/// With what large models are quantised to.
const FLOATS_AND_4_BITS: &[StorageType] = &[StorageType::F32, StorageType::F16, StorageType::Int4, StorageType::Mxfp4];

/// A number for each phase.
struct ByPhase {
    prefill: usize,
    decode: usize,
}

impl ByPhase {
    const fn of(&self, phase: KernelPhase) -> usize {
        match phase {
            KernelPhase::Prefill => self.prefill,
            KernelPhase::Decode => self.decode,
        }
    }
}

/// The model whose expert matmuls also run with skewed loads, in prefill. One model is enough to show what skew costs.
const SKEWED_MODEL: &str = "deepseek-v3";
/// Experts per chip.
const LOCAL_EXPERTS: usize = 8;

fn scale(preset: Preset) -> Scale {
    match preset {
        Preset::Smoke => Scale {
            models: &["llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3"],
            divisor: 8,
            rows: ByPhase { prefill: 64, decode: 4 },
            routed_tokens: ByPhase { prefill: 1024, decode: 64 },
            prompt: 512,
            sequences: 8,
            kv_len: 1024,
            is_current: false,
            brief: None,
        },
        Preset::Quick => Scale {
            models: &["llama-3.1-70b", "qwen3-235b-a22b", "deepseek-v3", "gpt-oss-120b"],
            divisor: 1,
            rows: ByPhase { prefill: 512, decode: 16 },
            routed_tokens: ByPhase { prefill: 4096, decode: 128 },
            prompt: 2048,
            sequences: 32,
            kv_len: 4096,
            is_current: true,
            brief: None,
        },
        Preset::Full => Scale {
            models: &[
                "llama-3.1-8b",
                "llama-3.1-70b",
                "llama-3.1-405b",
                "qwen3-30b-a3b",
                "qwen3-235b-a22b",
                "deepseek-v3",
                "gpt-oss-120b",
                "qwen3-next-80b-a3b",
            ],
            divisor: 1,
            rows: ByPhase { prefill: 4096, decode: 16 },
            routed_tokens: ByPhase { prefill: 16_384, decode: 128 },
            prompt: 4096,
            sequences: 64,
            kv_len: 8192,
            is_current: true,
            brief: None,
        },
        Preset::Phone => Scale {
            models: &["qwen3-30b-a3b"],
            divisor: 1,
            rows: ByPhase { prefill: 128, decode: 4 },
            routed_tokens: ByPhase { prefill: 1024, decode: 32 },
            prompt: 1024,
            sequences: 8,
            kv_len: 2048,
            is_current: true,
            brief: Some(FLOATS),
        },
        Preset::Laptop => Scale {
            models: &["qwen3-30b-a3b", "gpt-oss-120b"],
            divisor: 1,
            rows: ByPhase { prefill: 256, decode: 8 },
            routed_tokens: ByPhase { prefill: 2048, decode: 64 },
            prompt: 2048,
            sequences: 16,
            kv_len: 2048,
            is_current: true,
            brief: Some(FLOATS_AND_4_BITS),
        },
        Preset::Desktop => Scale {
            models: &["qwen3-235b-a22b", "deepseek-v3", "gpt-oss-120b"],
            divisor: 1,
            rows: ByPhase { prefill: 512, decode: 16 },
            routed_tokens: ByPhase { prefill: 4096, decode: 128 },
            prompt: 2048,
            sequences: 32,
            kv_len: 4096,
            is_current: true,
            brief: Some(FLOATS_AND_4_BITS),
        },
    }
}

/// The names of the models that a preset takes its shapes from.
pub fn preset_models(preset: Preset) -> &'static [&'static str] {
    scale(preset).models
}

/// All cases of a preset, in order: by model, phase, kernel, variant, type. A kernel that exceeds the capacity is made
/// smaller first, for all its variants and types.
pub fn preset_cases(preset: Preset, models: &[Model], capacity: &Capacity) -> Vec<CaseSpec> {
    let scale = scale(preset);
    let scale_divisor = u32::try_from(scale.divisor).unwrap_or(1);
    let mut cases = Vec::new();
    for model in models {
        for phase in [KernelPhase::Prefill, KernelPhase::Decode] {
            for (family, kernel) in layer_kernels(model, phase, &scale) {
                let (kernel, label) = (capacity.fit(kernel), model.name.clone());
                let group = CaseGroup { family, kernel, label, phase, scale_divisor }.expand();
                cases.extend(group.into_iter().filter(|case| has_type(model, case, &scale)));
            }
        }
    }
    cases
}

/// The models of the first records. They are measured in every type that those had, whatever they ship in.
const IN_ALL_FIRST_TYPES: &[&str] =
    &["llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b", "qwen3-30b-a3b", "qwen3-235b-a22b", "deepseek-v3"];

/// No built-in file ships in NVFP4, but a second checkpoint of this model does (nvidia/DeepSeek-V3-0324-NVFP4).
const IN_NVFP4: &str = "deepseek-v3";

/// Whether a model is measured in the type of a case: in f16 and bf16, in the type that it ships in, and in the others that
/// the first records had if it was in them. A kernel that exists in f32 alone is measured in it.
fn has_type(model: &Model, case: &CaseSpec, scale: &Scale) -> bool {
    let ships_in = |checkpoint| scale.is_current && model.checkpoint_type() == checkpoint;
    let is_too_large = || case.family == Family::Layer && is_beyond_a_page(model, case.element);
    if scale.brief.is_some_and(|types| !types.contains(&case.element) || is_too_large()) {
        return false;
    }
    match case.element {
        StorageType::F16 | StorageType::Bf16 => true,
        StorageType::F32 if case.kernel.elements() == [StorageType::F32] => true,
        StorageType::F32 | StorageType::Int8 | StorageType::Int4 => IN_ALL_FIRST_TYPES.contains(&&*model.name),
        StorageType::Fp8 => ships_in(CheckpointType::Fp8),
        StorageType::Mxfp4 => ships_in(CheckpointType::Mxfp4),
        StorageType::Nvfp4 => ships_in(CheckpointType::Nvfp4) || scale.is_current && model.name == IN_NVFP4,
    }
}

/// The most bytes of weights of a layer in a page, whose memory ends at 4 GiB and holds them twice.
const MOST_IN_A_PAGE: u64 = 1_000_000_000;

/// Whether the fewest experts of a layer, those of one token, are too large for a page: a layer cannot be made smaller.
fn is_beyond_a_page(model: &Model, element: StorageType) -> bool {
    let weights = model.moe.as_ref().map_or(0, |moe| moe.top_k * 3 * model.hidden * moe.intermediate);
    weights * element.weight_bits() / 8 > MOST_IN_A_PAGE
}

/// A kernel with its family.
type OfFamily = (Family, Arc<dyn Kernel>);

fn of(family: Family, kernel: impl Kernel + 'static) -> OfFamily {
    (family, Arc::new(kernel))
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn layer_kernels(model: &Model, phase: KernelPhase, scale: &Scale) -> Vec<OfFamily> {
    if scale.brief.is_some() {
        return brief_kernels(model, phase, scale);
    }
    let mut kernels = Vec::new();
    let hidden = size(model.hidden) / scale.divisor;
    let rows = scale.rows.of(phase);
    if let Some(moe) = &model.moe {
        let intermediate = size(moe.intermediate) / scale.divisor;
        let experts = Ffn { experts: LOCAL_EXPERTS, rows, hidden, intermediate };
        kernels.extend(gating_kernels(moe, hidden, scale.routed_tokens.of(phase)));
        kernels.extend(experts.kernels());
        if model.name == SKEWED_MODEL && phase == KernelPhase::Prefill {
            kernels.extend(experts.skewed_kernels());
        }
        kernels.push(combine(moe, hidden, scale.routed_tokens.of(phase) / 4));
    } else {
        let intermediate = size(model.dense_intermediate()) / scale.divisor;
        kernels.extend(Ffn { experts: 1, rows: rows * 4, hidden, intermediate }.kernels());
    }
    kernels.extend(attention_kernels(model, phase, scale));
    kernels.extend(attention_blocks(model, hidden, phase, scale));
    kernels.extend(model.moe.iter().flat_map(|moe| moe_layers(moe, hidden, rows.div_ceil(4), scale)));
    kernels
}

/// What most of a model's time goes to: gate, experts and attention in both phases, and one whole layer in decode.
fn brief_kernels(model: &Model, phase: KernelPhase, scale: &Scale) -> Vec<OfFamily> {
    let (hidden, rows) = (size(model.hidden), scale.rows.of(phase));
    let mut kernels = Vec::new();
    if let Some(moe) = &model.moe {
        let experts = Ffn { experts: LOCAL_EXPERTS, rows, hidden, intermediate: size(moe.intermediate) };
        kernels.extend(gating_kernels(moe, hidden, scale.routed_tokens.of(phase)));
        kernels.extend(experts.kernels());
        kernels.extend(moe_layers(moe, hidden, rows, scale).pop().filter(|_| phase == KernelPhase::Decode));
    }
    // The first is the one without a window, on a cache in one piece.
    kernels.extend(attention_kernels(model, phase, scale).into_iter().take(1));
    kernels
}

/// The largest grouped heads that prefill takes, and whole attention blocks with it.
const MOST_PREFILL_DIM: u64 = 128;

/// Attention with its projections.
fn attention_blocks(model: &Model, hidden: usize, phase: KernelPhase, scale: &Scale) -> Vec<OfFamily> {
    let divided = |count: u64| (size(count) / scale.divisor).max(1);
    let phase = match phase {
        KernelPhase::Prefill => BlockPhase::Prefill { tokens: scale.prompt },
        KernelPhase::Decode => BlockPhase::Decode { sequences: scale.sequences, kv_len: scale.kv_len },
    };
    let Some(attention) = model.attention() else { return Vec::new() };
    match attention.sizes {
        Attention::Gqa { head_dim, .. } if head_dim > MOST_PREFILL_DIM => Vec::new(),
        Attention::Gqa { heads, kv_heads, head_dim, .. } => {
            let heads = Heads { heads: divided(heads), kv_heads: divided(kv_heads), head_dim: size(head_dim) };
            let sinks = attention.sinks;
            let block = |window| AttentionBlock { heads, hidden, phase, window, sinks, projection: None };
            windows(model).map(|window| of(Family::Layer, block(window))).collect()
        }
        Attention::Mla { heads, q_lora_rank, kv_lora_rank, rope_head_dim, nope_head_dim, v_head_dim } => {
            let block = MlaBlock {
                heads: divided(heads),
                hidden,
                q_rank: size(q_lora_rank),
                latent_dim: size(kv_lora_rank),
                rope_dim: size(rope_head_dim),
                nope_dim: size(nope_head_dim),
                value_dim: size(v_head_dim),
                phase,
                projection: None,
            };
            if scale.is_current { vec![of(Family::Layer, block)] } else { Vec::new() }
        }
        // No kernel computes it.
        Attention::Shared { .. } => Vec::new(),
    }
}

/// A layer that is measured as a whole has an eighth of the model's experts, so that their weights fit a device. It keeps
/// at least as many as a token takes.
const LAYER_SHARE: usize = 8;
/// The most tokens of such a layer.
const LAYER_TOKENS: usize = 4096;

/// Whole layers with `rows` rows per expert on average: without shared experts where the first records had it so, and with
/// them. The rows are fewer than in the cases of single kernels, since a layer has more experts.
fn moe_layers(moe: &Moe, hidden: usize, rows: usize, scale: &Scale) -> Vec<OfFamily> {
    let mut gate = gate(moe);
    let least = gate.top_k.max(2 * gate.groups).next_multiple_of(4);
    gate.experts = (gate.experts / LAYER_SHARE).max(least).min(gate.experts);
    let tokens = (rows * gate.experts / gate.top_k).clamp(1, LAYER_TOKENS);
    let intermediate = size(moe.intermediate) / scale.divisor;
    let shared = (moe.shared_experts > 0 && scale.is_current).then(|| SharedExpert {
        intermediate: intermediate * size(moe.shared_experts),
        gated: moe.gated_shared,
        variant: None,
    });
    let layer = MoeLayer { gate, tokens, hidden, intermediate, shared: None, router: None, scoring: None };
    let whole = shared.map(|shared| MoeLayer { shared: Some(shared), ..layer.clone() });
    let routed = (!moe.gated_shared).then_some(layer);
    routed.into_iter().chain(whole).map(|layer| of(Family::Layer, layer)).collect()
}

/// Keys per block of the paged cache: vLLM's default.
const BLOCK: usize = 16;
/// Entries per block of the paged latent cache: FlashMLA's.
const LATENT_BLOCK: usize = 64;

/// The windows of a model's layers: none, and one in addition if some layers attend within it.
fn windows(model: &Model) -> impl Iterator<Item = Option<usize>> {
    iter::once(None).chain(model.window().map(|window| Some(size(window))))
}

fn attention_kernels(model: &Model, phase: KernelPhase, scale: &Scale) -> Vec<OfFamily> {
    let divided = |count: u64| (size(count) / scale.divisor).max(1);
    let Scale { prompt, sequences, kv_len, .. } = *scale;
    let Some(attention) = model.attention() else { return Vec::new() };
    let sinks = attention.sinks;
    match (attention.sizes, phase) {
        // No kernel computes it.
        (Attention::Shared { .. }, _) => Vec::new(),
        (Attention::Gqa { head_dim, .. }, KernelPhase::Prefill) if head_dim > MOST_PREFILL_DIM => Vec::new(),
        (Attention::Gqa { heads, kv_heads, head_dim, .. }, _) => {
            let heads = Heads { heads: divided(heads), kv_heads: divided(kv_heads), head_dim: size(head_dim) };
            let kernels = |window| {
                if phase == KernelPhase::Prefill {
                    let prefill = Prefill { window, sinks, ..Prefill::causal(heads, prompt, prompt) };
                    return vec![of(Family::Attention, prefill)];
                }
                let decode = Decode { window, sinks, ..Decode::new(heads, sequences, kv_len) };
                let paged = PagedDecode { window, sinks, ..PagedDecode::new(heads, sequences, kv_len, BLOCK) };
                vec![of(Family::Attention, decode), of(Family::Attention, paged)]
            };
            windows(model).flat_map(kernels).collect()
        }
        (Attention::Mla { heads, rope_head_dim, nope_head_dim, v_head_dim, .. }, KernelPhase::Prefill) => {
            // The latent is expanded: every head has keys and values of its own.
            let heads = divided(heads);
            let head_dim = size(nope_head_dim.saturating_add(rope_head_dim));
            let heads = Heads { heads, kv_heads: heads, head_dim };
            let value_dim = size(v_head_dim);
            vec![of(Family::Attention, Prefill { value_dim, ..Prefill::causal(heads, prompt, prompt) })]
        }
        (Attention::Mla { heads, kv_lora_rank, rope_head_dim, nope_head_dim, .. }, KernelPhase::Decode) => {
            let decode = MlaDecode {
                heads: divided(heads),
                latent_dim: size(kv_lora_rank),
                rope_dim: size(rope_head_dim),
                key_dim: size(nope_head_dim.saturating_add(rope_head_dim)),
                sequences,
                kv_len,
            };
            let paged = PagedMlaDecode { decode: decode.clone(), block: LATENT_BLOCK };
            vec![of(Family::Attention, decode), of(Family::Attention, paged)]
        }
    }
}

/// Router, scoring with top-k, and sort.
fn gating_kernels(moe: &Moe, hidden: usize, tokens: usize) -> Vec<OfFamily> {
    let (experts, top_k) = (size(moe.experts), size(moe.top_k));
    let router = Matmul {
        role: MatmulRole::RouterLogits,
        experts: 1,
        tokens,
        top_k: 1,
        k: hidden,
        n: experts,
        load: Load::Uniform,
    };
    vec![
        of(Family::Gating, router),
        of(Family::Gating, TopK { gate: gate(moe), tokens, logits: Logits::Random }),
        of(Family::Gating, Sort { tokens, top_k, experts, row_tile: 64, load: Load::Uniform }),
    ]
}

/// The weighted combine after the experts.
fn combine(moe: &Moe, hidden: usize, tokens: usize) -> OfFamily {
    of(Family::ExpertMatmul, Combine { tokens, top_k: size(moe.top_k), hidden, experts: size(moe.experts) })
}

/// The sizes of the two matmuls of a feed-forward network.
struct Ffn {
    experts: usize,
    /// Rows per expert on average.
    rows: usize,
    hidden: usize,
    intermediate: usize,
}

impl Ffn {
    /// Gate and up. After the dispatch a chip holds one row per token slot, so top_k is 1 here.
    fn gate_up(&self, load: Load) -> Matmul {
        let Self { experts, rows, hidden, intermediate } = *self;
        let (k, n) = (hidden, intermediate);
        Matmul { role: MatmulRole::GateUp, experts, tokens: rows * experts, top_k: 1, k, n, load }
    }

    fn down(&self) -> Matmul {
        let (k, n) = (self.intermediate, self.hidden);
        Matmul { role: MatmulRole::Down, k, n, ..self.gate_up(Load::Uniform) }
    }

    /// Gate and up, then down.
    fn kernels(&self) -> [OfFamily; 2] {
        [self.gate_up(Load::Uniform), self.down()].map(|matmul| of(Family::ExpertMatmul, matmul))
    }

    /// Gate and up with as many rows in all, spread unevenly: these show the cost of imbalance.
    fn skewed_kernels(&self) -> [OfFamily; 2] {
        [Load::PowerLaw, Load::HotExpert].map(|load| of(Family::ExpertMatmul, self.gate_up(load)))
    }
}

/// Square products that other libraries publish: 512 and 1024 cubed, and a batch of 8 x 512 cubed.
pub fn square_matmuls() -> [Matmul; 3] {
    [Matmul::dense(512, 512, 512), Matmul::dense(1024, 1024, 1024), Matmul::batched(8, 512, 512, 512)]
}

/// [`square_matmuls`] in every variant and type.
pub fn square_cases() -> Vec<CaseSpec> {
    let listed = |matmul| {
        let (family, kernel) = of(Family::ExpertMatmul, matmul);
        CaseGroup { family, kernel, label: "square".to_owned(), phase: KernelPhase::Prefill, scale_divisor: 1 }
    };
    square_matmuls().into_iter().flat_map(|matmul| listed(matmul).expand()).collect()
}

fn gate(moe: &Moe) -> Gate {
    Gate {
        experts: size(moe.experts),
        top_k: size(moe.top_k),
        scoring: moe.scoring,
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
    use crate::kernels::cases::suite::verification_cases;
    use crate::kernels::kernel::Made;
    use crate::kernels::plan::Role;
    use crate::kernels::types::Extent;
    use crate::units::{Bytes, Flop};

    #[test]
    fn ids_are_unique_in_every_preset_and_those_for_browsers_are_short() {
        for preset in Preset::ALL {
            let cases = cases_of(preset);
            let ids: BTreeSet<String> = cases.iter().map(CaseSpec::id).collect();
            assert_eq!(ids.len(), cases.len(), "{preset:?}");
            let is_short = preset.most_memory().is_some();
            assert!(cases.len() >= if is_short { 40 } else { 60 }, "{preset:?} has {}", cases.len());
        }
    }

    fn cases_of(preset: Preset) -> Vec<CaseSpec> {
        let models: Vec<Model> =
            preset_models(preset).iter().map(|name| Model::load(name).expect("built in")).collect();
        preset_cases(preset, &models, &Capacity::unlimited())
    }

    #[test]
    fn a_model_is_measured_in_the_type_that_it_ships_in_and_smoke_in_those_of_the_first_records() {
        use StorageType::{Bf16, F16, F32, Fp8, Int4, Int8, Mxfp4, Nvfp4};
        let types = |preset, model: &str| -> BTreeSet<StorageType> {
            let cases = cases_of(preset).into_iter();
            cases.filter(|case| case.label == model && case.kernel.name() == "down").map(|case| case.element).collect()
        };
        let first = [F32, F16, Bf16, Int8, Int4];
        assert_eq!(types(Preset::Quick, "gpt-oss-120b"), BTreeSet::from([F16, Bf16, Mxfp4]));
        assert_eq!(types(Preset::Full, "qwen3-next-80b-a3b"), BTreeSet::from([F16, Bf16]));
        assert_eq!(types(Preset::Full, "deepseek-v3"), first.into_iter().chain([Fp8, Nvfp4]).collect());
        assert_eq!(types(Preset::Smoke, "deepseek-v3"), BTreeSet::from(first));
    }

    #[test]
    fn windows_sinks_and_shared_experts_of_current_models_are_in_full() {
        let cases = cases_of(Preset::Full);
        let has = |model: &str, kernel: &str, size: &str| {
            let of_model = cases.iter().filter(|case| case.label == model && case.kernel.name() == kernel);
            of_model.map(|case| case.kernel.shape()).any(|shape| shape.contains_key(size))
        };
        for kernel in ["prefill", "decode", "decode_paged", "attention_block_prefill", "attention_block_decode"] {
            assert!(has("gpt-oss-120b", kernel, "window") && has("gpt-oss-120b", kernel, "sinks"), "{kernel}");
        }
        assert!(has("qwen3-next-80b-a3b", "moe_layer", "gated_shared"));
        assert!(has("qwen3-next-80b-a3b", "decode", "head_dim") && !has("qwen3-next-80b-a3b", "prefill", "head_dim"));
        assert!(has("deepseek-v3", "moe_layer", "shared") && has("deepseek-v3", "mla_block_decode", "q_rank"));
    }

    #[test]
    fn a_smaller_size_does_less_and_has_the_same_variants() {
        let (flop, mut shrunk) = (Flop::new(3e7), BTreeSet::new());
        let most = Extent { flop, bytes: Bytes::new(1e12) };
        for preset in [Preset::Smoke, Preset::Full] {
            for case in cases_of(preset) {
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
            let plan = case.case().plan();
            let inputs = case.case().inputs(&mut Made::default(), 3);
            for buffer in plan.buffers.iter().filter(|buffer| buffer.role == Role::Input) {
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
