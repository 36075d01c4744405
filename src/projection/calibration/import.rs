//! Output of collective benchmarks: NVIDIA's nccl-tests (and AMD's rccl-tests, which print the same) as text or as JSON
//! (`-J FILE`), and the OSU micro-benchmarks as text. Lines that schedulers and libraries print in between are skipped.

use serde::Deserialize;

use crate::printable::printable;
use crate::projection::fabric::Collective;

/// The largest file that is read.
pub const MAX_BYTES: usize = 16 << 20;
/// The most rows that are read of one file.
const MAX_ROWS: usize = 10_000;
const MOST_RANKS: usize = 10_000_000;
/// Beyond a petabyte or an hour, a figure is a slip.
const MOST_BYTES: f64 = 1e15;
const LONGEST_S: f64 = 3600.0;

/// One measured time of a collective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Which.
    pub collective: Collective,
    /// Ranks that took part; a send goes from the first to the last of them.
    pub ranks: usize,
    /// As [`Collective`] counts them.
    pub bytes: f64,
    /// Time of one collective.
    pub time_s: f64,
}

/// What a file does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hints {
    /// The collective, where neither a header nor the ratio of the bandwidths shows it.
    pub collective: Option<Collective>,
    /// The ranks, which OSU's benchmarks do not print.
    pub ranks: Option<usize>,
}

/// Why a file was not read: what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Larger than any output of these programs.
    #[error("larger than {} MiB, so not an output of nccl-tests or of the OSU benchmarks", MAX_BYTES >> 20)]
    TooLarge,
    /// No row of figures.
    #[error(
        "no row of nccl-tests or of an OSU latency benchmark in it; give their output, as text or (nccl-tests) JSON"
    )]
    NoRows,
    /// JSON of something else.
    #[error("not JSON of nccl-tests ({0}); write one with `all_reduce_perf -J FILE`")]
    Layout(String),
    /// No word of which collective it is.
    #[error("line {0}: which collective is this? name it with --op")]
    Collective(usize),
    /// A collective that the model does not have.
    #[error("line {0}: the model has no {1}; give all-reduce, all-gather, reduce-scatter, all-to-all or send/receive")]
    Unknown(usize, String),
    /// Not said how many took part.
    #[error("line {0}: how many ranks took part is not said; give --ranks")]
    Ranks(usize),
    /// A figure that cannot be.
    #[error("line {0}: {1} cannot be; run the benchmark again")]
    Value(usize, &'static str),
    /// Bandwidths, which hide the latency.
    #[error("line {0}: a bandwidth test of OSU has no times; give osu_latency or a collective")]
    Bandwidth(usize),
}

/// All rows of a file.
///
/// # Errors
/// [`ImportError`], one line.
pub fn read(bytes: &[u8], hints: Hints) -> Result<Vec<Measured>, ImportError> {
    if bytes.len() > MAX_BYTES {
        return Err(ImportError::TooLarge);
    }
    let text = String::from_utf8_lossy(bytes);
    let rows = if text.trim_start().starts_with('{') { json(&text, hints)? } else { lines(&text, hints)? };
    if rows.is_empty() { Err(ImportError::NoRows) } else { Ok(rows) }
}

/// What the lines so far say about those to come.
#[derive(Default)]
struct Header {
    collective: Option<Collective>,
    ranks: usize,
    is_osu: bool,
}

fn lines(text: &str, hints: Hints) -> Result<Vec<Measured>, ImportError> {
    let mut header = Header::default();
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim_start().starts_with('#') || line.contains("_perf") {
            header.hear(line, number)?;
        } else if let Some(row) = header.row(line, number, hints)? {
            rows.push(row);
        }
        if rows.len() >= MAX_ROWS {
            break;
        }
    }
    Ok(rows)
}

