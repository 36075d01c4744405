use super::*;
use crate::projection::fabric::Site;
use crate::projection::fabric::network::LinkRates;
use crate::specs::{Fabric, Scenario, Sourced};

/// Ranks behind ports of 1 GB/s on one switch without latency.
fn star(ranks: usize) -> Network {
    let mut fabric = Fabric::load("h800-ib-rdma").unwrap();
    for assignment in ["network.bandwidth=1e9", "network.all_to_all_efficiency=1", "network.latency=0"] {
        fabric.set(assignment).unwrap();
    }
    let own = Sourced::assumed(1.0, 1.0, 1.0, "a test");
    let site = Site { fabric: &fabric, scale_up: &own, scenario: Scenario::Nominal };
    Network::new(&site, ranks, LinkRates::Exchange, &[]).unwrap()
}

fn flow(from: usize, to: usize, bytes: f64) -> Flow {
    Flow { from, to, bytes, start_s: 0.0 }
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * b.abs().max(1e-12), "{a} against {b}");
}

#[test]
fn one_flow_takes_its_bytes_over_the_port() {
    for fairness in [Fairness::PerCopy, Fairness::PerFlow] {
        close(run(&star(2), &[flow(0, 1, 3e9)], fairness).unwrap().makespan_s, 3.0);
    }
}

#[test]
fn by_flow_a_small_one_ends_first_and_leaves_its_share() {
    // Both at 0.5 GB/s until the small one ends at 2 s; the other has 2 GB left at 1 GB/s.
    let schedule = run(&star(3), &[flow(0, 1, 1e9), flow(0, 2, 3e9)], Fairness::PerFlow).unwrap();
    close(schedule.end_s[0], 2.0);
    close(schedule.end_s[1], 4.0);
    assert_eq!(schedule.solves, 2);
}

#[test]
fn by_copy_all_flows_of_a_port_end_together() {
    let schedule = run(&star(3), &[flow(0, 1, 1e9), flow(0, 2, 3e9)], Fairness::PerCopy).unwrap();
    close(schedule.end_s[0], 4.0);
    close(schedule.end_s[1], 4.0);
}

#[test]
fn four_ranks_with_one_hot_receiver_match_hand_arithmetic() {
    // Three senders of 1 GB to rank 0, and one of them of 1 GB to rank 1: the hot port takes 3 s at a third each; the
    // other flow has two thirds of its sender's port, by flow, and ends at 1.5 s.
    let list = [flow(1, 0, 1e9), flow(2, 0, 1e9), flow(3, 0, 1e9), flow(3, 1, 1e9)];
    let schedule = run(&star(4), &list, Fairness::PerFlow).unwrap();
    close(schedule.end_s[3], 1.5);
    close(schedule.makespan_s, 3.0);
    close(schedule.received[0], 3e9);
    close(schedule.sent[3], 2e9);
}

#[test]
fn a_flow_that_starts_later_shares_from_then_on() {
    // Alone for 1 s, then half each: 1 GB left of the first takes until 3 s, then the second's 1 GB alone until 4 s.
    let late = Flow { start_s: 1.0, ..flow(2, 1, 2e9) };
    let schedule = run(&star(3), &[flow(0, 1, 2e9), late], Fairness::PerFlow).unwrap();
    close(schedule.end_s[0], 3.0);
    close(schedule.end_s[1], 4.0);
}

#[test]
fn nothing_to_send_takes_no_time() {
    assert_eq!(run(&star(2), &[], Fairness::PerCopy).unwrap().makespan_s, 0.0);
    assert_eq!(run(&star(2), &[flow(0, 0, 1e9), flow(0, 1, 0.0)], Fairness::PerCopy).unwrap().makespan_s, 0.0);
}
