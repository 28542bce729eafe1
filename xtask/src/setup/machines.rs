//! Requirements of guests that are whole machines: QEMU and a disk image.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use crate::narrate::Narrator;

/// Debian packages that make images and run them.
pub(super) const PACKAGES: [&str; 3] = ["e2fsprogs", "qemu-system-x86", "qemu-utils"];

/// Returns the disk image. Builds it if it is missing.
pub(super) fn image(cache: &Path, narrator: &Narrator) -> Result<PathBuf> {
    narrator.say("preparing the machines' disk image (some minutes if it must be made from Debian's packages)");
    let before = Instant::now();
    let image = farm::machine_image::build(cache)?;
    narrator.say(&format!("the machines' disk image is ready ({:.0} s)", before.elapsed().as_secs_f32()));
    Ok(image)
}
