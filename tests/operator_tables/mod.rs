//! Made-up tables in the layout of aiconfigurator's operators.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

/// One column of a table in aiconfigurator's layout.
pub(crate) enum Column {
    Text(Vec<String>),
    Integer(Vec<i64>),
    Number(Vec<f64>),
}

pub(crate) fn write_table(path: &Path, columns: &[(&str, Column)]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fields = columns.iter().map(|(name, column)| {
        let (physical, logical) = match column {
            Column::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Column::Integer(_) => (Physical::INT64, None),
            Column::Number(_) => (Physical::DOUBLE, None),
        };
        let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        Arc::new(builder.with_logical_type(logical).build().unwrap())
    });
    let schema = Type::group_type_builder("table").with_fields(fields.collect()).build().unwrap();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), Arc::new(schema), properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, column) in columns {
        let mut target = group.next_column().unwrap().unwrap();
        match column {
            Column::Text(values) => {
                let values: Vec<ByteArray> = values.iter().map(|text| ByteArray::from(text.as_str())).collect();
                let levels = vec![1; values.len()];
                target.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            }
            Column::Integer(values) => {
                target.typed::<Int64Type>().write_batch(values, Some(&vec![1; values.len()]), None).unwrap();
            }
            Column::Number(values) => {
                target.typed::<DoubleType>().write_batch(values, Some(&vec![1; values.len()]), None).unwrap();
            }
        }
        target.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

/// Milliseconds of a product in the made-up tables: a fixed part, and its arithmetic.
pub(crate) fn gemm_ms(m: i64, n: i64, k: i64) -> f64 {
    0.02 + (m * n * k) as f64 / 2.0e11
}

/// A table of products in bf16, `factor` times as slow as [`gemm_ms`].
fn gemm(path: &Path, factor: f64) {
    let (mut sizes, mut times) = ([vec![], vec![], vec![]], Vec::new());
    for m in [1, 16, 64, 256, 4096] {
        for n in [1024, 4096, 6144, 14336, 28672, 128_256] {
            for k in [4096, 14336] {
                for (list, size) in sizes.iter_mut().zip([m, n, k]) {
                    list.push(size);
                }
                times.push(gemm_ms(m, n, k) * factor);
            }
        }
    }
    let [m, n, k] = sizes;
    let types = vec!["bfloat16".to_owned(); times.len()];
    write_table(
        path,
        &[
            ("gemm_dtype", Column::Text(types)),
            ("m", Column::Integer(m)),
            ("n", Column::Integer(n)),
            ("k", Column::Integer(k)),
            ("latency", Column::Number(times)),
        ],
    );
}

/// Tables below `data`: products of two systems, a copy of one for a third, and a file that nobody has a use for.
pub(crate) fn tables(data: &Path) {
    let at = |system: &str| data.join(system).join("gemm/vllm/0.24.0/gemm_perf.parquet");
    gemm(&at("h200_sxm"), 1.0);
    gemm(&at("b200_sxm"), 0.6);
    gemm(&at("h100_sxm"), 0.6);
    gemm(&data.join("h200_sxm/quantize/vllm/0.24.0/scale_matrix_perf.parquet"), 1.0);
}