impl Header {
    fn hear(&mut self, line: &str, number: usize) -> Result<(), ImportError> {
        let words = line.trim_start_matches(['#', ' ', '\t']);
        if let Some(rest) = words.strip_prefix("OSU ") {
            *self = Self { collective: Some(osu(rest, number)?), ranks: 0, is_osu: true };
        } else if let Some(rest) = words.strip_prefix("Rank ") {
            let rank: Option<usize> = rest.split_whitespace().next().and_then(|rank| rank.parse().ok());
            // A device list after rows is that of another run.
            self.ranks = self.ranks.max(rank.map_or(0, |rank| rank.saturating_add(1)));
        } else if words.starts_with("nThread ") {
            (self.ranks, self.is_osu) = (0, false);
        } else if let Some(name) = line.split([' ', '/', '"']).find_map(|word| word.trim().strip_suffix("_perf")) {
            *self = Self { collective: Some(nccl(name, number)?), ranks: 0, is_osu: false };
        }
        Ok(())
    }

    fn row(&self, line: &str, number: usize, hints: Hints) -> Result<Option<Measured>, ImportError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if self.is_osu {
            let [size, time, ..] = words.as_slice() else { return Ok(None) };
            let (Ok(size), Ok(time)) = (size.parse::<u64>(), time.parse::<f64>()) else { return Ok(None) };
            return self.osu_row(size as f64, time / 1e6, number, hints);
        }
        let [size, count, kind, redop, root, figures @ ..] = words.as_slice() else { return Ok(None) };
        let is_row = count.parse::<u64>().is_ok()
            && root.parse::<i64>().is_ok()
            && kind.starts_with(|c: char| c.is_ascii_alphabetic());
        let Ok(size) = size.parse::<u64>() else { return Ok(None) };
        let figures: Vec<f64> = figures.iter().map_while(|figure| figure.parse().ok()).collect();
        let [time, algorithm_rate, bus_rate, ..] = figures.as_slice() else { return Ok(None) };
        if !is_row || size == 0 {
            return Ok(None);
        }
        let ranks = hints.ranks.unwrap_or(self.ranks);
        let told = hints.collective.or(self.collective);
        let collective = told.or_else(|| guess(redop, bus_rate / algorithm_rate, ranks));
        let collective = collective.ok_or(ImportError::Collective(number))?;
        Measured { collective, ranks, bytes: size as f64, time_s: time / 1e6 }.checked(number).map(Some)
    }

    /// OSU counts the bytes for one destination where we count the buffer.
    fn osu_row(&self, size: f64, time_s: f64, number: usize, hints: Hints) -> Result<Option<Measured>, ImportError> {
        if size <= 0.0 {
            return Ok(None);
        }
        let collective = hints.collective.or(self.collective).ok_or(ImportError::Collective(number))?;
        let two = (collective == Collective::Send).then_some(2);
        let ranks = hints.ranks.or(two).ok_or(ImportError::Ranks(number))?;
        let whole = matches!(collective, Collective::AllToAll | Collective::AllGather);
        let bytes = if whole { size * ranks as f64 } else { size };
        Measured { collective, ranks, bytes, time_s }.checked(number).map(Some)
    }
}

impl Measured {
    fn checked(self, number: usize) -> Result<Self, ImportError> {
        if self.ranks == 0 {
            return Err(ImportError::Ranks(number));
        }
        if !(2..=MOST_RANKS).contains(&self.ranks) {
            return Err(ImportError::Value(number, "the number of ranks"));
        }
        // A NaN is in no range.
        if !(1.0..=MOST_BYTES).contains(&self.bytes) {
            return Err(ImportError::Value(number, "the size"));
        }
        if !(1e-9..=LONGEST_S).contains(&self.time_s) {
            return Err(ImportError::Value(number, "the time"));
        }
        Ok(self)
    }
}

