//! Every table and every output in the documents is what the records and the tool say.
//! `UPDATE_README=1 cargo test --test readme` writes all of them again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use assert_cmd::Command;
use serde_json::Value;
use supernode_bench::kernels::StorageType;
use supernode_bench::projection::served_systems::{SERVED_SYSTEMS, ServedSystem};
use supernode_bench::projection::validation::serving;
use supernode_bench::record::{CacheState, Case, Record, load};
use supernode_bench::specs::Checked;

const RECORD: &str = "results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json";
const OTHER_RECORD: &str = "results/google-swiftshader-device-subzero-vulkan.json";
const PEERS: &str = "peers/results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json";

/// Kernel, phase and type of the rows that the README shows.
const IN_README: [(&str, &str, StorageType); 6] = [
    ("sigmoid_group_topk", "prefill", StorageType::F32),
    ("gate_up", "prefill", StorageType::F16),
    ("gate_up", "decode", StorageType::Int8),
    ("prefill", "prefill", StorageType::F16),
    ("mla_decode", "decode", StorageType::F16),
    ("moe_layer", "decode", StorageType::F32),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `supernode` prints, run in the repository.
fn output(command: &str) -> String {
    let arguments = command.strip_prefix("supernode ").expect("a command of supernode").split_whitespace();
    let mut command = Command::cargo_bin("supernode").expect("it is built");
    let assert = command.current_dir(root()).args(arguments).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).expect("UTF-8")
}

fn json(command: &str) -> Value {
    serde_json::from_str(&output(command)).expect("JSON")
}

/// The fastest variant of each kernel and phase in the types that all models use, at DeepSeek-V3's shapes, and of grouped-query
/// attention; the record has the others.
fn fastest(record: &Record) -> Vec<&Case> {
    let mut best: BTreeMap<_, &Case> = BTreeMap::new();
    for case in record.cases.iter().filter(|case| shown(case)) {
        let key = (case.family, case.kernel.clone(), case.phase, case.element);
        let entry = best.entry(key).or_insert(case);
        if case.timing.median_s < entry.timing.median_s {
            *entry = case;
        }
    }
    best.into_values().collect()
}

fn shown(case: &Case) -> bool {
    let skewed = case.shape.contains_key("rows_of_fullest");
    let type_is_shown = matches!(case.element, StorageType::F32 | StorageType::F16 | StorageType::Int8);
    if skewed || !type_is_shown || case.cache != CacheState::Cold {
        return false;
    }
    case.model == "deepseek-v3" || (case.model == "llama-3.1-8b" && case.family.to_string() == "attention")
}

fn table(cases: &[&Case]) -> String {
    let mut text = String::from(
        "| kernel | phase | type | variant | shape | median | FLOP/s | B/s | of the roofline |\n\
         |---|---|---|---|---|--:|--:|--:|--:|\n",
    );
    for case in cases {
        let bound = format!("{:?}", case.achieved.bound_by).to_lowercase();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.0} % ({bound}) |",
            case.kernel,
            case.phase,
            case.element,
            case.variant,
            shape(case),
            case.timing.median_s,
            case.achieved.flop_per_s,
            case.achieved.bytes_per_s,
            case.achieved.fraction_of_roofline * 100.0,
        );
    }
    text
}

/// A matrix product as experts x [m x n x k] with m rows per expert; other shapes as named sizes.
fn shape(case: &Case) -> String {
    let size = |name: &str| case.shape.get(name).copied();
    let product = || Some((size("experts")?, size("tokens")? * size("top_k")?, size("n")?, size("k")?));
    match product() {
        Some((1, m, n, k)) => format!("[{m} x {n} x {k}]"),
        Some((experts, rows, n, k)) => format!("{experts} x [{} x {n} x {k}]", rows / experts),
        None => {
            let named: Vec<String> = case.shape.iter().map(|(name, size)| format!("{name} {size}")).collect();
            named.join(", ")
        }
    }
}

