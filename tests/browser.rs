//! The page in a browser: what only a browser can tell. Ignored by default, since it needs node and Chromium:
//! `sh tests/browser/run.sh` installs both where it can and runs it, as does `make test`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use supernode_bench::kernels::Family;
use supernode_bench::projection::outlook::{Outlook, outlook};
use supernode_bench::projection::{ChipModel, Phase, Request, claims, surface};
use supernode_bench::record::{CacheState, Case, Record, save};
use supernode_bench::report::{EmbeddedModel, Page, page};
use supernode_bench::specs::{Chip, Claim, Fabric, Model};
use supernode_bench::units::{Flop, FlopPerSecond};

const HOSTILE: &str = "<script>window.owned = 1; alert(1)</script><img src=x onerror=\"alert(2)\">";

fn request() -> Request {
    Request::new(
        Model::load("deepseek-v3").unwrap(),
        ChipModel::from_spec(&Chip::load("ascend-910c").unwrap()),
        Fabric::load("cloudmatrix384").unwrap(),
        384,
        Phase::Decode,
    )
}

/// Marks that the charts of a page must have: counted from the records, not from the page.
fn chart_marks(records: &[Record], outlook: &Outlook) -> Vec<Value> {
    let under_roofs = |case: &&Case| {
        case.family != Family::Layer
            && case.cache == CacheState::Cold
            && case.work.arithmetic_intensity() > 0.0
            && case.achieved.flop_per_s.get() > 0.0
    };
    let mut marks = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let count = record.cases.iter().filter(under_roofs).count();
        marks.push(json!({"chart": "roofline", "index": index, "layer": "dot", "count": count}));
    }
    let points: usize = outlook.fronts.iter().map(|front| front.candidates.len()).sum();
    marks.push(json!({"chart": "front", "index": 0, "layer": "dot", "count": points}));
    marks.push(json!({"chart": "timeline", "index": 0, "layer": "bar", "count": outlook.timeline.spans.len()}));
    marks
}

/// Where the sliders are put, and what the model itself says there.
fn what_ifs(request: &Request, outlook: &Outlook) -> Vec<Value> {
    let axes = &outlook.surface.axes;
    let settings = [
        (0.0, 0.0, 5, 4),
        (0.37, -0.61, 5, 6),
        (-0.83, 0.42, 4, 2),
        (-0.29, 1.07, 3, 5),
        (0.95, -1.22, 2, 8),
        (-1.0, -1.3, 5, 0),
        (0.13, 0.77, 0, 9),
        (-0.46, 0.11, 1, 3),
    ];
    settings
        .into_iter()
        .map(|(bandwidth, latency, chips, batch): (f64, f64, usize, usize)| {
            let point = (axes.chips[chips], axes.batches_per_chip[batch], 10f64.powf(bandwidth), 10f64.powf(latency));
            json!({
                "bandwidth_log10": bandwidth,
                "latency_log10": latency,
                "chips_index": chips,
                "batch_index": batch,
                "tokens_per_s_per_chip": surface::exact(request, &outlook.plan, point),
            })
        })
        .collect()
}

/// The module in the folder that PAGE names, which `make web` has built; without one that part is not run.
fn embedded_model(request: &Request) -> Option<EmbeddedModel> {
    let Some(folder) = env::var_os("PAGE") else {
        eprintln!("browser: the model in a page is NOT RUN: build it with `make web`, and name its folder in PAGE");
        return None;
    };
    let read = |name: &str| fs::read(Path::new(&folder).join(name)).unwrap();
    let loader = String::from_utf8(read("model.js")).unwrap();
    Some(EmbeddedModel::new(&loader, &read("model_bg.wasm.gz"), request).unwrap())
}

fn hostile() -> Record {
    let mut record = fixture::record(HOSTILE, &fixture::FAST);
    for case in &mut record.cases {
        case.id = format!("</script><script>window.owned = 2</script>{}", case.id);
        case.kernel = HOSTILE.to_owned();
        case.model = "\u{2028}</script><!--".to_owned();
    }
    record
}

fn extreme() -> Record {
    let mut record = fixture::record("Example X3", &fixture::FAST);
    for (i, case) in record.cases.iter_mut().enumerate() {
        let value = [0.0, 1e-300, 1e300, 5e-324][i % 4];
        case.work.flop = Flop::new(value);
        case.achieved.flop_per_s = FlopPerSecond::new(value);
        case.achieved.fraction_of_roofline = value;
        case.timing.ci95_s = Default::default();
    }
    record.ceilings.values_mut().for_each(|ceiling| ceiling.value = 1e308);
    record
}

#[test]
#[ignore = "needs node and Chromium: sh tests/browser/run.sh"]
fn the_page_works_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let records = [fixture::record("Example X1", &fixture::FAST), fixture::record("Example X2", &fixture::NEAR)];
    let names = ["x1.json", "x2.json"];
    for (record, name) in records.iter().zip(names) {
        save(&folder.path().join(name), record).unwrap();
    }
    let request = request();
    let outlook = outlook(&request, &Fabric::load("roce-cluster").unwrap()).unwrap();
    let judged = claims::judge(&[Claim::load("bandwidth").unwrap()], None, &|_| {}).unwrap();
    let projections = fixture::projections();
    let whole = Page {
        records: &records,
        fleets: &[],
        projections: &projections,
        outlook: Some(&outlook),
        claims: &judged,
        model: None,
    };
    write("page.html", &page(&whole));
    write("hostile.html", &page(&Page { records: &[hostile()], ..whole }));
    write("extreme.html", &page(&Page { records: &[extreme()], ..Page::default() }));
    let model = embedded_model(&request);
    if let Some(model) = &model {
        write("model.html", &page(&Page { model: Some(model), ..whole }));
    }
    let expected = json!({
        "has_model": model.is_some(),
        "chart_marks": chart_marks(&records, &outlook),
        "what_ifs": what_ifs(&request, &outlook),
        "records": names,
        "hostile_name": HOSTILE,
    });
    write("expected.json", &expected.to_string());

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/check.mjs");
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let status =
        Command::new("node").arg(script).arg(folder.path().join("expected.json")).arg(chromium).status().unwrap();
    assert!(status.success(), "the page fails in the browser: see the lines above");
}
