//! A measured deployment as its file describes it.

use crate::printable::printable;

/// The most rows that are read.
const MOST_ROWS: usize = 1_000_000;
/// No degree, batch or length of a deployment is larger.
const LARGEST: f64 = 1e9;

/// How prefill and decode share chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Both on the same chips.
    Aggregated,
    /// Each on chips of its own.
    Disaggregated,
}

impl Sharing {
    /// The name in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::Disaggregated => "disaggregated",
        }
    }
}

/// Parallel degrees as written; 1 where the cell is empty or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Degrees {
    /// Tensor parallelism of attention.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Replicas of attention.
    pub dp: u32,
    /// Ranks that split each expert.
    pub moe_tp: u32,
    /// Groups that share the experts.
    pub moe_ep: u32,
}

impl Degrees {
    /// Ranks of a pipeline stage.
    pub const fn ranks(&self) -> u32 {
        self.tp.saturating_mul(self.dp)
    }
}

/// Workers of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workers {
    /// How many; `None` where the cell is empty.
    pub count: Option<u32>,
    /// Sequences of one; `None` where the cell is empty.
    pub batch: Option<f64>,
    /// Degrees of one.
    pub degrees: Degrees,
}

/// One measured deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Line of the file, the header being the first.
    pub line: u64,
    /// Model, a path on Hugging Face.
    pub model: String,
    /// System: chip and node.
    pub system: String,
    /// Serving framework.
    pub framework: String,
    /// Its version; may be empty.
    pub version: String,
    /// Precision in short; may be empty.
    pub precision: String,
    /// Type of the weights of products; may be empty.
    pub product_type: String,
    /// Type of the weights of experts; may be empty.
    pub expert_type: String,
    /// How prefill and decode share chips.
    pub sharing: Sharing,
    /// Tokens of a prompt.
    pub prompt_len: f64,
    /// Tokens of an answer.
    pub output_len: f64,
    /// Requests in flight; `None` where the cell is empty.
    pub concurrency: Option<f64>,
    /// Those that decode: all, where aggregated.
    pub decode: Workers,
    /// Those that prefill: the same, where aggregated.
    pub prefill: Workers,
    /// Measured time to the first token, seconds.
    pub ttft_s: f64,
    /// Measured time per output token, seconds.
    pub tpot_s: f64,
}

/// The rows of a CSV file in the columns of aiconfigurator's silicon tables.
///
/// # Errors
/// One line: which line and column, and what it should hold.
pub fn parse(text: &str) -> Result<Vec<Row>, String> {
    // The reader counts lines of one line feed.
    let text = text.replace("\r\n", "\n");
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let told = |error: &csv::Error| printable(&format!("not a CSV file: {error}; give one with a header"), 300);
    let header = reader.headers().map_err(|error| told(&error))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| told(&error))?;
        if rows.len() == MOST_ROWS {
            return Err(format!("more than {MOST_ROWS} rows; split the file"));
        }
        let line = record.position().map_or(0, csv::Position::line);
        rows.push(Cells { header: &header, record: &record, line }.row()?);
    }
    if rows.is_empty() { Err("no rows; give a table with at least one".to_owned()) } else { Ok(rows) }
}

/// One line of the file.
struct Cells<'a> {
    header: &'a csv::StringRecord,
    record: &'a csv::StringRecord,
    line: u64,
}

impl Cells<'_> {
    fn row(&self) -> Result<Row, String> {
        let sharing = match self.text("mode")? {
            "agg" => Sharing::Aggregated,
            "disagg" => Sharing::Disaggregated,
            other => return Err(self.bad("mode", other, "give agg or disagg")),
        };
        let (prefill, decode) = if sharing == Sharing::Aggregated {
            let workers = Workers { count: Some(1), batch: None, degrees: self.degrees("")? };
            (workers, workers)
        } else {
            (self.workers("prefill_")?, self.workers("decode_")?)
        };
        Ok(Row {
            line: self.line,
            model: self.name("model_path")?,
            system: self.name("system")?,
            framework: self.name("backend")?,
            version: self.label("backend_version")?,
            precision: self.label("precision")?,
            product_type: self.label("gemm_quant_mode")?,
            expert_type: self.label("moe_quant_mode")?,
            sharing,
            prompt_len: self.positive("isl")?,
            output_len: self.positive("osl")?,
            concurrency: self.optional("concurrency")?,
            decode,
            prefill,
            ttft_s: self.positive("ttft_ms")? / 1e3,
            tpot_s: self.positive("tpot_ms")? / 1e3,
        })
    }

    fn workers(&self, prefix: &str) -> Result<Workers, String> {
        Ok(Workers {
            count: self.optional_count(&format!("{prefix}num_workers"))?,
            batch: self.optional(&format!("{prefix}batch_size"))?,
            degrees: self.degrees(prefix)?,
        })
    }

    fn degrees(&self, prefix: &str) -> Result<Degrees, String> {
        let of = |name: &str| Ok::<_, String>(self.optional_count(&format!("{prefix}{name}"))?.unwrap_or(1));
        Ok(Degrees {
            tp: of("tp_size")?,
            pp: of("pp_size")?,
            dp: of("attention_dp_size")?,
            moe_tp: of("moe_tp_size")?,
            moe_ep: of("moe_ep_size")?,
        })
    }

    /// The text of a cell.
    fn text(&self, column: &str) -> Result<&str, String> {
        let index = self.header.iter().position(|name| name.trim() == column);
        let index = index.ok_or_else(|| format!("no column {column}; give the columns of silicon tables"))?;
        Ok(self.record.get(index).unwrap_or_default().trim())
    }

    /// A text that may be empty, fit to be shown.
    fn label(&self, column: &str) -> Result<String, String> {
        Ok(printable(self.text(column)?, 100))
    }

    /// A text that may not be empty.
    fn name(&self, column: &str) -> Result<String, String> {
        let text = self.label(column)?;
        if text.is_empty() { Err(self.bad(column, "", "give a name")) } else { Ok(text) }
    }

    /// A number of at least 0, or an empty cell.
    fn optional(&self, column: &str) -> Result<Option<f64>, String> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        let value = text.parse::<f64>().ok().filter(|value| (0.0..=LARGEST).contains(value));
        let value = value.ok_or_else(|| self.bad(column, text, "give a number from 0 to 1e9"))?;
        Ok((value > 0.0).then_some(value))
    }

    fn positive(&self, column: &str) -> Result<f64, String> {
        self.optional(column)?.ok_or_else(|| self.bad(column, self.text(column).unwrap_or(""), "give a number above 0"))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 1 to 1e9")]
    fn optional_count(&self, column: &str) -> Result<Option<u32>, String> {
        let value = self.optional(column)?;
        match value {
            Some(value) if value.fract() != 0.0 => Err(self.bad(column, self.text(column)?, "give a whole number")),
            value => Ok(value.map(|value| value as u32)),
        }
    }

    fn bad(&self, column: &str, value: &str, remedy: &str) -> String {
        printable(&format!("line {}, column {column}: `{value}`: {remedy}", self.line), 300)
    }
}
