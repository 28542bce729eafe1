//! Diagnostics of failed VMs as files on the state volume: one file for each VM, readable by the dispatcher's user only.
//!
//! The files are bounded, one by one and together. The oldest are deleted first. A full volume costs nothing but them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ownership::RunnerName;

const DIRECTORY: &str = "kept";
/// Largest file in bytes.
const LARGEST: usize = 128 * 1024;
/// Largest number of bytes of all files.
const LARGEST_TOTAL: u64 = 8 << 20;

/// The directory of the files. It is made with the first file.
#[derive(Debug, Clone)]
pub(crate) struct KeptLogs {
    directory: PathBuf,
    largest_total: u64,
}

impl KeptLogs {
    /// Returns the directory next to the ledger.
    pub(crate) fn beside(ledger: &Path) -> Self {
        Self { directory: ledger.with_file_name(DIRECTORY), largest_total: LARGEST_TOTAL }
    }

    /// Writes the file of a VM, of which the last bytes count, and deletes the oldest files. Returns the path of the file, relative to
    /// the state directory.
    ///
    /// # Errors
    /// When the file cannot be written. An earlier file of this VM is unchanged then.
    pub(crate) fn keep(&self, vm: &RunnerName, text: &str) -> io::Result<String> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let path = self.directory.join(format!("{vm}.log"));
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bounded(text).as_bytes())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&new, &path)?;
        self.delete_oldest(&path)?;
        Ok(format!("{DIRECTORY}/{vm}.log"))
    }

    fn delete_oldest(&self, newest: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() && entry.path() != newest {
                files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path(), metadata.len()));
            }
        }
        files.sort();
        let mut total = fs::metadata(newest)?.len() + files.iter().map(|(_, _, size)| size).sum::<u64>();
        for (_, path, size) in files {
            if total <= self.largest_total {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }
}

/// Returns the end of the text that fits into a file.
fn bounded(text: &str) -> &str {
    let mut begin = text.len().saturating_sub(LARGEST);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    &text[begin..]
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    fn name(nonce: &str) -> RunnerName {
        format!("lab-ubuntu-9100-{nonce}").parse().unwrap()
    }

    fn kept(total: u64) -> (tempfile::TempDir, KeptLogs) {
        let directory = tempfile::tempdir().unwrap();
        let kept = KeptLogs { largest_total: total, ..KeptLogs::beside(&directory.path().join("ledger.sqlite")) };
        (directory, kept)
    }

    #[test]
    fn a_log_is_a_file_that_only_its_owner_reads() {
        let (directory, kept) = kept(LARGEST_TOTAL);
        let file = kept.keep(&name("aaaaaa"), "first").unwrap();
        assert_eq!(file, "kept/lab-ubuntu-9100-aaaaaa.log");
        kept.keep(&name("aaaaaa"), "second").unwrap();
        let path = directory.path().join(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_end_of_a_long_log_is_kept() {
        let (directory, kept) = kept(LARGEST_TOTAL);
        let file = kept.keep(&name("aaaaaa"), &format!("{}the end", "ü".repeat(LARGEST))).unwrap();
        let text = fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(text.len() <= LARGEST && text.starts_with('ü') && text.ends_with("the end"));
    }

    #[test]
    fn the_oldest_logs_go_first() {
        let (directory, kept) = kept(2_500);
        for (age, nonce) in [(3, "cccccc"), (2, "bbbbbb"), (1, "aaaaaa")] {
            let file = kept.keep(&name(nonce), &"x".repeat(1_000)).unwrap();
            let file = fs::File::options().write(true).open(directory.path().join(file)).unwrap();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - age);
            file.set_times(FileTimes::new().set_modified(modified)).unwrap();
        }
        kept.keep(&name("dddddd"), &"x".repeat(1_000)).unwrap();
        let mut left: Vec<String> = fs::read_dir(directory.path().join(DIRECTORY))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["lab-ubuntu-9100-aaaaaa.log", "lab-ubuntu-9100-dddddd.log"]);
    }

    #[test]
    fn a_volume_that_cannot_be_written_is_an_error() {
        let (directory, kept) = kept(LARGEST_TOTAL);
        fs::write(directory.path().join(DIRECTORY), "a file").unwrap();
        kept.keep(&name("aaaaaa"), "text").unwrap_err();
    }
}
