use super::*;
use crate::projection::fabric::Site;
use crate::projection::fabric::faults::FabricFault;
use crate::specs::{Fabric, Scenario, Sourced};

fn network(name: &str, ranks: usize, faults: &[&str]) -> Network {
    let faults: Vec<FabricFault> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    let own = Sourced::assumed(392e9, 392e9, 392e9, "a test");
    let fabric = Fabric::load(name).unwrap();
    let site = Site { fabric: &fabric, scale_up: &own, scenario: Scenario::Nominal };
    Network::new(&site, ranks, LinkRates::Exchange, &faults).unwrap()
}

fn hops(network: &Network, from: usize, to: usize) -> Vec<(String, f64)> {
    let mut list = Vec::new();
    assert!(network.each_hop(from, to, &mut |resource, share| list.push((network.name(resource), share))));
    list
}

#[test]
fn a_byte_passes_the_ports_of_its_tier() {
    let network = network("cloudmatrix384", 64, &[]);
    let names = |from, to| hops(&network, from, to).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(0, 1), ["package out of die 0", "package into die 1"]);
    assert_eq!(names(0, 15), ["ub out of die 0", "ub into die 15"]);
    // Between nodes two rates hold: the port's, and the lower one of the tier.
    assert_eq!(names(0, 16), ["ub out of die 0", "ub into die 16", "supernode out of die 0", "supernode into die 16"]);
    assert!(names(3, 3).is_empty());
}

#[test]
fn a_fault_unfolds_the_planes_and_the_rest_carries_all() {
    let network = network("cloudmatrix384", 64, &["plane=3", "link=0.0@0.5"]);
    let out: Vec<f64> =
        hops(&network, 0, 15).into_iter().filter(|(name, _)| name.starts_with("ub out")).map(|(_, s)| s).collect();
    assert_eq!(out.len(), 6);
    assert!((out.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    // Half of a plane of six gets half of what the others get.
    assert!((out[0] - 0.5 / 5.5).abs() < 1e-12);
}

#[test]
fn hashed_routes_take_one_plane_each_and_use_all() {
    let mut fabric = Fabric::load("cloudmatrix384").unwrap();
    fabric.tiers.iter_mut().for_each(|tier| tier.spread = crate::specs::Spread::Hash);
    let own = Sourced::assumed(392e9, 392e9, 392e9, "a test");
    let site = Site { fabric: &fabric, scale_up: &own, scenario: Scenario::Nominal };
    let network = Network::new(&site, 64, LinkRates::Exchange, &[]).unwrap();
    let mut used = std::collections::BTreeSet::new();
    for to in 16..64 {
        let out: Vec<_> = hops(&network, 0, to).into_iter().filter(|(name, _)| name.starts_with("ub out")).collect();
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].1, 1.0);
        used.insert(out[0].0.clone());
    }
    assert_eq!(used.len(), 7);
}

#[test]
fn a_mesh_goes_dimension_by_dimension_and_round_a_dead_link() {
    let whole = network("ub-mesh-pod", 64, &[]);
    assert_eq!(hops(&whole, 0, 9).len(), 2);
    let broken = network("ub-mesh-pod", 64, &["link=0-1"]);
    // Six detours of two links, then the second dimension.
    let way = hops(&broken, 0, 9);
    assert_eq!(way.len(), 13);
    assert!((way.iter().take(12).map(|(_, share)| share).sum::<f64>() - 2.0).abs() < 1e-12);
    // The chip at the corner is down: the other dimension first.
    let corner = network("ub-mesh-pod", 64, &["rank=1"]);
    assert_eq!(hops(&corner, 0, 9).len(), 2);
    assert!(!corner.each_hop(0, 1, &mut |_, _| ()));
}
