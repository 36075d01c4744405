use super::*;
use crate::projection::expert_load::ExpertLoad;
use crate::projection::fabric::faults::FabricFault;
use crate::projection::fabric::network::{LinkRates, Loads, Network};
use crate::projection::fabric::placement::{Experts, Placement};
use crate::projection::fabric::{
    AllToAll, Collective, Group, Link, Mode, all_to_all, dispatch, flows as engine, rank_links,
};
use crate::specs::{Fabric, Scenario, Sourced};
use crate::units::Bytes;

fn own() -> Sourced {
    Sourced::assumed(392e9, 392e9, 392e9, "a test")
}

fn asked(ranks: usize, direction: Direction, mode: Mode) -> Exchange {
    Exchange {
        direction,
        mode,
        tokens: 128.0,
        hidden: 7168.0,
        payload: if direction == Direction::Dispatch { Payload::Int8 } else { Payload::Bf16 },
        experts: Experts {
            experts: 256usize.next_multiple_of(ranks),
            redundant: 0,
            top_k: 8,
            ranks,
            placement: Placement::InOrder,
        },
        load: ExpertLoad::Uniform,
        most_groups: None,
    }
}

fn skewed(ranks: usize, direction: Direction, exponent: f64) -> Exchange {
    Exchange { load: ExpertLoad::PowerLaw { exponent, seed: 1 }, ..asked(ranks, direction, Mode::LowLatency) }
}

fn on_fabric(name: &str, exchange: &Exchange, faults: &[&str]) -> Result<Answer, ExchangeError> {
    let fabric = Fabric::load(name).unwrap();
    let scale_up = own();
    let site = Site { fabric: &fabric, scale_up: &scale_up, scenario: Scenario::Nominal };
    let faults: Vec<FabricFault> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    super::exchange(&site, exchange, &faults)
}

#[test]
fn uniform_exchanges_match_the_closed_form_on_every_fabric_and_in_both_modes() {
    let scale_up = own();
    for name in Fabric::builtin_names() {
        let fabric = Fabric::load(name).unwrap();
        let links = rank_links(&fabric, &scale_up, Scenario::Nominal);
        for ranks in [2usize, 4, 8, 16, 32, 64, 128, 256] {
            for mode in [Mode::LowLatency, Mode::Normal] {
                // Partly filled tiers have no closed form.
                let whole =
                    |link: &Link| (ranks as f64 / link.chips).fract() == 0.0 || link.chips / ranks as f64 >= 1.0;
                let mesh = fabric.topology == crate::specs::Topology::FullMesh;
                if ranks as u64 > fabric.max_ranks() || !links.iter().all(whole) || (mesh && ranks % 64 != 0) {
                    continue;
                }
                for direction in [Direction::Dispatch, Direction::Combine] {
                    let exchange = asked(ranks, direction, mode);
                    let group = Group { size: ranks as f64, stride: 1.0 };
                    let bytes = Bytes::new(exchange.payload.bytes(7168.0));
                    let traffic = AllToAll { tokens: 128.0, copies: 8.0, bytes, mode, most_groups: None };
                    let closed = match direction {
                        Direction::Dispatch => dispatch(&links, group, &traffic),
                        Direction::Combine => all_to_all(&links, group, &traffic),
                    };
                    let modelled = on_fabric(name, &exchange, &[]).unwrap().latency_s;
                    let error = modelled / closed.get() - 1.0;
                    assert!(error.abs() < 1e-3, "{name}, {ranks} ranks, {mode:?}, {direction:?}: {error:.5}");
                }
            }
        }
    }
}

#[test]
fn two_and_four_ranks_match_hand_arithmetic() {
    // Two dies of one package: half of 128 x 8 copies of 7680 B over 270 GB/s; 1024 copies of 38.5 ns; 0.2 us.
    let two = on_fabric("cloudmatrix384", &asked(2, Direction::Dispatch, Mode::LowLatency), &[]).unwrap();
    let expected = 0.2e-6 + 27.6e-6 + 1024.0 * 38.5e-9 + 512.0 * 7680.0 / 270e9;
    assert!((two.latency_s / expected - 1.0).abs() < 1e-12, "{} against {expected}", two.latency_s);
    // Four dies of two packages: half of the copies leave the package over the bus, 196 GB/s at 63 %.
    let four = on_fabric("cloudmatrix384", &asked(4, Direction::Combine, Mode::LowLatency), &[]).unwrap();
    let expected = 1.2e-6 + 27.6e-6 + 512.0 * 14336.0 / (196e9 * 0.63);
    assert!((four.latency_s / expected - 1.0).abs() < 1e-12, "{} against {expected}", four.latency_s);
}

