//! Files of the author that pages include or link to: examples and guides.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The examples of a directory.
#[derive(Default)]
pub(super) struct Examples {
    /// Configurations in the order of their file names.
    pub(super) configurations: Vec<String>,
    /// Contents of `import.sh`.
    pub(super) import_command: Option<String>,
    /// Contents of `import.tf`.
    pub(super) import_block: Option<String>,
}

impl Examples {
    /// Reads a directory. Without the directory, there are no examples.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let mut found = Self {
            import_command: read(&directory.join("import.sh"))?,
            import_block: read(&directory.join("import.tf"))?,
            configurations: Vec::new(),
        };
        for path in files(directory, "tf")? {
            if path.file_name().is_some_and(|name| name != "import.tf") {
                found.configurations.extend(read(&path)?);
            }
        }
        Ok(found)
    }
}

/// Returns title and path below `docs/` of each guide.
pub(super) fn guides(root: &Path) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for path in files(&root.join("docs/guides"), "md")? {
        let text = read(&path)?.unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let title = text.lines().find_map(|line| line.strip_prefix("# ")).map_or_else(|| name.clone(), str::to_owned);
        found.push((title, format!("guides/{name}")));
    }
    Ok(found)
}

/// Returns files with this extension, sorted by name. Without the directory, there are none.
pub(super) fn files(directory: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    found.retain(|path| path.extension().is_some_and(|found| found == ending));
    found.sort();
    Ok(found)
}

/// Returns the text of a file that may be missing.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}
