//! What all ranks must have in common before anything is measured, and what they decide together.

use serde::Serialize;
use serde_json::Value;

use super::communicator::Communicator;
use crate::printable::printable;

/// The longest value that is shown, in characters.
const MAX_SHOWN: usize = 80;

/// Whether all went well on all ranks. Where something did not, every rank returns the same line: that of the first rank
/// with one.
///
/// # Errors
/// The line, with the rank that it comes from.
pub fn all_well(ranks: &dyn Communicator, own: Result<(), String>) -> Result<(), String> {
    let own = own.err().unwrap_or_default();
    let first = ranks.share(own.as_bytes()).into_iter().enumerate().find(|(_, line)| !line.is_empty());
    first.map_or(Ok(()), |(rank, line)| Err(format!("rank {rank}: {}", String::from_utf8_lossy(&line))))
}

/// Rank 0's bytes on every rank.
pub fn of_rank_0(ranks: &dyn Communicator, own: &[u8]) -> Vec<u8> {
    let own = if ranks.rank() == 0 { own } else { &[] };
    ranks.share(own).into_iter().next().unwrap_or_default()
}

/// Whether all ranks were asked for the same, by the same program.
///
/// # Errors
/// One line, the same on every rank: the first rank that differs from rank 0, in what, and both values.
pub fn same_on_all(ranks: &dyn Communicator, asked: &impl Serialize) -> Result<(), String> {
    let own = serde_json::to_vec(asked).map_err(|error| error.to_string())?;
    let all = ranks.share(&own);
    let values: Vec<Value> = all.iter().map(|bytes| serde_json::from_slice(bytes).unwrap_or_default()).collect();
    let Some(first) = values.first() else { return Ok(()) };
    for (rank, value) in values.iter().enumerate() {
        if let Some((at, there, here)) = difference("", first, value) {
            return Err(format!(
                "rank {rank} differs from rank 0 in {at} ({here}, where rank 0 has {there}); start all ranks with one \
                 program and the same options"
            ));
        }
    }
    Ok(())
}

/// Where two values differ first, and both sides there.
fn difference(at: &str, one: &Value, other: &Value) -> Option<(String, String, String)> {
    if one == other {
        return None;
    }
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        let keys = one.keys().chain(other.keys());
        return keys.into_iter().find_map(|key| {
            let inner = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            difference(&inner, one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null))
        });
    }
    let shown = |value: &Value| printable(&value.to_string(), MAX_SHOWN);
    Some((at.to_owned(), shown(one), shown(other)))
}

#[cfg(test)]
mod tests {
    use super::super::in_process::on_ranks;
    use super::*;

    #[test]
    fn ranks_that_were_asked_for_the_same_agree() {
        let verdicts =
            on_ranks(3, |ranks| same_on_all(ranks, &serde_json::json!({ "version": "1", "preset": "smoke" })));
        assert_eq!(verdicts, [Ok(()), Ok(()), Ok(())]);
    }

    #[test]
    fn a_rank_of_another_version_is_named_on_every_rank_with_both_values() {
        let verdicts = on_ranks(3, |ranks| {
            let version = if ranks.rank() == 2 { "2" } else { "1" };
            same_on_all(ranks, &serde_json::json!({ "tool": { "version": version }, "preset": "smoke" }))
        });
        for verdict in verdicts {
            let line = verdict.unwrap_err();
            assert!(
                line.starts_with("rank 2 differs from rank 0 in tool.version (\"2\", where rank 0 has \"1\")"),
                "{line}"
            );
        }
    }

    #[test]
    fn what_fails_on_one_rank_fails_on_all_with_its_line() {
        let verdicts =
            on_ranks(3, |ranks| all_well(ranks, if ranks.rank() == 1 { Err("no device".to_owned()) } else { Ok(()) }));
        assert_eq!(verdicts, vec![Err("rank 1: no device".to_owned()); 3]);
        assert_eq!(on_ranks(2, |ranks| all_well(ranks, Ok(()))), [Ok(()), Ok(())]);
    }

    #[test]
    fn rank_0_tells_all_others() {
        let told = on_ranks(3, |ranks| of_rank_0(ranks, &[u8::try_from(ranks.rank()).unwrap(), 7]));
        assert_eq!(told, vec![vec![0, 7]; 3]);
    }
}
