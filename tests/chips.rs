//! The chips and fabrics that come with the program, and the number types of weights on them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use fixture::reached::record;
use supernode_bench::kernels::{Family, StorageType};
use supernode_bench::projection::{
    ChipModel, Infeasible, NumberType, Phase, Pins, Projection, ProjectionCaveat, Request, Workload, project,
};
use supernode_bench::record::Record;
use supernode_bench::specs::{Chip, Fabric, Model};

/// Chips with units for both 4-bit types, for mxfp4 alone, and for neither.
const BLACKWELL: [&str; 5] = ["b200", "b300", "gb200", "gb300", "rtx-pro-6000"];
const MXFP4_ALONE: [&str; 1] = ["mi355x"];

fn chip(name: &str) -> ChipModel {
    ChipModel::from_spec(&Chip::load(name).unwrap())
}

fn request(chip_name: &str, phase: Phase, number_type: NumberType) -> Request {
    let workload = Workload { tpot_limit_s: 100.0, ..Workload::default() };
    let fabric = Fabric::load("hgx-800g").unwrap();
    let request = Request::new(Model::load("qwen3-235b-a22b").unwrap(), chip(chip_name), fabric, 16, phase);
    Request { number_type: Some(number_type), workload, ..request }
}

fn rate(projection: &Projection) -> f64 {
    projection.tokens_per_s_per_chip.median
}

fn widened(projection: &Projection) -> Option<NumberType> {
    projection.caveats.iter().find_map(|caveat| match caveat {
        ProjectionCaveat::Widened { multiplied, .. } => Some(*multiplied),
        _ => None,
    })
}

#[test]
fn a_chip_multiplies_in_4_bits_where_it_has_the_units_and_else_says_that_it_widens_the_weights() {
    for name in Chip::builtin_names() {
        for number_type in [NumberType::Nvfp4, NumberType::Mxfp4] {
            let has_units =
                BLACKWELL.contains(&name) || (MXFP4_ALONE.contains(&name) && number_type == NumberType::Mxfp4);
            let multiplied = chip(name).product_type(number_type);
            assert_eq!(multiplied, if has_units { number_type } else { NumberType::Bf16 }, "{name}");
            let mut asked = request(name, Phase::Decode, number_type);
            asked.chip.set_capacity(400e9);
            let answer = project(&asked).unwrap();
            assert_eq!(answer.number_type, number_type);
            assert_eq!(widened(&answer), (!has_units).then_some(NumberType::Bf16), "{name}");
            assert_eq!(answer.caveats.iter().any(|caveat| caveat.to_string().contains("no unit for")), !has_units);
            assert!(answer.provenance.iter().any(|source| source.what == format!("peak {}", multiplied.name())));
        }
    }
}

#[test]
fn weights_of_4_bits_take_their_bits_and_their_scales_and_the_cache_keeps_16_bits() {
    let pins = Pins { tp: Some(2), ep: Some(8), batch_per_chip: Some(16.0), ..Pins::default() };
    for name in ["h200", "b300"] {
        let of = |number_type| {
            let asked = Request { pins, ..request(name, Phase::Decode, number_type) };
            project(&asked).unwrap().memory_bytes_per_chip
        };
        let wide = of(NumberType::Bf16);
        for (number_type, bits) in [(NumberType::Nvfp4, 4.0 + 8.0 / 16.0), (NumberType::Mxfp4, 4.0 + 8.0 / 32.0)] {
            let narrow = of(number_type);
            assert!((narrow.weights / wide.weights - bits / 16.0).abs() < 1e-12, "{name}");
            assert_eq!(narrow.kv_cache, wide.kv_cache);
        }
    }
}

#[test]
fn widened_weights_make_small_batches_faster_and_prompts_no_faster_than_16_bits() {
    let small = Pins { tp: Some(1), ep: Some(16), batch_per_chip: Some(4.0), ..Pins::default() };
    let of = |name, phase, number_type, pins| {
        let mut asked = Request { pins, ..request(name, phase, number_type) };
        asked.chip.set_capacity(400e9);
        rate(&project(&asked).unwrap())
    };
    for name in ["h100", "mi325x"] {
        let gain = |phase, pins| of(name, phase, NumberType::Nvfp4, pins) / of(name, phase, NumberType::Bf16, pins);
        assert!(gain(Phase::Decode, small) > 1.5, "{name}");
        let prompts = gain(Phase::Prefill, Pins { ep: Some(16), ..Pins::default() });
        assert!((0.99..1.1).contains(&prompts), "{name}: {prompts}");
    }
    // Units for 4 bits make prompts faster than in 8.
    let prompts = Pins { ep: Some(16), ..Pins::default() };
    let four = of("b300", Phase::Prefill, NumberType::Nvfp4, prompts);
    assert!(four > 1.2 * of("b300", Phase::Prefill, NumberType::Fp8, prompts));
}

#[test]
fn training_in_4_bits_needs_units_for_them() {
    let Err(Infeasible::NoSuchType { asked, offered, .. }) =
        project(&request("h200", Phase::Training, NumberType::Nvfp4))
    else {
        panic!("h200 has no such units")
    };
    assert_eq!((asked, offered.as_str()), ("nvfp4", "f32, f16, bf16, fp8, int8"));
    let mut asked = request("b300", Phase::Training, NumberType::Nvfp4);
    asked.chips = 256;
    assert!(project(&asked).is_ok());
}