/// Where and when a record was measured.
fn origin(record: &Record) -> String {
    format!(
        "\nMeasured {} on {} ({}, {}), host {}, preset {}, commit {}.\n",
        &record.created_at[..10],
        record.device.name,
        record.device.driver_info,
        record.device.backend,
        record.host.cpu,
        format!("{:?}", record.protocol.preset).to_lowercase(),
        record.tool.git_commit.as_deref().unwrap_or("unknown"),
    )
}

#[test]
fn the_result_tables_show_the_committed_record() {
    let record = load(&root().join(RECORD)).expect("the record is valid");
    assert!(record.complete, "the record is complete");
    let all = fastest(&record);
    section("docs/RESULTS.md", "results", &(table(&all) + &origin(&record)));
    let of_readme = |(kernel, phase, element): &(&str, &str, StorageType)| {
        let is = |case: &&&Case| case.kernel == *kernel && case.phase.to_string() == *phase && case.element == *element;
        *all.iter().find(is).expect("the record has the row")
    };
    let few: Vec<&Case> = IN_README.iter().map(of_readme).collect();
    section("README.md", "results", &(table(&few) + &origin(&record)));
}

/// A command as a reader types it, and the first paragraphs of what it prints.
fn typed(command: &str, paragraphs: usize) -> String {
    let output = output(command);
    let shown: Vec<&str> = output.trim_end().split("\n\n").take(paragraphs).collect();
    format!("\n    {command}\n\n```text\n{}\n```\n", shown.join("\n\n"))
}

#[test]
fn the_readme_shows_a_projection_and_a_comparison_as_they_come_out() {
    let project = "supernode project --chip ascend-910c --model deepseek-v3 --phase decode";
    section("README.md", "projection", &typed(project, 1));
    let compare = format!("supernode compare {RECORD} {OTHER_RECORD} --only moe_layer/best/f32");
    section("README.md", "comparison", &typed(&compare, 2));
}

#[test]
fn the_example_of_serving_is_as_it_comes_out() {
    let serving = "supernode project --phase serving --chip h200 --fabric hgx-400g --chips 16 --model qwen3-235b-a22b \
                   --prompt-len 4000 --output-len 512 --concurrency 256";
    let aggregated = typed(serving, 2);
    let disaggregated = typed(&format!("{serving} --mode disaggregated"), 2);
    section("docs/SERVING.md", "serving", &(aggregated + &disaggregated));
    let apart = "supernode project --phase serving --model deepseek-v3 --prompt-len 1000 --output-len 4000 --mtp 1 \
                 --mtp-acceptance 0.9 --concurrency 24576 --mode attention-ffn --attention-workers 3 --ffn-ep 288";
    section("docs/SERVING.md", "apart", &typed(apart, 2));
    let explain =
        "supernode explain --phase serving --model deepseek-v3 --concurrency 4096 --prompt-len 4000 --output-len 1000";
    section("docs/SERVING.md", "explained", &typed(explain, 2));
}

#[test]
fn the_modes_of_serving_are_as_they_come_out() {
    const MODES: [&str; 3] = ["aggregated", "disaggregated", "attention-ffn"];
    let search = "supernode project --phase serving --model deepseek-v3 --prompt-len 2000 --output-len 2000 --search";
    let mut text = format!("`{search} --mode ...`\n\n| at most | {} |\n|--:|--:|--:|--:|\n", MODES.join(" | "));
    let fronts = MODES.map(|mode| json(&format!("{search} --mode {mode} --json")));
    for limit_ms in [100.0, 50.0, 30.0, 20.0, 15.0] {
        let most = |front: &Value| {
            let points = front.as_array().expect("a list").iter();
            let kept = points.filter(|point| point["tpot_s"].as_f64().is_some_and(|time| time * 1e3 <= limit_ms));
            kept.filter_map(|point| point["tokens_per_s_per_chip"].as_f64()).fold(0.0, f64::max)
        };
        let cells = fronts.iter().map(|front| format!("{:.0}", most(front))).collect::<Vec<_>>();
        let _ = writeln!(text, "| {limit_ms:.0} ms | {} |", cells.join(" | "));
    }
    section("docs/SERVING.md", "modes", &text);
}

