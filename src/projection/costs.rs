//! Costs of ops from a record's measured kernels.
//!
//! - At a shape that was measured, the cost is the measured time.
//! - Between measured shapes, the utilisation (roofline / time) is interpolated over the logarithms of the sizes,
//!   weighted by the inverse squared distance.
//! - Outside of them, the nearest case's utilisation holds.
//!
//! A time is never carried to another shape.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::kernels::StorageType;
use crate::operators::Coverage;
use crate::printable::printable;
use crate::projection::op::{Class, MeasuredShape, Op, OpTime};
use crate::record::{Bound, Case, Record};
use crate::specs::NumberType;
use crate::statistics::nearest_rank;
use crate::units::{BytesPerSecond, FlopPerSecond, Seconds};

/// Sizes of a shape, as logarithms.
type Sizes = [f64; 4];

/// Where the cost of an op comes from. Its text is made by `Display`; JSON holds that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostOrigin {
    /// This very shape was measured.
    Measured,
    /// Shapes around it were measured.
    Interpolated,
    /// It lies outside the measured shapes: roofline over the nearest case's utilisation.
    Extrapolated,
    /// The record has no such kernel: roofline over the share that ops of this class reach.
    NotInRecord(Class),
    /// The measured operators have none like it: roofline over the share that ops of this class reach.
    NotInTables(Class),
    /// The chip has no record: roofline over the share that ops of this class reach.
    Roofline(Class),
    /// A collective on the fabric of this name.
    Fabric(String),
}

impl From<Coverage> for CostOrigin {
    fn from(coverage: Coverage) -> Self {
        match coverage {
            Coverage::Measured => Self::Measured,
            Coverage::Interpolated => Self::Interpolated,
            Coverage::Extrapolated => Self::Extrapolated,
        }
    }
}

impl fmt::Display for CostOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured => f.write_str("measured at this shape"),
            Self::Interpolated => f.write_str("measured, interpolated"),
            Self::Extrapolated => f.write_str("extrapolated: roofline x nearest measured utilisation"),
            Self::NotInRecord(class) => {
                write!(f, "no such kernel in the record: roofline x share of {}", class.name())
            }
            Self::NotInTables(class) => {
                write!(f, "no such measured operator: roofline x share of {}", class.name())
            }
            Self::Roofline(class) => write!(f, "roofline x share of {}", class.name()),
            Self::Fabric(name) => write!(f, "fabric {name}"),
        }
    }
}

impl Serialize for CostOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    sizes: Sizes,
    /// Roofline over time.
    utilisation: f64,
    /// Its logarithm, by which it is interpolated.
    log_utilisation: f64,
    time: Seconds,
    bound: Bound,
    /// Half-width of the samples' 90 % band over the median.
    noise: f64,
}

/// The cases of one kernel and type, each shape at its best variant.
#[derive(Debug, Clone, PartialEq)]
struct Curve {
    points: Vec<Point>,
    low: Sizes,
    high: Sizes,
}

/// The measured kernels of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Listed", try_from = "Listed")]
pub struct Costs {
    curves: BTreeMap<(&'static str, StorageType), Curve>,
    peaks: BTreeMap<StorageType, FlopPerSecond>,
    bandwidth: BytesPerSecond,
    launch: Seconds,
    /// See [`Costs::spread`].
    spread: f64,
}

/// The same as JSON has it, where the curves are a list: its objects have texts as keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    curves: Vec<(String, StorageType, Vec<Point>)>,
    peaks: BTreeMap<StorageType, FlopPerSecond>,
    bandwidth: BytesPerSecond,
    launch: Seconds,
    spread: f64,
}

impl From<Costs> for Listed {
    fn from(costs: Costs) -> Self {
        let Costs { curves, peaks, bandwidth, launch, spread } = costs;
        let listed = curves.into_iter().map(|((name, element), curve)| (name.to_owned(), element, curve.points));
        Self { curves: listed.collect(), peaks, bandwidth, launch, spread }
    }
}

impl TryFrom<Listed> for Costs {
    type Error = String;

    fn try_from(listed: Listed) -> Result<Self, String> {
        let Listed { curves, peaks, bandwidth, launch, spread } = listed;
        let keyed = curves.into_iter().map(|(name, element, points)| {
            let known = KERNELS.into_iter().find(|known| *known == name);
            let known =
                known.ok_or_else(|| format!("kernel {}: not one that layers are made of", printable(&name, 60)))?;
            Ok(((known, element), Curve::new(points)))
        });
        Ok(Self { curves: keyed.collect::<Result<_, String>>()?, peaks, bandwidth, launch, spread })
    }
}

const KERNELS: [&str; 9] =
    ["gate_up", "down", "decode", "prefill", "mla_decode", "mla_prefill", "router_logits", "topk", "sort"];

