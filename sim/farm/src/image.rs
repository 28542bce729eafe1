//! A flavour's image directory, prepared for the available Packer.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use walkdir::WalkDir;

/// Account that Packer's provisioners log in with.
#[derive(Clone)]
pub struct BuildAccount {
    /// Login name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// SHA-512 crypt hash of the password.
    pub hash: String,
}

impl BuildAccount {
    /// Creates an account with a random password.
    ///
    /// # Errors
    /// When the hash cannot be made.
    pub fn draw(name: &str) -> Result<Self> {
        let password = format!("{:032x}", rand::random::<u128>());
        let salt = format!("{:016x}", rand::random::<u64>());
        let parameters =
            sha_crypt::Sha512Params::new(sha_crypt::ROUNDS_DEFAULT).map_err(|error| anyhow!("{error:?}"))?;
        let hash = sha_crypt::sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &parameters);
        let hash = format!("$6${salt}${}", hash.map_err(|error| anyhow!("{error:?}"))?);
        Ok(Self { name: name.to_owned(), password, hash })
    }
}

/// A copy of a flavour's image directory.
#[derive(Debug)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// Copies the flavour for a current Packer.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn as_shipped(flavour: &Path, directory: &Path) -> Result<Self> {
        copy(flavour, directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Copies the flavour with a source block for Packer 1.6. The rest is the flavour's own. That version does not
    /// render templates for the installer, so they are rendered here.
    ///
    /// # Errors
    /// When it cannot be copied, or an expected file is missing.
    pub fn for_packer_1_6(flavour: &Path, directory: &Path, account: &BuildAccount) -> Result<Self> {
        let image = Self::as_shipped(flavour, directory)?;
        fs::remove_file(directory.join("plugins.pkr.hcl")).context("the flavour has no plugins.pkr.hcl")?;
        copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/packer-1.6")), directory)?;
        fs::create_dir_all(directory.join("http"))?;
        for name in ["user-data", "meta-data"] {
            let template = fs::read_to_string(directory.join(format!("autoinstall/{name}.pkrtpl")))?;
            let known = [
                ("${ssh_username}", account.name.as_str()),
                ("${ssh_password_hash}", &account.hash),
                ("${instance_id}", "image-build"),
            ];
            let rendered = known.iter().fold(template, |text, (name, value)| text.replace(name, value));
            ensure!(!rendered.contains("${"), "autoinstall/{name}.pkrtpl has a variable that is not known here");
            fs::write(directory.join("http").join(name), rendered)?;
        }
        Ok(image)
    }

    /// Returns the path of the copy.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Changes a script by appending the line `addition`.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn edit(&self, file: &str, addition: &str) -> Result<()> {
        let path = self.directory.join(file);
        let before = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        fs::write(&path, format!("{before}\n{addition}\n")).with_context(|| format!("writing {}", path.display()))
    }
}

/// Copies a directory with everything below it.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
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
