//! A chip from a fleet: the record of its middle device, and how far the devices are apart.

use std::collections::BTreeMap;

use crate::projection::caveat::ProjectionCaveat;
use crate::projection::chip::ChipModel;
use crate::projection::slowest::DeviceSpread;
use crate::record::{FleetRecord, Record};
use crate::statistics::{median, upper_median};

impl ChipModel {
    /// From a fleet.
    ///
    /// - A device's ratio is the median over its cases of its time over the median of all devices.
    /// - The chip is the record of the device whose ratio is the middle one.
    /// - The spread is that of the ratios, where there are three or more.
    ///
    /// # Errors
    /// One line: no rank left a record, or the middle one lacks a ceiling.
    pub fn from_fleet(fleet: &FleetRecord) -> Result<Self, String> {
        let ratios = ratios(fleet);
        let mut sorted: Vec<f64> = ratios.values().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = upper_median(&sorted).ok_or("no rank of the fleet has a case; measure it again")?;
        let rank = ratios.iter().find(|(_, ratio)| **ratio == middle).map(|(rank, _)| *rank);
        let record = rank.and_then(|rank| fleet.rank(rank)?.record.as_ref());
        let mut chip = Self::from_record(record.ok_or("no rank of the fleet has a record; measure it again")?)?;
        chip.spread = DeviceSpread::measured(&sorted);
        let of = format!("the device of rank {}, the middle one of {} in a fleet", rank.unwrap_or(0), sorted.len());
        chip.caveats.push(ProjectionCaveat::Worded(of));
        if chip.spread.is_none() {
            let few = "fewer than three devices say nothing of their spread, so no step waits for a slower one (--device-spread)";
            chip.caveats.push(ProjectionCaveat::Worded(few.to_owned()));
        }
        chip.caveats.extend(fleet.caveats.iter().map(|caveat| ProjectionCaveat::Worded(caveat.to_string())));
        Ok(chip)
    }
}

/// Each device's time over that of the middle one, by rank.
fn ratios(fleet: &FleetRecord) -> BTreeMap<u32, f64> {
    let of = |record: &Record| {
        let cases = fleet.spread.iter().filter_map(|case| Some(record.case(&case.id)?.timing.median_s / case.median_s));
        let mut ratios: Vec<f64> = cases.collect();
        ratios.sort_by(f64::total_cmp);
        median(&ratios)
    };
    fleet.records().filter_map(|(rank, record)| Some((rank.rank, of(record)?))).collect()
}
