//! Writes ISO 9660 images with Joliet and Rock Ridge names. An image has one directory with a few small files.
//!
//! This is not taken from a library, because libraries write the current time into the image. The bytes must depend on
//! the content alone, because the image's digest is a part of its file name. The layout follows ECMA-119, the Joliet
//! specification, and IEEE P1281/P1282 (SUSP, RRIP).

const SECTOR: usize = 2048;

const PRIMARY_DESCRIPTOR: usize = 16;
const JOLIET_DESCRIPTOR: usize = 17;
const TERMINATOR: usize = 18;
const PRIMARY_PATHS_LITTLE: usize = 19;
const PRIMARY_PATHS_BIG: usize = 20;
const JOLIET_PATHS_LITTLE: usize = 21;
const JOLIET_PATHS_BIG: usize = 22;
const PRIMARY_ROOT: usize = 23;
const JOLIET_ROOT: usize = 24;
const FIRST_FILE: usize = 25;

const PATH_TABLE_BYTES: u32 = 10;

/// 1 January 2000, midnight UTC, in a directory record's form (years since 1900, then month, day, …).
const RECORD_DATE: [u8; 7] = [100, 1, 1, 0, 0, 0, 0];
/// The same date in the form of a volume descriptor. The last byte is the time zone.
const VOLUME_DATE: &[u8; 17] = b"2000010100000000\0";
/// "Not specified", for expiry and effective dates.
const NO_DATE: &[u8; 17] = b"0000000000000000\0";

/// One file of the image. The caller passes files in the byte order of both names.
pub(crate) struct File<'a> {
    /// Name that a guest sees.
    pub(crate) name: &'a str,
    /// Name of eight upper-case characters, for readers that know neither Joliet nor Rock Ridge.
    pub(crate) short: &'a str,
    pub(crate) content: &'a [u8],
}

