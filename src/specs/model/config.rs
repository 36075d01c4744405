//! From the fields of a `config.json` to a model: what all architectures share. What differs is a [`ModelFamily`].

use serde_json::json;

use crate::specs::error::SpecError;
use crate::specs::model::architecture::{Ffn, Layer, LayerKind, Mixer, Model, Moe};
use crate::specs::model::experts::{self, ExpertStyle};
use crate::specs::model::fields::{Fields, MOST_LAYERS};
use crate::specs::model::{grouped, hybrid, latent, quantisation};

/// How the configurations of some architectures are read.
pub(super) struct ModelFamily {
    /// The `model_type`s.
    types: &'static [&'static str],
    /// What mixes tokens in each layer. Entries beyond the layers are those of multi-token-prediction modules.
    mixers: fn(&Fields<'_>, u64) -> Result<Vec<Mixer>, SpecError>,
    /// How experts are described; `None` where there are none.
    experts: Option<ExpertStyle>,
    /// What is not built from mixers and experts by the rules that all share.
    shape: Shape,
}

/// More kinds of layers than any model has; keeps a projection, which takes each of them, cheap.
const MOST_KINDS: usize = 100;

/// How layers are put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Each layer has a mixer and a feed-forward network with a gate.
    Pairs,
    /// Each layer is one block: a mixer, or a feed-forward network (Nemotron-H).
    Blocks,
    /// Each layer has sizes of its own (Nemotron found by neural architecture search).
    Searched,
}

const PLAIN: ModelFamily = ModelFamily { types: &[], mixers: grouped::plain, experts: None, shape: Shape::Pairs };

/// All architectures that are understood.
const FAMILIES: &[ModelFamily] = &[
    ModelFamily { types: &["llama"], ..PLAIN },
    ModelFamily { types: &["mistral"], mixers: grouped::windowed_everywhere, ..PLAIN },
    ModelFamily { types: &["mixtral"], mixers: grouped::windowed_everywhere, experts: Some(experts::MIXTRAL), ..PLAIN },
    ModelFamily { types: &["qwen2", "qwen3", "qwen3_vl_text", "mimo"], mixers: grouped::windowed_above, ..PLAIN },
    ModelFamily {
        types: &["qwen3_moe", "qwen3_vl_moe_text"],
        mixers: grouped::windowed_above,
        experts: Some(experts::QWEN),
        ..PLAIN
    },
    ModelFamily { types: &["gpt_oss"], mixers: grouped::gpt_oss, experts: Some(experts::GPT_OSS), ..PLAIN },
    ModelFamily { types: &["llama4_text"], mixers: grouped::llama4, experts: Some(experts::LLAMA4), ..PLAIN },
    ModelFamily { types: &["gemma4_text"], mixers: grouped::gemma4, experts: Some(experts::GEMMA4), ..PLAIN },
    ModelFamily {
        types: &["minimax_m2", "minimax_m3", "minimax_m3_vl", "minimax_m3_text"],
        mixers: grouped::minimax,
        experts: Some(experts::MINIMAX),
        ..PLAIN
    },
    ModelFamily { types: &["step3p5", "step3p7"], mixers: grouped::listed, experts: Some(experts::STEP), ..PLAIN },
    ModelFamily { types: &["mimo_v2_flash"], mixers: grouped::mimo_v2, experts: Some(experts::DEEPSEEK), ..PLAIN },
    ModelFamily { types: &["nemotron-nas"], shape: Shape::Searched, ..PLAIN },
    ModelFamily {
        types: &["deepseek_v3", "kimi_k2", "deepseek_v32", "glm_moe_dsa"],
        mixers: latent::latent,
        experts: Some(experts::DEEPSEEK),
        ..PLAIN
    },
    ModelFamily {
        types: &["deepseek_v4", "deepseek_ref"],
        mixers: latent::compressed,
        experts: Some(experts::DEEPSEEK_V4),
        ..PLAIN
    },
    ModelFamily { types: &["qwen3_next"], mixers: hybrid::gated_delta, experts: Some(experts::QWEN_SHARED), ..PLAIN },
    ModelFamily { types: &["qwen3_5_text"], mixers: hybrid::gated_delta, ..PLAIN },
    ModelFamily { types: &["qwen3_5_moe_text"], mixers: hybrid::gated_delta, experts: Some(experts::QWEN3_5), ..PLAIN },
    ModelFamily { types: &["kimi_linear"], mixers: hybrid::kimi_delta, experts: Some(experts::KIMI), ..PLAIN },
    ModelFamily {
        types: &["minimax", "minimax_m1", "minimax_text_01"],
        mixers: hybrid::lightning,
        experts: Some(experts::MIXTRAL),
        ..PLAIN
    },
    ModelFamily {
        types: &["nemotron_h"],
        mixers: hybrid::state_space,
        experts: Some(experts::NEMOTRON),
        shape: Shape::Blocks,
    },
];

