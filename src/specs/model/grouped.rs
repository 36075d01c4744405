//! Grouped-query attention in a `config.json`, with the windows and choices of some architectures.

use serde::Deserialize;
use serde_json::json;

use crate::specs::error::SpecError;
use crate::specs::model::architecture::{Attention, AttentionLayer, EntryChoice, Ffn, Indexer, Layer, Mixer, Reach};
use crate::specs::model::fields::Fields;

type Mixers = Result<Vec<Mixer>, SpecError>;

/// Every layer attends to all tokens.
pub(super) fn plain(text: &Fields<'_>, layers: u64) -> Mixers {
    let reaches = listed_reaches(text, layers)?.unwrap_or_else(|| everywhere(Reach::All, layers));
    all_alike(text, reaches)
}

/// Every layer has the window, where there is one (Mistral).
pub(super) fn windowed_everywhere(text: &Fields<'_>, layers: u64) -> Mixers {
    let reach = if text.is_present("sliding_window") { window(text)? } else { Reach::All };
    all_alike(text, everywhere(reach, layers))
}

/// Layers from `max_window_layers` on have the window, where it is in use (Qwen).
pub(super) fn windowed_above(text: &Fields<'_>, layers: u64) -> Mixers {
    let lowest = text.count_or("max_window_layers", 0)?;
    let in_use = text.flag_or("use_sliding_window", false)?;
    let size = if text.is_present("sliding_window") { Some(window(text)?) } else { None };
    let by_number = |layer: u64| match size {
        Some(window) if in_use && layer >= lowest => window,
        _ => Reach::All,
    };
    let reaches = listed_reaches(text, layers)?.unwrap_or_else(|| (0..layers).map(by_number).collect());
    all_alike(text, reaches)
}

/// `layer_types` says which layers have the window (Step).
pub(super) fn listed(text: &Fields<'_>, layers: u64) -> Mixers {
    let reaches = listed_reaches(text, layers)?;
    all_alike(text, reaches.ok_or_else(|| text.missing("layer_types", "give the attention of each layer"))?)
}

/// The window in every second layer, sinks in all (gpt-oss).
pub(super) fn gpt_oss(text: &Fields<'_>, layers: u64) -> Mixers {
    let size = if text.is_present("sliding_window") { window(text)? } else { Reach::All };
    let alternating = || (0..layers).map(|layer| if layer % 2 == 0 { size } else { Reach::All }).collect();
    let reaches = listed_reaches(text, layers)?.unwrap_or_else(alternating);
    let sizes = sizes(text)?;
    let layer = |reach| Mixer::Attention(AttentionLayer { sizes, reach, sinks: true, gated: false });
    Ok(reaches.into_iter().map(layer).collect())
}

/// Chunks in all layers but every fourth (Llama 4).
pub(super) fn llama4(text: &Fields<'_>, layers: u64) -> Mixers {
    let chunk = Reach::Chunk(text.count("attention_chunk_size")?);
    let step = text.positive_or("no_rope_layer_interval", 4)?;
    let by_number = |layer: u64| if (layer + 1).is_multiple_of(step) { Reach::All } else { chunk };
    let reaches = listed_reaches(text, layers)?.unwrap_or_else(|| (0..layers).map(by_number).collect());
    all_alike(text, reaches)
}

/// Layers with and without the window have heads of their own. Those without project keys and values by the same weights
/// where the file says so (Gemma 4).
pub(super) fn gemma4(text: &Fields<'_>, layers: u64) -> Mixers {
    text.only("num_kv_shared_layers", &json!(0))?;
    text.only("hidden_size_per_layer_input", &json!(0))?;
    text.only("use_double_wide_mlp", &json!(false))?;
    let in_window = sizes(text)?;
    let Attention::Gqa { heads, kv_heads, head_dim, .. } = in_window else { return Ok(Vec::new()) };
    let head_dim = text.positive_or("global_head_dim", head_dim)?;
    let everywhere = Attention::Gqa {
        heads,
        kv_heads: checked_kv_heads(text, "num_global_key_value_heads", heads, kv_heads)?,
        head_dim,
        v_head_dim: head_dim,
        shared_projection: text.flag_or("attention_k_eq_v", false)?,
    };
    let reaches = listed_reaches(text, layers)?;
    let reaches = reaches.ok_or_else(|| text.missing("layer_types", "give the attention of each layer"))?;
    let layer = |reach| softmax(if reach == Reach::All { everywhere } else { in_window }, reach);
    Ok(reaches.into_iter().map(layer).collect())
}

