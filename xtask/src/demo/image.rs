//! The image that the demo builds: the flavour's own files, with the source block that the Packer at hand understands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use walkdir::WalkDir;

/// The file that the demo edits, relative to the image's directory.
pub const FILE_TO_EDIT: &str = "scripts/packages.sh";

/// A copy of the flavour's image directory.
#[derive(Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// Copies `flavour` to `directory`. `dialect` holds files that replace those of the same name; the flavour's plugin
    /// requirements stay out with it, because the older Packer does not know them.
    pub fn copy(flavour: &Path, dialect: Option<&Path>, directory: &Path) -> Result<Self> {
        copy(flavour, directory)?;
        if let Some(dialect) = dialect {
            fs::remove_file(directory.join("plugins.pkr.hcl")).context("the flavour has no plugins.pkr.hcl")?;
            copy(dialect, directory)?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Changes one script, as somebody who works on the image would.
    pub fn edit(&self) -> Result<()> {
        let path = self.directory.join(FILE_TO_EDIT);
        let before = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let after = format!("{before}\necho 'second version of the image' >/etc/pxci-demo\n");
        ensure!(before != after, "the edit changes nothing");
        fs::write(&path, after).with_context(|| format!("writing {}", path.display()))
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry.with_context(|| format!("reading {}", from.display()))?;
        let target = to.join(entry.path().strip_prefix(from)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Ok(())
}