/// The collective of a program's name without `_perf`.
fn nccl(name: &str, number: usize) -> Result<Collective, ImportError> {
    match name {
        "all_reduce" => Ok(Collective::AllReduce),
        "all_gather" => Ok(Collective::AllGather),
        "reduce_scatter" => Ok(Collective::ReduceScatter),
        "alltoall" => Ok(Collective::AllToAll),
        "sendrecv" => Ok(Collective::Send),
        other => Err(ImportError::Unknown(number, shown(other))),
    }
}

/// The collective of OSU's title, e.g. `MPI-CUDA Allreduce Latency Test v7.0`.
fn osu(title: &str, number: usize) -> Result<Collective, ImportError> {
    let title = title.to_ascii_lowercase().replace(['-', '_'], "");
    let has = |word: &str| title.contains(word);
    if has("bandwidth") {
        return Err(ImportError::Bandwidth(number));
    }
    let known = [
        ("allreduce", Collective::AllReduce),
        ("allgather", Collective::AllGather),
        ("reducescatter", Collective::ReduceScatter),
        ("alltoall", Collective::AllToAll),
    ];
    if let Some((_, collective)) = known.into_iter().find(|(word, _)| has(word)) {
        return Ok(collective);
    }
    // Point to point: `MPI Latency Test`, with the device's kind before it.
    let words: Vec<&str> = title.split_whitespace().collect();
    match words.as_slice() {
        [kind, "latency", "test", ..] if kind.starts_with("mpi") => Ok(Collective::Send),
        _ => Err(ImportError::Unknown(number, shown(&title))),
    }
}

/// Bus bandwidth over algorithm bandwidth is `2 (n - 1) / n` for an all-reduce alone (nccl-tests, PERFORMANCE.md); the
/// others with a sum are reduce-scatters. Small sizes print rates of zero.
fn guess(redop: &str, ratio: f64, ranks: usize) -> Option<Collective> {
    let n = ranks as f64;
    if redop != "sum" || !ratio.is_finite() || ranks < 2 {
        return None;
    }
    let is = |expected: f64| (ratio / expected - 1.0).abs() < 0.1;
    let (all_reduce, scatter) = (is(2.0 * (n - 1.0) / n), is((n - 1.0) / n));
    if all_reduce {
        Some(Collective::AllReduce)
    } else if scatter {
        Some(Collective::ReduceScatter)
    } else {
        None
    }
}

fn shown(text: &str) -> String {
    printable(text, 60)
}

/// The fields of nccl-tests' JSON that are used; versions add others.
#[derive(Deserialize)]
struct Document {
    args: Vec<String>,
    config: Config,
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Config {
    nthreads: usize,
    ngpus: usize,
    /// One a process.
    devices: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Entry {
    size: f64,
    out_of_place: Option<Figures>,
    in_place: Option<Figures>,
}

#[derive(Deserialize)]
struct Figures {
    #[serde(alias = "cpu_time")]
    time: f64,
}

fn json(text: &str, hints: Hints) -> Result<Vec<Measured>, ImportError> {
    let document: Document =
        serde_json::from_str(text).map_err(|error| ImportError::Layout(shown(&error.to_string())))?;
    let program = document.args.first().and_then(|path| path.rsplit(['/', '\\']).next()).unwrap_or_default();
    let named = program.strip_suffix("_perf").map(|name| nccl(name, 1)).transpose()?;
    let collective = hints.collective.or(named).ok_or(ImportError::Collective(1))?;
    let Config { nthreads, ngpus, devices } = document.config;
    let ranks = hints.ranks.unwrap_or_else(|| devices.len().saturating_mul(nthreads).saturating_mul(ngpus));
    let times = document.results.iter().take(MAX_ROWS).filter(|entry| entry.size > 0.0).filter_map(|entry| {
        let figures = entry.out_of_place.as_ref().or(entry.in_place.as_ref())?;
        Some(Measured { collective, ranks, bytes: entry.size, time_s: figures.time / 1e6 })
    });
    times.map(|row| row.checked(1)).collect()
}

#[cfg(test)]
mod tests;