#[test]
fn the_engine_ends_when_the_busiest_port_does() {
    let scale_up = own();
    for (name, ranks) in [("cloudmatrix384", 48), ("h800-ib", 32), ("ub-mesh-pod", 64)] {
        let fabric = Fabric::load(name).unwrap();
        let site = Site { fabric: &fabric, scale_up: &scale_up, scenario: Scenario::Nominal };
        for direction in [Direction::Dispatch, Direction::Combine] {
            for faults in [vec![], vec!["rank=3@0.5".parse::<FabricFault>().unwrap()]] {
                let exchange = skewed(ranks, direction, 0.9);
                let answer = super::exchange(&site, &exchange, &faults).unwrap();
                let (network, list) = super::flows(&site, &exchange, &faults).unwrap();
                let schedule = engine::run(&network, &list, engine::Fairness::PerCopy).unwrap();
                // The last flow's latency is its own, the answer's that of the outermost tier.
                let transfer = schedule.makespan_s - answer.parts.path_s;
                let slack = answer.parts.path_s + 1e-9 * answer.parts.transfer_s;
                assert!(transfer <= answer.parts.transfer_s * (1.0 + 1e-9), "{name} {direction:?}");
                assert!(transfer >= answer.parts.transfer_s - slack, "{name} {direction:?}");
            }
        }
    }
}

#[test]
fn sums_by_tier_match_pair_by_pair_sums() {
    let scale_up = own();
    let mut fabric = Fabric::load("supercluster").unwrap();
    fabric.set("supernode.oversubscription=2").unwrap();
    fabric.set("scale-out.oversubscription=4").unwrap();
    fabric.set("node.chips=2").unwrap();
    fabric.set("supernode.chips=6").unwrap();
    fabric.tiers[2].port = "ub".to_owned();
    for ranks in [3usize, 8, 12, 13, 24, 36, 44] {
        let site = Site { fabric: &fabric, scale_up: &scale_up, scenario: Scenario::Nominal };
        let network = Network::new(&site, ranks, LinkRates::Exchange, &[]).unwrap();
        let to: Vec<f64> = (0..ranks).map(|rank| (rank * 7 % 11) as f64 + 0.5).collect();
        for direction in [Direction::Dispatch, Direction::Combine] {
            let mut summed = Loads::new(&network);
            summed.add_same_from_all(&to, direction).unwrap();
            let mut paired = Loads::new(&network);
            for from in 0..ranks {
                for (rank, &bytes) in to.iter().enumerate() {
                    let (from, to) = direction.ends(from, rank);
                    paired.add(from, to, bytes);
                }
            }
            same(&summed, &paired, &network);
            if network.has_whole_nodes() {
                two_level_matches(&network, &to, direction);
            }
        }
    }
}

fn two_level_matches(network: &Network, to: &[f64], direction: Direction) {
    let (_, node) = network.node();
    let to_node: Vec<f64> = to.chunks(node).map(|node| node.iter().sum::<f64>() * 0.6).collect();
    let mut summed = Loads::new(network);
    summed.add_two_level(&to_node, to, direction).unwrap();
    let mut paired = Loads::new(network);
    for from in 0..to.len() {
        for (place, &bytes) in to_node.iter().enumerate().filter(|(place, _)| *place != from / node) {
            let (a, b) = direction.ends(from, place * node + from % node);
            paired.add(a, b, bytes);
        }
        for (rank, bytes) in to.iter().enumerate().skip(from / node * node).take(node) {
            let bytes = bytes * to_node.len() as f64;
            let (a, b) = direction.ends(from, rank);
            paired.add(a, b, bytes);
        }
    }
    same(&summed, &paired, network);
}

fn same(summed: &Loads<'_>, paired: &Loads<'_>, network: &Network) {
    for (resource, (a, b)) in summed.bytes().iter().zip(paired.bytes()).enumerate() {
        assert!(
            (a - b).abs() <= 1e-9 * b.abs().max(1.0),
            "{} of {}: {a} against {b}",
            network.name(resource),
            network.ranks
        );
    }
}

#[test]
fn the_hot_experts_rank_is_the_hot_port_in_both_directions() {
    for direction in [Direction::Dispatch, Direction::Combine] {
        let answer = on_fabric("cloudmatrix384", &skewed(64, direction, 1.0), &[]).unwrap();
        assert!(answer.hottest_link.contains(&format!("die {}", answer.hottest_rank)), "{}", answer.hottest_link);
        assert!(answer.slowdown > 1.2 && answer.hottest_rank_load > 1.5, "{answer:?}");
        let way = if direction == Direction::Dispatch { "into" } else { "out of" };
        assert!(answer.hottest_link.contains(way), "{}", answer.hottest_link);
    }
}

