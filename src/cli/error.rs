//! Why a command ended early, and its exit code.

use std::process::ExitCode;

use crate::printable::is_unprintable;
use crate::specs::SpecError;

/// Why a command ended early. Printed once, by `main`, as one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that was given, or that the machine lacks: what, where, and what to do. Exit code 2.
    #[error("{0}")]
    Input(String),
    /// The work was done and the answer is no, e.g. a kernel that failed verification. Exit code 1.
    #[error("{0}")]
    Negative(String),
    /// Ctrl-C. Exit code 130.
    #[error("{0}")]
    Interrupted(String),
    /// One of these on another rank of a fleet as well, which has told it.
    #[error("{0}")]
    Told(Box<Error>),
}

impl Error {
    /// Whether another process has told it already.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Told(_))
    }

    /// The message for a terminal. Paths and texts of files in it may be a stranger's, so of the characters that steer a
    /// terminal only line feeds are left.
    pub fn shown(&self) -> String {
        let tame = |c: char| if c != '\n' && is_unprintable(c) { ' ' } else { c };
        self.to_string().chars().map(tame).collect()
    }

    /// The exit code, one for each of the three.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Negative(_) => ExitCode::from(1),
            Self::Input(_) => ExitCode::from(2),
            Self::Interrupted(_) => ExitCode::from(130),
            Self::Told(error) => error.exit_code(),
        }
    }
}

impl From<SpecError> for Error {
    fn from(error: SpecError) -> Self {
        Self::Input(error.to_string())
    }
}
