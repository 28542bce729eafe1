//! Searches files and output of a core for secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::Failed;

/// Collects the contents of all files below a directory, of the members of archives (plans are archives), and of the
/// output.
///
/// # Errors
/// Fails if a file cannot be read.
pub fn collect(directory: &Path, printed: &str) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
    let mut found = BTreeMap::from([("output".to_owned(), printed.as_bytes().to_vec())]);
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let reading = || Failed::io(format!("reading {}", directory.display()));
        for entry in fs::read_dir(&directory).map_err(reading())? {
            let entry = entry.map_err(reading())?;
            let kind = entry.file_type().map_err(reading())?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).map_err(reading())?;
                let name = entry.path().display().to_string();
                for (member, content) in members(&bytes) {
                    found.insert(format!("{name}: {member}"), content);
                }
                found.insert(name, bytes);
            }
        }
    }
    Ok(found)
}

/// Asserts that no secret is in the collected contents.
///
/// # Errors
/// Fails if a secret is found, and names the place and the text before it. Fails for an empty secret, which cannot be
/// found.
pub fn assert_no_secrets(found: &BTreeMap<String, Vec<u8>>, secrets: &[&str]) -> Result<(), Failed> {
    for secret in secrets {
        if secret.is_empty() {
            return Err(Failed::new("an empty secret cannot be searched for"));
        }
        for (name, bytes) in found {
            if let Some(at) = bytes.windows(secret.len()).position(|window| window == secret.as_bytes()) {
                let before = String::from_utf8_lossy(&bytes[at.saturating_sub(200)..at]).into_owned();
                return Err(Failed::new(format!("{secret} is in {name}, after: {before}")));
            }
        }
    }
    Ok(())
}

/// Returns the members of a ZIP archive from its central directory; nothing for other files.
fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    const END: &[u8] = b"PK\x05\x06";
    let Some(end) = archive.windows(END.len()).rposition(|window| window == END) else { return Vec::new() };
    let short = |at: usize| archive.get(at..at + 2).map_or(0, |two| usize::from(u16::from_le_bytes([two[0], two[1]])));
    let long = |at: usize| short(at) + (short(at + 2) << 16);
    let (count, mut entry) = (short(end + 10), long(end + 16));
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let (packed, name_length, header) = (long(entry + 20), short(entry + 28), long(entry + 42));
        let begin = header + 30 + short(header + 26) + short(header + 28);
        let (Some(name), Some(data)) =
            (archive.get(entry + 46..entry + 46 + name_length), archive.get(begin..begin + packed))
        else {
            return found;
        };
        let mut content = Vec::new();
        if short(entry + 10) == 0 {
            content.extend_from_slice(data);
        } else {
            let _truncated = flate2::read::DeflateDecoder::new(data).read_to_end(&mut content);
        }
        found.push((String::from_utf8_lossy(name).into_owned(), content));
        entry += 46 + name_length + short(entry + 30) + short(entry + 32);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{assert_no_secrets, collect};

    /// Returns an archive with one deflated member and the fields that the reader uses.
    fn archive(name: &str, content: &[u8]) -> Vec<u8> {
        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        deflated.write_all(content).unwrap();
        let data = deflated.finish().unwrap();
        let (size, name_length) = (u32::try_from(data.len()).unwrap(), u16::try_from(name.len()).unwrap());
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.resize(26, 0);
        bytes.extend(name_length.to_le_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes.extend(&data);
        let central = u32::try_from(bytes.len()).unwrap();
        let mut entry = vec![0; 46];
        entry[10] = 8;
        entry[20..24].copy_from_slice(&size.to_le_bytes());
        entry[28..30].copy_from_slice(&name_length.to_le_bytes());
        bytes.extend(entry);
        bytes.extend(name.as_bytes());
        bytes.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\0\0\0\0");
        bytes.extend(central.to_le_bytes());
        bytes
    }

    #[test]
    fn a_secret_is_found_in_files_archives_and_output() {
        let directory = tempfile::tempdir().unwrap();
        let secret = "aaaaaaaaaaaaaaaaaaaa-hidden-aaaaaaaaaaaaaaaaaaaaaa";
        std::fs::create_dir(directory.path().join("below")).unwrap();
        std::fs::write(directory.path().join("below/plan"), archive("tfplan", secret.as_bytes())).unwrap();
        let found = collect(directory.path(), "printed").unwrap();
        let reported = assert_no_secrets(&found, &["absent", secret]).unwrap_err().to_string();
        assert!(reported.contains("below/plan: tfplan"), "{reported}");
        assert!(assert_no_secrets(&found, &["absent"]).is_ok());
        assert!(assert_no_secrets(&found, &["printed"]).is_err() && assert_no_secrets(&found, &[""]).is_err());
    }
}
