use super::*;

#[test]
fn every_embedded_fabric_loads_under_its_own_name() {
    for name in Fabric::builtin_names() {
        assert_eq!(Fabric::load(name).unwrap().name, name);
    }
}

#[test]
fn an_embedded_fabric_is_what_its_file_says() {
    for name in Fabric::builtin_names() {
        let path = format!("{}/specs/fabrics/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(Fabric::load(name).unwrap(), Fabric::load(&path).unwrap());
    }
}

#[test]
fn the_supernode_has_48_nodes_of_8_chips_of_2_dies_and_seven_planes() {
    let fabric = Fabric::load("cloudmatrix384").unwrap();
    assert_eq!(fabric.tiers[0].chips, 8);
    assert_eq!(fabric.tiers[1].chips, 48 * 8);
    assert_eq!((fabric.rank_unit(), fabric.ranks_per_chip(), fabric.tiers[1].planes), ("die", 2, 7));
}

#[test]
fn a_supercluster_joins_65536_chips() {
    let (joined, one) = (Fabric::load("supercluster").unwrap(), Fabric::load("cloudmatrix384").unwrap());
    assert!(joined.max_chips() >= 65_536);
    // Each of its supernodes is the one of the other file.
    assert_eq!(joined.tiers[..2], one.tiers[..2]);
    assert_eq!((joined.dies, joined.dispatch_copy_s), (one.dies, one.dispatch_copy_s));
}

#[test]
fn a_bad_fabric_file_is_one_line_that_names_file_and_key() {
    let good = include_str!("../../../specs/fabrics/cloudmatrix384.toml");
    let cases = [
        (good.replace("chips = 384\n", "chips = 8\n"), "tiers.supernode.chips"),
        (good.replace("chips = 384\n", "chips = 0\n"), "tiers.supernode.chips"),
        (good.replace("chips = 384\n", "chips = 12\n"), "tiers.supernode.chips"),
        (good.replace("hops = 1", "hops = 0"), "tiers.node.hops"),
        (good.replace("planes = 7", "planes = 0"), "tiers.node.planes"),
        (good.replace("per_chip = 2", "per_chip = 1"), "dies.per_chip"),
        (good.replace("value = 392e9", "value = inf"), "tiers.node.bandwidth_bytes_per_s"),
        (good.replace("value = 392e9", "value = nan"), "tiers.node.bandwidth_bytes_per_s"),
        (good.replace("value = 392e9", "value = -1.0"), "tiers.node.bandwidth_bytes_per_s"),
        (good.replace("value = 392e9", "value = 0.0"), "tiers.node.bandwidth_bytes_per_s"),
        (good.replace("value = 392e9", "value = 1e300"), "tiers.node.bandwidth_bytes_per_s"),
        (good.replace("value = 1.2e-6", "value = 3600.0"), "tiers.node.latency_s"),
        (good.replace("latency_s", "delay_s"), "delay_s"),
        (good.replace("name = \"supernode\"", "name = \"node\""), "tiers.node"),
        ("name = \"x\"\ntitle = \"y\"\ntiers = []\n".to_owned(), "`tiers` is empty"),
    ];
    for (text, expected) in cases {
        assert_ne!(text, good, "{expected}: nothing was changed");
        let message = Fabric::parse("my.toml", &text).unwrap_err().to_string();
        assert!(message.starts_with("my.toml") && message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_value_is_set_by_its_key_with_or_without_the_unit() {
    let mut fabric = Fabric::load("cloudmatrix384").unwrap();
    fabric.set("supernode.bandwidth=4e11").unwrap();
    assert_eq!(fabric.tiers[1].bandwidth_bytes_per_s.as_ref().unwrap().value, 4e11);
    fabric.set("node.latency_s = 2e-6").unwrap();
    assert_eq!(fabric.tiers[0].latency_s.value, 2e-6);
    fabric.set("node.planes=3").unwrap();
    assert_eq!(fabric.tiers[0].planes, 3);
    for bad in
        ["node.bandwidth", "node.speed=1", "rack.bandwidth=1", "node.bandwidth=x", "node.bandwidth=-1", "node.chips=9"]
    {
        assert!(fabric.clone().set(bad).unwrap_err().to_string().starts_with("--set"), "{bad}");
    }
}