/// Layers with the window have heads of their own, named `swa_...` (MiMo-V2).
pub(super) fn mimo_v2(text: &Fields<'_>, layers: u64) -> Mixers {
    let everywhere = sizes(text)?;
    let Attention::Gqa { heads, kv_heads, head_dim, v_head_dim, .. } = everywhere else { return Ok(Vec::new()) };
    let heads = text.positive_or("swa_num_attention_heads", heads)?;
    let in_window = Attention::Gqa {
        heads,
        kv_heads: checked_kv_heads(text, "swa_num_key_value_heads", heads, kv_heads)?,
        head_dim: text.positive_or("swa_head_dim", head_dim)?,
        v_head_dim: text.positive_or("swa_v_head_dim", v_head_dim)?,
        shared_projection: false,
    };
    // The window under another name.
    text.understood(&["attention_chunk_size"]);
    let window = window(text)?;
    let pattern: Option<Vec<u64>> = text.per_layer("hybrid_layer_pattern", "0 and 1", layers)?;
    let pattern = pattern.ok_or_else(|| text.missing("hybrid_layer_pattern", "give 1 for each layer with a window"))?;
    let sinks =
        [text.flag_or("add_full_attention_sink_bias", false)?, text.flag_or("add_swa_attention_sink_bias", false)?];
    let layer = |has_window: u64| {
        let (sizes, reach) = if has_window == 0 { (everywhere, Reach::All) } else { (in_window, window) };
        Mixer::Attention(AttentionLayer { sizes, reach, sinks: sinks[usize::from(has_window != 0)], gated: false })
    };
    Ok((0..layers).zip(pattern).map(|(_, has_window)| layer(has_window)).collect())
}

/// All tokens (MiniMax-M2), or blocks that an indexer chooses in the layers that are listed (MiniMax-M3).
pub(super) fn minimax(text: &Fields<'_>, layers: u64) -> Mixers {
    let recurrent: Option<Vec<u64>> = text.per_layer("attn_type_list", "0 and 1", layers)?;
    if recurrent.is_some_and(|kinds| kinds.contains(&0)) {
        return Err(text.bad("attn_type_list", "0 for a layer", "this `model_type` has attention in all layers"));
    }
    let Some(sparse) = text.object("sparse_attention_config")? else { return plain(text, layers) };
    let chooses = sparse.flag_or("use_sparse_attention", true)?;
    let block = sparse.count("sparse_block_size")?;
    let indexer = Indexer {
        heads: sparse.count("sparse_num_index_heads")?,
        head_dim: sparse.count("sparse_index_dim")?,
        query_input: text.count("hidden_size")?,
        weighted: false,
    };
    let entries = sparse.count("sparse_topk_blocks")?.saturating_mul(block);
    let chosen = Reach::Chosen(EntryChoice { entries, indexer: Some(indexer) });
    let listed: Option<Vec<u64>> = sparse.per_layer("sparse_attention_freq", "0 and 1", layers)?;
    sparse.all_understood()?;
    let listed = listed.unwrap_or_else(|| (0..layers).map(|_| 1).collect());
    let reach = |is_sparse: u64| if chooses && is_sparse != 0 { chosen } else { Reach::All };
    let gated = text.flag_or("attention_output_gate", false)?;
    let sizes = sizes(text)?;
    let layer = |reach| Mixer::Attention(AttentionLayer { sizes, reach, sinks: false, gated });
    Ok((0..layers).zip(listed).map(|(_, is_sparse)| layer(reach(is_sparse))).collect())
}

/// A layer of a searched architecture.
#[derive(Deserialize)]
struct Searched {
    attention: SearchedAttention,
    ffn: SearchedFfn,
}

#[derive(Deserialize)]
struct SearchedAttention {
    no_op: bool,
    #[serde(default)]
    replace_with_linear: bool,
    n_heads_in_group: Option<u64>,
    window_length: Option<u64>,
}

#[derive(Deserialize)]
struct SearchedFfn {
    no_op: bool,
    #[serde(default)]
    replace_with_linear: bool,
    ffn_mult: Option<f64>,
}

