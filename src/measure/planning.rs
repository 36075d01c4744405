//! Which cases a run consists of: the kernels of a preset, and which of their variants are timed in full.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::features;
use crate::kernels::cases::{Capacity, CaseSpec, preset_cases, preset_models};
use crate::kernels::{DeviceClass, Family, Kernel, KernelCase, KernelPhase, Plan, StorageType, Target, compilers};
use crate::record::{CacheState, Ceiling, CeilingKind, Device, DeviceType, Preset, Record, Selection};
use crate::specs::{Model, SpecError};
use crate::units::{Bytes, BytesPerSecond, FlopPerSecond};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A built-in model is broken.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// `--only` fits no case.
    #[error("--only {0}: no case of this preset contains this; `supernode measure --list` shows them")]
    Nothing(String),
    /// No kernel has the variant.
    #[error("--variant {0}: no kernel of this preset has it; `supernode measure --all-variants --list` shows them")]
    NoVariant(String),
}

/// One case of a run.
#[derive(Debug, Clone)]
pub struct PlannedCase {
    /// The kernel with its shape and type; its variant is the first of `candidates`.
    pub spec: Arc<CaseSpec>,
    /// Its id in the document, known before any variant is chosen.
    pub id: String,
    /// Whether inputs rotate.
    pub cache: CacheState,
    /// Variants to choose from; first the one that is taken without a trial.
    pub candidates: Vec<&'static str>,
}

impl PlannedCase {
    /// The kernel in one of its variants.
    pub(super) fn kernel_case<'c>(&'c self, variant: &'c str) -> KernelCase<'c> {
        KernelCase { kernel: self.spec.kernel.as_ref(), variant, storage: self.spec.element }
    }

    /// The same case with another kernel of the same shape.
    pub(super) fn with_kernel(&self, kernel: Arc<dyn Kernel>) -> Self {
        let spec = CaseSpec { kernel, ..(*self.spec).clone() };
        Self { spec: Arc::new(spec), ..self.clone() }
    }

    /// The same case at another size, whose id says so.
    pub(super) fn resized(&self, kernel: Arc<dyn Kernel>) -> Self {
        let word = if self.candidates.len() > 1 { BEST } else { self.spec.variant };
        let case = self.with_kernel(kernel);
        let warm = if self.cache == CacheState::Warm { "/warm" } else { "" };
        let candidates = case.candidates.iter().copied().filter(|variant| case.spec.kernel.suits(variant)).collect();
        Self { id: case.spec.id_as(word) + warm, candidates, ..case }
    }
}

/// The variant that was measured for the most similar kernel; where none was, the most promising one. Similar kernels have
/// the same variants; the distance is that of useful work and arithmetic intensity, in logarithms.
pub(super) fn best_known(
    part: &dyn Kernel,
    element: StorageType,
    planned: &[PlannedCase],
    record: &Record,
    target: &Target,
) -> Option<&'static str> {
    let place = |kernel: &dyn Kernel| {
        let work = kernel.plan(kernel.default_variant(target), element).work;
        [work.arithmetic_intensity().max(1e-9).ln() * INTENSITY_WEIGHT, work.flop.get().max(1.0).ln()]
    };
    let own = place(part);
    let suits = |variant: &str| part.suits(variant) && part.variant_elements(variant).contains(&element);
    let known = planned.iter().filter_map(|case| {
        let kernel = case.spec.kernel.as_ref();
        let alike = case.spec.family != Family::Layer && kernel.variants() == part.variants();
        let of_type = case.spec.element == element && case.cache == CacheState::Cold;
        let measured = record.case(&case.id).filter(|_| alike && of_type && case.candidates.len() > 1)?;
        let variant = part.variants().iter().copied().find(|name| *name == measured.variant && suits(name))?;
        let distance: f64 = place(kernel).iter().zip(own).map(|(there, here)| (there - here).abs()).sum();
        Some((distance, variant))
    });
    let nearest = known.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, variant)| variant);
    let among: Vec<&'static str> = part.variants().iter().copied().filter(|name| suits(name)).collect();
    let among = || compilers::cheapest_first(target, part, element, part.candidates(target, &among));
    nearest.or_else(|| first_possible(part, element, &among(), record))
}

/// The first that this device has the features for.
fn first_possible(
    part: &dyn Kernel,
    element: StorageType,
    among: &[&'static str],
    record: &Record,
) -> Option<&'static str> {
    among.iter().copied().find(|variant| features::missing(&part.plan(variant, element), &record.device).is_none())
}

/// Which variant wins depends more on the rows per expert than on the size.
const INTENSITY_WEIGHT: f64 = 2.0;

