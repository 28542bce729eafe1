//! Seed data of a guest, from a CD labelled `cidata` or from the address on the kernel's command line.
//!
//! CDs are read with `blkid` and `xorriso`, which are independent of the code that writes the images.

use std::io;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::sandbox::{PATH, Sandbox};

/// The documents of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) user_data: String,
    pub(super) meta_data: String,
}

/// Separates CD images into the seed and the others. The seed is the last image with the label `cidata`, in either
/// case.
pub(super) async fn sort_discs(discs: &[PathBuf]) -> io::Result<(Option<PathBuf>, Vec<PathBuf>)> {
    let (mut seed, mut others) = (None, Vec::new());
    for disc in discs {
        if label(disc).await?.eq_ignore_ascii_case("cidata") {
            seed = Some(disc.clone());
        } else {
            others.push(disc.clone());
        }
    }
    Ok((seed, others))
}

/// Returns the volume label of an image, or an empty text.
async fn label(disc: &Path) -> io::Result<String> {
    let mut command = Command::new("blkid");
    // The program is in a directory that is not on an ordinary user's search path.
    command.env("PATH", PATH);
    // The exit code is 2 if the label or the file system is missing.
    let output = command.args(["--probe", "--match-tag", "LABEL", "--output", "value"]).arg(disc).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Reads the seed from a CD image.
pub(super) async fn from_disc(disc: &Path) -> io::Result<Seed> {
    let directory = tempfile::Builder::new().prefix("pxci-seed-").tempdir()?;
    let mut command = Command::new("xorriso");
    command.args(["-osirrox", "on", "-indev"]).arg(disc).args(["-extract", "/"]).arg(directory.path().join("seed"));
    let output = command.output().await?;
    if !output.status.success() {
        return Err(io::Error::other(format!("xorriso: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let read = |name: &str| match std::fs::read_to_string(directory.path().join("seed").join(name)) {
        Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        text => text,
    };
    Ok(Seed { user_data: read("user-data")?, meta_data: read("meta-data")? })
}

/// Downloads the seed inside the guest, from the address on the kernel's command line. Returns `None` if there is no
/// address.
pub(super) async fn from_kernel_line(line: &str, inside: &Sandbox) -> io::Result<Option<Seed>> {
    let Some(address) = address(line) else { return Ok(None) };
    let fetch = |name: &'static str| {
        let url = format!("{address}{name}");
        async move {
            inside
                .must(
                    "fetching the seed",
                    "curl --fail --silent --show-error --max-time 20 --noproxy '*' \"$1\"",
                    &[&url],
                    b"",
                )
                .await
        }
    };
    Ok(Some(Seed { user_data: fetch("user-data").await?, meta_data: fetch("meta-data").await? }))
}

/// Returns the address in `ds=nocloud;s=<address>` (`nocloud-net` is its old name).
fn address(line: &str) -> Option<&str> {
    let source = line.split_whitespace().find_map(|word| word.strip_prefix("ds="))?;
    let options = source.strip_prefix("nocloud-net;").or_else(|| source.strip_prefix("nocloud;"))?;
    options.split(';').find_map(|option| option.strip_prefix("s=").or_else(|| option.strip_prefix("seedfrom=")))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_of_the_seed_is_read_from_the_data_source() {
        assert_eq!(
            address("/vmlinuz autoinstall ds=nocloud;s=http://127.0.0.1:8123/ ---"),
            Some("http://127.0.0.1:8123/")
        );
        assert_eq!(address("/vmlinuz autoinstall ds=nocloud-net;s=http://h/"), Some("http://h/"));
        assert_eq!(address("/vmlinuz autoinstall ds=nocloud ---"), None, "GRUB cut it at the semicolon");
    }
}
