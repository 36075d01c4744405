//! The feed-forward networks of a `config.json`: experts, and which layers are dense.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::specs::error::SpecError;
use crate::specs::model::architecture::{Moe, Scoring};
use crate::specs::model::fields::Fields;

/// Numbers of layers.
type Layers = BTreeSet<u64>;

/// How a family's files describe experts where they leave something out.
#[derive(Clone, Copy)]
pub(super) struct ExpertStyle {
    /// Whether a file of the family may have no experts.
    optional: bool,
    scoring: Scoring,
    /// Whether the chosen weights sum to one.
    renormalise: bool,
    /// Whether shared experts have a gate of their own.
    gated_shared: bool,
    /// The field with the width of all shared experts.
    shared_width: Option<&'static str>,
}

/// Mixtral, and what is like it.
pub(super) const MIXTRAL: ExpertStyle = ExpertStyle {
    optional: false,
    scoring: Scoring::Softmax,
    renormalise: true,
    gated_shared: false,
    shared_width: Some("shared_intermediate_size"),
};
/// Qwen3.
pub(super) const QWEN: ExpertStyle =
    ExpertStyle { renormalise: false, shared_width: Some("shared_expert_intermediate_size"), ..MIXTRAL };
/// Qwen3-Next: Qwen's gate with shared experts beside it, which together have a gate of their own.
pub(super) const QWEN_SHARED: ExpertStyle = ExpertStyle { gated_shared: true, ..QWEN };
/// Qwen3.5, whose weights always sum to one.
pub(super) const QWEN3_5: ExpertStyle = ExpertStyle { renormalise: true, ..QWEN_SHARED };
/// gpt-oss.
pub(super) const GPT_OSS: ExpertStyle = ExpertStyle { scoring: Scoring::BiasedSoftmax, ..MIXTRAL };
/// DeepSeek-V3, which counts its shared experts instead of giving their width.
pub(super) const DEEPSEEK: ExpertStyle = ExpertStyle { scoring: Scoring::Sigmoid, shared_width: None, ..MIXTRAL };
/// DeepSeek-V4.
pub(super) const DEEPSEEK_V4: ExpertStyle = ExpertStyle { scoring: Scoring::SqrtSoftplus, ..DEEPSEEK };
/// Kimi-Linear, whose small dense siblings have no experts.
pub(super) const KIMI: ExpertStyle = ExpertStyle { optional: true, ..DEEPSEEK };
/// MiniMax-M2 and M3.
pub(super) const MINIMAX: ExpertStyle = ExpertStyle { scoring: Scoring::Sigmoid, ..MIXTRAL };
/// Step-3.5 and 3.7.
pub(super) const STEP: ExpertStyle =
    ExpertStyle { scoring: Scoring::Sigmoid, shared_width: Some("share_expert_dim"), ..MIXTRAL };
/// Nemotron-H and Nemotron 3.
pub(super) const NEMOTRON: ExpertStyle =
    ExpertStyle { scoring: Scoring::Sigmoid, shared_width: Some("moe_shared_expert_intermediate_size"), ..MIXTRAL };
/// Llama 4: one routed expert and one shared expert of the same width.
pub(super) const LLAMA4: ExpertStyle =
    ExpertStyle { scoring: Scoring::Sigmoid, renormalise: false, shared_width: Some("intermediate_size"), ..MIXTRAL };
/// Gemma 4: the dense network runs beside the experts, as shared experts do.
pub(super) const GEMMA4: ExpertStyle =
    ExpertStyle { optional: true, shared_width: Some("intermediate_size"), ..MIXTRAL };

const COUNTS: [&str; 3] = ["n_routed_experts", "num_local_experts", "num_experts"];
/// Some files have two of these names.
const CHOSEN: [&str; 4] = ["num_experts_per_tok", "experts_per_token", "num_experts_per_token", "top_k_experts"];
const SCORINGS: [(&str, Scoring); 3] =
    [("sigmoid", Scoring::Sigmoid), ("softmax", Scoring::Softmax), ("sqrtsoftplus", Scoring::SqrtSoftplus)];

