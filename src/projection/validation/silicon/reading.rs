//! What rows leave out, from published configurations of the benchmarks that they come from.

use crate::projection::validation::silicon::row::{Degrees, Row, Sharing};
use crate::specs::NumberType;

const DISAGGREGATED: &str = include_str!("../../../../specs/validation/disaggregated.csv");
const SPECULATED: &str = include_str!("../../../../specs/validation/speculated.csv");
const WHOLES: &str = include_str!("../../../../specs/validation/wholes.csv");
const CACHES: &str = include_str!("../../../../specs/validation/caches.csv");

/// Tokens of a prompt and of an answer by which rows of InferenceX are known.
const BENCHMARK_LENGTHS: [(f64, f64); 3] = [(1024.0, 1024.0), (1024.0, 8192.0), (8192.0, 1024.0)];
/// Mean of these lengths over what is written: they are drawn evenly from 0.8 to 1 of it (SemiAnalysisAI/InferenceX,
/// .github/workflows/benchmark-tmpl.yml: `RANDOM_RANGE_RATIO: 0.8`, read by utils/bench_serving/benchmark_serving.py).
const MEAN_LENGTH: f64 = 0.9;

/// Workers and speculation of a disaggregated deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DeploymentReading {
    /// Workers that prefill.
    pub prefill_workers: f64,
    /// Workers that decode.
    pub decode_workers: f64,
    /// Whether attention is data-parallel over the ranks of a worker that decodes.
    pub replicas: bool,
    /// Speculated tokens per sequence and step.
    pub speculated: u32,
}

/// Workers of one kind, whose experts are on all of its ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WorkerReading {
    /// How many.
    pub workers: f64,
    /// Ranks of one.
    pub ranks: u32,
    /// Whether attention is data-parallel over them.
    pub replicas: bool,
}

/// A deployment whose row names all of its chips as one degree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WholeReading {
    /// Those that prefill.
    pub prefill: WorkerReading,
    /// Those that decode.
    pub decode: WorkerReading,
    /// Speculated tokens per sequence and step.
    pub speculated: u32,
}

/// What a published run and its row have in common.
#[derive(Debug)]
struct Run {
    system: String,
    framework: String,
    precision: String,
    prompt_len: f64,
    output_len: f64,
    /// Those that the row names: of a decoding worker, or all chips.
    ranks: f64,
    concurrency: f64,
}

/// A published configuration whose row names all chips as one degree.
#[derive(Debug)]
struct Whole {
    run: Run,
    reading: WholeReading,
}

/// One published configuration.
#[derive(Debug)]
struct Published {
    model: String,
    run: Run,
    reading: DeploymentReading,
}

/// A version whose runs speculate, or may.
#[derive(Debug)]
struct Version {
    system: String,
    framework: String,
    version: String,
    mode: String,
    model: String,
    speculated: u32,
    with_replicas: u32,
}

/// Servers whose KV cache has a type of its own. Empty texts stand for all.
#[derive(Debug)]
struct Cache {
    system: String,
    framework: String,
    model: String,
    precision: String,
    cache_type: NumberType,
}

/// The published configurations.
#[derive(Debug)]
pub(super) struct DeploymentReadings {
    published: Vec<Published>,
    versions: Vec<Version>,
    caches: Vec<Cache>,
    wholes: Vec<Whole>,
}

/// Whether a row is of the benchmark that the embedded files are about.
fn is_published(row: &Row) -> bool {
    BENCHMARK_LENGTHS.contains(&(row.prompt_len, row.output_len))
}

/// Mean tokens of a prompt and of an answer.
pub(super) fn mean_lengths(row: &Row) -> (f64, f64) {
    let share = if is_published(row) { MEAN_LENGTH } else { 1.0 };
    (row.prompt_len * share, row.output_len * share)
}

impl DeploymentReadings {
    /// Those of the embedded files; a test reads every line of them.
    pub(super) fn new() -> Self {
        Self {
            published: lines(DISAGGREGATED).iter().filter_map(Published::new).collect(),
            versions: lines(SPECULATED).iter().filter_map(Version::new).collect(),
            caches: lines(CACHES).iter().filter_map(Cache::new).collect(),
            wholes: lines(WHOLES).iter().filter_map(Whole::new).collect(),
        }
    }

