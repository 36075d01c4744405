//! Time of one op under a chip's roofs.

use super::chip::ClassEfficiency;
use crate::units::{Bytes, BytesPerSecond, Flop, FlopPerSecond, Seconds};

/// What an op does on one chip.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Op {
    /// Arithmetic.
    pub flop: Flop,
    /// Traffic to and from memory.
    pub bytes: Bytes,
}

/// The roofs that an op runs under, shares included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofs {
    /// Arithmetic rate that kernels of the class reach.
    pub compute: FlopPerSecond,
    /// Memory bandwidth that kernels of the class reach.
    pub memory: BytesPerSecond,
}

impl Op {
    /// From plain counts.
    pub fn new(flop: f64, bytes: f64) -> Self {
        Self { flop: Flop::new(flop), bytes: Bytes::new(bytes) }
    }

    /// `max(flop / (peak * efficiency), bytes / (bandwidth * efficiency))`: Williams et al., Roofline, 2009, with the
    /// share of each roof that kernels of the class reach.
    pub fn time(self, roofs: &Roofs) -> Seconds {
        (self.flop / roofs.compute).max(self.bytes / roofs.memory)
    }
}

impl Roofs {
    /// Peaks times shares.
    pub fn new(peak: f64, bandwidth: f64, share: &ClassEfficiency<f64>) -> Self {
        Self {
            compute: FlopPerSecond::new(peak * share.compute),
            memory: BytesPerSecond::new(bandwidth * share.memory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_roof_sets_the_time() {
        let roofs = Roofs::new(100.0, 10.0, &ClassEfficiency { compute: 0.5, memory: 0.5 });
        assert_eq!(Op::new(100.0, 5.0).time(&roofs), Seconds::new(2.0));
        assert_eq!(Op::new(50.0, 50.0).time(&roofs), Seconds::new(10.0));
    }
}
