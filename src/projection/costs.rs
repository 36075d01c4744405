//! Costs from a record: what a kernel takes at a shape that was measured, or at one that was not.
//!
//! A case that was measured is returned as it is. Between cases the utilisation (roofline over time) is interpolated over
//! the logarithms of the sizes, by inverse distance; outside their range the nearest case's utilisation holds. Latency
//! itself is never carried to another shape.

use std::collections::BTreeMap;

use super::machine::{Machine, OpTime};
use super::ops::{Kernel, Op};
use crate::kernels::Element;
use crate::record::{Bound, Case, Record};
use crate::specs::NumberType;

/// Sizes of a shape, as logarithms.
type Sizes = [f64; 4];

/// Where a cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// This very shape was measured.
    Exact,
    /// Shapes around it were measured.
    Interpolated,
    /// Outside what was measured: roofline times the nearest case's utilisation.
    Extrapolated,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    sizes: Sizes,
    utilisation: f64,
    time: f64,
    compute_bound: bool,
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
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    curves: BTreeMap<(&'static str, Element), Curve>,
    peaks: BTreeMap<Element, f64>,
    bandwidth: f64,
    launch: f64,
    /// Half-width of the 90 % band of interpolation and noise together, as a factor on time minus 1.
    spread: f64,
}

const KERNELS: [&str; 9] =
    ["gate_up", "down", "decode", "prefill", "mla_decode", "mla_prefill", "router_logits", "topk", "sort"];

impl Costs {
    /// The kernels of a record that layers are made of.
    pub fn from_record(record: &Record) -> Self {
        let mut points: BTreeMap<(&'static str, Element), Vec<Point>> = BTreeMap::new();
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
        let peaks = [Element::F32, Element::F16]
            .into_iter()
            .filter_map(|element| Some((element, record.fma_ceiling(element)?.get())))
            .collect();
        let spread = spread(&curves);
        Self {
            curves,
            peaks,
            bandwidth: record.memory_ceiling().map_or(0.0, |rate| rate.get()),
            launch: record.launch_cost().map_or(0.0, |time| time.get().max(0.0)),
            spread,
        }
    }

    /// Half-width of the 90 % band of measured costs, as a share of a time: interpolation error, each case left out once
    /// and predicted by the others, and the noise of the samples.
    pub fn spread(&self) -> f64 {
        self.spread
    }

    /// The same device with faster arithmetic or memory.
    pub fn faster(&self, arithmetic: f64, memory: f64) -> Self {
        let mut faster = self.clone();
        faster.peaks.values_mut().for_each(|peak| *peak *= arithmetic);
        faster.bandwidth *= memory;
        for point in faster.curves.values_mut().flat_map(|curve| &mut curve.points) {
            point.time /= if point.compute_bound { arithmetic } else { memory };
        }
        faster
    }

    /// Time of an op, if its kernel was measured.
    pub fn time(&self, kernel: &Kernel, op: &Op, machine: &Machine) -> Option<OpTime> {
        let element = element_of(machine.number_type);
        let (name, sizes) = query(kernel);
        let curve = self.curves.get(&(name, element))?;
        let factor = machine.cost_factor;
        if let Some(hit) = curve.exact(&sizes) {
            let (compute, memory) = if hit.compute_bound { (hit.time, 0.0) } else { (0.0, hit.time) };
            return Some(OpTime { compute: compute * factor, memory: memory * factor, launch: 0.0 });
        }
        let utilisation = curve.utilisation(&sizes, usize::MAX)? / factor;
        let compute = op.flop / self.peaks.get(&element)? / utilisation;
        let memory = (op.bytes / self.bandwidth).max(self.launch) / utilisation;
        Some(OpTime { compute, memory, launch: 0.0 })
    }

    /// Where the cost of a kernel comes from; `None` if it was not measured.
    pub fn origin(&self, kernel: &Kernel, number_type: NumberType) -> Option<Origin> {
        let (name, sizes) = query(kernel);
        let curve = self.curves.get(&(name, element_of(number_type)))?;
        Some(if curve.exact(&sizes).is_some() {
            Origin::Exact
        } else if curve.contains(&sizes) {
            Origin::Interpolated
        } else {
            Origin::Extrapolated
        })
    }
}

/// Kernels are measured in f32 and f16; the record's types are the ones that it computes in.
fn element_of(number_type: NumberType) -> Element {
    if number_type == NumberType::F32 { Element::F32 } else { Element::F16 }
}

fn query(kernel: &Kernel) -> (&'static str, Sizes) {
    let log = |value: f64| value.max(1.0).ln();
    match *kernel {
        Kernel::Matmul { name, experts, rows, k, n } => (name, [log(experts), log(rows), log(k), log(n)]),
        Kernel::Attention { name, sequences, queries, kv_len, heads } => {
            let queries = if name.ends_with("decode") { 1.0 } else { queries };
            (name, [log(sequences), log(queries), log(kv_len), log(heads)])
        }
        Kernel::Gating { name, tokens, experts } => (name, [log(tokens), log(experts), 0.0, 0.0]),
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
    let (time, utilisation) = (case.timing.median_s.get(), case.achieved.fraction_of_roofline);
    let usable = time.is_finite() && time > 0.0 && utilisation.is_finite() && utilisation > 0.0;
    usable.then(|| Point {
        sizes,
        utilisation,
        time,
        compute_bound: case.achieved.bound_by == Bound::Compute,
        // A normal distribution's 95 % lies at 1.645 standard deviations, 1.4826 MAD each.
        noise: (1.645 * 1.4826 * case.timing.mad_s.get() / time).clamp(0.0, 1.0),
    })
}

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
        self.points.iter().find(|point| distance(&point.sizes, sizes) < 1e-9)
    }

