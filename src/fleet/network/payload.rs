//! Data that names where it comes from, so that a byte in the wrong place is seen.

/// What a received buffer holds before a transfer: no pattern has it throughout.
pub(super) const POISON: u8 = 0xA5;

/// The word at a place of what `from` sends to `to`. The factors are odd, so that each place, source and destination has
/// words of its own.
fn word(from: u32, to: u32, index: u32) -> u32 {
    let route = from.wrapping_mul(0x9E37_79B1) ^ to.wrapping_mul(0x85EB_CA6B).rotate_left(13);
    (route ^ index.wrapping_mul(0xC2B2_AE35)).wrapping_mul(0x27D4_EB2F) ^ 0x5A5A_5A5A
}

/// Fills a message from one rank to another.
pub(super) fn fill(message: &mut [u8], from: u32, to: u32) {
    for (index, chunk) in (0u32..).zip(message.chunks_mut(4)) {
        let bytes = word(from, to, index).to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
}

/// Refuses a message that is not what `from` sends to `to`.
///
/// # Errors
/// One line: the first wrong byte.
pub(super) fn check(message: &[u8], from: u32, to: u32) -> Result<(), String> {
    for (index, chunk) in (0u32..).zip(message.chunks(4)) {
        let expected = word(from, to, index).to_le_bytes();
        if let Some(at) = chunk.iter().zip(expected).position(|(found, expected)| *found != expected) {
            let byte = u64::from(index) * 4 + at as u64;
            return Err(format!("byte {byte} of what rank {from} sent is wrong"));
        }
    }
    Ok(())
}

/// Values repeat after so many elements, so that a sum over all ranks is known for few.
const PERIOD: usize = 64;

/// The element at a place of a rank's operand: a whole number below 64, so that sums of 100,000 ranks are exact in f32.
fn operand(rank: u32, index: usize) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    let value = ((rank as usize).wrapping_mul(7).wrapping_add(index) % PERIOD) as u8;
    f32::from(value)
}

/// Fills a rank's operand of a sum.
pub(super) fn fill_operand(own: &mut [f32], rank: u32) {
    own.iter_mut().enumerate().for_each(|(index, value)| *value = operand(rank, index));
}

/// Refuses a part, from `first` on, of a sum of the operands of `ranks` ranks.
///
/// # Errors
/// One line: the first wrong element.
pub(super) fn check_sum(part: &[f32], first: usize, ranks: u32) -> Result<(), String> {
    let sums: Vec<f32> = (0..PERIOD).map(|index| (0..ranks).map(|rank| operand(rank, index)).sum()).collect();
    for (index, found) in (first..).zip(part) {
        let expected = sums.get(index % PERIOD).copied().unwrap_or_default();
        if *found != expected {
            return Err(format!("element {index} of the sum is {found}, not {expected}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_right_only_between_its_own_ranks_and_in_its_own_place() {
        let mut message = vec![POISON; 1001];
        assert!(check(&message, 3, 5).is_err(), "what was never written");
        fill(&mut message, 3, 5);
        assert_eq!(check(&message, 3, 5), Ok(()));
        assert!(check(&message, 5, 3).is_err() && check(&message, 3, 4).is_err() && check(&message, 2, 5).is_err());
        assert!(check(&message[4..], 3, 5).is_err(), "shifted by a word");
        message[1000] ^= 1;
        assert_eq!(check(&message, 3, 5), Err("byte 1000 of what rank 3 sent is wrong".to_owned()));
    }

    #[test]
    fn a_sum_is_exact_and_one_wrong_element_is_named() {
        let ranks = 1000u32;
        let mut sum = vec![0.0f32; 130];
        let mut own = vec![0.0f32; 130];
        for rank in 0..ranks {
            fill_operand(&mut own, rank);
            sum.iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
        }
        assert_eq!(check_sum(&sum, 0, ranks), Ok(()));
        assert_eq!(check_sum(&sum[70..], 70, ranks), Ok(()));
        assert!(check_sum(&sum[70..], 71, ranks).is_err());
        sum[129] += 1.0;
        assert!(check_sum(&sum, 0, ranks).unwrap_err().starts_with("element 129 of the sum is"));
    }
}