/// Returns the whole image. `label` has at most 16 characters.
pub(crate) fn image(label: &str, files: &[File<'_>]) -> Vec<u8> {
    let mut extents = Vec::new();
    let mut next = FIRST_FILE;
    for file in files {
        extents.push(next);
        next += file.content.len().div_ceil(SECTOR);
    }
    let mut image = vec![0; next * SECTOR];
    let sectors = next;

    put(&mut image, PRIMARY_DESCRIPTOR, &descriptor(&Names::Primary, label, sectors));
    put(&mut image, JOLIET_DESCRIPTOR, &descriptor(&Names::Joliet, label, sectors));
    put(&mut image, TERMINATOR, b"\xffCD001\x01");
    put(&mut image, PRIMARY_PATHS_LITTLE, &path_table(number(PRIMARY_ROOT).to_le_bytes(), 1_u16.to_le_bytes()));
    put(&mut image, PRIMARY_PATHS_BIG, &path_table(number(PRIMARY_ROOT).to_be_bytes(), 1_u16.to_be_bytes()));
    put(&mut image, JOLIET_PATHS_LITTLE, &path_table(number(JOLIET_ROOT).to_le_bytes(), 1_u16.to_le_bytes()));
    put(&mut image, JOLIET_PATHS_BIG, &path_table(number(JOLIET_ROOT).to_be_bytes(), 1_u16.to_be_bytes()));
    put(&mut image, PRIMARY_ROOT, &directory(&Names::Primary, files, &extents));
    put(&mut image, JOLIET_ROOT, &directory(&Names::Joliet, files, &extents));
    for (file, extent) in files.iter().zip(extents) {
        put(&mut image, extent, file.content);
    }
    image
}

enum Names {
    Primary,
    Joliet,
}

impl Names {
    fn root(&self) -> usize {
        match self {
            Self::Primary => PRIMARY_ROOT,
            Self::Joliet => JOLIET_ROOT,
        }
    }

    /// Returns the text of a volume descriptor, padded with blanks to `width` bytes.
    fn padded(&self, text: &str, width: usize) -> Vec<u8> {
        let (mut bytes, blank): (Vec<u8>, &[u8]) = match self {
            Self::Primary => (text.bytes().collect(), b" "),
            Self::Joliet => (wide(text), b"\0 "),
        };
        bytes.truncate(width);
        while bytes.len() < width {
            bytes.extend_from_slice(&blank[..blank.len().min(width - bytes.len())]);
        }
        bytes
    }
}

fn put(image: &mut [u8], sector: usize, bytes: &[u8]) {
    let start = sector * SECTOR;
    image[start..start + bytes.len()].copy_from_slice(bytes);
}

/// Converts a sector number or a size to 32 bits, their width in the image. A seed ISO is far smaller than that limit.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// Writes both byte orders one after the other, as ECMA-119 §7.3.3 requires.
fn both(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

fn both_short(value: u16) -> [u8; 4] {
    let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
    [little[0], little[1], big[0], big[1]]
}

fn descriptor(names: &Names, label: &str, sectors: usize) -> Vec<u8> {
    let (kind, escapes, little, big): (u8, &[u8], usize, usize) = match names {
        Names::Primary => (1, b"", PRIMARY_PATHS_LITTLE, PRIMARY_PATHS_BIG),
        // UCS-2 level 3, which all programs that write Joliet use.
        Names::Joliet => (2, b"%/E", JOLIET_PATHS_LITTLE, JOLIET_PATHS_BIG),
    };
    let mut out = Vec::with_capacity(SECTOR);
    out.push(kind);
    out.extend_from_slice(b"CD001\x01\0");
    out.extend(names.padded("", 32));
    out.extend(names.padded(label, 32));
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&both(number(sectors)));
    out.extend_from_slice(escapes);
    out.resize(120, 0);
    out.extend_from_slice(&both_short(1));
    out.extend_from_slice(&both_short(1));
    out.extend_from_slice(&both_short(2048));
    out.extend_from_slice(&both(PATH_TABLE_BYTES));
    out.extend_from_slice(&number(little).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&number(big).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend(record(names.root(), SECTOR, true, &[0], &[]));
    out.extend(names.padded("", 128));
    out.extend(names.padded("", 128));
    out.extend(names.padded("", 128));
    out.extend(names.padded("PXCI", 128));
    out.extend(names.padded("", 37));
    out.extend(names.padded("", 37));
    out.extend(names.padded("", 37));
    out.extend_from_slice(VOLUME_DATE);
    out.extend_from_slice(VOLUME_DATE);
    out.extend_from_slice(NO_DATE);
    out.extend_from_slice(NO_DATE);
    out.push(1);
    out
}

fn path_table(root: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    let mut out = vec![1, 0];
    out.extend_from_slice(&root);
    out.extend_from_slice(&parent);
    out.extend_from_slice(&[0, 0]);
    out
}

fn directory(names: &Names, files: &[File<'_>], extents: &[usize]) -> Vec<u8> {
    let (own, parent) = match names {
        Names::Primary => ([rock_ridge_start(), attributes(0o040_555, 2)].concat(), attributes(0o040_555, 2)),
        Names::Joliet => (Vec::new(), Vec::new()),
    };
    let mut out = record(names.root(), SECTOR, true, &[0], &own);
    out.extend(record(names.root(), SECTOR, true, &[1], &parent));
    for (file, extent) in files.iter().zip(extents) {
        let (identifier, system) = match names {
            Names::Primary => {
                let system = [rock_ridge_name(file.name), attributes(0o100_444, 1)].concat();
                (format!("{}.;1", file.short).into_bytes(), system)
            }
            Names::Joliet => (wide(file.name), Vec::new()),
        };
        out.extend(record(*extent, file.content.len(), false, &identifier, &system));
    }
    out
}

/// Returns a directory record (ECMA-119 §9.1) with its system use area.
fn record(extent: usize, size: usize, directory: bool, identifier: &[u8], system_use: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend_from_slice(&both(number(extent)));
    out.extend_from_slice(&both(number(size)));
    out.extend_from_slice(&RECORD_DATE);
    out.extend_from_slice(&[if directory { 2 } else { 0 }, 0, 0]);
    out.extend_from_slice(&both_short(1));
    out.push(byte(identifier.len()));
    out.extend_from_slice(identifier);
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out.extend_from_slice(system_use);
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out[0] = byte(out.len());
    out
}

fn byte(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// Returns the first system use entries: `SP` announces such entries, and `ER` says that they follow Rock Ridge.
fn rock_ridge_start() -> Vec<u8> {
    let mut out = b"SP\x07\x01\xbe\xef\0".to_vec();
    let id = b"RRIP_1991A";
    out.extend_from_slice(&[b'E', b'R', byte(8 + id.len()), 1, byte(id.len()), 0, 0, 1]);
    out.extend_from_slice(id);
    out
}

fn rock_ridge_name(name: &str) -> Vec<u8> {
    let mut out = vec![b'N', b'M', byte(5 + name.len()), 1, 0];
    out.extend_from_slice(name.as_bytes());
    out
}

/// Writes mode, links, owner and group (root).
fn attributes(mode: u32, links: u32) -> Vec<u8> {
    let mut out = vec![b'P', b'X', 36, 1];
    for value in [mode, links, 0, 0] {
        out.extend_from_slice(&both(value));
    }
    out
}