/// Assumed prices of a chip-hour of what docs/COST.md compares.
const HIRES: [f64; 5] = [2.0, 6.0, 2.5, 3.0, 5.0];

#[test]
fn the_costs_of_tokens_are_as_they_come_out() {
    let mut text = String::from(
        "| system | tokens/s/chip | W per chip | tokens/joule | price per chip-hour | energy, per million | all, per million |\n\
         |---|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut sources = String::new();
    for (ServedSystem { name, chip, fabric, chips }, hire) in SERVED_SYSTEMS.into_iter().zip(HIRES) {
        let asked = format!(
            "supernode project --phase serving --model deepseek-v3 --prompt-len 2000 --output-len 1000 --tpot-limit-ms 50 \
             --mode aggregated --chip {chip} --fabric {fabric} --chips {chips} --price-per-kwh 0.1"
        );
        let energy = json(&format!("{asked} --json"));
        let all = json(&format!("{asked} --price-per-chip-hour {hire} --json"));
        let figure = |answer: &Value, key: &str| {
            let end = |end: &str| {
                let value = answer[key][end].as_f64().expect("a number");
                match value {
                    100.0.. => format!("{value:.0}"),
                    0.1.. => format!("{value:.2}"),
                    _ => format!("{value:.3}"),
                }
            };
            format!("{} ({} to {})", end("median"), end("low"), end("high"))
        };
        let figures = [
            figure(&all, "tokens_per_s_per_chip_interval"),
            figure(&all, "power_w_per_chip"),
            figure(&all, "tokens_per_joule"),
            format!("{hire:.2}"),
            figure(&energy, "cost_per_million_tokens"),
            figure(&all, "cost_per_million_tokens"),
        ];
        let _ = writeln!(text, "| {name}, {chips} chips | {} |", figures.join(" | "));
        for line in output(&asked).lines().filter(|line| line.starts_with("  power of ")) {
            let _ = writeln!(sources, "- {name}, {}", line.trim());
        }
    }
    section("docs/COST.md", "costs", &text);
    section("docs/COST.md", "power", &sources);
}

#[test]
fn the_claims_are_as_they_come_out() {
    section("docs/CLAIMS.md", "claims", &output("supernode claims --markdown"));
}

/// Per cent of a share.
fn percent(share: &Value) -> String {
    format!("{:.1} %", share.as_f64().expect("a number") * 100.0)
}

/// Rows with an answer, and the mean and the worst of their absolute errors, as cells of a table.
fn errors(rows: &[&Value]) -> String {
    let errors: Vec<f64> = rows.iter().filter_map(|row| row["relative_error"].as_f64()).map(f64::abs).collect();
    let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
    let worst = errors.iter().copied().fold(0.0, f64::max);
    format!("{} | {} | {}", errors.len(), percent(&mean.into()), percent(&worst.into()))
}

/// Rows in groups named by a function, in the order of their first rows; rows without a name are left out.
fn grouped<'a>(rows: &'a [Value], name: impl Fn(&'a Value) -> Option<&'a str>) -> Vec<(&'a str, Vec<&'a Value>)> {
    let mut groups: Vec<(&str, Vec<&Value>)> = Vec::new();
    for row in rows {
        let Some(name) = name(row) else { continue };
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, of_group)) => of_group.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups
}

fn kept<'a>(rows: &[&'a Value], keep: impl Fn(&Value) -> bool) -> Vec<&'a Value> {
    rows.iter().copied().filter(|row| keep(row)).collect()
}

