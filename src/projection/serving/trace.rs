//! Traces of requests, in the layouts in which two are published.
//!
//! - Mooncake's JSON lines (Qin et al., arXiv:2407.00079): `timestamp` in milliseconds, `input_length`, `output_length`,
//!   and `hash_ids`, one for each block of 512 tokens: a prompt that begins with the same ids begins with the same tokens.
//! - Azure's CSV (Patel et al., Splitwise, 2024): `TIMESTAMP,ContextTokens,GeneratedTokens`, a date and time.

use std::collections::HashSet;

use serde::Deserialize;

/// Tokens of a block in Mooncake's traces.
const BLOCK_TOKENS: f64 = 512.0;
/// The longest prompt or answer, in tokens.
const MOST_TOKENS: u64 = 100_000_000;

/// One request of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceRequest {
    /// Seconds after the first request.
    pub arrival_s: f64,
    /// Tokens of the prompt.
    pub prompt: f64,
    /// Tokens of the answer.
    pub output: f64,
    /// Tokens of the prompt's beginning that requests before it had too, as far as the trace tells.
    pub repeated: f64,
}

/// Why a trace is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// It has no requests.
    #[error(
        "the trace has no requests; give JSON lines with timestamp, input_length and output_length, or a CSV with TIMESTAMP,ContextTokens,GeneratedTokens"
    )]
    Empty,
    /// A line is not a request.
    #[error("line {line}: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Time runs backward.
    #[error("line {line}: its time is {by_s} s before that of the line above; sort the trace by time")]
    Backward {
        /// From 1.
        line: usize,
        /// By how much.
        by_s: f64,
    },
}

#[derive(Deserialize)]
struct MooncakeLine {
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

/// One line before times count from the first.
struct Line {
    time_s: f64,
    prompt: u64,
    output: u64,
    hash_ids: Vec<u64>,
}

/// Reads a trace in either layout.
///
/// # Errors
/// [`TraceError`]: the first line that is not a request, has a hole, or runs backward in time.
pub fn parse(text: &str) -> Result<Vec<TraceRequest>, TraceError> {
    let is_json = text.trim_start().starts_with('{');
    let header = usize::from(!is_json);
    let mut requests: Vec<TraceRequest> = Vec::new();
    let (mut first, mut last) = (None, f64::NEG_INFINITY);
    let mut blocks = HashSet::new();
    for (index, text) in text.lines().enumerate() {
        let number = index + 1;
        if index < header {
            check_header(text)?;
            continue;
        }
        let fail = |reason: String| TraceError::Line { line: number, reason };
        let line = if is_json { mooncake(text) } else { azure(text) }.map_err(fail)?;
        for (what, tokens) in [("prompt", line.prompt), ("answer", line.output)] {
            if !(1..=MOST_TOKENS).contains(&tokens) {
                return Err(fail(format!("{what} of {tokens} tokens; 1 to {MOST_TOKENS} are possible")));
            }
        }
        if line.time_s < last {
            return Err(TraceError::Backward { line: number, by_s: last - line.time_s });
        }
        last = line.time_s;
        let prompt = line.prompt as f64;
        requests.push(TraceRequest {
            arrival_s: line.time_s - *first.get_or_insert(line.time_s),
            prompt,
            output: line.output as f64,
            repeated: repeated(&line.hash_ids, &mut blocks).min(prompt - 1.0),
        });
    }
    if requests.is_empty() { Err(TraceError::Empty) } else { Ok(requests) }
}

fn check_header(line: &str) -> Result<(), TraceError> {
    let names: Vec<&str> = line.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
    if names == ["TIMESTAMP", "ContextTokens", "GeneratedTokens"] { Ok(()) } else { Err(TraceError::Empty) }
}

fn mooncake(text: &str) -> Result<Line, String> {
    let MooncakeLine { timestamp, input_length, output_length, hash_ids } = serde_json::from_str(text)
        .map_err(|_| "a hole: give a JSON object with timestamp, input_length and output_length".to_owned())?;
    Ok(Line { time_s: timestamp / 1e3, prompt: input_length, output: output_length, hash_ids })
}

fn azure(text: &str) -> Result<Line, String> {
    let hole = || "a hole: give a time and two numbers of tokens".to_owned();
    let fields: Vec<&str> = text.trim_end().split(',').map(str::trim).collect();
    let [time, prompt, output] = fields.as_slice() else { return Err(hole()) };
    let tokens = |text: &str| text.parse::<u64>().map_err(|_| hole());
    Ok(Line {
        time_s: seconds(time).ok_or_else(hole)?,
        prompt: tokens(prompt)?,
        output: tokens(output)?,
        hash_ids: Vec::new(),
    })
}

/// A date and time as seconds: with an offset or without one.
fn seconds(text: &str) -> Option<f64> {
    let stamp = text.parse::<jiff::Timestamp>().ok();
    let utc = || jiff::tz::TimeZone::UTC.to_timestamp(text.parse().ok()?).ok();
    Some(stamp.or_else(utc)?.as_nanosecond() as f64 / 1e9)
}

/// Tokens of the blocks at the beginning that were met before; all blocks count as met then.
fn repeated(hash_ids: &[u64], met: &mut HashSet<u64>) -> f64 {
    let known = hash_ids.iter().take_while(|id| met.contains(id)).count();
    met.extend(hash_ids);
    known as f64 * BLOCK_TOKENS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_read_and_times_count_from_the_first_request() {
        let mooncake = "{\"timestamp\": 3000, \"input_length\": 1500, \"output_length\": 20, \"hash_ids\": [1, 2, 3]}\n\
                        {\"timestamp\": 4500, \"input_length\": 1100, \"output_length\": 9, \"hash_ids\": [1, 2, 9]}\n";
        let read = parse(mooncake).unwrap();
        assert_eq!(read[0], TraceRequest { arrival_s: 0.0, prompt: 1500.0, output: 20.0, repeated: 0.0 });
        assert_eq!(read[1], TraceRequest { arrival_s: 1.5, prompt: 1100.0, output: 9.0, repeated: 1024.0 });
        let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n\
                     2023-11-16 18:17:04.0299600,110,27\r\n";
        let read = parse(azure).unwrap();
        assert!((read[1].arrival_s - 0.05).abs() < 1e-6 && read[1].prompt == 110.0, "{read:?}");
        let with_offset = azure.replace("3.9799600,", "3.979960+00:00,").replace("4.0299600,", "4.029960+00:00,");
        assert!((parse(&with_offset).unwrap()[1].arrival_s - 0.05).abs() < 1e-6);
    }

    #[test]
    fn a_trace_with_a_hole_or_backward_time_is_refused_by_its_line() {
        let line = |time: u64| format!("{{\"timestamp\": {time}, \"input_length\": 9, \"output_length\": 2}}\n");
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert!(refused(&(line(5) + "\n" + &line(6))).starts_with("line 2: a hole"));
        assert!(refused(&(line(5000) + &line(4000))).starts_with("line 2: its time is 1 s before"));
        assert!(refused("{\"timestamp\": 5, \"input_length\": 9}").starts_with("line 1: a hole"));
        assert!(
            refused("{\"timestamp\": 5, \"input_length\": 0, \"output_length\": 2}").contains("prompt of 0 tokens")
        );
        assert!(refused("").contains("no requests"));
        assert!(refused("time,tokens\n1,2\n").contains("no requests"));
        let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,4808,\n";
        assert!(refused(azure).starts_with("line 2: a hole"));
    }
}