/// What a plan is made for.
#[derive(Debug, Clone)]
pub struct PlannedFor {
    /// Which variants are worth trying, and in which order.
    pub target: Target,
    /// How large a case may be.
    pub capacity: Capacity,
}

impl PlannedFor {
    /// No device in particular: the sizes of the preset, and the kernels' own order.
    pub fn anything() -> Self {
        Self { target: Target::default(), capacity: Capacity::unlimited() }
    }

    /// A device with its measured roofs.
    pub fn device(device: &Device, ceilings: &BTreeMap<CeilingKind, Ceiling>) -> Self {
        let rate = |kind| ceilings.get(&kind).map(|ceiling| ceiling.value);
        let limit = |name: &str| device.limits.get(name).copied().unwrap_or(u64::MAX);
        let share = device.memory_bytes.map_or(u64::MAX, |bytes| bytes / CASES_IN_MEMORY);
        let capacity = Capacity {
            arithmetic: rate(CeilingKind::FmaF32).map(FlopPerSecond::new),
            memory: rate(CeilingKind::MemoryRead).map(BytesPerSecond::new),
            case_bytes: CASE_BYTES.min(share),
            buffer_bytes: limit("max_storage_buffer_binding_size").min(limit("max_buffer_size")),
        };
        Self { target: target(device), capacity }
    }
}

/// The most bytes of all buffers of a case, in f32. A run then stays within 4 GB of host memory: the host holds operands
/// and results of the two best variants at once.
const CASE_BYTES: u64 = 1 << 30;

/// A case may take this part of the device's memory. The two best variants with all their copies take at most four such
/// shares, so half of the memory is left to others.
const CASES_IN_MEMORY: u64 = 8;

/// The device as a preset may use it: with no more memory than that plans with. Rotations and cases take shares of it that
/// add up to the whole, with what the host holds of them.
pub(super) fn within(preset: Option<Preset>, device: &Device) -> Device {
    let most = preset.and_then(Preset::most_memory);
    let memory_bytes = device.memory_bytes.into_iter().chain(most).min();
    Device { memory_bytes, ..device.clone() }
}

/// What decides the order in which variants are tried on a device.
pub fn target(device: &Device) -> Target {
    let class = match device.device_type {
        DeviceType::Software => DeviceClass::Software,
        _ if device.vendor == "Apple" || device.name.starts_with("Apple") => DeviceClass::Apple,
        DeviceType::Discrete => DeviceClass::Discrete,
        DeviceType::Integrated => DeviceClass::Integrated,
        // A virtualised GPU is mostly one of a data centre.
        DeviceType::Virtual => DeviceClass::Discrete,
        DeviceType::Unknown => DeviceClass::Unknown,
    };
    let lanes = device.subgroup_sizes().and_then(|(least, _)| u32::try_from(least).ok());
    let driver = device.driver.to_lowercase();
    // Honeykrisp gives a number of its own for Apple's GPUs.
    let vendor = if class == DeviceClass::Apple { "apple".to_owned() } else { device.vendor.to_lowercase() };
    Target { class, lanes: lanes.filter(|lanes| *lanes > 0), driver, vendor }
}

/// The variant's place in an id where a trial chooses it.
pub const BEST: &str = "best";
const MAX_SETS: u64 = 64;

/// The cases of a preset whose id contains one of `only` (all where it is empty).
///
/// # Errors
/// [`PlanError::Nothing`] where there is none, [`PlanError::Spec`].
pub fn cases(
    preset: Preset,
    selection: &Selection,
    only: &[String],
    on: &PlannedFor,
) -> Result<Vec<PlannedCase>, PlanError> {
    let mut planned = Vec::new();
    for group in groups(specs(preset, &on.capacity)?) {
        planned.extend(select(group, selection, &on.target));
    }
    if let Selection::Named { variant } = selection
        && planned.is_empty()
    {
        return Err(PlanError::NoVariant(variant.clone()));
    }
    planned.retain(|case| only.is_empty() || only.iter().any(|part| case.id.contains(part)));
    if planned.is_empty() {
        return Err(PlanError::Nothing(only.join(" ")));
    }
    Ok(planned)
}

/// Every variant and type of every kernel of a preset.
pub(super) fn specs(preset: Preset, capacity: &Capacity) -> Result<Vec<CaseSpec>, PlanError> {
    let models: Vec<Model> = preset_models(preset).iter().map(|name| Model::load(name)).collect::<Result<_, _>>()?;
    Ok(preset_cases(preset, &models, capacity))
}