impl Costs {
    /// The kernels of a record that layers are made of, each shape at its fastest variant.
    pub fn from_record(record: &Record) -> Self {
        let mut points: BTreeMap<(&'static str, StorageType), Vec<Point>> = BTreeMap::new();
        for case in &record.cases {
            let Some((name, sizes)) = known(case) else { continue };
            let Some(point) = point(case, sizes) else { continue };
            let list = points.entry((name, case.element)).or_default();
            match list.iter_mut().find(|other| distance(&other.sizes, &sizes) < 1e-9) {
                Some(other) if other.time > point.time => *other = point,
                Some(_) => {}
                None => list.push(point),
            }
        }
        let curves: BTreeMap<_, _> = points.into_iter().map(|(key, points)| (key, Curve::new(points))).collect();
        let peaks = [StorageType::F32, StorageType::F16, StorageType::Nvfp4, StorageType::Mxfp4]
            .into_iter()
            .filter_map(|element| Some((element, record.fma_ceiling(element)?)))
            .collect();
        let spread = spread(&curves);
        Self {
            curves,
            peaks,
            bandwidth: record.memory_ceiling().unwrap_or(BytesPerSecond::ZERO),
            launch: record.launch_cost().map_or(Seconds::ZERO, |time| time.max(Seconds::ZERO)),
            spread,
        }
    }

    /// Half-width of the 90 % band of measured costs, as a share of a time: `hypot(interpolation, noise)`. The
    /// interpolation error is that of each case predicted by the others.
    pub fn spread(&self) -> f64 {
        self.spread
    }

    /// The same device with these factors on the rates of arithmetic and memory.
    pub fn faster(&self, arithmetic: f64, memory: f64) -> Self {
        let mut faster = self.clone();
        faster.peaks.values_mut().for_each(|peak| *peak = *peak * arithmetic);
        faster.bandwidth = faster.bandwidth * memory;
        for point in faster.curves.values_mut().flat_map(|curve| &mut curve.points) {
            let factor = if point.bound == Bound::Compute { arithmetic } else { memory };
            point.time = point.time / factor;
        }
        faster
    }

    /// Time of an op in a number type, times `factor`; `None` if its kernel was not measured. `shape` is that of `op`.
    /// A measured time includes the launch.
    pub fn time(&self, shape: &MeasuredShape, op: &Op, number_type: NumberType, factor: f64) -> Option<OpTime> {
        let element = self.element_of(shape, number_type);
        let (name, sizes) = query(shape);
        let curve = self.curves.get(&(name, element))?;
        if let Some(hit) = curve.exact(&sizes) {
            let time = hit.time * factor;
            return Some(match hit.bound {
                Bound::Compute => OpTime { compute: time, ..OpTime::default() },
                _ => OpTime { memory: time, ..OpTime::default() },
            });
        }
        let utilisation = curve.utilisation(&sizes, None)? / factor;
        let compute = op.flop / *self.peaks.get(&element)? / utilisation;
        let memory = (op.bytes / self.bandwidth).max(self.launch) / utilisation;
        Some(OpTime { compute, memory, launch: Seconds::ZERO })
    }

    /// Where the cost of a shape comes from; `None` if its kernel was not measured.
    pub fn origin(&self, shape: &MeasuredShape, number_type: NumberType) -> Option<CostOrigin> {
        let (name, sizes) = query(shape);
        let curve = self.curves.get(&(name, self.element_of(shape, number_type)))?;
        Some(if curve.exact(&sizes).is_some() {
            CostOrigin::Measured
        } else if curve.contains(&sizes) {
            CostOrigin::Interpolated
        } else {
            CostOrigin::Extrapolated
        })
    }

    /// The storage type whose kernels serve a number type. A record's kernels of 4-bit weights widen them, as a chip does
    /// that has no units for them, and a record has none. Its fp8 kernels widen too: but fp8 asks for units that multiply
    /// fp8, so that no type takes those cases.
    fn element_of(&self, shape: &MeasuredShape, number_type: NumberType) -> StorageType {
        let is_product = matches!(shape, MeasuredShape::Matmul { .. });
        let has_f16 = || self.curves.contains_key(&(query(shape).0, StorageType::F16));
        match number_type {
            NumberType::F32 => StorageType::F32,
            NumberType::Nvfp4 if is_product => StorageType::Nvfp4,
            NumberType::Mxfp4 if is_product => StorageType::Mxfp4,
            NumberType::Nvfp4 | NumberType::Mxfp4 if !has_f16() => StorageType::F32,
            _ => StorageType::F16,
        }
    }
}

/// Kernel and sizes of a shape.
fn query(shape: &MeasuredShape) -> (&'static str, Sizes) {
    let log = |value: f64| value.max(1.0).ln();
    match *shape {
        MeasuredShape::Matmul { name, experts, rows, k, n } => (name, [log(experts), log(rows), log(k), log(n)]),
        MeasuredShape::Attention { name, sequences, queries, kv_len, heads } => {
            (name, [log(sequences), log(queries), log(kv_len), log(heads)])
        }
        MeasuredShape::Gating { name, tokens, experts } => (name, [log(tokens), log(experts), 0.0, 0.0]),
    }
}

/// The kernel of a case, and its sizes in the order of [`query`].
fn known(case: &Case) -> Option<(&'static str, Sizes)> {
    let name = KERNELS.into_iter().find(|name| *name == case.kernel).or_else(|| {
        // Scorings differ by model; the work is the same.
        case.kernel.contains("topk").then_some("topk")
    })?;
    let log = |key: &str| case.shape.get(key).map(|size| (*size as f64).max(1.0).ln());
    let or_one = |key: &str| log(key).unwrap_or(0.0);
    let sizes = match name {
        "gate_up" | "down" => [or_one("experts"), log("tokens")? + or_one("top_k"), log("k")?, log("n")?],
        "router_logits" => [log("tokens")?, log("n")?, 0.0, 0.0],
        "topk" | "sort" => [log("tokens")?, log("experts")?, 0.0, 0.0],
        _ => [or_one("sequences"), or_one("q_len"), log("kv_len")?, log("heads")?],
    };
    Some((name, sizes))
}

fn point(case: &Case, sizes: Sizes) -> Option<Point> {
    let (time, utilisation) = (case.timing.median_s, case.achieved.fraction_of_roofline);
    let usable = time.is_positive() && utilisation.is_finite() && utilisation > 0.0;
    usable.then(|| Point {
        sizes,
        utilisation,
        log_utilisation: utilisation.ln(),
        time,
        bound: case.achieved.bound_by,
        // Of a normal distribution, 90 % lie within 1.645 standard deviations, and a standard deviation is 1.4826 MAD.
        noise: (1.645 * 1.4826 * case.timing.mad_s.get() / time.get()).clamp(0.0, 1.0),
    })
}

/// Squared distance of two shapes.
fn distance(one: &Sizes, other: &Sizes) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum()
}

