use super::*;

fn link(chips: f64, port: usize, bandwidth: f64) -> Link {
    Link {
        chips,
        port,
        bandwidth: BytesPerSecond::new(bandwidth),
        all_to_all_bandwidth: BytesPerSecond::new(bandwidth),
        latency: Seconds::new(1e-6),
        message: Seconds::new(1e-7),
        fixed: Seconds::new(1e-5),
        all_to_all_fixed: Seconds::new(2e-5),
        copy: Seconds::new(3e-8),
        fanout: 0.0,
        reduces: false,
        on_package: false,
    }
}

fn traffic(tokens: f64, copies: f64, bytes: f64, mode: Mode) -> AllToAll {
    AllToAll { tokens, copies, bytes: Bytes::new(bytes), mode, most_groups: None }
}

fn close(time: Seconds, expected: f64) {
    assert!((time.get() / expected - 1.0).abs() < 1e-12, "{} against {expected}", time.get());
}

const PAIR: Group = Group { size: 2.0, stride: 1.0 };

#[test]
fn a_dispatch_and_a_combine_of_two_chips_match_hand_arithmetic() {
    // Half of 100 tokens x 2 copies x 1000 B leave the chip: 100 kB at 1 GB/s; 200 copies of 30 ns on the way out.
    let exchange = traffic(100.0, 2.0, 1000.0, Mode::LowLatency);
    close(all_to_all(&[link(8.0, 0, 1e9)], PAIR, &exchange), 1e-6 + 2e-5 + 1e-4);
    close(dispatch(&[link(8.0, 0, 1e9)], PAIR, &exchange), 1e-6 + 2e-5 + 1e-4 + 6e-6);
}

#[test]
fn a_dispatch_of_four_chips_in_two_nodes_matches_hand_arithmetic() {
    // Of 400 kB, 100 kB stay, 100 kB go to the node's other chip at 4 GB/s, 200 kB to the other node at 1 GB/s.
    let nodes = [
        link(2.0, 0, 4e9),
        Link { all_to_all_fixed: Seconds::new(4e-5), latency: Seconds::new(5e-6), ..link(8.0, 1, 1e9) },
    ];
    let group = Group { size: 4.0, stride: 1.0 };
    // Two of four peers on each tier: the fixed cost is the mean, 30 us.
    close(all_to_all(&nodes, group, &traffic(400.0, 1.0, 1000.0, Mode::LowLatency)), 5e-6 + 3e-5 + 2e-4);
}

#[test]
fn an_all_reduce_of_two_chips_matches_hand_arithmetic() {
    // Two steps of half the bytes each.
    close(all_reduce(&[link(8.0, 0, 1e9)], PAIR, Bytes::new(1e6)), 2.0 * (1.1e-6 + 0.5e6 / 1e9) + 1e-5);
}

#[test]
fn rings_trees_and_switches_of_four_chips_match_hand_arithmetic() {
    let group = Group { size: 4.0, stride: 1.0 };
    let links = [Link { reduces: true, ..link(8.0, 0, 1e9) }];
    let times: Vec<_> = algorithms(&links, group, Collective::AllReduce, Bytes::new(1e6));
    let of = |wanted| times.iter().find(|(algorithm, _)| *algorithm == wanted).unwrap().1;
    close(of(Algorithm::Ring), 6.0 * (1.1e-6 + 0.25e6 / 1e9) + 1e-5);
    close(of(Algorithm::Tree), 4.0 * 1.1e-6 + 2e6 / 1e9 + 1e-5);
    close(of(Algorithm::InSwitch), 1.1e-6 + 1e6 / 1e9 + 1e-5);
    let gather = best(&links, group, Collective::AllGather, Bytes::new(1e6)).unwrap();
    assert_eq!(gather.0, Algorithm::Ring);
    close(gather.1, 3.0 * (1.1e-6 + 0.25e6 / 1e9) + 1e-5);
    close(best(&links, group, Collective::AllToAll, Bytes::new(1e6)).unwrap().1, 1.1e-6 + 0.75e6 / 1e9 + 1e-5);
    close(send(&links, 1.0, Bytes::new(1e6)), 1.1e-6 + 1e-3 + 1e-5);
}

