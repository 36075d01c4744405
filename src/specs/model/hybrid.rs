//! Models whose layers are mostly recurrences over a state of fixed size, with attention in the others.

use std::collections::BTreeSet;

use crate::specs::error::SpecError;
use crate::specs::model::architecture::{AttentionLayer, LinearAttention, Mixer, Reach, Recurrence};
use crate::specs::model::fields::Fields;
use crate::specs::model::{grouped, latent};

type Mixers = Result<Vec<Mixer>, SpecError>;

/// Bytes of an element of a state by the name of its type.
const STATE_TYPES: [(&str, u64); 3] = [("float32", 4), ("bfloat16", 2), ("float16", 2)];

/// Bytes of an element of the state. Where the file does not say, it has 32 bits, as in the reference kernels.
fn state_bytes(text: &Fields<'_>, field: &str) -> Result<u64, SpecError> {
    Ok(text.word(field, &STATE_TYPES)?.unwrap_or(4))
}

/// Gated delta rule in all layers but those that are listed, or every n-th one (Qwen3-Next, Qwen3.5). The module after
/// the layers has attention.
pub(super) fn gated_delta(text: &Fields<'_>, layers: u64) -> Mixers {
    let linear = Mixer::Linear(LinearAttention {
        rule: Recurrence::GatedDelta,
        heads: text.count("linear_num_value_heads")?,
        key_heads: text.count("linear_num_key_heads")?,
        key_dim: text.count("linear_key_head_dim")?,
        value_dim: text.count("linear_value_head_dim")?,
        taps: text.count("linear_conv_kernel_dim")?,
        state_bytes: state_bytes(text, "mamba_ssm_dtype")?,
    });
    let gated = text.flag_or("attn_output_gate", true)?;
    let sizes = grouped::sizes(text)?;
    let full = Mixer::Attention(AttentionLayer { sizes, reach: Reach::All, sinks: false, gated });
    let step = text.positive_or("full_attention_interval", 4)?;
    let by_number = |layer: u64| (layer + 1).is_multiple_of(step);
    let is_full = listed(text, layers)?.unwrap_or_else(|| (0..layers).map(by_number).collect());
    let list = is_full.into_iter().map(|is_full| if is_full { full } else { linear });
    Ok(list.chain([full]).collect())
}

/// Which layers `layer_types` gives attention to, where the file lists them.
fn listed(text: &Fields<'_>, layers: u64) -> Result<Option<Vec<bool>>, SpecError> {
    let Some(names) = text.per_layer::<String>("layer_types", "names", layers)? else { return Ok(None) };
    let is_full = |name: &String| match &**name {
        "full_attention" => Ok(true),
        "linear_attention" => Ok(false),
        other => Err(text.bad("layer_types", other, "give `full_attention` or `linear_attention` for each layer")),
    };
    let listed = names.iter().take(usize::try_from(layers).unwrap_or(0)).map(is_full);
    listed.collect::<Result<Vec<_>, _>>().map(Some)
}

/// Kimi Delta Attention, with latent attention in the layers that are listed, counted from 1.
pub(super) fn kimi_delta(text: &Fields<'_>, layers: u64) -> Mixers {
    let rank = text.count_or("q_lora_rank", 0)?;
    let sizes = latent::sizes(text, rank)?;
    let gated = text.flag_or("mla_use_output_gate", false)?;
    let full = Mixer::Attention(AttentionLayer { sizes, reach: Reach::All, sinks: false, gated });
    let remedy = "copy the model's whole config.json";
    let linear = text.object("linear_attn_config")?.ok_or_else(|| text.missing("linear_attn_config", remedy))?;
    let (heads, dim) = (linear.count("num_heads")?, linear.count("head_dim")?);
    let delta = Mixer::Linear(LinearAttention {
        rule: Recurrence::KimiDelta { full_rank_gate: linear.flag_or("use_full_rank_gate", false)? },
        heads,
        key_heads: heads,
        key_dim: dim,
        value_dim: dim,
        taps: linear.count("short_conv_kernel_size")?,
        state_bytes: 4,
    });
    let listed = numbers(&linear, "full_attn_layers")?;
    let listed = listed.ok_or_else(|| linear.missing("full_attn_layers", "give the layers with full attention"))?;
    let deltas = numbers(&linear, "kda_layers")?;
    linear.all_understood()?;
    if deltas.is_some_and(|deltas| (1..=layers).any(|layer| deltas.contains(&layer) == listed.contains(&layer))) {
        let value = "such that a layer is in both lists or in none";
        return Err(linear.bad("kda_layers", value, "each layer is in it or in `full_attn_layers`"));
    }
    Ok((1..=layers).map(|layer| if listed.contains(&layer) { full } else { delta }).collect())
}

