//! The measured operators of one chip and framework, and what they say of any shape.
//!
//! Tables hold utilisations: the time that the whole peaks would take, over the measured time. Between measured shapes their
//! logarithms are interpolated. A chip without tables may take the utilisations of another one's.

use std::collections::{BTreeMap, HashMap};

use crate::operators::family::{OperatorFamily, TypeMeaning, meaning};
use crate::operators::grid::{Coverage, SizeGrid, single};
use crate::operators::shape::{OperatorShape, RankPeaks, Visits};
use crate::statistics::nearest_rank;

/// One measured operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredOperator {
    /// Place of its types in the table's list.
    pub types: u16,
    /// Sizes in the order of [`OperatorFamily::sizes`].
    pub sizes: [u32; 7],
    /// Time, seconds.
    pub time_s: f32,
}

/// The operators of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredTable {
    /// What they do.
    pub family: OperatorFamily,
    /// Framework.
    pub framework: String,
    /// Its version.
    pub version: String,
    /// Names of types that rows refer to: of operands, cache and distribution, with spaces between.
    pub types: Vec<String>,
    /// The rows.
    pub rows: Vec<MeasuredOperator>,
}

/// Bytes per element that an operator is asked in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AskedType {
    /// Of a weight; of the cache for attention.
    pub weight_bytes: f64,
    /// Of the other operand.
    pub operand_bytes: f64,
}

/// What the tables say of a shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundTime {
    /// Time, seconds.
    pub time_s: f64,
    /// Whether arithmetic binds it.
    pub by_arithmetic: bool,
    /// How well the shape is covered.
    pub coverage: Coverage,
}

/// Types differ that are this far apart, as the sum of logarithms of their bytes.
const SAME_TYPE: f64 = 0.2;
/// Fixed sizes of a table that are this far from the asked ones say nothing of them: a factor of about 20 in all.
const FARTHEST: f64 = 3.0;

/// The shapes of a family in one combination of types.
#[derive(Debug, Clone, PartialEq)]
struct Curves {
    family: OperatorFamily,
    meaning: TypeMeaning,
    /// Bytes of an element of the cache.
    cache_bytes: f64,
    fixed: Vec<[f64; 4]>,
    grids: Vec<SizeGrid>,
    by_fixed: HashMap<[u64; 4], usize>,
}

/// The measured operators of one chip.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorTables {
    /// Where they are from, for people.
    pub source: String,
    curves: BTreeMap<OperatorFamily, Vec<Curves>>,
    /// Half-width of the 90 % band of interpolated times, as a share.
    pub spread: f64,
}

type Points = BTreeMap<[u64; 4], Vec<([f64; 3], f32)>>;

impl OperatorTables {
    /// Tables of a chip with these peaks. Of each family and type, `framework`'s own are taken, the newest version first, and
    /// those of other frameworks where it has none; an empty name takes the fastest of all.
    pub fn new(source: String, peaks: &RankPeaks, measured: &[MeasuredTable], framework: &str) -> Self {
        let mut by_types: BTreeMap<(OperatorFamily, &str), Vec<(&MeasuredTable, usize)>> = BTreeMap::new();
        for table in measured {
            // Tables of skewed routing say nothing of which expert is where.
            let is_even = |types: &str| table.family != OperatorFamily::Experts || types.ends_with(" balanced");
            for (place, types) in table.types.iter().enumerate().filter(|(_, types)| is_even(types)) {
                by_types.entry((table.family, types)).or_default().push((table, place));
            }
        }
        let mut curves: BTreeMap<OperatorFamily, Vec<Curves>> = BTreeMap::new();
        for ((family, types), tables) in by_types {
            let own: Vec<_> = tables.iter().copied().filter(|(table, _)| table.framework == framework).collect();
            let chosen = if own.is_empty() { tables } else { own };
            curves.entry(family).or_default().extend(Curves::new(family, types, &chosen, peaks));
        }
        let spread = spread(curves.values().flatten());
        Self { source, curves, spread }
    }

