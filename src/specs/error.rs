//! What can be wrong with a file of facts, each in one line.

/// Why a model, chip or fabric could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Neither a known name nor the path of a file.
    #[error("no {kind} is called `{name}`; give one of {known}, or the path of a {format} file")]
    Unknown {
        /// `model`, `chip` or `fabric`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// The names that exist.
        known: String,
        /// What a file of one's own must be.
        format: &'static str,
    },
    /// The file is there but cannot be read.
    #[error("cannot read {file}: {reason}")]
    Read {
        /// The path.
        file: String,
        /// The system's reason.
        reason: String,
    },
    /// Not JSON or TOML, or a key that does not exist.
    #[error("{file}: {reason}")]
    Syntax {
        /// The path or name.
        file: String,
        /// The parser's reason with its place.
        reason: String,
    },
    /// A field that the file must have.
    #[error("{file}: `{field}` is missing; {remedy}")]
    Missing {
        /// The path or name.
        file: String,
        /// The field.
        field: String,
        /// What to write.
        remedy: String,
    },
    /// A field that cannot be so.
    #[error("{file}: `{field}` is {value}; {remedy}")]
    Value {
        /// The path or name.
        file: String,
        /// The field.
        field: String,
        /// What it is.
        value: String,
        /// What it must be.
        remedy: String,
    },
    /// An architecture that the closed forms do not cover.
    #[error("{file}: architecture `{architecture}` is not supported; supported `model_type`s are {supported}")]
    Architecture {
        /// The path or name.
        file: String,
        /// Its `model_type`.
        architecture: String,
        /// Those that work.
        supported: String,
    },
}

/// Text of a file that a user named, with a guard against devices and huge files.
///
/// # Errors
/// [`SpecError::Read`].
pub(super) fn read_small_file(path: &std::path::Path) -> Result<String, SpecError> {
    const LIMIT_BYTES: u64 = 4 << 20;
    let fail = |reason: String| SpecError::Read { file: path.display().to_string(), reason };
    let metadata = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if !metadata.is_file() {
        return Err(fail("it is not a file; give the path of one".to_owned()));
    }
    if metadata.len() > LIMIT_BYTES {
        return Err(fail(format!("it has {} bytes, which is no specification; give a smaller file", metadata.len())));
    }
    std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))
}

/// Whether `name` can only be meant as a path.
pub(super) fn looks_like_path(name: &str) -> bool {
    name.contains(['/', '\\'])
        || name.ends_with(".json")
        || name.ends_with(".toml")
        || std::path::Path::new(name).exists()
}
