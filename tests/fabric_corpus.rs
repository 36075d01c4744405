//! The fuzz target's corpus, and mutations of it, on every run of the tests: no text makes the program panic.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use supernode_bench::projection::ExpertLoad;
use supernode_bench::projection::fabric::Mode;
use supernode_bench::projection::fabric::exchange::{Direction, Exchange, Payload, Site, exchange};
use supernode_bench::projection::fabric::placement::{Experts, Placement};
use supernode_bench::specs::{Fabric, Scenario, Sourced};

fn corpus() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/fabric");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut texts: Vec<_> =
        files.filter_map(|path| Some((path.display().to_string(), std::fs::read_to_string(&path).ok()?))).collect();
    texts.sort();
    texts
}

/// A clear error, or a fabric that answers.
fn try_it(text: &str) -> Result<(), String> {
    let fabric = match Fabric::parse("a test", text) {
        Ok(fabric) => fabric,
        Err(error) => {
            let line = error.to_string();
            return if line.starts_with("a test") && !line.contains('\n') { Ok(()) } else { Err(line) };
        }
    };
    let own = Sourced::assumed(392e9, 392e9, 392e9, "a test");
    let site = Site { fabric: &fabric, scale_up: &own, scenario: Scenario::Pessimistic };
    for (ranks, faults) in [(2usize, vec![]), (16, vec!["plane=0@0.5".parse().unwrap()]), (24, vec![])] {
        for mode in [Mode::LowLatency, Mode::Normal] {
            let asked = Exchange {
                direction: Direction::Combine,
                mode,
                tokens: 64.0,
                hidden: 4096.0,
                payload: Payload::Bf16,
                experts: Experts { experts: 2 * ranks, redundant: 0, top_k: 2, ranks, placement: Placement::Balanced },
                load: ExpertLoad::PowerLaw { exponent: 0.7, seed: 3 },
                most_groups: None,
            };
            if let Ok(answer) = exchange(&site, &asked, &faults)
                && !(answer.latency_s.is_finite() && answer.latency_s >= 0.0)
            {
                return Err(format!("{answer:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn the_corpus_is_refused_in_one_line_or_answers() {
    let corpus = corpus();
    assert!(corpus.len() >= Fabric::builtin_names().len());
    for (path, text) in corpus {
        try_it(&text).unwrap_or_else(|reason| panic!("{path}: {reason}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn numbers_and_bytes_of_a_file_may_be_anything(
        file in 0usize..15, at in 0.0f64..1.0,
        number in prop::sample::select(vec![
            "0", "-1", "nan", "inf", "-inf", "1e308", "1e-308", "18446744073709551615", "1e9", "0.0", "10000000", "2",
        ]),
        byte in prop::option::of(any::<char>()),
    ) {
        let corpus = corpus();
        let (_, text) = &corpus[file % corpus.len()];
        // One number becomes another, or one character.
        let places: Vec<usize> = text.match_indices("= ").map(|(place, _)| place + 2).collect();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a short list")]
        let place = places[((places.len() - 1) as f64 * at) as usize];
        let end = place + text[place..].find([',', '\n', ' ']).unwrap_or(0);
        let mut changed = text.clone();
        match byte {
            Some(other) => changed.replace_range(place..place, &other.to_string()),
            None => changed.replace_range(place..end, number),
        }
        prop_assert!(try_it(&changed).is_ok(), "{:?}", try_it(&changed));
    }
}
