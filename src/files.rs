//! Files in and out: a reader with a bound, a writer that never leaves half a file, names that any system takes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The system's reason.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file holds more bytes than the reader allows.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes that are read.
        limit: u64,
    },
}

/// The content of a file of at most `limit` bytes.
///
/// # Errors
/// [`ReadError`]. The size that the system reports is not trusted: a device or a growing file is cut off as well.
pub(crate) fn read_within(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let bytes = read_at_most(path, limit.saturating_add(1))?;
    if bytes.len() as u64 > limit { Err(ReadError::TooLarge { limit }) } else { Ok(bytes) }
}

/// The content of a file, or its first `limit` bytes.
///
/// # Errors
/// The system's reason.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces the content of `path` in one step that survives a crash: [`replace_with`] these bytes.
///
/// # Errors
/// As [`replace_with`].
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(bytes))
}

/// Replaces the content of `path` by what `write` writes. A temporary file in the same folder is written, synced and
/// renamed. A device or a pipe cannot be replaced, so it is written to.
///
/// # Errors
/// The system's reason. Nothing is left behind, and what was at `path` is untouched.
pub(crate) fn replace_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            let mut file = File::options().write(true).open(path)?;
            write(&mut file)?;
            file.flush()
        }
        // A link stays a link: its target is replaced.
        Ok(_) => replace(&fs::canonicalize(path)?, write),
        Err(_) => replace(path, write),
    }
}

/// A page of a browser has no files.
#[cfg(target_arch = "wasm32")]
fn replace(_: &Path, _: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_arch = "wasm32"))]
fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Dropping the temporary file removes it, so an early return leaves nothing behind.
    let mut file = new_file_in(folder)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

#[cfg(unix)]
fn new_file_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    // As any file of the user's, less the umask; a temporary file would otherwise be closed to all others.
    let mode = fs::Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(".supernode-").permissions(mode).tempfile_in(folder)
}

#[cfg(not(any(unix, target_arch = "wasm32")))]
fn new_file_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".supernode-").tempfile_in(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    // The file is in place already, and some file systems cannot sync a directory: that is no failure to write.
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(error),
        _ => Ok(()),
    }
}

#[cfg(not(any(unix, target_arch = "wasm32")))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Words in lower case, joined by single dashes; every character but a letter or a digit of ASCII parts two words.
#[cfg(any(feature = "gpu", test))]
pub(crate) fn slug(text: &str) -> String {
    let words = text.to_ascii_lowercase();
    let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_limit_is_read_and_a_larger_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eight");
        fs::write(&path, [7; 8]).unwrap();
        assert_eq!(read_within(&path, 8).unwrap(), [7; 8]);
        assert!(matches!(read_within(&path, 7), Err(ReadError::TooLarge { limit: 7 })));
        assert_eq!(read_at_most(&path, 3).unwrap(), [7; 3]);
        assert!(matches!(read_within(folder.path(), 8), Err(ReadError::Io(_))));
    }

    #[test]
    fn a_writer_that_fails_leaves_the_old_content_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        write_atomically(&path, b"old").unwrap();
        let failed = replace_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_slug_is_made_of_letters_digits_and_dashes() {
        assert_eq!(slug("Mesa llvmpipe (LLVM 15.0.6, 256 bits)/../x"), "mesa-llvmpipe-llvm-15-0-6-256-bits-x");
        assert_eq!(slug("ÄÖ --"), "");
    }
}