#[test]
fn serving_takes_the_8_bits_that_are_faster_than_16() {
    for (name, serving) in [
        ("ascend-910c", NumberType::Int8),
        ("ascend-910b", NumberType::Int8),
        ("a100", NumberType::Int8),
        ("h100", NumberType::Int8),
        ("mi300x", NumberType::Int8),
        // Their int8 is slower than their bf16.
        ("b300", NumberType::Fp8),
        ("gb300", NumberType::Fp8),
    ] {
        assert_eq!(chip(name).default_type(Phase::Decode), serving, "{name}");
        assert_eq!(chip(name).default_type(Phase::Training), NumberType::Bf16, "{name}");
    }
}

#[test]
fn fewer_bits_have_no_lower_peaks() {
    for name in Chip::builtin_names() {
        let peaks = Chip::load(name).unwrap().peak_flop_per_s;
        let of = |number_type| peaks.of(number_type).map(|peak| peak.value);
        let (f32, bf16, fp8) = (of(NumberType::F32), of(NumberType::Bf16), of(NumberType::Fp8));
        assert!(f32.unwrap() < bf16.unwrap(), "{name}");
        assert!(fp8.is_none_or(|fp8| fp8 >= 1.9 * bf16.unwrap()), "{name}");
        for four in [NumberType::Nvfp4, NumberType::Mxfp4] {
            assert!(of(four).is_none_or(|four| four >= 1.9 * fp8.unwrap()), "{name}");
        }
    }
}

#[test]
fn each_chip_serves_on_each_fabric() {
    for chip_name in Chip::builtin_names() {
        for fabric in Fabric::builtin_names() {
            let fabric = Fabric::load(fabric).unwrap();
            let model = Model::load("qwen3-30b-a3b").unwrap();
            let mut asked = Request::new(model, chip(chip_name), fabric, 8, Phase::Decode);
            asked.workload.tpot_limit_s = 100.0;
            let answer = project(&asked).unwrap();
            assert!(rate(&answer).is_finite() && rate(&answer) > 0.0);
        }
    }
}

#[test]
fn two_chips_of_a_full_mesh_have_one_of_its_links() {
    // On the switch of a node, two chips reach what eight do; on a mesh a seventh of it.
    let of = |fabric: &str, tp| {
        let pins = Pins { tp: Some(tp), ep: Some(1), batch_per_chip: Some(64.0), ..Pins::default() };
        let model = Model::load("llama-3.1-70b").unwrap();
        let asked = Request::new(model, chip("mi355x"), Fabric::load(fabric).unwrap(), 8, Phase::Prefill);
        project(&Request { pins, ..asked }).unwrap().terms_s.other_collectives.get()
    };
    assert!(of("xgmi8", 2) > 3.0 * of("xgmi8-400g", 2));
    assert!(of("xgmi8", 8) < 1.2 * of("xgmi8-400g", 8));
}

#[test]
fn a_measured_device_takes_its_own_kernels_of_4_bit_weights() {
    let mut with_kernels = record();
    let mut case = with_kernels.cases.iter().find(|case| case.family == Family::ExpertMatmul).unwrap().clone();
    (case.kernel, case.element) = ("gate_up".to_owned(), StorageType::Nvfp4);
    let sizes = [("experts", 8), ("tokens", 64), ("top_k", 8), ("k", 4096), ("n", 1536)];
    case.shape = sizes.map(|(name, size)| (name.to_owned(), size)).into();
    with_kernels.cases.push(case);
    let of = |record: &Record| {
        let chip = ChipModel::from_record(record).unwrap();
        assert_eq!(chip.product_type(NumberType::Nvfp4), NumberType::F32);
        let asked = Request { chip, ..request("h200", Phase::Decode, NumberType::Nvfp4) };
        let answer = project(&asked).unwrap();
        answer.operators.iter().find(|op| op.name == "expert gate and up").unwrap().cost.to_string()
    };
    assert!(of(&record()).contains("no such kernel in the record"));
    assert!(of(&with_kernels).contains("nearest measured utilisation"));
}

/// A row of docs/CHIPS.md.
fn row(name: &str) -> String {
    let chip = Chip::load(name).unwrap();
    let peak = |number_type| {
        chip.peak_flop_per_s.of(number_type).map_or_else(|| "-".to_owned(), |peak| format!("{}", peak.value / 1e12))
    };
    let types = [NumberType::Bf16, NumberType::Fp8, NumberType::Int8, NumberType::Nvfp4, NumberType::Mxfp4];
    let peaks = types.map(peak).join(" | ");
    let memory =
        format!("{:.0} | {}", chip.memory.capacity_bytes.value / 1e9, chip.memory.bandwidth_bytes_per_s.value / 1e12);
    let links = chip.links.scale_up_bytes_per_s.value / 1e9;
    let power = chip.power_w.map_or_else(|| "-".to_owned(), |power| format!("{}", power.value));
    format!("| `{name}` | {} | {peaks} | {memory} | {links} | {power} |", chip.title)
}

#[test]
fn the_guide_has_a_row_for_each_chip_and_fabric() {
    let guide = std::fs::read_to_string("docs/CHIPS.md").unwrap();
    let chips = Chip::builtin_names().into_iter().map(row);
    let fabrics = Fabric::builtin_names().into_iter().map(|name| {
        let fabric = Fabric::load(name).unwrap();
        let power = fabric.power_over_chips.as_ref().map_or_else(|| "-".to_owned(), |power| format!("{}", power.value));
        format!("| `{name}` | {} | {} | {power} |", fabric.title, fabric.max_chips())
    });
    for row in chips.chain(fabrics) {
        assert!(guide.lines().any(|line| line == row), "docs/CHIPS.md lacks\n{row}");
    }
}