/// The layers that a field lists.
fn numbers(fields: &Fields<'_>, field: &str) -> Result<Option<BTreeSet<u64>>, SpecError> {
    let list: Option<Vec<u64>> = fields.list(field, "layer numbers")?;
    Ok(list.map(|list| list.into_iter().collect()))
}

/// Lightning Attention, with attention where `attn_type_list` has a 1 (MiniMax-Text-01, MiniMax-M1).
pub(super) fn lightning(text: &Fields<'_>, layers: u64) -> Mixers {
    let sizes = grouped::sizes(text)?;
    let full = Mixer::Attention(AttentionLayer { sizes, reach: Reach::All, sinks: false, gated: false });
    let heads = text.count("num_attention_heads")?;
    let dim = if text.is_present("head_dim") { text.count("head_dim")? } else { text.count("hidden_size")? / heads };
    let linear = Mixer::Linear(LinearAttention {
        rule: Recurrence::Lightning,
        heads,
        key_heads: heads,
        key_dim: dim,
        value_dim: dim,
        taps: 0,
        state_bytes: 4,
    });
    let numbers: Option<Vec<u64>> = text.per_layer("attn_type_list", "0 and 1", layers)?;
    let numbers = numbers.map(|list| list.into_iter().map(|kind| kind == 1).collect());
    let is_full: Option<Vec<bool>> = numbers.map_or_else(|| listed(text, layers), |list| Ok(Some(list)))?;
    let is_full = is_full.ok_or_else(|| text.missing("attn_type_list", "give 1 for each layer with attention"))?;
    Ok((0..layers).zip(is_full).map(|(_, is_full)| if is_full { full } else { linear }).collect())
}

/// A layer of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerBlock {
    /// Mamba-2.
    Recurrence,
    /// Attention.
    Attention,
    /// Experts.
    Experts,
    /// A dense network.
    Dense,
}

/// The names and the letters of blocks.
const BLOCKS: [(&str, char, LayerBlock); 4] = [
    ("mamba", 'M', LayerBlock::Recurrence),
    ("attention", '*', LayerBlock::Attention),
    ("moe", 'E', LayerBlock::Experts),
    ("mlp", '-', LayerBlock::Dense),
];

/// The block of each layer, by letters or by names.
pub(super) fn blocks(text: &Fields<'_>) -> Result<Vec<LayerBlock>, SpecError> {
    let (letters, names) = ("hybrid_override_pattern", "layers_block_type");
    let blocks: Vec<LayerBlock> = if let Some(pattern) = text.text(letters)? {
        let block = |letter: char| {
            let known = BLOCKS.iter().find(|(_, own, _)| *own == letter);
            known
                .map(|(.., block)| *block)
                .ok_or_else(|| text.bad(letters, pattern, "give M, *, E or - for each layer"))
        };
        pattern.chars().map(block).collect::<Result<_, _>>()?
    } else {
        let list: Option<Vec<String>> = text.list(names, "names")?;
        let list = list.ok_or_else(|| text.missing(letters, "give M, *, E or - for each layer"))?;
        let block = |name: &String| {
            let known = BLOCKS.iter().find(|(own, ..)| own == name);
            known.map(|(.., block)| *block).ok_or_else(|| text.bad(names, name, "give mamba, attention, moe or mlp"))
        };
        list.iter().map(block).collect::<Result<_, _>>()?
    };
    let counted = text.count_or("num_hidden_layers", blocks.len() as u64)?;
    if counted != blocks.len() as u64 || blocks.is_empty() {
        let remedy = format!("the pattern has {} layers", blocks.len());
        return Err(text.bad("num_hidden_layers", &counted.to_string(), &remedy));
    }
    Ok(blocks)
}

/// Mamba-2 and attention, each a layer of its own (Nemotron-H, Nemotron 3). The module after the layers has attention and
/// what the model has as networks.
pub(super) fn state_space(text: &Fields<'_>, _layers: u64) -> Mixers {
    // The width of dense blocks, read where there are any.
    text.understood(&["intermediate_size"]);
    text.only("mlp_hidden_act", &serde_json::json!("relu2"))?;
    let recurrence = LinearAttention {
        rule: Recurrence::StateSpace,
        heads: text.count("mamba_num_heads")?,
        key_heads: text.count("n_groups")?,
        key_dim: text.count("ssm_state_size")?,
        value_dim: text.count("mamba_head_dim")?,
        taps: text.count("conv_kernel")?,
        state_bytes: state_bytes(text, "mamba_ssm_cache_dtype")?,
    };
    let sizes = grouped::sizes(text)?;
    let attention = Mixer::Attention(AttentionLayer { sizes, reach: Reach::All, sinks: false, gated: false });
    let mixer = |block: &LayerBlock| match block {
        LayerBlock::Recurrence => Mixer::Linear(recurrence),
        LayerBlock::Attention => attention,
        LayerBlock::Experts | LayerBlock::Dense => Mixer::None,
    };
    Ok(blocks(text)?.iter().map(mixer).chain([attention]).collect())
}