#[test]
fn replicas_and_a_balanced_placement_help() {
    let skewed = skewed(32, Direction::Dispatch, 0.9);
    let time = |exchange: &Exchange| on_fabric("cloudmatrix384", exchange, &[]).unwrap().latency_s;
    let balanced = Exchange {
        experts: Experts { placement: Placement::Balanced, redundant: 64, ..skewed.experts },
        ..skewed.clone()
    };
    assert!(time(&balanced) < time(&skewed));
}

#[test]
fn a_dead_plane_costs_a_seventh_of_the_bus() {
    let exchange = asked(64, Direction::Combine, Mode::LowLatency);
    let whole = on_fabric("cloudmatrix384", &exchange, &[]).unwrap();
    let broken = on_fabric("cloudmatrix384", &exchange, &["plane=3"]).unwrap();
    let ratio = broken.parts.transfer_s / whole.parts.transfer_s;
    assert!((ratio - 7.0 / 6.0).abs() < 1e-9, "{ratio}");
    assert!((broken.fault_slowdown - broken.latency_s / whole.latency_s).abs() < 1e-12);
}

#[test]
fn faults_slow_down_by_how_much_they_take_and_all_of_them_never_help() {
    let exchange = skewed(64, Direction::Dispatch, 0.5);
    for faults in [
        vec!["link=5.2"],
        vec!["link=5.2@0.5"],
        vec!["switch=1.6"],
        vec!["uplink=2.1"],
        vec!["uplink=2.1@0.1"],
        vec!["core-switch=4"],
        vec!["plane=0@0.5", "link=9.1", "switch=3.0"],
    ] {
        let answer = on_fabric("cloudmatrix384", &exchange, &faults).unwrap();
        assert!(answer.fault_slowdown >= 1.0 - 1e-12, "{faults:?}: {}", answer.fault_slowdown);
    }
    let half = on_fabric("cloudmatrix384", &exchange, &["plane=0@0.5"]).unwrap().latency_s;
    let down = on_fabric("cloudmatrix384", &exchange, &["plane=0"]).unwrap().latency_s;
    assert!(down > half);
    let mesh = on_fabric("ub-mesh-pod", &asked(64, Direction::Dispatch, Mode::LowLatency), &["link=0-1"]).unwrap();
    assert!(mesh.fault_slowdown > 1.0);
}

#[test]
fn what_is_cut_off_is_said() {
    let exchange = asked(32, Direction::Dispatch, Mode::LowLatency);
    for fault in ["node=1", "rank=9"] {
        let error = on_fabric("cloudmatrix384", &exchange, &[fault]).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, ExchangeError::CutOff { .. }) && text.contains("cut off") && !text.contains('\n'),
            "{text}"
        );
    }
    // The only plane of the network's port.
    assert!(matches!(on_fabric("h800-ib-rdma", &exchange, &["link=3"]), Err(ExchangeError::CutOff { pairs: 62, .. })));
    assert!(matches!(on_fabric("cloudmatrix384", &exchange, &["plane=7"]), Err(ExchangeError::Network(_))));
    assert!(matches!(on_fabric("cloudmatrix384", &exchange, &["link=32.0"]), Err(ExchangeError::Network(_))));
    assert!(matches!(on_fabric("ub-mesh-pod", &exchange, &["link=0-9"]), Err(ExchangeError::Network(_))));
}

#[test]
fn more_ranks_than_the_fabric_has_are_refused_with_file_key() {
    let error = on_fabric("cloudmatrix384-announced", &asked(512, Direction::Dispatch, Mode::LowLatency), &[]);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("tiers.supernode.chips") && text.contains("384"), "{text}");
}

#[test]
fn bulk_collectives_name_their_algorithm_and_suffer_from_faults() {
    let scale_up = own();
    for name in Fabric::builtin_names() {
        let fabric = Fabric::load(name).unwrap();
        let site = Site { fabric: &fabric, scale_up: &scale_up, scenario: Scenario::Nominal };
        for collective in [
            Collective::AllReduce,
            Collective::AllGather,
            Collective::ReduceScatter,
            Collective::AllToAll,
            Collective::Send,
        ] {
            let ranks = usize::try_from(fabric.max_ranks().min(64)).unwrap();
            let asked = Bulk { collective, ranks, bytes: Bytes::new(64e6), algorithm: None };
            let whole = bulk(&site, &asked, &[]).unwrap();
            assert!(whole.latency_s > 0.0 && whole.hottest_link != "none", "{name} {collective:?}");
            let slow = bulk(&site, &asked, &["rank=0@0.5".parse().unwrap()]).unwrap();
            assert!(slow.fault_slowdown >= 1.0, "{name} {collective:?}");
        }
    }
}