    /// How far another chip's shares of its roofs are from these: the 90th percentile over shapes that both have measured, as a
    /// share. `None` where they have none in common.
    pub fn apart(&self, other: &Self) -> Option<f64> {
        let mut apart = Vec::new();
        for (family, list) in &self.curves {
            let others = other.curves.get(family).map_or(&[][..], Vec::as_slice);
            for own in list {
                let same = others.iter().find(|one| one.meaning == own.meaning && one.cache_bytes == own.cache_bytes);
                for (key, place) in &own.by_fixed {
                    let Some((same, there)) = same.and_then(|one| Some((one, *one.by_fixed.get(key)?))) else {
                        continue;
                    };
                    apart.extend(own.grids[*place].apart(&same.grids[there]));
                }
            }
        }
        apart.sort_unstable_by(f64::total_cmp);
        nearest_rank(&apart, 0.9).map(|log| log.exp() - 1.0)
    }

    /// The time of a shape on a rank with `target` peaks: the measured one, times the ratio of the least times. `None` where no
    /// table has such types or sizes.
    pub fn time(&self, shape: &OperatorShape, asked: AskedType, target: &RankPeaks) -> Option<FoundTime> {
        let (fixed, at) = shape.coordinates();
        let curves = self.curves.get(&shape.family)?;
        let apart = |one: &&Curves| one.apart(asked);
        let least = curves.iter().map(|one| apart(&one)).min_by(f64::total_cmp).filter(|least| *least < SAME_TYPE)?;
        let same = curves.iter().filter(|one| apart(one) < least + 1e-6);
        let found = same.filter_map(|one| one.time(shape, &fixed, at, target));
        found.min_by(|one, other| one.time_s.total_cmp(&other.time_s))
    }
}

impl Curves {
    fn new(family: OperatorFamily, types: &str, tables: &[(&MeasuredTable, usize)], peaks: &RankPeaks) -> Option<Self> {
        let mut names = types.split(' ');
        let first = if family.type_columns().is_empty() { family.only_type() } else { names.next()? };
        let meaning = meaning(first)?;
        let second = names.next().unwrap_or_default();
        let cache_bytes = self::meaning(second).map_or(meaning.weight_bytes, |cache| cache.operand_bytes);
        let mut all: Points = BTreeMap::new();
        let mut newest_first: Vec<_> = tables.to_vec();
        newest_first.sort_by_key(|(table, _)| std::cmp::Reverse(version_key(&table.version)));
        let one_framework = newest_first.iter().all(|(table, _)| table.framework == newest_first[0].0.framework);
        for (table, place) in newest_first {
            let points = points(table, place, &Typed { family, meaning, cache_bytes }, peaks);
            for (fixed, points) in points {
                let known = all.entry(fixed).or_default();
                // An older version does not speak of what a newer one measured.
                if known.is_empty() || !one_framework {
                    known.extend(points);
                }
            }
        }
        let fixed: Vec<[f64; 4]> = all.keys().map(|key| key.map(f64::from_bits)).collect();
        let by_fixed = all.keys().enumerate().map(|(place, key)| (*key, place)).collect();
        let grids = all.values().map(|points| SizeGrid::new(points)).collect();
        Some(Self { family, meaning, cache_bytes, fixed, grids, by_fixed })
    }

    /// How far the types are from those that are asked for.
    fn apart(&self, asked: AskedType) -> f64 {
        let apart = |one: f64, other: f64| (one / other).ln().abs();
        let (weight, operand) = match self.family {
            OperatorFamily::PrefillAttention
            | OperatorFamily::DecodeAttention
            | OperatorFamily::LatentPrefill
            | OperatorFamily::LatentDecode => (self.cache_bytes, self.meaning.operand_bytes),
            OperatorFamily::SparsePrefill | OperatorFamily::SparseDecode => {
                (self.meaning.weight_bytes, self.cache_bytes)
            }
            _ => (self.meaning.weight_bytes, self.meaning.operand_bytes),
        };
        apart(weight, asked.weight_bytes) + apart(operand, asked.operand_bytes)
    }

    fn time(&self, shape: &OperatorShape, fixed: &[f64; 4], at: [f64; 3], target: &RankPeaks) -> Option<FoundTime> {
        let (place, is_same) = self.nearest(fixed)?;
        let grid = &self.grids[place];
        let (log_utilisation, coverage) = grid.at(at);
        let meaning =
            TypeMeaning { operand_bytes: operand_bytes(self.family, self.meaning, self.cache_bytes), ..self.meaning };
        let roof = shape.roof(meaning, target, Visits::Random);
        let coverage = if is_same { coverage } else { Coverage::Extrapolated };
        let time_s = if is_same {
            roof.time_s / log_utilisation.exp()
        } else {
            let nearest = OperatorShape::at(shape.family, &self.fixed[place], grid.inside(at));
            let nearest_s = nearest.roof(meaning, target, Visits::Random).time_s;
            beyond(roof.time_s, nearest_s, log_utilisation.exp(), grid.largest().exp())
        };
        time_s.is_finite().then_some(FoundTime { time_s, by_arithmetic: roof.by_arithmetic, coverage })
    }

