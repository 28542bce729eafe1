//! The simulated runner program, packed as GitHub packs the real one.
//!
//! The archive's name, the files that an image calls, the files that the program writes and the exit codes are the
//! same. The program itself is a shell script that uses the private protocol below `/_sim/runner/`.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

const FILES: [(&str, &str); 6] = [
    ("bin/Runner.Listener", include_str!("../data/github-runner/bin/Runner.Listener")),
    ("bin/installdependencies.sh", include_str!("../data/github-runner/bin/installdependencies.sh")),
    ("config.sh", include_str!("../data/github-runner/config.sh")),
    ("env.sh", include_str!("../data/github-runner/env.sh")),
    ("run.sh", include_str!("../data/github-runner/run.sh")),
    ("run-helper.sh", include_str!("../data/github-runner/run-helper.sh")),
];

/// An archive as `GET …/actions/runners/downloads` offers it.
#[derive(Debug)]
pub struct Archive {
    /// Contents of the `.tar.gz`.
    pub content: Vec<u8>,
    /// SHA-256 digest in hexadecimal digits.
    pub sha256: String,
}

/// Returns the name of the archive for Linux on `architecture`.
pub(crate) fn filename(architecture: &str, version: &str) -> String {
    format!("actions-runner-linux-{architecture}-{version}.tar.gz")
}

/// Returns the URL of the archive for guests.
pub(crate) fn url(guests: &str, architecture: &str, version: &str) -> String {
    format!("{guests}/_sim/runner/downloads/v{version}/{}", filename(architecture, version))
}

/// Packs the program as `version`. Equal versions have equal bytes.
///
/// # Errors
/// When the archive cannot be written.
pub fn pack(version: &str) -> io::Result<Archive> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in FILES {
        let content = text.replace("@VERSION@", version);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        archive.append_data(&mut header, path, content.as_bytes())?;
    }
    let mut encoder = archive.into_inner()?;
    encoder.flush()?;
    let content = encoder.finish()?;
    let sha256 = hex::encode(Sha256::digest(&content));
    Ok(Archive { content, sha256 })
}
