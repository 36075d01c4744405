//! Systems of aiconfigurator's tables, and the chips of this project that they have.

/// A system, and the built-in chip in it.
pub const SYSTEMS: [(&str, &str); 9] = [
    ("a100_sxm", "a100"),
    ("h100_sxm", "h100"),
    ("h200_sxm", "h200"),
    ("b200_sxm", "b200"),
    ("b300_sxm", "b300"),
    ("gb200", "gb200"),
    ("gb300", "gb300"),
    ("l40s", "l40s"),
    ("rtx_pro_6000_server", "rtx-pro-6000"),
];

/// The chip of a system, by the name of its built-in file.
pub fn chip_of_system(system: &str) -> Option<&'static str> {
    SYSTEMS.into_iter().find_map(|(name, chip)| (name == system).then_some(chip))
}

/// The system of a chip; the chip's own name where it has none.
pub fn system_of_chip(chip: &str) -> &str {
    SYSTEMS.into_iter().find_map(|(system, name)| (name == chip).then_some(system)).unwrap_or(chip)
}