/// The parsed file: the model that writes text, and what stands around it.
pub(super) struct Config<'a> {
    /// The whole file without what is in the next two; empty of meaning where the file has no `text_config`.
    outer: Option<Fields<'a>>,
    text: Fields<'a>,
    quantisation: Option<Fields<'a>>,
}

/// What the layers of a model are, and what comes with them.
struct Body {
    layers: Vec<Layer>,
    mtp: Option<Layer>,
    moe: Option<Moe>,
}

impl<'a> Config<'a> {
    /// The fields of a JSON object. `quantisation` is the text of a `hf_quant_config.json`, where one lies beside it.
    pub(super) fn parse(file: &'a str, text: &str, quantisation: Option<&str>) -> Result<Self, SpecError> {
        let mut outer = Fields::parse(file, text)?;
        let mut own = outer.take("quantization_config")?;
        let inner = outer.take("text_config")?;
        let (outer, mut text) = match inner {
            Some(inner) => (Some(outer), inner),
            None => (None, outer),
        };
        if own.is_none() {
            own = text.take("quantization_config")?;
        }
        if own.is_none()
            && let Some(beside) = quantisation
        {
            own = Fields::parse(file, beside)?.take("quantization")?;
        }
        Ok(Self { outer, text, quantisation: own })
    }

    /// The model, with sizes that no arithmetic on them can overflow.
    pub(super) fn model(&self, name: &str) -> Result<Model, SpecError> {
        let model = self.architecture(name)?;
        if model.parameters() > 1e15 {
            return Err(self.text.bad("hidden_size", "part of more than 1e15 parameters", "check the sizes"));
        }
        Ok(model)
    }

    fn family(&self) -> Result<&'static ModelFamily, SpecError> {
        let of = |fields: &Fields<'_>| fields.text("model_type").map(|kind| kind.map(str::to_owned));
        let outer = self.outer.as_ref().map_or(Ok(None), of)?;
        let given = of(&self.text)?.or(outer);
        let supported = || FAMILIES.iter().flat_map(|family| family.types).copied().collect::<Vec<_>>().join(", ");
        let given = given.ok_or_else(|| self.text.missing("model_type", &format!("give one of {}", supported())))?;
        let family = FAMILIES.iter().find(|family| family.types.contains(&&*given));
        family.ok_or_else(|| self.text.unsupported(&given, &supported()))
    }

    fn architecture(&self, name: &str) -> Result<Model, SpecError> {
        let text = &self.text;
        let family = self.family()?;
        only_modelled(text)?;
        let body = match family.shape {
            Shape::Pairs => pairs(text, family)?,
            Shape::Blocks => blocks(text, family)?,
            Shape::Searched => Body { layers: grouped::searched(text, layer_count(text)?)?, mtp: None, moe: None },
        };
        let layers = body.layers.len() as u64;
        let kinds = kinds(&body.layers);
        if kinds.len() > MOST_KINDS {
            let value = format!("such that {} kinds of layers differ", kinds.len());
            return Err(text.bad("num_hidden_layers", &value, &format!("at most {MOST_KINDS} are understood")));
        }
        let last = body.layers.last().copied().unwrap_or(Layer { mixer: Mixer::None, ffn: Ffn::None });
        let modules = ["num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"];
        let mtp_layers = text.first(&modules).map_or(Ok(0), |field| text.count_or(field, 0))?;
        text.understood(&modules);
        let tied = self.outer.as_ref().map_or(Ok(false), |outer| outer.flag_or("tie_word_embeddings", false))?;
        let model = Model {
            name: name.to_owned(),
            hidden: text.count("hidden_size")?,
            residual_streams: text.positive_or("hc_mult", 1)?,
            vocab: text.count("vocab_size")?,
            layers,
            kinds,
            moe: body.moe,
            ffn_matrices: if family.shape == Shape::Blocks { 2 } else { 3 },
            mtp_layers,
            mtp: body.mtp.unwrap_or(last),
            tied_embeddings: text.flag_or("tie_word_embeddings", tied)?,
            checkpoint: quantisation::checkpoint(self.quantisation.as_ref(), text, &body.layers)?,
            left_out: self.left_out(),
        };
        text.all_understood()?;
        self.outer.as_ref().map_or(Ok(()), Fields::all_understood)?;
        Ok(model)
    }

    /// Parts that are neither counted nor timed.
    fn left_out(&self) -> Vec<&'static str> {
        let parts = [
            ("vision_config", "its vision tower"),
            ("audio_config", "its audio tower"),
            // Layers read the outputs of earlier blocks of layers (Kimi-K3): vectors of weights, and traffic.
            ("attn_res_block_size", "its attention residuals"),
        ];
        let has = |field: &str| {
            self.text.is_present(field) || self.outer.as_ref().is_some_and(|outer| outer.is_present(field))
        };
        parts.into_iter().filter(|(field, _)| has(field)).map(|(_, part)| part).collect()
    }
}

