//! Published models: whether their weights count to what their names and cards say, and the tables of docs/MODELS.md.
//!
//! The built-in models are counted always. Other configurations are read from the folder that `MODEL_CONFIGS` names, such
//! as `model_configs` of the PyPI wheel aiconfigurator-core 0.12.0: they are not part of this repository. `UPDATE_DOCS=1`
//! writes the tables.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use supernode_bench::projection::machine::Machine;
use supernode_bench::projection::ops::{Widths, sequence_bytes};
use supernode_bench::projection::{ChipModel, NumberType, Phase, Request};
use supernode_bench::specs::{CheckpointType, Chip, Fabric, Model, Scenario};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/MODELS.md");

/// The most that a count may be off.
const MOST: f64 = 0.03;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    total: String,
    active: Option<String>,
    source: String,
}

/// A published count, such as `235B` or `1.6T`.
fn published(text: &str) -> f64 {
    let (digits, unit) = text.split_at(text.len() - 1);
    digits.parse::<f64>().unwrap() * if unit == "T" { 1e12 } else { 1e9 }
}

/// Weights that a token meets, as the card may count them: with both tables, with the LM head alone, with neither. The
/// one that comes nearest.
fn active(model: &Model, published: Option<f64>) -> f64 {
    let (all, table) = (model.active_parameters(), model.embedding_parameters());
    let tables = if model.tied_embeddings { 1.0 } else { 2.0 };
    let ways = [all, all - (tables - 1.0) * table, all - tables * table];
    let Some(published) = published else { return all };
    let distance = |count: &f64| (count - published).abs();
    ways.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap()
}

/// Widths with a cache of 16 bits, whatever the checkpoint was made for.
fn widths(model: &Model) -> Widths {
    let chip = ChipModel::from_spec(&Chip::load("h100").unwrap());
    let fabric = Fabric::load("h100-ib").unwrap();
    let request = Request::new(model.clone(), chip, fabric, 8, Phase::Decode);
    let request = Request { number_type: Some(NumberType::Bf16), ..request };
    Widths { cache: 2.0, ..Machine::new(&request, Scenario::Nominal).unwrap().widths }
}

/// Bytes that a token adds to the cache, and bytes that a sequence keeps besides: states and windows.
fn cache(model: &Model) -> (f64, f64) {
    let widths = widths(model);
    let at = |length: f64| -> f64 {
        let of_kind = |kind: &supernode_bench::specs::LayerKind| {
            kind.count as f64 * sequence_bytes(&kind.layer.mixer, length, [1.0, 1.0], &widths)
        };
        model.kinds.iter().map(of_kind).sum()
    };
    let (short, long) = (1048576.0, 2097152.0);
    let growth = (at(long) - at(short)) / (long - short);
    (growth, at(short) - growth * short)
}

fn stored(model: &Model) -> String {
    let name = |kind: CheckpointType| match kind {
        CheckpointType::Bf16 => "bf16",
        CheckpointType::Fp8 => "fp8",
        CheckpointType::Mxfp8 => "mxfp8",
        CheckpointType::Mxfp4 => "mxfp4",
        CheckpointType::Nvfp4 => "nvfp4",
        CheckpointType::Int8 => "int8",
        CheckpointType::Int4 { .. } => "int4",
    };
    let main = name(model.checkpoint_type());
    let mixer = name(model.checkpoint.mixer);
    if main == mixer { main.to_owned() } else { format!("{main}, attention {mixer}") }
}

const HEAD: &str = "| Model | Weights | Published | Error | Active | Published | Error | Cache a token | Besides | Stored as |\n\
                    |---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n";

/// A row of a table, and an error for each count that is too far off.
fn row(name: &str, model: &Model, card: &Card, wrong: &mut Vec<String>) -> String {
    assert!(!card.source.is_empty());
    let total = published(&card.total);
    let published_active = card.active.as_deref().map(published);
    let count = active(model, published_active);
    let mut check = |what: &str, count: f64, published: f64| {
        let error = count / published - 1.0;
        if error.abs() > MOST {
            wrong.push(format!("{name}: {what} {count:e} of {published:e}"));
        }
        format!("{:+.1} %", error * 100.0)
    };
    let error = check("total", model.parameters(), total);
    let active_error = published_active.map_or_else(String::new, |published| check("active", count, published));
    let (token, sequence) = cache(model);
    format!(
        "| {} | {:.2}B | {} | {error} | {:.2}B | {} | {active_error} | {:.1} kB | {:.1} MB | {} |\n",
        name.replacen("--", "/", 1),
        model.parameters() / 1e9,
        card.total,
        count / 1e9,
        card.active.as_deref().unwrap_or(""),
        token / 1e3,
        sequence / 1e6,
        stored(model),
    )
}

/// Compares the table between two marks of the document, or writes it.
fn check_table(mark: &str, table: &str) {
    // Two tests write the same file.
    static DOCUMENT_IN_USE: Mutex<()> = Mutex::new(());
    let _in_use = DOCUMENT_IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->"));
    let (before, rest) = document.split_once(&begin).expect("the document has the mark");
    let (old, after) = rest.split_once(&end).expect("the document has the second mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        assert_eq!(old, table, "docs/MODELS.md is old: run this test with UPDATE_DOCS=1");
    }
}

#[test]
fn the_table_of_built_in_models_is_that_of_their_files() {
    #[derive(Deserialize)]
    struct Builtin {
        total: f64,
        active: f64,
        source: String,
    }
    let cards: BTreeMap<String, Builtin> = toml::from_str(include_str!("../specs/models/published.toml")).unwrap();
    let mut table = HEAD.to_owned();
    // Their counts have a test of their own, with the tolerance of each card.
    let mut wrong = Vec::new();
    for name in Model::builtin_names() {
        let card = &cards[name];
        let text = |count: f64| format!("{}B", (count / 1e7).round() / 100.0);
        let card = Card { total: text(card.total), active: Some(text(card.active)), source: card.source.clone() };
        table += &row(name, &Model::load(name).unwrap(), &card, &mut wrong);
    }
    check_table("built-in models", &table);
}

#[test]
fn models_of_a_folder_count_to_what_their_names_and_cards_say() {
    let Some(folder) = std::env::var_os("MODEL_CONFIGS") else {
        println!("not run: MODEL_CONFIGS names no folder with configurations of published models");
        return;
    };
    let cards: BTreeMap<String, Card> = toml::from_str(include_str!("data/models.toml")).unwrap();
    let (mut table, mut wrong) = (HEAD.to_owned(), Vec::new());
    for (name, card) in &cards {
        let file = format!("{name}_config.json");
        let text = std::fs::read_to_string(Path::new(&folder).join(&file)).unwrap();
        let beside = Path::new(&folder).join(format!("{name}_hf_quant_config.json"));
        let quantisation = std::fs::read_to_string(beside).ok();
        match Model::parse_with(name, &file, &text, quantisation.as_deref()) {
            Ok(model) => table += &row(name, &model, card, &mut wrong),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    let mut lines = String::new();
    wrong.iter().for_each(|line| writeln!(lines, "{line}").unwrap());
    assert!(wrong.is_empty(), "{} of {}:\n{lines}", wrong.len(), cards.len());
    check_table("published models", &table);
}
