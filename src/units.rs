//! Quantities with their unit in the type.
//!
//! Each is an `f64` in its SI base unit, and only the operators that make dimensional sense exist:
//! `Bytes / BytesPerSecond = Seconds`, `Flop / Seconds = FlopPerSecond`, and so on. SI prefixes (GB = 1e9)
//! appear only in `Display`. In JSON a quantity is a plain number whose key carries the unit (`median_s`).

use std::{fmt, iter::Sum, ops};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(f64);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0.0);

            /// From a value in the base unit.
            pub const fn new(value: f64) -> Self {
                Self(value)
            }

            /// The value in the base unit.
            pub const fn get(self) -> f64 {
                self.0
            }

            /// The larger of two (a NaN loses).
            pub fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }

            /// The smaller of two (a NaN loses).
            pub fn min(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }

            /// Neither NaN nor infinite.
            pub fn is_finite(self) -> bool {
                self.0.is_finite()
            }

            /// Finite and above zero.
            pub fn is_positive(self) -> bool {
                self.0.is_finite() && self.0 > 0.0
            }
        }

        impl ops::Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl ops::Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl ops::Mul<f64> for $name {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl ops::Div<f64> for $name {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl ops::Div for $name {
            type Output = f64;
            fn div(self, other: Self) -> f64 {
                self.0 / other.0
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, ops::Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&with_prefix(self.0, $unit))
            }
        }
    };
}

quantity!(
    /// A time.
    Seconds, "s"
);
quantity!(
    /// An amount of data.
    Bytes, "B"
);
quantity!(
    /// A count of floating-point (or integer multiply-add) operations; one fused multiply-add is two.
    Flop, "FLOP"
);
quantity!(
    /// A bandwidth or a rate of memory traffic.
    BytesPerSecond, "B/s"
);
quantity!(
    /// A rate of arithmetic.
    FlopPerSecond, "FLOP/s"
);

impl Bytes {
    /// From a count of bytes (exact up to 2^53).
    #[expect(clippy::cast_precision_loss, reason = "sizes above 2^53 bytes do not occur")]
    pub const fn from_count(count: u64) -> Self {
        Self(count as f64)
    }
}

impl ops::Div<BytesPerSecond> for Bytes {
    type Output = Seconds;
    fn div(self, rate: BytesPerSecond) -> Seconds {
        Seconds(self.0 / rate.0)
    }
}

impl ops::Div<Seconds> for Bytes {
    type Output = BytesPerSecond;
    fn div(self, time: Seconds) -> BytesPerSecond {
        BytesPerSecond(self.0 / time.0)
    }
}

impl ops::Mul<Seconds> for BytesPerSecond {
    type Output = Bytes;
    fn mul(self, time: Seconds) -> Bytes {
        Bytes(self.0 * time.0)
    }
}

impl ops::Div<FlopPerSecond> for Flop {
    type Output = Seconds;
    fn div(self, rate: FlopPerSecond) -> Seconds {
        Seconds(self.0 / rate.0)
    }
}

impl ops::Div<Seconds> for Flop {
    type Output = FlopPerSecond;
    fn div(self, time: Seconds) -> FlopPerSecond {
        FlopPerSecond(self.0 / time.0)
    }
}

impl ops::Mul<Seconds> for FlopPerSecond {
    type Output = Flop;
    fn mul(self, time: Seconds) -> Flop {
        Flop(self.0 * time.0)
    }
}

/// `value` with the SI prefix that leaves one to three digits before the point, three significant digits.
pub fn with_prefix(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 9] = [
        (1e18, "E"),
        (1e15, "P"),
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "u"),
    ];
    if value == 0.0 || !value.is_finite() {
        return format!("{value} {unit}");
    }
    // Compare after rounding to three digits, so that 999.96 reads 1.00 k and not 1000.
    let magnitude = value.abs();
    let (scale, prefix) = PREFIXES.into_iter().find(|(scale, _)| magnitude >= scale * 0.9995).unwrap_or((1e-9, "n"));
    let scaled = value / scale;
    let digits = match scaled.abs() {
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$} {prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dividing_data_by_a_bandwidth_gives_a_time() {
        assert_eq!(Bytes::new(392e9) / BytesPerSecond::new(196e9), Seconds::new(2.0));
        assert_eq!(Flop::new(6.0) / Seconds::new(2.0), FlopPerSecond::new(3.0));
    }

    #[test]
    fn display_uses_decimal_prefixes_and_three_digits() {
        assert_eq!(Bytes::new(128e9).to_string(), "128 GB");
        assert_eq!(Seconds::new(1.2e-6).to_string(), "1.20 us");
        assert_eq!(Seconds::new(200e-9).to_string(), "200 ns");
        assert_eq!(FlopPerSecond::new(752e12).to_string(), "752 TFLOP/s");
        assert_eq!(Seconds::new(999.96e-6).to_string(), "1.00 ms");
        assert_eq!(Seconds::ZERO.to_string(), "0 s");
    }

    #[test]
    fn json_is_a_plain_number() {
        assert_eq!(serde_json::to_string(&Seconds::new(0.5)).expect("serialises"), "0.5");
    }
}