#[test]
fn the_errors_of_the_model_are_as_they_come_out() {
    let document = json("supernode validate --json");
    let rows = document.as_array().expect("a list");
    let is_unseen = |row: &Value| row["fitted"] == false;
    let mut text = String::from(
        "| group | rows | mean error | worst | rows not fitted on | mean error | worst |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut line = |name: &str, rows: &[&Value]| {
        let _ = writeln!(text, "| {name} | {} | {} |", errors(rows), errors(&kept(rows, is_unseen)));
    };
    for (group, of_group) in grouped(rows, |row| row["group"].as_str()) {
        line(group, &of_group);
        if group == "expert-parallel collectives" {
            line("of these, latencies of 128 tokens", &kept(&of_group, |row| row["unit"] == "s"));
            line("of these, read in their source", &kept(&of_group, |row| row["checked"] == "yes"));
        }
    }
    section("docs/VALIDATION.md", "errors", &text);

    let mut text = String::from("| fabric | latencies | mean error | worst |\n|---|--:|--:|--:|\n");
    for (fabric, of_fabric) in grouped(rows, unseen_latency) {
        let _ = writeln!(text, "| {fabric} | {} |", errors(&of_fabric));
    }
    section("docs/VALIDATION.md", "fits", &text);
}

/// The fabric of a latency of 128 tokens that no parameter was fitted on.
fn unseen_latency(row: &Value) -> Option<&str> {
    let (fabric, what) = row["quantity"].as_str()?.split_once(": ")?;
    (row["fitted"] == false && row["unit"] == "s" && what.contains(" of 128 tokens")).then_some(fabric)
}

#[test]
fn published_serving_and_training_are_as_they_come_out() {
    let rows = serving::rows();
    let mut text = String::from("| published | figure | modelled | error |\n|---|--:|--:|--:|\n");
    for row in &rows {
        let mark = if row.fitted { " (used when choosing a parameter)" } else { "" };
        let hand = if row.checked == Checked::Yes { "" } else { " (second hand or from memory)" };
        let modelled = row.modelled.map_or_else(|| "not expressed".to_owned(), |value| number(value, &row.unit));
        let error = row.relative_error().map_or_else(String::new, |error| format!("{:+.1} %", error * 100.0));
        let published = number(row.published, &row.unit);
        let _ = writeln!(text, "| {}{mark}{hand} | {published} | {modelled} | {error} |", row.quantity);
    }
    section("docs/VALIDATION.md", "serving", &text);
}

#[test]
fn the_fit_of_training_is_as_it_comes_out() {
    let fit = json("supernode validate training --fit --json");
    let show = |figure: &Value, of: &str| {
        let value = figure[of].as_f64().expect("a number");
        if figure["key"].as_str().is_some_and(|key| key.ends_with("_s")) {
            format!("{:.0} us", value * 1e6)
        } else {
            format!("{value:.2}")
        }
    };
    let mut text = String::from("| figure | framework | fitted | without one model each |\n|---|---|--:|--:|\n");
    for figure in fit["figures"].as_array().expect("a list") {
        let key = figure["key"].as_str().expect("a key");
        let framework = figure["framework"].as_str().unwrap_or("both");
        let (low, high) = (show(figure, "low"), show(figure, "high"));
        let _ = writeln!(text, "| {key} | {framework} | {} | {low} to {high} |", show(figure, "value"));
    }
    text.push_str("\n| rows | number | mean error | worst |\n|---|--:|--:|--:|\n");
    let mut line = |name: &str, errors: &Value| {
        let (mean, worst) = (percent(&errors["mean_absolute"]), percent(&errors["worst"]));
        let _ = writeln!(text, "| {name} | {} | {mean} | {worst} |", errors["rows"]);
    };
    line("fitted on", &fit["seen"]);
    line("unseen, of the same tables", &fit["unseen"]);
    for model in fit["without_model"].as_array().expect("a list") {
        let name = model["model"].as_str().expect("a name");
        let whose = if name == "all" { "each model, by a fit without it".to_owned() } else { format!("- {name}") };
        line(&whose, &model["errors"]);
    }
    section("docs/VALIDATION.md", "training", &text);
}

