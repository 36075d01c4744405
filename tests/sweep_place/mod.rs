//! What the tests of sweeps share.

use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a grid, and the program in it.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    /// A folder with this grid as sweep.toml.
    pub(crate) fn new(spec: &str) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("sweep.toml"), spec).unwrap();
        Self { dir }
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `supernode sweep sweep.toml` with these arguments, outside of a job array.
    pub(crate) fn sweep(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("supernode").unwrap();
        command.current_dir(&self.dir).env_remove("SLURM_ARRAY_TASK_ID").args(["sweep", "sweep.toml"]).args(arguments);
        command
    }

    /// What it prints.
    pub(crate) fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        self.sweep(arguments).assert().success().get_output().stdout.clone()
    }

    /// The one line that it refuses with.
    pub(crate) fn line_of_error(&self, arguments: &[&str]) -> String {
        let error = self.sweep(arguments).assert().code(2).stdout("").get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        error
    }
}

/// The rows of JSON Lines.
pub(crate) fn rows(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}
