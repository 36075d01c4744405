//! Systems that are compared at the same service.

/// A system, by the names of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ServedSystem {
    /// What it is called.
    pub name: &'static str,
    /// Its chip.
    pub chip: &'static str,
    /// Its fabric.
    pub fabric: &'static str,
    /// Chips of it in use.
    pub chips: u32,
}

/// The supernode, a rack of Blackwell, and nodes of 8.
pub const SERVED_SYSTEMS: [ServedSystem; 5] = [
    ServedSystem { name: "CloudMatrix384", chip: "ascend-910c", fabric: "cloudmatrix384", chips: 384 },
    ServedSystem { name: "GB200 NVL72", chip: "gb200", fabric: "nvl72", chips: 72 },
    ServedSystem { name: "8 nodes of 8 H100", chip: "h100", fabric: "hgx-400g", chips: 64 },
    ServedSystem { name: "8 nodes of 8 H200", chip: "h200", fabric: "hgx-400g", chips: 64 },
    ServedSystem { name: "8 nodes of 8 B200", chip: "b200", fabric: "hgx-400g", chips: 64 },
];