/// Refuses what would build another model than the families do.
fn only_modelled(text: &Fields<'_>) -> Result<(), SpecError> {
    for (field, value) in [
        ("add_cross_attention", json!(false)),
        ("is_encoder_decoder", json!(false)),
        ("mtp_use_dedicated_embeddings", json!(false)),
        ("mtp_transformer_layers", json!(1)),
        ("mtp_hybrid_override_pattern", json!("*E")),
        ("mtp_layers_block_type", json!(["attention", "moe"])),
    ] {
        text.only(field, &value)?;
    }
    // Activations of networks with a gate. Nemotron-H, whose networks have none, names its own in another field.
    let gated = ["silu", "swish", "swigluoai", "situ", "gelu", "gelu_pytorch_tanh", "gelu_new"].map(|name| (name, ()));
    text.word("hidden_act", &gated).map(|_| ())
}

fn layer_count(text: &Fields<'_>) -> Result<u64, SpecError> {
    text.count("num_hidden_layers")
}

/// Layers with a mixer and a feed-forward network each.
fn pairs(text: &Fields<'_>, family: &ModelFamily) -> Result<Body, SpecError> {
    let layers = layer_count(text)?;
    let mixers = (family.mixers)(text, layers)?;
    let moe = family.experts.as_ref().map_or(Ok(None), |style| experts::moe(text, style))?;
    let dense = experts::dense_layers(text, layers, moe.as_ref())?;
    let width = if dense.is_empty() { 0 } else { experts::dense_width(text)? };
    let ffn = |layer: u64| if dense.contains(&layer) { Ffn::Dense(width) } else { Ffn::Experts };
    let layer = |(index, mixer): (usize, &Mixer)| Layer { mixer: *mixer, ffn: ffn(index as u64) };
    let layers = usize::try_from(layers).unwrap_or(0);
    let all: Vec<Layer> = mixers.iter().take(layers).enumerate().map(layer).collect();
    let ffn = all.last().map_or(Ffn::None, |layer| layer.ffn);
    let mtp = mixers.get(layers).map(|mixer| Layer { mixer: *mixer, ffn });
    Ok(Body { layers: all, mtp, moe })
}

/// Layers of one block each. The mixers' function gives [`Mixer::None`] where the block is no mixer.
fn blocks(text: &Fields<'_>, family: &ModelFamily) -> Result<Body, SpecError> {
    let pattern = hybrid::blocks(text)?;
    let layers = pattern.len() as u64;
    if layers > MOST_LAYERS {
        return Err(text.bad("hybrid_override_pattern", &format!("a list of {layers}"), "check the pattern"));
    }
    let mixers = (family.mixers)(text, layers)?;
    let has_experts = pattern.contains(&hybrid::LayerBlock::Experts);
    let moe = match &family.experts {
        Some(style) if has_experts => experts::moe(text, style)?,
        _ => None,
    };
    let ffn = |block: &hybrid::LayerBlock| match block {
        hybrid::LayerBlock::Dense => text.count("intermediate_size").map(Ffn::Dense),
        hybrid::LayerBlock::Experts => Ok(Ffn::Experts),
        hybrid::LayerBlock::Recurrence | hybrid::LayerBlock::Attention => Ok(Ffn::None),
    };
    let layer = |(block, mixer): (&hybrid::LayerBlock, &Mixer)| Ok(Layer { mixer: *mixer, ffn: ffn(block)? });
    let all: Result<Vec<Layer>, SpecError> = pattern.iter().zip(&mixers).map(layer).collect();
    let mtp = mixers
        .get(pattern.len())
        .map(|mixer| Layer { mixer: *mixer, ffn: if moe.is_some() { Ffn::Experts } else { Ffn::None } });
    Ok(Body { layers: all?, mtp, moe })
}

/// Each layer once, those with experts first.
fn kinds(layers: &[Layer]) -> Vec<LayerKind> {
    let mut kinds: Vec<LayerKind> = Vec::new();
    for layer in layers {
        match kinds.iter_mut().find(|kind| kind.layer == *layer) {
            Some(kind) => kind.count += 1,
            None => kinds.push(LayerKind { layer: *layer, count: 1 }),
        }
    }
    let (with_experts, others): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|kind| kind.layer.ffn == Ffn::Experts);
    [with_experts, others].concat()
}
