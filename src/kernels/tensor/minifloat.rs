//! Floating-point numbers of 4 and 8 bits, and the scales that are powers of two.
//!
//! E4M3 and E2M1 have no infinity. E4M3 is the variant of OCP 8-bit Floating Point 1.0 whose largest number is 448. E2M1
//! and E8M0 are those of OCP Microscaling 1.0.

/// Sign, exponent and mantissa, from the highest bit to the lowest. An exponent of zero marks a subnormal number.
pub(super) struct Minifloat {
    mantissa_bits: i32,
    bias: i32,
    /// The code of the largest number.
    largest: u8,
    sign: u8,
    /// The code of NaN without its sign.
    nan: Option<u8>,
}

/// Four bits of exponent and three of mantissa; the largest number is 448.
pub(super) const E4M3: Minifloat = Minifloat { mantissa_bits: 3, bias: 7, largest: 0x7E, sign: 0x80, nan: Some(0x7F) };
/// Two bits of exponent and one of mantissa: 0, 0.5, 1, 1.5, 2, 3, 4 and 6.
pub(super) const E2M1: Minifloat = Minifloat { mantissa_bits: 1, bias: 1, largest: 0x7, sign: 0x8, nan: None };

/// The bits of an f32's mantissa, and the bias of its exponent.
const F32_MANTISSA: i32 = 23;
const F32_BIAS: i32 = 127;

impl Minifloat {
    /// The code of the nearest number, ties to the even code. Beyond the largest number it is that of the largest.
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_wrap, reason = "exponents are small")]
    pub(super) fn encode(&self, value: f32) -> u8 {
        let sign = if value.is_sign_negative() { self.sign } else { 0 };
        if let (true, Some(nan)) = (value.is_nan(), self.nan) {
            return sign | nan;
        }
        // No number beyond the range needs to be told from another. Here NaN without a code becomes the largest number.
        let magnitude = value.abs().min(1e6);
        let exponent = ((magnitude.to_bits() >> F32_MANTISSA) as i32 - F32_BIAS).max(1 - self.bias);
        // The last bit of this power of two is a step of the format: the addition rounds to whole steps.
        let power = ((exponent - self.mantissa_bits + F32_MANTISSA + F32_BIAS) as u32) << F32_MANTISSA;
        let steps = (magnitude + f32::from_bits(power)).to_bits() - power;
        // A mantissa that was rounded up to the next power of two carries into the exponent. The first bit of a normal
        // number is not stored.
        let code = (((exponent + self.bias - 1) as u32) << self.mantissa_bits) + steps;
        sign | code.min(u32::from(self.largest)).to_le_bytes()[0]
    }

    /// The number of a code.
    pub(super) fn decode(&self, code: u8) -> f64 {
        let magnitude = code & (self.sign - 1);
        if self.nan == Some(magnitude) {
            return f64::NAN;
        }
        let sign = if code & self.sign == 0 { 1.0 } else { -1.0 };
        let mantissa = f64::from(magnitude & ((1 << self.mantissa_bits) - 1)) * 2f64.powi(-self.mantissa_bits);
        match i32::from(magnitude >> self.mantissa_bits) {
            0 => sign * mantissa * 2f64.powi(1 - self.bias),
            exponent => sign * (1.0 + mantissa) * 2f64.powi(exponent - self.bias),
        }
    }
}

/// The exponent code of the power of two that is not above `value`, which is at least 2^-126.
pub(super) fn encode_exponent(value: f32) -> u8 {
    (value.abs().to_bits() >> F32_MANTISSA).to_le_bytes()[0]
}

