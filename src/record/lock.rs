//! One writer per document. The operating system holds the lock of a run, so it ends with its process, however that ends.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::printable::printable;

/// Held for as long as a run writes to a document.
#[derive(Debug)]
pub struct Lock {
    /// The open file and its path; `None` where there is nothing to lock: a device, a pipe, a file system without locks.
    held: Option<(File, PathBuf)>,
}

/// Another run writes to the document.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: another supernode{} is writing to it; wait for its end, or give another place with -o",
    printable(&path.display().to_string(), 200),
    process.map_or(String::new(), |process| format!(" (process {process})"))
)]
pub struct Locked {
    /// The document.
    pub path: PathBuf,
    /// The process that holds it, where the lock names it.
    pub process: Option<u32>,
}

impl Lock {
    /// Takes the lock of the document at `path`: a file `.NAME.lock` in the same folder. A file that a dead process left is
    /// no hindrance.
    ///
    /// # Errors
    /// [`Locked`] while another process holds it. A folder that cannot be written to is no error here but where the
    /// document is written.
    pub fn take(path: &Path) -> Result<Self, Locked> {
        let none = Self { held: None };
        let Some(name) = path.file_name() else { return Ok(none) };
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Ok(none);
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".lock");
        let beside = path.with_file_name(hidden);
        loop {
            let opened = File::options().read(true).write(true).create(true).truncate(false).open(&beside);
            let Ok(mut file) = opened else { return Ok(none) };
            match file.try_lock() {
                // Whoever held it may have removed the file between the two calls: then this is a lock on nothing.
                Ok(()) if !is_at(&file, &beside) => {}
                Ok(()) => {
                    // Only for the message of whoever comes second.
                    let _ = write_process(&mut file);
                    return Ok(Self { held: Some((file, beside)) });
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Locked { path: path.to_path_buf(), process: read_process(&mut file) });
                }
                Err(TryLockError::Error(_)) => return Ok(none),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.held {
            // Before the lock is let go, so that nobody's file but our own is removed. One that stays does no harm.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().is_ok_and(|a| fs::metadata(path).is_ok_and(|b| same(a, b)))
}

/// Elsewhere a file that is open cannot be removed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

fn write_process(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    write!(file, "{}", std::process::id())
}

fn read_process(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_who_the_first_is_and_a_lock_that_was_left_behind_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        // As a killed process leaves it.
        fs::write(folder.path().join(".a.json.lock"), "4242").unwrap();
        let first = Lock::take(&path).unwrap();
        let locked = Lock::take(&path).unwrap_err();
        assert_eq!(locked.process, Some(std::process::id()));
        assert!(locked.to_string().contains("another supernode (process "), "{locked}");
        let other = Lock::take(&folder.path().join("b.json")).unwrap();
        drop((first, other));
        drop(Lock::take(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no lock stays behind");
    }

    #[test]
    fn what_is_no_file_and_a_missing_folder_are_not_locked() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_path_buf(), folder.path().join("missing/a.json")] {
            assert!(Lock::take(&path).unwrap().held.is_none());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
