//! Headline figures as OpenMetrics text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), for a scrape or the
//! textfile collector: ceilings, the fastest variant of each kernel, and how many cases were measured.

use std::fmt::Write as _;

use crate::record::{Case, CeilingKind, Record};
use crate::report::cases::best;
use crate::report::text::clean;

/// One metric family. Its unit, where it has one, is the end of its name.
struct MetricFamily {
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
    help: &'static str,
    samples: fn(&Record) -> Vec<Sample>,
}

/// Labels besides those of the record, and the value.
type Sample = (Vec<(&'static str, String)>, f64);

const FAMILIES: [MetricFamily; 9] = [
    MetricFamily {
        name: "supernode_record",
        kind: "info",
        unit: "",
        help: "Where the figures come from",
        samples: |record| vec![(provenance(record), 1.0)],
    },
    MetricFamily {
        name: "supernode_measured_timestamp_seconds",
        kind: "gauge",
        unit: "seconds",
        help: "Start of the run, seconds since 1970",
        samples: |record| started(record).map(|at| (Vec::new(), at)).into_iter().collect(),
    },
    MetricFamily {
        name: "supernode_cases",
        kind: "gauge",
        unit: "",
        help: "Kernel cases by outcome",
        samples: |record| {
            let counts = [
                ("measured", record.cases.len()),
                ("left_out", record.left_out.len()),
                ("rejected", record.rejected.len()),
            ];
            counts.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count as f64)).into()
        },
    },
    MetricFamily {
        name: "supernode_ceiling_flop_per_second",
        kind: "gauge",
        unit: "flop_per_second",
        help: "Measured arithmetic roof",
        samples: |record| ceilings(record, is_arithmetic),
    },
    MetricFamily {
        name: "supernode_ceiling_bytes_per_second",
        kind: "gauge",
        unit: "bytes_per_second",
        help: "Measured memory roof",
        samples: |record| ceilings(record, is_memory),
    },
    MetricFamily {
        name: "supernode_launch_seconds",
        kind: "gauge",
        unit: "seconds",
        help: "Measured cost of an empty launch",
        samples: |record| ceilings(record, is_launch),
    },
    MetricFamily {
        name: "supernode_kernel_seconds",
        kind: "gauge",
        unit: "seconds",
        help: "Median time of the fastest variant",
        samples: |record| kernels(record, |case| case.timing.median_s.get()),
    },
    MetricFamily {
        name: "supernode_kernel_flop_per_second",
        kind: "gauge",
        unit: "flop_per_second",
        help: "Useful arithmetic of the fastest variant over its median time",
        samples: |record| kernels(record, |case| case.achieved.flop_per_s.get()),
    },
    MetricFamily {
        name: "supernode_kernel_roofline_ratio",
        kind: "gauge",
        unit: "ratio",
        help: "Share of the measured roofline that the fastest variant reaches",
        samples: |record| kernels(record, |case| case.achieved.fraction_of_roofline),
    },
];

/// The exposition of some records, each with the name of its file.
pub fn openmetrics(records: &[(String, Record)]) -> String {
    let mut out = String::new();
    for family in &FAMILIES {
        let _ = writeln!(out, "# TYPE {} {}", family.name, family.kind);
        if !family.unit.is_empty() {
            let _ = writeln!(out, "# UNIT {} {}", family.name, family.unit);
        }
        let _ = writeln!(out, "# HELP {} {}", family.name, family.help);
        let suffix = if family.kind == "info" { "_info" } else { "" };
        for (file, record) in records {
            for (labels, value) in (family.samples)(record) {
                let own = [("file", clean(file)), ("device", clean(&record.device.name))];
                let labels: Vec<String> = own
                    .into_iter()
                    .chain(labels)
                    .map(|(name, text)| format!("{name}=\"{}\"", escaped(&text)))
                    .collect();
                let _ = writeln!(out, "{}{suffix}{{{}}} {value}", family.name, labels.join(","));
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn provenance(record: &Record) -> Vec<(&'static str, String)> {
    let device = &record.device;
    vec![
        ("vendor", clean(&device.vendor)),
        ("backend", clean(&device.backend)),
        ("driver", clean(&format!("{} {}", device.driver, device.driver_info))),
        ("software", record.is_software().to_string()),
        ("complete", record.complete.to_string()),
        ("tool_version", clean(&record.tool.version)),
        ("git_commit", clean(record.tool.git_commit.as_deref().unwrap_or_default())),
    ]
}

fn started(record: &Record) -> Option<f64> {
    let at: jiff::Timestamp = record.created_at.parse().ok()?;
    Some(at.as_second() as f64)
}

const fn is_arithmetic(kind: CeilingKind) -> bool {
    !is_memory(kind) && !is_launch(kind)
}

const fn is_memory(kind: CeilingKind) -> bool {
    matches!(kind, CeilingKind::MemoryRead | CeilingKind::MemoryCopy)
}

const fn is_launch(kind: CeilingKind) -> bool {
    matches!(kind, CeilingKind::Launch | CeilingKind::Submit)
}

fn ceilings(record: &Record, belongs: fn(CeilingKind) -> bool) -> Vec<Sample> {
    let roofs = record.ceilings.iter().filter(|(kind, _)| belongs(**kind));
    roofs.map(|(kind, roof)| (vec![("kind", kind.label().to_owned())], roof.value)).collect()
}

fn kernels(record: &Record, value: fn(&Case) -> f64) -> Vec<Sample> {
    let best = best(record);
    let fastest = record.cases.iter().filter(|case| best.all.contains(&*case.id));
    fastest
        .map(|case| {
            let labels = vec![
                ("id", clean(&case.id)),
                ("family", case.family.to_string()),
                ("kernel", clean(&case.kernel)),
                ("variant", clean(&case.variant)),
                ("element", case.element.to_string()),
                ("model", clean(&case.model)),
                ("phase", case.phase.to_string()),
            ];
            (labels, value(case))
        })
        .collect()
}