impl Curve {
    fn new(points: Vec<Point>) -> Self {
        let (mut low, mut high) = ([f64::INFINITY; 4], [f64::NEG_INFINITY; 4]);
        for point in &points {
            for (index, size) in point.sizes.iter().enumerate() {
                low[index] = low[index].min(*size);
                high[index] = high[index].max(*size);
            }
        }
        Self { points, low, high }
    }

    fn exact(&self, sizes: &Sizes) -> Option<&Point> {
        // Most points are far off in a single size.
        let is_near = |point: &&Point| (0..4).all(|index| (point.sizes[index] - sizes[index]).abs() < 1e-4);
        self.points.iter().filter(is_near).find(|point| distance(&point.sizes, sizes) < 1e-9)
    }

    fn contains(&self, sizes: &Sizes) -> bool {
        (0..4).all(|index| sizes[index] >= self.low[index] - 1e-9 && sizes[index] <= self.high[index] + 1e-9)
    }

    /// Utilisation at these sizes by all points, or by all but the one at index `without`.
    fn utilisation(&self, sizes: &Sizes, without: Option<usize>) -> Option<f64> {
        let kept = |index: usize| Some(index) != without;
        let others = || self.points.iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, point)| point);
        if !self.contains(sizes) {
            let apart = others().map(|point| (distance(&point.sizes, sizes), point));
            let (_, nearest) = apart.min_by(|a, b| a.0.total_cmp(&b.0))?;
            return Some(nearest.utilisation);
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for point in others() {
            let weight = 1.0 / distance(&point.sizes, sizes).max(1e-12);
            sum += weight * point.log_utilisation;
            weights += weight;
        }
        (weights > 0.0).then(|| (sum / weights).exp())
    }
}

/// `hypot` of the 90th percentile of the leave-one-out errors and the median noise of the samples.
fn spread(curves: &BTreeMap<(&'static str, StorageType), Curve>) -> f64 {
    let (mut errors, mut noises) = (Vec::new(), Vec::new());
    for curve in curves.values() {
        for (index, point) in curve.points.iter().enumerate() {
            noises.push(point.noise);
            if let Some(predicted) = curve.utilisation(&point.sizes, Some(index)) {
                errors.push((predicted / point.utilisation).ln().abs());
            }
        }
    }
    errors.sort_unstable_by(f64::total_cmp);
    noises.sort_unstable_by(f64::total_cmp);
    // A kernel with one case has no others to predict it by: a half is a guess.
    let interpolation = nearest_rank(&errors, 0.9).map_or(0.5, |error| error.exp() - 1.0);
    let noise = nearest_rank(&noises, 0.5).unwrap_or(0.0);
    interpolation.hypot(noise).clamp(0.0, 3.0)
}