/// The experts of a file; `None` where it has none and may have none.
pub(super) fn moe(text: &Fields<'_>, style: &ExpertStyle) -> Result<Option<Moe>, SpecError> {
    let count = text.first(&COUNTS);
    if style.optional && (count.is_none() || !text.flag_or("enable_moe_block", true)?) {
        return Ok(None);
    }
    let count = count.unwrap_or(COUNTS[0]);
    let experts = text.count(count)?;
    agree(text, &COUNTS, experts)?;
    let chosen = text.first(&CHOSEN).unwrap_or(CHOSEN[0]);
    let top_k = text.count(chosen)?;
    if top_k > experts {
        return Err(text.bad(chosen, &top_k.to_string(), &format!("it can be at most `{count}` = {experts}")));
    }
    agree(text, &CHOSEN, top_k)?;
    let intermediate = text.count_of(&["moe_intermediate_size", "intermediate_size"])?;
    let (groups, kept_groups) = groups(text, experts)?;
    let shared_experts = shared(text, style, intermediate)?;
    let scoring = text.first(&["scoring_func", "moe_router_activation_func"]);
    let scoring = scoring.map_or(Ok(None), |field| text.word(field, &SCORINGS))?.unwrap_or(style.scoring);
    let renormalise = text.first(&["norm_topk_prob", "moe_renormalize"]).unwrap_or("norm_topk_prob");
    let scaling = text.first(&["routed_scaling_factor", "moe_router_scaling_factor"]);
    Ok(Some(Moe {
        experts,
        top_k,
        intermediate,
        latent: text
            .first(&["moe_latent_size", "routed_expert_hidden_size"])
            .map_or(Ok(None), |field| text.count(field).map(Some))?,
        shared_experts,
        gated_shared: style.gated_shared && shared_experts > 0,
        scoring,
        groups,
        kept_groups,
        renormalise: text.flag_or(renormalise, style.renormalise)?,
        routed_scaling: scaling.map_or(Ok(1.0), |field| text.number_or(field, 1.0))?,
    }))
}

/// Refuses a second name of a count that says another one.
fn agree(text: &Fields<'_>, names: &[&str], count: u64) -> Result<(), SpecError> {
    for name in names {
        let other = text.positive_or(name, count)?;
        if other != count {
            return Err(text.bad(name, &other.to_string(), &format!("another field says {count}")));
        }
    }
    Ok(())
}

/// Groups of experts, and how many of them a token keeps.
fn groups(text: &Fields<'_>, experts: u64) -> Result<(u64, u64), SpecError> {
    let field = text.first(&["n_group", "num_expert_group"]).unwrap_or("n_group");
    let groups = text.positive_or(field, 1)?;
    let kept = text.positive_or("topk_group", groups)?;
    if kept > groups || !experts.is_multiple_of(groups) {
        let remedy = format!("{experts} experts need a divisor of them as groups, of which at most all are kept");
        return Err(text.bad(field, &format!("{groups} with `topk_group` {kept}"), &remedy));
    }
    Ok((groups, kept))
}

/// Shared experts of the width of a routed one: as many as are counted, or as fill the width that is given.
fn shared(text: &Fields<'_>, style: &ExpertStyle, intermediate: u64) -> Result<u64, SpecError> {
    let counted = text.first(&["n_shared_experts", "num_shared_experts"]);
    let counted = counted.map_or(Ok(None), |field| text.count_or(field, 0).map(Some))?;
    let Some(field) = style.shared_width.filter(|field| text.is_present(field)) else {
        return Ok(counted.unwrap_or(0));
    };
    let width = text.count_or(field, 0)?.saturating_mul(counted.unwrap_or(1).max(1));
    if !width.is_multiple_of(intermediate) {
        let remedy = format!("it must be a multiple of the experts' width, {intermediate}");
        return Err(text.bad(field, &width.to_string(), &remedy));
    }
    Ok(width / intermediate)
}

