//! The places of the charts: what each shows in words, for those who cannot see it, and what its figures are.
//! The script fills them; without it the tables say the same.

use maud::{Markup, html};

use crate::kernels::Family;
use crate::projection::outlook::Outlook;
use crate::projection::{Phase, Projection};
use crate::record::{DeviceType, Record};
use crate::report::numbers::grouped_digits;
use crate::report::projected::ProjectionPair;
use crate::report::text::clean;
use crate::report::words;
use crate::units::Seconds;

/// An empty place for a chart. `index` says which of the data's entries it draws.
fn place(chart: &str, index: usize, label: &str) -> Markup {
    html! { div.chart data-chart=(chart) data-index=(index) role="img" aria-label=(label) {} }
}

/// Whether the figures of a chart are measured or projected, and their caveats.
fn kind(is_measured: bool, caveats: &[impl ToString]) -> Markup {
    let (class, word) = if is_measured { ("badge measured", "measured") } else { ("badge projected", "projected") };
    html! {
        span class=(class) { (word) } " "
        @for caveat in caveats { strong { (clean(&caveat.to_string())) ". " } }
    }
}

/// Caveats that each figure of this device carries.
fn of_device(record: &Record) -> Vec<String> {
    let mut list = Vec::new();
    if record.device.device_type == DeviceType::Software {
        list.push(format!("A {}: these figures say nothing about a GPU", words::device_type(DeviceType::Software)));
    }
    if !record.complete {
        list.push("Not complete: some planned cases are missing".to_owned());
    }
    list
}

fn families() -> Markup {
    html! {
        @for family in [Family::Gating, Family::ExpertMatmul, Family::Attention] {
            li { span class={ "key " (family) } {} (words::family(family)) }
        }
    }
}

/// The roofline of one record.
pub(super) fn roofline(record: &Record, index: usize) -> Markup {
    let label = format!(
        "Roofline of {}: rate over arithmetic intensity of its cases, under the measured ceilings; the table of all figures has each",
        clean(&record.device.name)
    );
    html! {
        figure {
            ul.legend { (families()) li.note { "hollow f32, filled narrower; pale where another variant is faster" } }
            (place("roofline", index, &label))
            figcaption {
                (kind(true, &of_device(record)))
                "Each mark is one kernel case, the lines are the ceilings measured in the same run. "
                "The nearer to its line, the better; above it, see the caveats. Whole layers, warm cases and cases without "
                "floating-point work are in the table only."
            }
        }
    }
}

/// How near each case of a record comes to its roofline.
pub(super) fn bars(record: &Record, index: usize) -> Markup {
    let label = format!(
        "Fraction of the roofline that the fastest variant of each kernel reaches on {}",
        clean(&record.device.name)
    );
    html! {
        figure {
            (place("bars", index, &label))
            figcaption {
                (kind(true, &of_device(record)))
                "Fraction of the roofline, fastest variant of each case; the whisker is the 95 % interval of the median."
            }
        }
    }
}

/// How samples spread.
pub(super) fn samples(record: &Record, index: usize) -> Markup {
    let label = format!("Spread of the samples of each kernel around its median on {}", clean(&record.device.name));
    html! {
        figure {
            (place("samples", index, &label))
            figcaption {
                (kind(true, &of_device(record)))
                "Every stroke is one sample over the median of its case, fastest variants only; the dot is the median, with "
                "its 95 % interval. Samples beyond the axis stand at its end."
            }
        }
    }
}

/// Several records side by side.
pub(super) fn devices(records: &[Record]) -> Markup {
    let names: Vec<String> = records.iter().map(|record| clean(&record.device.name)).collect();
    let label = format!("Fraction of its own roofline that each device reaches by case: {}", names.join(", "));
    let mut caveats: Vec<String> = records.iter().flat_map(of_device).collect();
    caveats.sort();
    caveats.dedup();
    html! {
        figure {
            ul.legend { @for (i, name) in names.iter().enumerate() { li { span class={ "key device-" (i % 6) } {} (name) } } }
            (place("devices", 0, &label))
            figcaption {
                (kind(true, &caveats))
                "Each row is a question that at least two devices answered, each with its fastest variant, as a fraction of "
                "that device's own roofline."
            }
        }
    }
}

/// The parts of all projections of a phase.
pub(super) fn terms(pairs: &[&ProjectionPair], index: usize, phase: Phase) -> Markup {
    let shown: Vec<&Projection> =
        pairs.iter().flat_map(|pair| std::iter::once(&pair.on_fabric).chain(&pair.on_baseline)).collect();
    let Some(first) = shown.first() else { return html! {} };
    let label = format!(
        "{}: chip time per token by its parts, for {} projections",
        words::capitalised(words::phase(phase)),
        shown.len()
    );
    html! {
        figure {
            ul.legend {
                @for (i, (name, _)) in first.terms_s.named().into_iter().enumerate() {
                    @if shown.iter().any(|one| one.terms_s.named()[i].1.is_positive()) {
                        li { span class={ "key " (name) } {} (words::term(name)) }
                    }
                }
            }
            (place("terms", index, &label))
            figcaption {
                (kind(false, &[""; 0]))
                "Time that one chip spends on one token, by its parts; shorter is better."
            }
        }
    }
}