/// Gains in per cent, other figures with four digits and their unit.
fn number(value: f64, unit: &str) -> String {
    match unit {
        "gain" => format!("{:.1} %", value * 100.0),
        "s" => format!("{:.1} ms", value * 1e3),
        _ if value >= 100.0 => format!("{value:.0} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

/// The arithmetic of one case of `peers`, in FLOP; none for a gate, whose work is comparisons.
fn peer_flop(case: &Value) -> Option<f64> {
    let size = |name: &str| case[name].as_f64();
    match case["op"].as_str()? {
        "matmul" => Some(2.0 * size("batch")? * size("m")? * size("k")? * size("n")?),
        "attention" => {
            // Causal: each query sees all keys before it and its own.
            let queries = size("q_len")?;
            let visible = queries * (size("kv_len")? - queries) + queries * (queries + 1.0) / 2.0;
            Some(4.0 * visible * size("heads")? * size("head_dim")?)
        }
        _ => None,
    }
}

#[test]
fn the_table_of_peers_is_that_of_its_document() {
    let text = std::fs::read_to_string(root().join(PEERS)).expect("the document is there");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let mut text = String::from(
        "| case | our variant | GFLOP per CPU-second: ours / burn | CPU time: ours / burn, ms | burn over ours (least to most) | \
         wall, ms | device, ms | our share of the FMA roof | first use, s |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for case in document["cases"].as_array().expect("a list") {
        let number = |value: &Value| value.as_f64().expect("a number");
        let both = |show: &dyn Fn(&Value) -> String| format!("{} / {}", show(&case["ours"]), show(&case["theirs"]));
        let milliseconds = |name: &str| both(&|side| format!("{:.3}", number(&side[name]) * 1e3));
        let flop = peer_flop(case);
        let rates = flop.map(|flop| both(&|side| format!("{:.2}", flop / number(&side["median_s"]) / 1e9)));
        let share = flop.map(|flop| 100.0 * flop / number(&case["ours"]["median_s"]) / number(&case["fma_flop_per_s"]));
        let ratio = &case["ratio"];
        let cells = [
            case["name"].as_str().expect("a name").to_owned(),
            case["ours"]["variant"].as_str().expect("a name").to_owned(),
            rates.unwrap_or_else(|| "-".to_owned()),
            milliseconds("median_s"),
            format!(
                "{:.2} ({:.2} to {:.2})",
                number(&ratio["median"]),
                number(&ratio["least"]),
                number(&ratio["most"])
            ),
            milliseconds("wall_s"),
            milliseconds("device_s"),
            share.map_or_else(|| "-".to_owned(), |share| format!("{share:.0} %")),
            both(&|side| format!("{:.2}", number(&side["first_call"]["wall_s"]))),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    section("peers/README.md", "peers", &text);
}

/// Compares the text between two marks of a document with the current one, or writes the current one there.
fn section(document: &str, name: &str, current: &str) {
    // Tests of one file run side by side, and each writes the whole document.
    static FILE: Mutex<()> = Mutex::new(());
    let _held = FILE.lock();
    let path = root().join(document);
    let text = std::fs::read_to_string(&path).expect("the document is there");
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).expect("the beginning is marked");
    let (inside, after) = rest.split_once(&end).expect("the end is marked");
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{begin}{current}{end}{after}")).expect("the document can be written");
    } else {
        assert!(inside == current, "{document} is stale: UPDATE_README=1 cargo test --test readme");
    }
}

#[test]
fn every_committed_record_obeys_the_published_schema() {
    let schema = std::fs::read_to_string(root().join("specs/record.schema.json")).expect("the schema is there");
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).expect("JSON")).expect("a schema");
    let mut checked = 0;
    for entry in std::fs::read_dir(root().join("results")).expect("results/ is there") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            load(&path).unwrap_or_else(|error| panic!("{error}"));
            let text = std::fs::read_to_string(&path).expect("readable");
            let document = serde_json::from_str(&text).expect("JSON");
            assert!(validator.is_valid(&document), "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0, "there is a record");
}