/// Names of the inner width of dense layers.
const DENSE_WIDTHS: [&str; 3] = ["dense_intermediate_size", "intermediate_size_mlp", "intermediate_size"];

/// The inner width of dense layers.
pub(super) fn dense_width(text: &Fields<'_>) -> Result<u64, SpecError> {
    text.count(text.first(&DENSE_WIDTHS).unwrap_or("intermediate_size"))
}

/// The layers with a dense network: all where there are no experts.
pub(super) fn dense_layers(text: &Fields<'_>, layers: u64, moe: Option<&Moe>) -> Result<Layers, SpecError> {
    if moe.is_none() {
        text.understood(&["mlp_only_layers", "decoder_sparse_step", "enable_moe_block"]);
        return Ok((0..layers).collect());
    }
    let mut dense = Layers::new();
    // Widths that are read where a layer is dense.
    text.understood(&DENSE_WIDTHS);
    dense.extend(0..text.count_or("first_k_dense_replace", 0)?.min(layers));
    dense.extend(by_frequency(text, layers)?);
    dense.extend(by_step(text, "decoder_sparse_step", layers)?);
    dense.extend(by_step(text, "interleave_moe_layer_step", layers)?);
    dense.extend(by_name(text, layers)?);
    let listed: Vec<u64> = text.list("mlp_only_layers", "layer numbers")?.unwrap_or_default();
    if listed.len() as u64 > layers {
        let value = format!("a list of {}", listed.len());
        return Err(text.bad("mlp_only_layers", &value, "it can name each layer once"));
    }
    dense.extend(listed.into_iter().filter(|layer| *layer < layers));
    if dense.len() as u64 >= layers {
        let fields = ["first_k_dense_replace", "mlp_only_layers", "moe_layer_freq", "mlp_layer_types"];
        let field = text.first(&fields).unwrap_or("decoder_sparse_step");
        let value = format!("such that {layers} of {layers} layers are dense");
        return Err(text.bad(field, &value, "a mixture of experts needs at least one layer with experts"));
    }
    Ok(dense)
}

/// Layer `i` has experts where `moe_layer_freq` divides `i`, or has a 1 for it.
fn by_frequency(text: &Fields<'_>, layers: u64) -> Result<Layers, SpecError> {
    if let Some(Value::Array(_)) = text.get("moe_layer_freq") {
        let list: Vec<u64> = text.per_layer("moe_layer_freq", "0 and 1", layers)?.unwrap_or_default();
        return Ok((0..layers).zip(list).filter(|(_, has)| *has == 0).map(|(layer, _)| layer).collect());
    }
    let step = text.positive_or("moe_layer_freq", 1)?;
    Ok((0..layers).filter(|layer| !layer.is_multiple_of(step)).collect())
}

/// Layer `i` has experts where the step divides `i + 1`.
fn by_step(text: &Fields<'_>, field: &str, layers: u64) -> Result<Layers, SpecError> {
    let step = text.positive_or(field, 1)?;
    Ok((0..layers).filter(|layer| !(layer + 1).is_multiple_of(step)).collect())
}

fn by_name(text: &Fields<'_>, layers: u64) -> Result<Layers, SpecError> {
    let names: Vec<String> = text.per_layer("mlp_layer_types", "names", layers)?.unwrap_or_default();
    let mut dense = Layers::new();
    for (layer, name) in (0..layers).zip(names) {
        match &*name {
            "dense" => drop(dense.insert(layer)),
            "sparse" => {}
            other => return Err(text.bad("mlp_layer_types", other, "give `dense` or `sparse` for each layer")),
        }
    }
    Ok(dense)
}
