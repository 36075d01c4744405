//! One value of a loaded fabric by its key: what a fit changes, thousands of times.

use crate::specs::fabric::{Fabric, Tier};
use crate::specs::sourced::Sourced;
use crate::specs::toml_file::is_key;

impl Fabric {
    /// The value at a key such as `dispatch_copy_s`, `dies.latency_s` or `node.all_to_all_fixed_s`. A tier is called by
    /// its name, and the unit may be left out (`node.bandwidth`). A value that the file leaves out is made: the
    /// efficiency of dispatch and combine from the link efficiency, others as 0 or 1.
    pub fn value_mut(&mut self, key: &str) -> Option<&mut Sourced> {
        if is_key(key, "dispatch_copy_s") {
            return Some(self.dispatch_copy_s.get_or_insert_with(|| Sourced::assumed(0.0, 0.0, 0.0, "absent")));
        }
        let (place, field) = key.rsplit_once('.')?;
        let place = place.strip_prefix("tiers.").unwrap_or(place);
        if place == "dies" {
            let dies = self.dies.as_mut()?;
            return [("bandwidth_bytes_per_s", &mut dies.bandwidth_bytes_per_s), ("latency_s", &mut dies.latency_s)]
                .into_iter()
                .find_map(|(name, value)| is_key(field, name).then_some(value));
        }
        self.tiers.iter_mut().find(|tier| tier.name == place)?.value_mut(field)
    }
}

impl Tier {
    fn value_mut(&mut self, field: &str) -> Option<&mut Sourced> {
        let Self { link_efficiency, all_to_all_efficiency, bandwidth_bytes_per_s, oversubscription, .. } = self;
        if is_key(field, "all_to_all_efficiency") {
            return Some(all_to_all_efficiency.get_or_insert_with(|| link_efficiency.clone()));
        }
        let absent = || Sourced::assumed(1.0, 1.0, 1.0, "absent");
        if is_key(field, "bandwidth_bytes_per_s") {
            return Some(bandwidth_bytes_per_s.get_or_insert_with(absent));
        }
        if is_key(field, "oversubscription") {
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
        .find_map(|(name, value)| is_key(field, name).then_some(value))
    }
}