/// Groups of specs that differ in the variant only, in the order of their first member. Models may share a kernel that was
/// made smaller.
fn groups(specs: Vec<CaseSpec>) -> Vec<Vec<CaseSpec>> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<Vec<CaseSpec>> = Vec::new();
    for spec in specs {
        let place = *places.entry(spec.id_as(BEST)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(spec);
    }
    groups
}

fn select(mut group: Vec<CaseSpec>, selection: &Selection, target: &Target) -> Vec<PlannedCase> {
    let names: Vec<&'static str> = group.iter().map(|spec| spec.variant).collect();
    let names = group.first().map_or_else(Vec::new, |spec| {
        let kernel = spec.kernel.as_ref();
        compilers::cheapest_first(target, kernel, spec.element, kernel.candidates(target, &names))
    });
    let rank = |spec: &CaseSpec| names.iter().position(|name| *name == spec.variant).unwrap_or(names.len());
    // The sort is stable: the most promising first, then the rest in the kernel's own order.
    group.sort_by_key(rank);
    let is_layer = group.iter().all(|spec| spec.family == Family::Layer);
    let mut planned = Vec::new();
    let chosen = |spec: Arc<CaseSpec>, cache: CacheState| {
        let tuned = *selection == Selection::Tuned || (is_layer && *selection == Selection::AllVariants);
        let id = spec.id_as(if tuned { BEST } else { spec.variant });
        let id = if cache == CacheState::Warm { id + "/warm" } else { id };
        let candidates = if tuned { names.clone() } else { vec![spec.variant] };
        PlannedCase { spec, id, cache, candidates }
    };
    match selection {
        Selection::Tuned | Selection::Default => group.truncate(1),
        // Every variant of the kernels inside is measured by itself. For the layer a trial chooses.
        Selection::AllVariants if is_layer => group.truncate(1),
        Selection::AllVariants => {}
        Selection::Named { variant } => group.retain(|spec| spec.variant == variant),
    }
    let group: Vec<Arc<CaseSpec>> = group.into_iter().map(Arc::new).collect();
    let warm = group.first().filter(|spec| runs_warm(spec)).cloned();
    planned.extend(group.into_iter().map(|spec| chosen(spec, CacheState::Cold)));
    planned.extend(warm.map(|spec| chosen(spec, CacheState::Warm)));
    planned
}

/// The most bytes of inputs of a warm case: what the largest last-level caches of today hold.
const MOST_WARM_BYTES: u64 = 256 << 20;

/// Whether a case is measured warm as well. Such a case streams weights or a cache once, so that caches matter most, and
/// some device's last-level cache can hold its inputs.
fn runs_warm(spec: &CaseSpec) -> bool {
    let streams = matches!(spec.kernel.name(), "gate_up" | "decode");
    let fits = || spec.kernel.plan(spec.variant, spec.element).input_bytes() <= MOST_WARM_BYTES;
    streams
        && spec.phase == KernelPhase::Decode
        && matches!(spec.element, StorageType::F32 | StorageType::F16)
        && fits()
}

/// The least memory, in bytes, that inputs rotate over: more than the last-level cache of a server CPU on a software
/// adapter; elsewhere more than the largest cache of most GPUs and many times the one that was measured, but no more than
/// [`memory_share`].
pub(super) fn rotation_bytes(device: &Device, cache: Option<Bytes>) -> u64 {
    if device.device_type == DeviceType::Software {
        return 64 << 20;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a measured working set, at most 512 MiB"
    )]
    let cache = cache.map_or(0, |cache| cache.get() as u64);
    cache.saturating_mul(CACHES_APART).max(512 << 20).min(memory_share(device))
}

/// Inputs rotate over this many times the last-level cache, so that little of them stays cached between two uses.
const CACHES_APART: u64 = 8;
/// The bytes that probes and rotations may take where the memory of the device is unknown.
const UNKNOWN_MEMORY_SHARE: u64 = 1 << 30;

/// The bytes that probes and rotations may take of a device's memory: a quarter.
pub(super) fn memory_share(device: &Device) -> u64 {
    device.memory_bytes.map_or(UNKNOWN_MEMORY_SHARE, |memory| memory / 4)
}