    /// The configuration of a disaggregated row that does not say how many workers it has: that of its degrees and the
    /// nearest concurrency. Where some speculate and others do not, it is one that does: taken for the other, a row is missed
    /// by half of its time, not by its double. Where none of these lengths is published, one of others stands for it.
    ///
    /// With it comes how far its concurrency is from the row's, as the logarithm of their ratio.
    pub(super) fn of(&self, row: &Row, degrees: Degrees) -> Option<(DeploymentReading, f64)> {
        let ranks = f64::from(degrees.ranks());
        let concurrency = row.concurrency.filter(|_| row.sharing == Sharing::Disaggregated)?;
        let speculates = self.version(row).is_none_or(|version| version.speculated > 0);
        let model = row.model.to_ascii_lowercase();
        let same = |one: &&Published| {
            model.contains(&one.model) && one.run.is_like(row, ranks) && (speculates || one.reading.speculated == 0)
        };
        let far = |one: &Published| (one.run.far_from(concurrency), one.reading.speculated);
        let same_lengths = |one: &&Published| one.run.has_lengths_of(row);
        let nearest = |one: &&Published, other: &&Published| {
            let (a, b) = (far(one), far(other));
            a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))
        };
        let of_lengths = self.published.iter().filter(same).filter(same_lengths).min_by(nearest);
        let nearest = of_lengths.or_else(|| self.published.iter().filter(same).min_by(nearest))?;
        Some((nearest.reading, far(nearest).0))
    }

    /// Tokens that an aggregated row speculated per step.
    pub(super) fn speculated(&self, row: &Row, replicas: bool) -> u32 {
        let version = self.version(row).filter(|_| row.sharing == Sharing::Aggregated);
        version.map_or(0, |one| if replicas { one.with_replicas } else { one.speculated })
    }

    /// The configuration of a row that names all of its chips as one degree. Such rows name no version.
    pub(super) fn whole(&self, row: &Row) -> Option<WholeReading> {
        let (chips, concurrency) = (f64::from(row.decode.degrees.ranks()), row.concurrency?);
        let of_row = |one: &&Whole| one.run.is_like(row, chips) && one.run.has_lengths_of(row);
        let is_whole = row.version.is_empty() && row.prefill.degrees.ranks() == row.decode.degrees.ranks();
        let known = self.wholes.iter().rev().filter(of_row).filter(|_| is_whole);
        let far = |one: &Whole| one.run.far_from(concurrency);
        known.min_by(|one, other| far(one).total_cmp(&far(other))).map(|one| one.reading)
    }

    /// The type of a row's KV cache; the checkpoint's where `None`.
    pub(super) fn cache_type(&self, row: &Row) -> Option<NumberType> {
        let model = row.model.to_ascii_lowercase();
        let of_row = |one: &&Cache| {
            one.system == row.system
                && one.framework == row.framework
                && model.contains(&one.model)
                && (one.precision.is_empty() || one.precision == row.precision)
        };
        self.caches.iter().find(of_row).filter(|_| is_published(row)).map(|one| one.cache_type)
    }

    fn version(&self, row: &Row) -> Option<&Version> {
        let model = row.model.to_ascii_lowercase();
        let of_row = |one: &&Version| {
            one.mode == row.sharing.name()
                && one.system == row.system
                && one.framework == row.framework
                && one.version == row.version
                && model.contains(&one.model)
        };
        self.versions.iter().find(of_row)
    }
}

impl Run {
    /// The run in the seven cells from this one on.
    fn new(cells: &csv::StringRecord, first: usize) -> Option<Self> {
        let text = |index: usize| Some(cells.get(first + index)?.to_owned());
        let number = |index: usize| cells.get(first + index)?.parse::<f64>().ok();
        Some(Self {
            system: text(0)?,
            framework: text(1)?,
            precision: text(2)?,
            prompt_len: number(3)?,
            output_len: number(4)?,
            ranks: number(5)?,
            concurrency: number(6)?,
        })
    }

    /// Whether a row has its system, framework, precision and ranks.
    fn is_like(&self, row: &Row, ranks: f64) -> bool {
        self.system == row.system
            && self.framework == row.framework
            && self.precision == row.precision
            && self.ranks == ranks
    }

    fn has_lengths_of(&self, row: &Row) -> bool {
        self.prompt_len == row.prompt_len && self.output_len == row.output_len
    }

    /// How far its concurrency is from this one, as the logarithm of their ratio.
    fn far_from(&self, concurrency: f64) -> f64 {
        (self.concurrency / concurrency).ln().abs()
    }
}

impl Published {
    fn new(cells: &csv::StringRecord) -> Option<Self> {
        let number = |index: usize| cells.get(index)?.parse::<f64>().ok();
        Some(Self {
            model: cells.get(0)?.to_owned(),
            run: Run::new(cells, 1)?,
            reading: DeploymentReading {
                prefill_workers: number(8)?,
                decode_workers: number(9)?,
                replicas: number(10)? > 0.0,
                speculated: cells.get(11)?.parse().ok()?,
            },
        })
    }
}

impl Whole {
    fn new(cells: &csv::StringRecord) -> Option<Self> {
        let number = |index: usize| cells.get(index)?.parse::<f64>().ok();
        let count = |index: usize| cells.get(index)?.parse::<u32>().ok();
        let workers = |first: usize| {
            let (workers, ranks, replicas) = (number(first)?, count(first + 1)?, number(first + 2)? > 0.0);
            Some(WorkerReading { workers, ranks, replicas })
        };
        Some(Self {
            run: Run::new(cells, 0)?,
            reading: WholeReading { prefill: workers(7)?, decode: workers(10)?, speculated: count(13)? },
        })
    }
}

impl Cache {
    fn new(cells: &csv::StringRecord) -> Option<Self> {
        Some(Self {
            system: cells.get(0)?.to_owned(),
            framework: cells.get(1)?.to_owned(),
            model: cells.get(2)?.to_owned(),
            precision: cells.get(3)?.to_owned(),
            cache_type: NumberType::named(cells.get(4)?)?,
        })
    }
}

impl Version {
    fn new(cells: &csv::StringRecord) -> Option<Self> {
        Some(Self {
            system: cells.get(0)?.to_owned(),
            framework: cells.get(1)?.to_owned(),
            version: cells.get(2)?.to_owned(),
            mode: cells.get(3)?.to_owned(),
            model: cells.get(4)?.to_owned(),
            speculated: cells.get(5)?.parse().ok()?,
            with_replicas: cells.get(6)?.parse().ok()?,
        })
    }
}

/// The lines of an embedded file, without its comments and header.
fn lines(text: &str) -> Vec<csv::StringRecord> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    reader.records().filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_embedded_files_is_read() {
        let count = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count() - 1;
        let readings = DeploymentReadings::new();
        assert_eq!(readings.published.len(), count(DISAGGREGATED));
        assert_eq!(readings.versions.len(), count(SPECULATED));
        assert_eq!(readings.caches.len(), count(CACHES));
        assert_eq!(readings.wholes.len(), count(WHOLES));
    }
}