    /// The grid of the same fixed sizes, or of the nearest ones.
    fn nearest(&self, fixed: &[f64; 4]) -> Option<(usize, bool)> {
        if let Some(place) = self.by_fixed.get(&fixed.map(key)) {
            return Some((*place, true));
        }
        let apart = |other: &[f64; 4]| fixed.iter().zip(other).map(|(a, b)| (a - b).abs()).sum::<f64>();
        let all = self.fixed.iter().enumerate().map(|(place, other)| (apart(other), place));
        let (apart, place) = all.min_by(|one, other| one.0.total_cmp(&other.0))?;
        (apart < FARTHEST).then_some((place, apart < 1e-6))
    }
}

/// The time of a shape of a kernel that was not measured: that of the nearest one, and the roof's difference at the best utilisation that
/// was measured. So what a short kernel takes besides its work does not grow with the work.
fn beyond(roof_s: f64, nearest_roof_s: f64, utilisation: f64, best: f64) -> f64 {
    (nearest_roof_s / utilisation + (roof_s - nearest_roof_s) / best).max(roof_s / best)
}

/// The bits of a logarithm, rounded so that equal sizes have equal bits.
fn key(log: f64) -> u64 {
    ((log * 1e6).round() / 1e6).to_bits()
}

/// For attention the operand that counts is the cache.
fn operand_bytes(family: OperatorFamily, meaning: TypeMeaning, cache_bytes: f64) -> f64 {
    match family {
        OperatorFamily::DecodeAttention
        | OperatorFamily::LatentDecode
        | OperatorFamily::SparsePrefill
        | OperatorFamily::SparseDecode => cache_bytes,
        _ => meaning.operand_bytes,
    }
}

struct Typed {
    family: OperatorFamily,
    meaning: TypeMeaning,
    cache_bytes: f64,
}

/// The points of a table in one combination of types, by their fixed sizes.
fn points(table: &MeasuredTable, place: usize, typed: &Typed, peaks: &RankPeaks) -> Points {
    let operand_bytes = operand_bytes(typed.family, typed.meaning, typed.cache_bytes);
    let meaning = TypeMeaning { operand_bytes, ..typed.meaning };
    let mut points = Points::new();
    for row in table.rows.iter().filter(|row| usize::from(row.types) == place) {
        let shape = OperatorShape { family: typed.family, sizes: row.sizes.map(f64::from) };
        let (fixed, at) = shape.coordinates();
        let utilisation = shape.roof(meaning, peaks, Visits::InTurn).time_s / f64::from(row.time_s);
        points.entry(fixed.map(key)).or_default().push((at, single(utilisation.ln())));
    }
    points
}