/// Layers that a search found: without attention or network in some, with networks of other widths in others
/// (Llama-Nemotron).
pub(super) fn searched(text: &Fields<'_>, layers: u64) -> Result<Vec<Layer>, SpecError> {
    let field = "block_configs";
    let list: Option<Vec<Searched>> = text.per_layer(field, "layers with `attention` and `ffn`", layers)?;
    let list = list.ok_or_else(|| text.missing(field, "copy the model's whole config.json"))?;
    let (heads, hidden) = (text.count("num_attention_heads")?, text.count("hidden_size")?);
    let mixer = |attention: &SearchedAttention| match attention.n_heads_in_group {
        _ if attention.no_op => Ok(Mixer::None),
        Some(group) if group > 0 && heads.is_multiple_of(group) && attention.window_length.is_none() => {
            Ok(softmax(gqa(heads, heads / group, hidden / heads), Reach::All))
        }
        _ => Err(text.bad(field, "an attention without whole groups, or with a window", "it is not modelled")),
    };
    let ffn = |ffn: &SearchedFfn| match ffn.ffn_mult {
        _ if ffn.no_op => Ok(Ffn::None),
        Some(factor) if (0.0..1e3).contains(&factor) => Ok(Ffn::Dense(searched_width(factor, hidden))),
        _ => Err(text.bad(field, "a network without `ffn_mult`", "give a factor from 0 to 1000")),
    };
    let layer = |one: &Searched| {
        if one.attention.replace_with_linear || one.ffn.replace_with_linear {
            return Err(text.bad(field, "a block that is replaced by a matrix", "it is not modelled"));
        }
        Ok(Layer { mixer: mixer(&one.attention)?, ffn: ffn(&one.ffn)? })
    };
    list.iter().take(usize::try_from(layers).unwrap_or(0)).map(layer).collect()
}

/// Two thirds of the factor times the hidden size, rounded up to a multiple of 256, as DeciLM's code has it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a thousand hidden sizes")]
fn searched_width(factor: f64, hidden: u64) -> u64 {
    ((2.0 * factor * hidden as f64 / 3.0) as u64).next_multiple_of(256)
}

fn softmax(sizes: Attention, reach: Reach) -> Mixer {
    Mixer::Attention(AttentionLayer { sizes, reach, sinks: false, gated: false })
}

fn everywhere(reach: Reach, layers: u64) -> Vec<Reach> {
    (0..layers).map(|_| reach).collect()
}

fn all_alike(text: &Fields<'_>, reaches: Vec<Reach>) -> Mixers {
    let sizes = sizes(text)?;
    Ok(reaches.into_iter().map(|reach| softmax(sizes, reach)).collect())
}

fn window(text: &Fields<'_>) -> Result<Reach, SpecError> {
    text.count("sliding_window").map(Reach::Window)
}

/// The reach of each layer by the names in `layer_types`, where the file lists them.
fn listed_reaches(text: &Fields<'_>, layers: u64) -> Result<Option<Vec<Reach>>, SpecError> {
    let Some(names) = text.per_layer::<String>("layer_types", "names", layers)? else { return Ok(None) };
    let reach = |name: &String| match &**name {
        "full_attention" => Ok(Reach::All),
        "sliding_attention" => window(text),
        "chunked_attention" => text.count("attention_chunk_size").map(Reach::Chunk),
        other => {
            Err(text.bad("layer_types", other, "give `full_attention`, `sliding_attention` or `chunked_attention`"))
        }
    };
    let reaches = names.iter().take(usize::try_from(layers).unwrap_or(0)).map(reach);
    reaches.collect::<Result<Vec<_>, _>>().map(Some)
}

/// Grouped heads whose keys and values are as wide.
pub(super) const fn gqa(heads: u64, kv_heads: u64, head_dim: u64) -> Attention {
    Attention::Gqa { heads, kv_heads, head_dim, v_head_dim: head_dim, shared_projection: false }
}

/// The heads that the file gives.
pub(super) fn sizes(text: &Fields<'_>) -> Result<Attention, SpecError> {
    let heads = text.count("num_attention_heads")?;
    let kv_heads = checked_kv_heads(text, "num_key_value_heads", heads, heads)?;
    let head_dim = match text.first(&["head_dim", "attention_head_dim"]) {
        Some(field) => text.count(field)?,
        None => {
            let hidden = text.count("hidden_size")?;
            if !hidden.is_multiple_of(heads) {
                let remedy = format!("it must be a multiple of `num_attention_heads` = {heads}, or give `head_dim`");
                return Err(text.bad("hidden_size", &hidden.to_string(), &remedy));
            }
            hidden / heads
        }
    };
    let v_head_dim = text.positive_or("v_head_dim", head_dim)?;
    Ok(Attention::Gqa { heads, kv_heads, head_dim, v_head_dim, shared_projection: false })
}

fn checked_kv_heads(text: &Fields<'_>, field: &str, heads: u64, default: u64) -> Result<u64, SpecError> {
    let kv_heads = text.positive_or(field, default)?;
    if !heads.is_multiple_of(kv_heads) {
        let remedy = format!("it must divide `num_attention_heads` = {heads}");
        return Err(text.bad(field, &kv_heads.to_string(), &remedy));
    }
    Ok(kv_heads)
}