/// One slider with its value in words.
fn slider(name: &str, label: &str, range: [f64; 3], value: f64) -> Markup {
    let id = format!("what-if-{name}");
    let [least, most, step] = range;
    html! {
        div.slider {
            label for=(id) { (label) }
            input type="range" id=(id) min=(least) max=(most) step=(step) value=(value);
            output for=(id) id={ (id) "-value" } {}
        }
    }
}

/// The panel of what-ifs.
pub(super) fn what_if(outlook: &Outlook) -> Markup {
    let axes = &outlook.surface.axes;
    let last = |count: usize| (count.saturating_sub(1)) as f64;
    let start = axes.batches_per_chip.iter().position(|batch| *batch == outlook.plan.batch_per_chip).unwrap_or(0);
    // Whole steps, so that the factor 1 is a position of its own.
    let reach = |factors: &[f64]| factors.last().map_or(0.0, |factor| (factor.log10() * 100.0 + 1e-6).floor() / 100.0);
    let (wide, late) = (reach(&axes.bandwidth_factors), reach(&axes.latency_factors));
    let chips = last(axes.chips.len());
    html! {
        figure #what-if {
            noscript { p.note { "The panel needs its script, which this browser does not run." } }
            form.sliders {
                (slider("bandwidth", "Bandwidth of the fabric", [-wide, wide, 0.01], 0.0))
                (slider("latency", "Latency and fixed costs", [-late, late, 0.01], 0.0))
                (slider("chips", "Chips", [0.0, chips, 1.0], chips))
                (slider("batch", "Sequences per chip", [0.0, last(axes.batches_per_chip.len()), 1.0], start as f64))
                button type="reset" { "As it is" }
            }
            dl.tiles aria-live="polite" {
                div { dt { "tokens/s per chip" } dd #what-if-rate { "-" } }
                div { dt { "time per output token" } dd #what-if-tpot { "-" } }
                div { dt { "over " (clean(&outlook.baseline)) " as it is" } dd #what-if-speedup { "-" } }
                div { dt { "all chips together" } dd #what-if-total { "-" } }
            }
            (place("what_if", 0, "Throughput over the bandwidth of the fabric, at the latency, chips and batch of the sliders"))
            figcaption {
                (kind(false, &outlook.caveats))
                (clean(&outlook.model)) " decode on " (clean(&outlook.chip)) ", " (outlook.number_type.name()) ", "
                (clean(&outlook.fabric)) ". TP " (outlook.surface.tp) " and PP " (outlook.surface.pp)
                " are those of the best plan; expert parallelism and micro-batches are chosen anew at every point. Factors act "
                "on all tiers. "
                span #what-if-by {
                    @if outlook.surface.tokens_per_s_per_chip.is_empty() {
                        "The model itself answers as soon as it is loaded; a browser without WebAssembly has no answers here."
                    } @else {
                        "Between the points of a grid that the model computed, the page interpolates: within 2 % of the model."
                    }
                }
            }
        }
    }
}

/// Latency against throughput.
pub(super) fn front(outlook: &Outlook) -> Markup {
    let label = format!(
        "Throughput over time per output token of {} on {}: the best plans on each fabric",
        clean(&outlook.model),
        clean(&outlook.chip)
    );
    html! {
        figure {
            ul.legend {
                @for (i, front) in outlook.fronts.iter().enumerate() { li { span class={ "key device-" (i) } {} (clean(&front.fabric)) } }
            }
            (place("front", 0, &label))
            figcaption {
                (kind(false, &outlook.caveats))
                "Plans that no other plan beats in both; up and to the left is better. "
                @for front in &outlook.fronts {
                    @if let (Some(first), Some(last)) = (front.candidates.first(), front.candidates.last()) {
                        (clean(&front.fabric)) ": from " (Seconds::new(first.latency_s)) " per token at "
                        (grouped_digits(first.tokens_per_s_per_chip)) " tokens/s per chip to "
                        (Seconds::new(last.latency_s)) " at " (grouped_digits(last.tokens_per_s_per_chip)) ". "
                    }
                }
            }
        }
    }
}

/// A few layers in time.
pub(super) fn timeline(outlook: &Outlook) -> Markup {
    let label = format!(
        "Schedule of a few layers of {} decode on one rank of {}",
        clean(&outlook.model),
        clean(&outlook.fabric)
    );
    let plan = &outlook.plan;
    html! {
        figure {
            ul.legend {
                li { span.key.expert_matmul {} "compute" }
                li { span.key.dispatch {} "communication" }
                li.note { "the second micro-batch is paler" }
            }
            (place("timeline", 0, &label))
            figcaption {
                (kind(false, &outlook.caveats))
                "The best plan under 50 ms per token where there is one (TP " (plan.tp) " PP " (plan.pp) " EP " (plan.ep) ", "
                (plan.microbatches) " micro-batch(es), " (grouped_digits(plan.batch_per_chip)) " sequences per chip). "
                "Communication that lies under compute costs nothing. " code { "supernode project --trace" } " writes it for Perfetto."
            }
        }
    }
}
