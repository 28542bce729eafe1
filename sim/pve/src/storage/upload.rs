//! Multipart uploads, with the order of fields that PVE's parser requires.

use std::io::Write;
use std::path::{Path, PathBuf};

use ring::digest;
use sha2::Digest;

use crate::params::{Param, Params};
use crate::refusal::{Body, Outcome, Refusal};

/// An uploaded file.
pub(crate) struct Upload {
    pub(crate) file: PathBuf,
    pub(crate) size: u64,
}

/// Reads the fields and the file of an upload. The file is written below `directory`.
pub(crate) fn parse(body: &[u8], boundary: &str, directory: &Path) -> Outcome<(Params, Upload)> {
    let delimiter = format!("--{boundary}");
    let mut params = Params::default();
    let mut rest = strip(body, delimiter.as_bytes()).ok_or_else(failed)?;
    let order = ["content", "checksum-algorithm", "checksum"];
    let mut next = 0;
    loop {
        rest = rest.strip_prefix(b"\r\n").ok_or_else(failed)?;
        let head_end = find(rest, b"\r\n\r\n").ok_or_else(failed)?;
        let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
        let content = &rest[head_end + 4..];
        let disposition = head.lines().next().unwrap_or_default();
        if !disposition.to_ascii_lowercase().starts_with("content-disposition:") {
            return Err(failed());
        }
        let name = attribute(disposition, "name").unwrap_or_default();
        if let Some(file_name) = attribute(disposition, "filename") {
            return file(content, &delimiter, &name, &file_name, params, directory);
        }
        // The upload fails if a field is unknown or out of order.
        let Some(at) = order.iter().skip(next).position(|field| *field == name).map(|at| at + next) else {
            return Err(bad_request());
        };
        next = at + 1;
        let end = find(content, format!("\r\n{delimiter}").as_bytes()).ok_or_else(failed)?;
        params.0.insert(name, Param::Text(String::from_utf8_lossy(&content[..end]).into_owned()));
        rest = &content[end + 2 + delimiter.len()..];
        if rest.starts_with(b"--") {
            return Err(failed());
        }
    }
}

fn file(
    content: &[u8],
    delimiter: &str,
    name: &str,
    file_name: &str,
    mut params: Params,
    directory: &Path,
) -> Outcome<(Params, Upload)> {
    if name != "filename" {
        let text = format!(
            "wrong field name '{name}' for file upload, expected 'filename' at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 1325."
        );
        return Err(Refusal::new(500, text, Body::Text));
    }
    // The file extends to the last delimiter, even over further fields.
    let closing = format!("\r\n{delimiter}--");
    let end = rfind(content, closing.as_bytes()).ok_or_else(failed)?;
    let bytes = &content[..end];
    let path = directory.join(format!("upload-{}", hex::encode(rand::random::<[u8; 8]>())));
    let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| Refusal::fault(error.to_string()))?;
    params.insert_text("filename", file_name);
    let size = u64::try_from(bytes.len()).unwrap_or(0);
    Ok((params, Upload { file: path, size }))
}

pub(crate) fn bad_request() -> Refusal {
    Refusal::new(400, "Bad Request", Body::Empty)
}

fn failed() -> Refusal {
    Refusal::new(500, "upload failed at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 1370.", Body::Text)
}

fn strip<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let at = find(bytes, prefix)?;
    bytes.get(at + prefix.len()..)
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn rfind(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).rposition(|window| window == needle)
}

fn attribute(line: &str, name: &str) -> Option<String> {
    let mark = format!(" {name}=\"");
    let start = line.find(&mark)? + mark.len();
    let end = line[start..].find('"')? + start;
    Some(line[start..end].to_owned())
}

/// Returns a checksum in hexadecimal digits, by PVE's name of the algorithm.
pub(crate) fn checksum(algorithm: &str, bytes: &[u8]) -> String {
    match algorithm {
        "md5" => hex::encode(md5::Md5::digest(bytes)),
        "sha1" => hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)),
        "sha224" => hex::encode(sha2::Sha224::digest(bytes)),
        "sha384" => hex::encode(sha2::Sha384::digest(bytes)),
        "sha512" => hex::encode(sha2::Sha512::digest(bytes)),
        _ => hex::encode(sha2::Sha256::digest(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_extends_to_the_last_delimiter() {
        let directory = tempfile::tempdir().expect("a directory");
        let body = b"--B\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--B\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\n\r\nDATA\r\n--B--\r\n";
        let (params, upload) = parse(body, "B", directory.path()).expect("an upload");
        assert_eq!(params.text("content"), Some("iso"));
        assert_eq!(params.text("filename"), Some("a.iso"));
        assert_eq!(std::fs::read(upload.file).expect("the file"), b"DATA");
    }

    #[test]
    fn checksums_are_the_published_ones_of_an_empty_file() {
        for (algorithm, digest) in [
            ("md5", "d41d8cd98f00b204e9800998ecf8427e"),
            ("sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ] {
            assert_eq!(checksum(algorithm, b""), digest, "{algorithm}");
        }
    }

    #[test]
    fn fields_in_another_order_are_a_bad_request() {
        let directory = tempfile::tempdir().expect("a directory");
        let body = b"--B\r\nContent-Disposition: form-data; name=\"checksum\"\r\n\r\n00\r\n--B\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--B--\r\n";
        assert_eq!(parse(body, "B", directory.path()).err().map(|r| r.reason), Some("Bad Request".to_owned()));
    }
}