#[test]
fn a_group_of_one_needs_no_time() {
    let alone = Group { size: 1.0, stride: 1.0 };
    let links = [link(8.0, 0, 1e9)];
    assert_eq!(all_reduce(&links, alone, Bytes::new(1e6)), Seconds::ZERO);
    assert_eq!(all_to_all(&links, alone, &traffic(1.0, 1.0, 1.0, Mode::Normal)), Seconds::ZERO);
    assert_eq!(dispatch(&links, alone, &traffic(1.0, 1.0, 1.0, Mode::LowLatency)), Seconds::ZERO);
}

#[test]
fn tiers_of_one_port_share_it_and_tiers_of_two_ports_do_not() {
    let group = Group { size: 16.0, stride: 1.0 };
    let shared = [link(8.0, 0, 1e9), link(16.0, 0, 1e9)];
    let apart = [link(8.0, 0, 1e9), link(16.0, 1, 1e9)];
    close(all_to_all(&shared, group, &traffic(16.0, 1.0, 1e6, Mode::LowLatency)), 2.1e-5 + 15e6 / 1e9);
    close(all_to_all(&apart, group, &traffic(16.0, 1.0, 1e6, Mode::LowLatency)), 2.1e-5 + 8e6 / 1e9);
}

#[test]
fn forwarding_helps_where_the_outer_tier_is_slow() {
    let links = [link(8.0, 0, 1e11), link(64.0, 1, 1e9)];
    let group = Group { size: 64.0, stride: 1.0 };
    let direct = all_to_all(&links, group, &traffic(1000.0, 8.0, 1e4, Mode::LowLatency));
    let forwarded = all_to_all(&links, group, &traffic(1000.0, 8.0, 1e4, Mode::Normal));
    assert!(forwarded < direct);
    assert_eq!(staged_all_to_all(&links, group, &traffic(1000.0, 8.0, 1e4, Mode::Normal)).0, Algorithm::TwoLevel);
    let limited = AllToAll { most_groups: Some(2.0), ..traffic(1000.0, 8.0, 1e4, Mode::Normal) };
    assert!(all_to_all(&links, group, &limited) < forwarded);
}

#[test]
fn two_levels_beat_one_ring_over_a_slow_outer_tier() {
    let links = [link(8.0, 0, 1e11), link(64.0, 1, 1e9)];
    let group = Group { size: 64.0, stride: 1.0 };
    let expected = 14.0 * 1.1e-6 + 1.75 * 1e9 / 1e11 + 14.0 * 1.1e-6 + 1.75 * 1.25e8 / 1e9 + 1e-5;
    close(all_reduce(&links, group, Bytes::new(1e9)), expected);
}

#[test]
fn a_full_mesh_uses_the_direct_links_of_each_dimension() {
    // 4 x 4 chips; each dimension's 3 GB/s are three links of 1 GB/s.
    let mesh = [Link { fanout: 3.0, ..link(4.0, 0, 3e9) }, Link { fanout: 3.0, ..link(16.0, 1, 3e9) }];
    let group = Group { size: 16.0, stride: 1.0 };
    // Of 16 MB a chip, a quarter goes to each column: 4 MB over each link.
    close(all_to_all(&mesh, group, &traffic(16.0, 1.0, 1e6, Mode::LowLatency)), 2.1e-5 + 4e-3);
    let (algorithm, time) = best(&mesh, group, Collective::ReduceScatter, Bytes::new(16e6)).unwrap();
    assert_eq!(algorithm, Algorithm::ByDimension);
    close(time, 1.1e-6 + 4e-3 + 1.1e-6 + 1e-3 + 1e-5);
}
