//! The time of some runs together, per run.

use serde::{Deserialize, Serialize};

/// Seconds of one run, on each clock that there is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Lap {
    /// The device's own clock.
    pub device_s: Option<f64>,
    /// From submission to the end of the wait.
    pub wall_s: f64,
    /// CPU time of this process over all threads: what a software adapter really costs, whatever else the machine does.
    pub cpu_s: Option<f64>,
}

/// The clock that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// CPU time: on a software adapter.
    Cpu,
    /// Device time: on a GPU.
    Device,
    /// Wall time: on a GPU without timestamps, or a host that does not tell CPU time.
    Wall,
}

impl Lap {
    /// The time on a clock.
    pub fn on(&self, clock: Clock) -> Option<f64> {
        match clock {
            Clock::Cpu => self.cpu_s,
            Clock::Device => self.device_s,
            Clock::Wall => Some(self.wall_s),
        }
    }
}

/// Of an unsorted list; 0 for an empty one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median([3.0, 1.0, 2.0]).to_bits(), 2f64.to_bits());
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5f64.to_bits());
        assert_eq!(median([]).to_bits(), 0f64.to_bits());
    }
}
