//! Latent attention in a `config.json`, with indexers (DeepSeek-V3.2, GLM-5) and compressed caches (DeepSeek-V4).

use crate::specs::error::SpecError;
use crate::specs::model::architecture::{Attention, AttentionLayer, EntryChoice, Indexer, Mixer, Reach};
use crate::specs::model::fields::Fields;

/// The ratio of the layers that choose among compressed entries. Those that compress more attend to all of them
/// (DeepSeek-V4 report, section 2.3).
const CHOSEN_RATIO: u64 = 4;

/// What `layer_types` calls a layer with an indexer.
const SPARSE: &str = "deepseek_sparse_attention";

/// The latent sizes of a file. `q_lora_rank` may be missing in Kimi-Linear.
pub(super) fn sizes(text: &Fields<'_>, q_lora_rank: u64) -> Result<Attention, SpecError> {
    // Of the keys that are expanded from the latent.
    text.understood(&["num_key_value_heads", "head_dim"]);
    Ok(Attention::Mla {
        heads: text.count("num_attention_heads")?,
        q_lora_rank,
        kv_lora_rank: text.count("kv_lora_rank")?,
        rope_head_dim: text.count("qk_rope_head_dim")?,
        nope_head_dim: text.count("qk_nope_head_dim")?,
        v_head_dim: text.count("v_head_dim")?,
    })
}

/// Latent attention to all tokens, or to those that an indexer chooses.
pub(super) fn latent(text: &Fields<'_>, layers: u64) -> Result<Vec<Mixer>, SpecError> {
    let rank = text.count("q_lora_rank")?;
    let sizes = sizes(text, rank)?;
    let mixer = |reach| Mixer::Attention(AttentionLayer { sizes, reach, sinks: false, gated: false });
    if !text.is_present("index_topk") {
        return Ok((0..layers).map(|_| mixer(Reach::All)).collect());
    }
    let names: Option<Vec<String>> = text.per_layer("layer_types", "names", layers)?;
    if let Some(other) = names.iter().flatten().find(|name| *name != SPARSE) {
        return Err(text.bad("layer_types", other, &format!("with `index_topk`, only `{SPARSE}` is understood")));
    }
    let choice = choice(text, rank)?;
    let own = owns_indexer(text, layers)?;
    let reach = |own: bool| Reach::Chosen(EntryChoice { indexer: choice.indexer.filter(|_| own), ..choice });
    let list = own.into_iter().map(|own| mixer(reach(own)));
    // A module after the layers has an indexer of its own.
    Ok(list.chain([mixer(reach(true))]).collect())
}

fn choice(text: &Fields<'_>, query_input: u64) -> Result<EntryChoice, SpecError> {
    let indexer = Indexer {
        heads: text.count("index_n_heads")?,
        head_dim: text.count("index_head_dim")?,
        query_input,
        weighted: true,
    };
    Ok(EntryChoice { entries: text.count("index_topk")?, indexer: Some(indexer) })
}

/// Which layers choose. The others take the choice of the layer before them: those that `indexer_types` calls `shared`,
/// or all but every `index_topk_freq`-th one after the first ones.
fn owns_indexer(text: &Fields<'_>, layers: u64) -> Result<Vec<bool>, SpecError> {
    if let Some(names) = text.per_layer::<String>("indexer_types", "names", layers)? {
        text.understood(&["index_topk_freq", "index_skip_topk_offset"]);
        let own = |name: &String| match &**name {
            "full" => Ok(true),
            "shared" => Ok(false),
            other => Err(text.bad("indexer_types", other, "give `full` or `shared` for each layer")),
        };
        return names.iter().take(usize::try_from(layers).unwrap_or(0)).map(own).collect();
    }
    let step = text.positive_or("index_topk_freq", 1)?;
    let first = text.count_or("index_skip_topk_offset", 2)?;
    Ok((0..layers).map(|layer| (layer + 1).saturating_sub(first).is_multiple_of(step)).collect())
}

/// One head of keys that are values too, in a window and in compressed entries before it (DeepSeek-V4).
pub(super) fn compressed(text: &Fields<'_>, layers: u64) -> Result<Vec<Mixer>, SpecError> {
    text.only("num_key_value_heads", &serde_json::json!(1))?;
    // The rotary part of a head, which changes no size.
    text.understood(&["qk_rope_head_dim"]);
    let rank = text.count("q_lora_rank")?;
    let sizes = Attention::Shared {
        heads: text.count("num_attention_heads")?,
        head_dim: text.count("head_dim")?,
        q_lora_rank: rank,
        output_groups: text.count("o_groups")?,
        output_rank: text.count("o_lora_rank")?,
    };
    let window = text.count("sliding_window")?;
    let choice = choice(text, rank)?;
    let ratios: Option<Vec<u64>> = text.per_layer("compress_ratios", "whole numbers", layers)?;
    let ratios = ratios.ok_or_else(|| text.missing("compress_ratios", "give the ratio of each layer"))?;
    let reach = |ratio: u64| match ratio {
        0 => Reach::Window(window),
        ratio => Reach::Compressed { window, ratio, choice: (ratio == CHOSEN_RATIO).then_some(choice) },
    };
    let mixer = |ratio| Mixer::Attention(AttentionLayer { sizes, reach: reach(ratio), sinks: true, gated: false });
    Ok(ratios.into_iter().map(mixer).collect())
}