    fn contains(&self, sizes: &Sizes) -> bool {
        (0..4).all(|index| sizes[index] >= self.low[index] - 1e-9 && sizes[index] <= self.high[index] + 1e-9)
    }

    /// Utilisation at these sizes, leaving one point out (none if `without` is no index).
    fn utilisation(&self, sizes: &Sizes, without: usize) -> Option<f64> {
        let others = || self.points.iter().enumerate().filter(|(index, _)| *index != without).map(|(_, point)| point);
        if !self.contains(sizes) {
            let nearest = others().min_by(|a, b| distance(&a.sizes, sizes).total_cmp(&distance(&b.sizes, sizes)))?;
            return Some(nearest.utilisation);
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for point in others() {
            let weight = 1.0 / distance(&point.sizes, sizes).max(1e-12);
            sum += weight * point.utilisation.ln();
            weights += weight;
        }
        (weights > 0.0).then(|| (sum / weights).exp())
    }
}

/// The 90th percentile of what leaving each case out gets wrong, with the median noise of the samples.
fn spread(curves: &BTreeMap<(&'static str, Element), Curve>) -> f64 {
    let (mut errors, mut noises) = (Vec::new(), Vec::new());
    for curve in curves.values() {
        for (index, point) in curve.points.iter().enumerate() {
            noises.push(point.noise);
            if let Some(predicted) = curve.utilisation(&point.sizes, index) {
                errors.push((predicted / point.utilisation).ln().abs());
            }
        }
    }
    let quantile = |list: &mut Vec<f64>, share: f64| {
        list.sort_by(f64::total_cmp);
        let at = (share * list.len().saturating_sub(1) as f64).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the list")]
        let at = at as usize;
        list.get(at).copied()
    };
    // Without two cases of a kernel nothing can be left out; half is then a guess.
    let interpolation = quantile(&mut errors, 0.9).map_or(0.5, |error| error.exp() - 1.0);
    let noise = quantile(&mut noises, 0.5).unwrap_or(0.0);
    interpolation.hypot(noise).clamp(0.0, 3.0)
}