/// The numbers of a version, for comparison.
fn version_key(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// The 90th percentile of the errors of each measured crossing predicted by its neighbours along the first axis.
fn spread<'a>(curves: impl Iterator<Item = &'a Curves>) -> f64 {
    let mut errors: Vec<f64> =
        curves.flat_map(|one| &one.grids).flat_map(SizeGrid::errors_along_the_first_axis).collect();
    errors.sort_unstable_by(f64::total_cmp);
    nearest_rank(&errors, 0.9).map_or(0.5, |error| error.exp() - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specs::NumberType;

    fn peaks() -> RankPeaks {
        RankPeaks { arithmetic: BTreeMap::from([(NumberType::Bf16, 1e15)]), memory: 4e12, scale_up: 4e11 }
    }

    /// Experts of one rank, in turn over 8 slots, with these tokens and times.
    fn experts(measured: &[(u32, f32)]) -> MeasuredTable {
        let row = |(tokens, time_s): &(u32, f32)| MeasuredOperator {
            types: 0,
            sizes: [*tokens, 4096, 1536, 1, 8, 1, 1],
            time_s: *time_s,
        };
        MeasuredTable {
            family: OperatorFamily::Experts,
            framework: "vllm".to_owned(),
            version: "0.24.0".to_owned(),
            types: vec!["bfloat16 balanced".to_owned()],
            rows: measured.iter().map(row).collect(),
        }
    }

    fn ask(tables: &OperatorTables, tokens: f64) -> FoundTime {
        let shape = OperatorShape::new(OperatorFamily::Experts, &[tokens, 4096.0, 1536.0, 1.0, 8.0]);
        tables.time(&shape, AskedType { weight_bytes: 2.0, operand_bytes: 2.0 }, &peaks()).unwrap()
    }

    #[test]
    fn random_visits_touch_fewer_experts_than_visits_in_turn() {
        let tables = OperatorTables::new(String::new(), &peaks(), &[experts(&[(8, 1e-4), (4096, 1e-3)])], "vllm");
        let touched = 1.0 - (-1.0_f64).exp();
        let found = ask(&tables, 8.0);
        assert!((found.time_s / (1e-4 * touched) - 1.0).abs() < 0.01, "{found:?}");
        assert!((ask(&tables, 4096.0).time_s / 1e-3 - 1.0).abs() < 0.01);
        assert_eq!(found.coverage, Coverage::Measured);
    }

    #[test]
    fn beyond_the_measured_sizes_the_border_s_utilisation_holds() {
        let tables = OperatorTables::new(String::new(), &peaks(), &[experts(&[(8, 1e-4), (4096, 1e-3)])], "vllm");
        let found = ask(&tables, 8192.0);
        assert!((found.time_s / 2e-3 - 1.0).abs() < 0.01, "{found:?}");
        assert_eq!(found.coverage, Coverage::Extrapolated);
    }

    #[test]
    fn a_kernel_that_was_not_measured_adds_its_work_to_the_nearest_one() {
        let tables = OperatorTables::new(String::new(), &peaks(), &[experts(&[(8, 1e-4), (4096, 1e-3)])], "vllm");
        let wider = OperatorShape::new(OperatorFamily::Experts, &[4096.0, 4096.0, 3072.0, 1.0, 8.0]);
        let found = tables.time(&wider, AskedType { weight_bytes: 2.0, operand_bytes: 2.0 }, &peaks()).unwrap();
        let one = ask(&tables, 4096.0).time_s;
        // What the kernel takes besides its work does not grow with the width.
        assert!(found.time_s > 1.1 * one && found.time_s < 1.9 * one, "{found:?} {one}");
        assert_eq!(found.coverage, Coverage::Extrapolated);
    }

    #[test]
    fn the_newest_version_speaks_and_the_fastest_of_several_frameworks() {
        let old = MeasuredTable { version: "0.9.0".to_owned(), ..experts(&[(4096, 5e-4)]) };
        let new = MeasuredTable { version: "0.10.0".to_owned(), ..experts(&[(4096, 1e-3)]) };
        let other = MeasuredTable { framework: "sglang".to_owned(), ..experts(&[(4096, 8e-4)]) };
        let time = |measured: &[MeasuredTable], framework: &str| {
            ask(&OperatorTables::new(String::new(), &peaks(), measured, framework), 4096.0).time_s
        };
        assert!((time(&[old.clone(), new.clone()], "vllm") / 1e-3 - 1.0).abs() < 0.01);
        assert!((time(&[new.clone(), other.clone()], "vllm") / 1e-3 - 1.0).abs() < 0.01);
        assert!((time(&[new, other], "") / 8e-4 - 1.0).abs() < 0.01);
    }

    #[test]
    fn chips_with_the_same_shares_are_not_apart() {
        let tables = |factor: f32| {
            OperatorTables::new(String::new(), &peaks(), &[experts(&[(8, 1e-4 * factor), (64, 2e-4 * factor)])], "")
        };
        assert!(tables(1.0).apart(&tables(1.0)).unwrap() < 1e-6);
        assert!((tables(1.0).apart(&tables(2.0)).unwrap() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_type_that_no_table_has_is_not_answered() {
        let tables = OperatorTables::new(String::new(), &peaks(), &[experts(&[(8, 1e-4)])], "");
        let shape = OperatorShape::new(OperatorFamily::Experts, &[8.0, 4096.0, 1536.0, 1.0, 8.0]);
        assert!(tables.time(&shape, AskedType { weight_bytes: 1.0, operand_bytes: 1.0 }, &peaks()).is_none());
    }
}
