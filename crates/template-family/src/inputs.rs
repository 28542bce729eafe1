//! The files that a template version is made from.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};
use sha2::{Digest as _, Sha256};
use walkdir::{DirEntry, WalkDir};

/// Files of editors, version control and Packer itself.
const ALWAYS_IGNORED: &[&str] =
    &["**/.git/**", "**/.DS_Store", "**/*.swp", "**/*~", "packer_cache/**", "crash.log", "packer-manifest.json"];

/// Every file below a directory, by relative path, with content and executable bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs(BTreeMap<String, Input>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) sha256: String,
    pub(crate) executable: bool,
}

/// Reason why the files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputsError {
    /// The directory does not exist, or is a file.
    #[error("{} is not a directory", .0.display())]
    NoDirectory(PathBuf),
    /// A pattern cannot be parsed.
    #[error("\"{pattern}\" is not a valid pattern of files to ignore")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: globset::Error,
    },
    /// A directory cannot be listed, or a symbolic link is broken or leads in a circle.
    #[error("cannot list the files of {}", path.display())]
    List {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: walkdir::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A symbolic link leads out of the directory, so that its target would be a hidden input.
    #[error("{} is a symbolic link to {}, outside of the directory", path.display(), target.display())]
    Outside {
        /// The link.
        path: PathBuf,
        /// Target of the link.
        target: PathBuf,
    },
    /// A name is not UTF-8, so a plan cannot show it.
    #[error("the name of {} is not UTF-8 text", .0.display())]
    Name(PathBuf),
}

impl Inputs {
    /// Reads every file below `directory` except those that a pattern of `ignore` matches. Patterns are globs on the
    /// relative path, in which `**` matches directories. Symbolic links are followed.
    ///
    /// # Errors
    /// Those of [`InputsError`].
    pub fn scan(directory: &Path, ignore: &[String]) -> Result<Self, InputsError> {
        if !directory.is_dir() {
            return Err(InputsError::NoDirectory(directory.to_owned()));
        }
        let ignored = patterns(ignore)?;
        let root =
            directory.canonicalize().map_err(|source| InputsError::Read { path: directory.to_owned(), source })?;
        let mut all = BTreeMap::new();
        let walk = WalkDir::new(&root).follow_links(true).sort_by_file_name();
        for entry in walk {
            let entry = entry
                .map_err(|source| InputsError::List { path: source.path().unwrap_or(&root).to_owned(), source })?;
            let relative = relative(&root, &entry)?;
            if !entry.file_type().is_file() || ignored.is_match(&relative) {
                continue;
            }
            stays_inside(&root, &entry)?;
            all.insert(relative, input(entry.path())?);
        }
        Ok(Self(all))
    }

    /// Returns the inputs for a plan, by relative path: twelve digits of the content's digest, and `+x` for an
    /// executable file.
    #[must_use]
    pub fn shown(&self) -> BTreeMap<String, String> {
        let show = |input: &Input| format!("{}{}", &input.sha256[..12], if input.executable { " +x" } else { "" });
        self.0.iter().map(|(path, input)| (path.clone(), show(input))).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Input)> {
        self.0.iter().map(|(path, input)| (path.as_str(), input))
    }
}

fn patterns(ignore: &[String]) -> Result<GlobSet, InputsError> {
    let mut set = GlobSetBuilder::new();
    for pattern in ALWAYS_IGNORED.iter().copied().chain(ignore.iter().map(String::as_str)) {
        set.add(Glob::new(pattern).map_err(|source| InputsError::Pattern { pattern: pattern.to_owned(), source })?);
    }
    set.build().map_err(|source| InputsError::Pattern { pattern: ignore.join(", "), source })
}

fn relative(root: &Path, entry: &DirEntry) -> Result<String, InputsError> {
    let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
    relative.to_str().map(str::to_owned).ok_or_else(|| InputsError::Name(entry.path().to_owned()))
}

fn stays_inside(root: &Path, entry: &DirEntry) -> Result<(), InputsError> {
    let target =
        entry.path().canonicalize().map_err(|source| InputsError::Read { path: entry.path().to_owned(), source })?;
    if target.starts_with(root) {
        return Ok(());
    }
    Err(InputsError::Outside { path: entry.path().to_owned(), target })
}

fn input(path: &Path) -> Result<Input, InputsError> {
    let failed = |source| InputsError::Read { path: path.to_owned(), source };
    let content = std::fs::read(path).map_err(failed)?;
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    Ok(Input { sha256: hex::encode(Sha256::digest(content)), executable: mode & 0o100 != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("http")).unwrap();
        std::fs::create_dir_all(directory.path().join(".git/objects")).unwrap();
        std::fs::write(directory.path().join("a.pkr.hcl"), "x").unwrap();
        std::fs::write(directory.path().join("http/user-data"), "y").unwrap();
        std::fs::write(directory.path().join(".git/objects/1"), "z").unwrap();
        std::fs::write(directory.path().join("a.pkr.hcl~"), "old").unwrap();
        directory
    }

    fn names(inputs: &Inputs) -> Vec<String> {
        inputs.shown().into_keys().collect()
    }

    #[test]
    fn files_are_listed_by_relative_path_without_ignored_files() {
        let directory = directory();
        assert_eq!(names(&Inputs::scan(directory.path(), &[]).unwrap()), ["a.pkr.hcl", "http/user-data"]);
        assert_eq!(names(&Inputs::scan(directory.path(), &["http/**".to_owned()]).unwrap()), ["a.pkr.hcl"]);
        assert!(matches!(Inputs::scan(directory.path(), &["[".to_owned()]), Err(InputsError::Pattern { .. })));
    }

    #[test]
    fn content_and_executable_bit_are_shown() {
        let directory = directory();
        let path = directory.path().join("a.pkr.hcl");
        let before = Inputs::scan(directory.path(), &[]).unwrap();
        assert_eq!(before.shown()["a.pkr.hcl"], "2d711642b726");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let after = Inputs::scan(directory.path(), &[]).unwrap();
        assert_eq!(after.shown()["a.pkr.hcl"], "2d711642b726 +x");
        assert_ne!(before, after);
    }

    #[test]
    fn links_are_followed_inside_and_refused_outside() {
        let directory = directory();
        std::os::unix::fs::symlink("a.pkr.hcl", directory.path().join("inside")).unwrap();
        let inputs = Inputs::scan(directory.path(), &[]).unwrap().shown();
        assert_eq!(inputs["inside"], inputs["a.pkr.hcl"]);
        std::os::unix::fs::symlink("/etc/hostname", directory.path().join("outside")).unwrap();
        assert!(matches!(Inputs::scan(directory.path(), &[]), Err(InputsError::Outside { .. })));
    }

    #[test]
    fn a_missing_directory_is_reported() {
        assert!(matches!(Inputs::scan(Path::new("/nonexistent"), &[]), Err(InputsError::NoDirectory(_))));
    }
}