/// The power of two of an exponent code.
pub(super) fn decode_exponent(code: u8) -> f64 {
    if code == u8::MAX { f64::NAN } else { 2f64.powi(i32::from(code) - F32_BIAS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the codes 0 to 126, counted in the smallest: eight subnormal ones, then eight per power of two.
    fn e4m3_in_steps() -> Vec<u32> {
        let normal = (0..15).flat_map(|power| (8..16).map(move |eighths| eighths << power));
        let mut numbers: Vec<u32> = (0..8).chain(normal).collect();
        numbers.truncate(127);
        numbers
    }

    const E2M1_NUMBERS: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

    #[test]
    fn each_of_the_256_codes_of_e4m3_is_the_number_that_the_format_defines() {
        let steps = e4m3_in_steps();
        assert_eq!((steps[1], steps[126]), (1, 448 * 512));
        for (code, steps) in (0u8..).zip(steps) {
            // The smallest number is 2^-9.
            let number = f64::from(steps) / 512.0;
            assert_eq!(E4M3.decode(code), number, "{code:#x}");
            assert_eq!(E4M3.decode(code | 0x80), -number, "{code:#x}");
        }
        assert!(E4M3.decode(0x7F).is_nan() && E4M3.decode(0xFF).is_nan());
        assert!(E4M3.decode(0x80).is_sign_negative());
    }

    #[test]
    fn each_of_the_16_codes_of_e2m1_is_the_number_that_the_format_defines() {
        for (code, number) in (0u8..).zip(E2M1_NUMBERS) {
            assert_eq!(E2M1.decode(code), number);
            assert_eq!(E2M1.decode(code | 8), -number);
        }
    }

    #[test]
    fn each_of_the_256_exponents_is_a_power_of_two_but_the_last_is_not_a_number() {
        let mut power = f64::from(f32::MIN_POSITIVE) / 2.0;
        for code in 0..255 {
            assert_eq!(decode_exponent(code), power, "{code}");
            power *= 2.0;
        }
        assert!(decode_exponent(255).is_nan());
    }

    /// Checks each code, and the numbers around the middle between two.
    #[expect(clippy::cast_possible_truncation, reason = "f32 holds the numbers and the middles exactly")]
    fn assert_rounds_to_nearest_even(format: &Minifloat, numbers: &[f64]) {
        for (code, pair) in (0u8..).zip(numbers.windows(2)) {
            let [low, high] = [pair[0] as f32, pair[1] as f32];
            let middle = f32::midpoint(low, high);
            let even = code + code % 2;
            for (value, want) in [(middle.next_down(), code), (middle, even), (middle.next_up(), code + 1)] {
                assert_eq!(format.encode(value), want, "{value}");
                assert_eq!(format.encode(-value), want | format.sign, "{value}");
            }
            assert_eq!((format.encode(low), format.encode(high)), (code, code + 1));
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_code_and_ties_to_the_even_one() {
        let e4m3: Vec<f64> = e4m3_in_steps().into_iter().map(|steps| f64::from(steps) / 512.0).collect();
        assert_rounds_to_nearest_even(&E4M3, &e4m3);
        assert_rounds_to_nearest_even(&E2M1, &E2M1_NUMBERS);
    }

    #[test]
    fn numbers_beyond_the_largest_become_the_largest_and_tiny_ones_zero() {
        for (format, most, code) in [(E4M3, 448.0, 0x7E), (E2M1, 6.0, 7)] {
            for value in [most, most * 1.04, most * 1.1, most * 2.0, 1e30, f32::MAX, f32::INFINITY] {
                assert_eq!((format.encode(value), format.encode(-value)), (code, code | format.sign), "{value}");
            }
            for value in [0.0, 1e-30, f32::MIN_POSITIVE / 4.0] {
                assert_eq!((format.encode(value), format.encode(-value)), (0, format.sign), "{value}");
            }
        }
        assert_eq!((E4M3.encode(f32::NAN), E4M3.encode(-f32::NAN)), (0x7F, 0xFF));
    }

    #[test]
    fn a_scale_is_the_power_of_two_below() {
        for (value, code) in [(1.0, 127), (1.99, 127), (2.0, 128), (0.75, 126), (f32::MIN_POSITIVE, 1)] {
            assert_eq!(encode_exponent(value), code);
        }
    }
}
