//! Any text as the TOML of a fabric: an error in one line, or a fabric on which every collective has an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supernode_bench::projection::ExpertLoad;
use supernode_bench::projection::fabric::Collective;
use supernode_bench::projection::fabric::Mode;
use supernode_bench::projection::fabric::exchange::{Bulk, Direction, Exchange, Payload, Site, bulk, exchange, flows};
use supernode_bench::projection::fabric::faults::FabricFault;
use supernode_bench::projection::fabric::flows::{Fairness, run};
use supernode_bench::projection::fabric::placement::{Experts, Placement};
use supernode_bench::specs::{Fabric, Scenario, Sourced};
use supernode_bench::units::Bytes;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Fabric::parse("fuzz.toml", text) {
        Ok(fabric) => use_it(fabric),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});

fn use_it(mut fabric: Fabric) {
    let own = Sourced::assumed(392e9, 392e9, 392e9, "fuzz");
    let faults: [&[&str]; 3] = [&[], &["plane=0@0.5"], &["rank=1", "link=0.0@0.25"]];
    for ranks in [1, 2, 17, 48] {
        for faults in faults {
            let faults: Vec<FabricFault> = faults.iter().filter_map(|fault| fault.parse().ok()).collect();
            for scenario in [Scenario::Nominal, Scenario::Pessimistic] {
                let site = Site { fabric: &fabric, scale_up: &own, scenario };
                for mode in [Mode::LowLatency, Mode::Normal] {
                    let asked = Exchange {
                        direction: Direction::Dispatch,
                        mode,
                        tokens: 128.0,
                        hidden: 7168.0,
                        payload: Payload::Fp8,
                        experts: Experts {
                            experts: 2 * ranks,
                            redundant: 0,
                            top_k: 2,
                            ranks,
                            placement: Placement::Balanced,
                        },
                        load: ExpertLoad::PowerLaw { exponent: 0.7, seed: 3 },
                        most_groups: Some(2.0),
                    };
                    if let Ok(answer) = exchange(&site, &asked, &faults) {
                        assert!(answer.latency_s.is_finite() && answer.latency_s >= 0.0, "{answer:?}");
                    }
                    if let Ok((network, list)) = flows(&site, &asked, &faults)
                        && let Ok(schedule) = run(&network, &list, Fairness::PerCopy)
                    {
                        assert!(schedule.makespan_s.is_finite());
                    }
                }
                for collective in [Collective::AllReduce, Collective::AllGather, Collective::AllToAll, Collective::Send]
                {
                    if let Ok(answer) =
                        bulk(&site, &Bulk { collective, ranks, bytes: Bytes::new(1e6), algorithm: None }, &faults)
                    {
                        assert!(answer.latency_s.is_finite() && answer.latency_s >= 0.0, "{answer:?}");
                    }
                }
            }
        }
    }
    let _ = fabric.set("node.bandwidth=1e9");
    assert!(fabric.validate("fuzz.toml").is_ok() || fabric.tiers.iter().any(|tier| tier.name == "node"));
}
