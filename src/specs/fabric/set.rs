//! Changing one value of a fabric by its key, as `--set` and the fit do.

use super::super::error::SpecError;
use super::super::sourced::{Provenance, Sourced};
use super::super::toml_file::bad;
use super::{Fabric, Tier};

impl Fabric {
    /// The value at a key such as `dispatch_copy_s`, `dies.latency_s` or `node.all_to_all_fixed_s`; a tier is named by
    /// its name, and the unit may be left out (`node.bandwidth`). Absent values are made from the tier's link efficiency.
    pub fn value_mut(&mut self, key: &str) -> Option<&mut Sourced> {
        if is(key, "dispatch_copy_s") {
            return Some(self.dispatch_copy_s.get_or_insert_with(|| Sourced::assumed(0.0, 0.0, 0.0, "absent")));
        }
        let (place, field) = key.rsplit_once('.')?;
        let place = place.strip_prefix("tiers.").unwrap_or(place);
        if place == "dies" {
            let dies = self.dies.as_mut()?;
            return [("bandwidth_bytes_per_s", &mut dies.bandwidth_bytes_per_s), ("latency_s", &mut dies.latency_s)]
                .into_iter()
                .find_map(|(name, value)| is(field, name).then_some(value));
        }
        self.tiers.iter_mut().find(|tier| tier.name == place)?.value_mut(field)
    }

    /// Applies `key=value`, e.g. `supernode.bandwidth=400e9`; the result is checked as a file is.
    ///
    /// # Errors
    /// [`SpecError`], one line that names the key.
    pub fn set(&mut self, assignment: &str) -> Result<(), SpecError> {
        let file = "--set";
        let Some((key, text)) = assignment.split_once('=') else {
            let shown = assignment.escape_debug();
            return Err(bad(file, &shown.to_string(), "without `=`", "give TIER.KEY=VALUE, e.g. node.bandwidth=400e9"));
        };
        let (key, text) = (key.trim(), text.trim());
        if let Some(count) = self.count_mut(key) {
            *count = text.parse().map_err(|_| bad(file, key, text.escape_debug(), "give a whole number"))?;
            return self.validate(file);
        }
        let tiers: Vec<String> = self.tiers.iter().map(|tier| tier.name.clone()).collect();
        let Some(slot) = self.value_mut(key) else {
            let remedy = format!("give TIER.KEY with a tier of {} and a key as in its file", tiers.join(", "));
            return Err(bad(file, &key.escape_debug().to_string(), "not a key of this fabric", &remedy));
        };
        let value: f64 = text.parse().map_err(|_| bad(file, key, text.escape_debug(), "give a number"))?;
        *slot = Sourced {
            value,
            low: None,
            high: None,
            provenance: Provenance::Assumed,
            source: "set on the command line".to_owned(),
            checked: None,
        };
        self.validate(file)
    }

    fn count_mut(&mut self, key: &str) -> Option<&mut u64> {
        let (place, field) = key.rsplit_once('.')?;
        let place = place.strip_prefix("tiers.").unwrap_or(place);
        let tier = self.tiers.iter_mut().find(|tier| tier.name == place)?;
        match field {
            "chips" => Some(&mut tier.chips),
            "hops" => Some(&mut tier.hops),
            "planes" => Some(&mut tier.planes),
            "switches_per_plane" => Some(&mut tier.switches_per_plane),
            _ => None,
        }
    }
}

impl Tier {
    fn value_mut(&mut self, field: &str) -> Option<&mut Sourced> {
        let Self { link_efficiency, all_to_all_efficiency, bandwidth_bytes_per_s, oversubscription, .. } = self;
        if is(field, "all_to_all_efficiency") {
            return Some(all_to_all_efficiency.get_or_insert_with(|| link_efficiency.clone()));
        }
        let absent = || Sourced::assumed(1.0, 1.0, 1.0, "absent");
        if is(field, "bandwidth_bytes_per_s") {
            return Some(bandwidth_bytes_per_s.get_or_insert_with(absent));
        }
        if is(field, "oversubscription") {
            return Some(oversubscription.get_or_insert_with(absent));
        }
        [
            ("link_efficiency", link_efficiency),
            ("latency_s", &mut self.latency_s),
            ("message_overhead_s", &mut self.message_overhead_s),
            ("collective_fixed_s", &mut self.collective_fixed_s),
            ("all_to_all_fixed_s", &mut self.all_to_all_fixed_s),
        ]
        .into_iter()
        .find_map(|(name, value)| is(field, name).then_some(value))
    }
}

/// Whether `given` is the key, with or without its unit.
fn is(given: &str, key: &str) -> bool {
    given == key
        || key.strip_suffix("_bytes_per_s").or_else(|| key.strip_suffix("_s")).is_some_and(|short| short == given)
}