/// The number of sets of inputs that together exceed `rotation_bytes`, at most [`MAX_SETS`]; one for a warm case.
pub(super) fn buffer_sets(plan: &Plan, rotation_bytes: u64, cache: CacheState) -> u32 {
    if cache == CacheState::Warm {
        return 1;
    }
    let inputs = plan.input_bytes().max(1);
    u32::try_from(rotation_bytes.div_ceil(inputs).clamp(1, MAX_SETS)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kernels::matmul::{Matmul, MatmulRole};

    fn smoke(selection: &Selection) -> Vec<PlannedCase> {
        cases(Preset::Smoke, selection, &[], &PlannedFor::anything()).unwrap()
    }

    const ALL: [Selection; 3] = [Selection::Tuned, Selection::Default, Selection::AllVariants];

    #[test]
    fn ids_are_unique_whatever_is_selected() {
        for selection in ALL {
            for preset in Preset::ALL {
                let planned = cases(preset, &selection, &[], &PlannedFor::anything()).unwrap();
                let ids: BTreeSet<&str> = planned.iter().map(|case| &*case.id).collect();
                assert_eq!(ids.len(), planned.len(), "{preset:?} {selection:?}");
            }
        }
    }

    #[test]
    fn a_trial_covers_every_variant_once_and_begins_with_the_default() {
        let all = smoke(&Selection::AllVariants);
        let tuned = smoke(&Selection::Tuned);
        let cold = |planned: &[PlannedCase]| planned.iter().filter(|case| case.cache == CacheState::Cold).count();
        let candidates = |planned: &[PlannedCase]| -> usize {
            planned.iter().filter(|case| case.cache == CacheState::Cold).map(|case| case.candidates.len()).sum()
        };
        assert_eq!(candidates(&tuned), candidates(&all));
        assert!(cold(&tuned) * 2 < cold(&all));
        for case in &tuned {
            assert_eq!(case.candidates.first().copied(), Some(case.spec.kernel.default_variant(&Target::default())));
            assert!(case.id.contains("/best/"), "{}", case.id);
        }
    }

    #[test]
    fn a_few_cases_are_warm_and_say_so_in_their_id() {
        let planned = smoke(&Selection::Tuned);
        let warm: Vec<&PlannedCase> = planned.iter().filter(|case| case.cache == CacheState::Warm).collect();
        assert!((2..=16).contains(&warm.len()), "{}", warm.len());
        assert!(warm.iter().all(|case| case.id.ends_with("/warm")));
    }

    #[test]
    fn a_case_whose_inputs_no_cache_holds_is_not_run_warm() {
        let spec = |tokens: usize, hidden: usize| CaseSpec {
            kernel: Arc::new(Matmul { role: MatmulRole::GateUp, ..Matmul::dense(tokens, hidden, 4096) }),
            variant: "streamed_8x256",
            element: StorageType::F32,
            family: Family::ExpertMatmul,
            label: "m".to_owned(),
            phase: KernelPhase::Decode,
            scale_divisor: 1,
        };
        // Gate and up: two matrices of 4 bytes per element.
        let [fits, too_large] = [4096, 16_384].map(|hidden| spec(1, hidden));
        assert!(runs_warm(&fits));
        assert!(!runs_warm(&too_large));
        let planned = cases(Preset::Full, &Selection::Tuned, &[], &PlannedFor::anything()).unwrap();
        let bytes = |case: &PlannedCase| case.spec.kernel.plan(case.spec.variant, case.spec.element).input_bytes();
        let warm = planned.iter().filter(|case| case.cache == CacheState::Warm);
        assert!(warm.map(bytes).max().is_some_and(|most| most <= MOST_WARM_BYTES));
    }

    fn device(device_type: DeviceType) -> Device {
        Device { device_type, ..super::super::fake::device() }
    }

    #[test]
    fn inputs_rotate_past_the_cache_that_was_seen_and_stay_within_a_share_of_memory() {
        let mib = |size: u64| Bytes::new((size << 20) as f64);
        let discrete = device(DeviceType::Discrete);
        let rotation = |cache| rotation_bytes(&discrete, cache) >> 20;
        assert_eq!([None, Some(mib(32)), Some(mib(96)), Some(mib(512))].map(rotation), [512, 512, 768, 1024]);
        assert_eq!(rotation_bytes(&device(DeviceType::Software), Some(mib(64))), 64 << 20);
        let small = Device { memory_bytes: Some(1 << 30), ..device(DeviceType::Integrated) };
        assert_eq!((memory_share(&small), rotation_bytes(&small, Some(mib(512)))), (256 << 20, 256 << 20));
    }

    #[test]
    fn a_variant_by_name_leaves_kernels_without_it_out_and_an_unknown_one_is_an_error() {
        let named = |variant: &str| {
            let selection = Selection::Named { variant: variant.to_owned() };
            cases(Preset::Smoke, &selection, &[], &PlannedFor::anything())
        };
        assert!(named("tiled").unwrap().iter().all(|case| case.spec.variant == "tiled"));
        assert!(matches!(named("tilde"), Err(PlanError::NoVariant(_))));
    }
}
