//! Builds the dispatcher's appliance, the root file system of its container in the form that Proxmox VE accepts.
//!
//! The same inputs give the same bytes: names are sorted, and owner, time and compression level are fixed. The archive
//! has no device nodes, which an unprivileged container could not create, and nothing that differs between
//! installations.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

const TARGET: &str = "x86_64-unknown-linux-musl";
const PROFILE: &str = "appliance";

/// Time of all files, 2020-01-01. With a time before 1971, tar would warn about every file in the log of PVE's task.
const TIME: u64 = 1_577_836_800;
const COMPRESSION: i32 = 19;

/// Empty directories. Busybox's `ifup` needs the `if-*.d`, and Proxmox VE writes below `etc`.
const DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc/network/if-down.d", 0o755),
    ("etc/network/if-post-down.d", 0o755),
    ("etc/network/if-pre-up.d", 0o755),
    ("etc/network/if-up.d", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var/lib/pxci", 0o700),
];

/// Names of programs that link to busybox. Proxmox VE and its getty lines expect `init`, `getty` and `login`.
const BUSYBOX_NAMES: &[&str] = &[
    "bin/grep",
    "bin/hostname",
    "bin/ip",
    "bin/login",
    "bin/mount",
    "bin/run-parts",
    "bin/sh",
    "bin/sleep",
    "sbin/getty",
    "sbin/halt",
    "sbin/ifdown",
    "sbin/ifup",
    "sbin/init",
    "sbin/ip",
    "sbin/poweroff",
    "sbin/reboot",
    "sbin/udhcpc",
];

#[derive(Debug)]
enum Node {
    Directory(u32),
    File { mode: u32, content: Vec<u8> },
    Link(String),
}

type Tree = BTreeMap<String, Node>;

/// Builds the dispatcher as a static program, and returns its path.
///
/// # Errors
/// Fails if cargo fails, which prints the reason to standard error.
pub(crate) fn build_dispatcher(target_directory: &Path) -> Result<PathBuf> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--package", "pxci-dispatcher", "--bin", "pxci-dispatcher"])
        .args(["--profile", PROFILE, "--target", TARGET])
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("the static dispatcher does not build; it needs the Rust target {TARGET} and Debian's musl-tools");
    }
    Ok(target_directory.join(TARGET).join(PROFILE).join("pxci-dispatcher"))
}

/// Packs the appliance from a static dispatcher and a static busybox into `out_dir`, and returns the archive's path.
///
/// # Errors
/// Fails if a program is not static, or a file cannot be read or written.
pub(crate) fn build(out_dir: &Path, dispatcher: &Path, busybox: &Path) -> Result<PathBuf> {
    let tree = tree(&static_program(dispatcher)?, &static_program(busybox)?)?;
    fs::create_dir_all(out_dir).with_context(|| format!("making {}", out_dir.display()))?;
    let path = out_dir.join(format!("pxci-dispatcher-appliance_{}_amd64.tar.zst", env!("CARGO_PKG_VERSION")));
    let file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(out_dir);
    let mut file = file.context("making the archive's file")?;
    file.write_all(&compressed(&archive(&tree)?)?).context("writing the archive")?;
    file.persist(&path).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

fn static_program(path: &Path) -> Result<Vec<u8>> {
    let content = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    match wants_loader(&content) {
        None => bail!("{} is not a 64-bit program for Linux", path.display()),
        Some(true) => bail!("{} is not static: the container has no C library", path.display()),
        Some(false) => Ok(content),
    }
}

/// Returns true if an ELF program names a dynamic loader (a PT_INTERP header); `None` if it is not a 64-bit
/// little-endian ELF.
fn wants_loader(elf: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?)));
    let table = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (short(54)?, short(56)?);
    let kind = |index: usize| {
        let at = table.checked_add(index.checked_mul(size)?)?;
        Some(u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    Some((0..count).any(|index| kind(index) == Some(INTERPRETER)))
}

fn tree(dispatcher: &[u8], busybox: &[u8]) -> Result<Tree> {
    let mut tree = Tree::new();
    for (path, mode) in DIRECTORIES {
        insert(&mut tree, path, Node::Directory(*mode));
    }
    add_files(&mut tree, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../dispatcher/appliance/rootfs"))?;
    for (path, content) in [("bin/busybox", busybox), ("bin/pxci-dispatcher", dispatcher)] {
        insert(&mut tree, path, Node::File { mode: 0o755, content: content.to_vec() });
    }
    for name in BUSYBOX_NAMES {
        let target = if name.starts_with("bin/") { "busybox" } else { "../bin/busybox" };
        insert(&mut tree, name, Node::Link(target.to_owned()));
    }
    insert(&mut tree, "bin/pxci-console", Node::Link("pxci-dispatcher".to_owned()));
    insert(&mut tree, "var/run", Node::Link("../run".to_owned()));
    Ok(tree)
}

/// Inserts a node and the directories above it.
fn insert(tree: &mut Tree, path: &str, node: Node) {
    for (end, _) in path.match_indices('/') {
        tree.entry(path[..end].to_owned()).or_insert(Node::Directory(0o755));
    }
    tree.insert(path.to_owned(), node);
}

/// Adds files. Modes depend on the content, because those of a checkout depend on the user's settings.
fn add_files(tree: &mut Tree, from: &Path) -> Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry.context("listing the appliance's files")?;
        if !entry.file_type().is_file() {
            continue;
        }
        let name = entry.path().strip_prefix(from)?.to_str().context("a file's name is not UTF-8")?;
        let content = fs::read(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?;
        let mode = if content.starts_with(b"#!") { 0o755 } else { 0o644 };
        insert(tree, name, Node::File { mode, content });
    }
    ensure!(tree.contains_key("etc/inittab"), "{} is not the appliance's root file system", from.display());
    Ok(())
}

fn archive(tree: &Tree) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (path, node) in tree {
        append(&mut builder, path, node).with_context(|| format!("packing {path}"))?;
    }
    builder.into_inner().context("ending the archive")
}

fn append(builder: &mut Builder<Vec<u8>>, path: &str, node: &Node) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(TIME);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match node {
        Node::Directory(mode) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            builder.append_data(&mut header, format!("./{path}/"), std::io::empty())?;
        }
        Node::File { mode, content } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, format!("./{path}"), content.as_slice())?;
        }
        Node::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            builder.append_link(&mut header, format!("./{path}"), target)?;
        }
    }
    Ok(())
}

fn compressed(archive: &[u8]) -> Result<Vec<u8>> {
    zstd::bulk::compress(archive, COMPRESSION).context("compressing the archive")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an ELF program of headers only.
    fn program(interpreter: bool) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = if interpreter { 3 } else { 1 };
        elf
    }

    fn packed() -> (tempfile::TempDir, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let dispatcher = directory.path().join("dispatcher");
        fs::write(&dispatcher, program(false)).unwrap();
        let path = build(directory.path(), &dispatcher, &dispatcher).unwrap();
        let content = fs::read(path).unwrap();
        (directory, content)
    }

    #[test]
    fn two_builds_give_the_same_bytes() {
        assert_eq!(packed().1, packed().1);
    }

    #[test]
    fn every_link_leads_somewhere_and_every_entry_belongs_to_root() {
        let tar = zstd::stream::decode_all(packed().1.as_slice()).unwrap();
        let root = tempfile::tempdir().unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(
                (entry.header().uid().unwrap(), entry.header().gid().unwrap(), entry.header().mtime().unwrap()),
                (0, 0, TIME)
            );
            names.push(entry.path().unwrap().to_string_lossy().into_owned());
            assert!(entry.unpack_in(root.path()).unwrap());
        }
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
        for name in names.iter().map(|name| root.path().join(name)) {
            assert!(name.exists(), "{} leads nowhere", name.display());
        }
    }

    /// Proxmox VE needs these files to recognise the file system and to set up its network.
    #[test]
    fn the_files_that_proxmox_ve_needs_are_there() {
        let tree = tree(&program(false), &program(false)).unwrap();
        for path in [
            "etc/alpine-release",
            "etc/os-release",
            "etc/inittab",
            "sbin/init",
            "sbin/getty",
            "etc/network/if-up.d/link",
            "etc/network/interfaces",
            "var/run",
        ] {
            assert!(tree.contains_key(path), "{path}");
        }
        let Some(Node::File { content, .. }) = tree.get("etc/passwd") else { panic!("no passwd") };
        assert!(content.ends_with(b":/bin/pxci-console\n"));
        let Some(Node::File { mode, .. }) = tree.get("etc/udhcpc/default.script") else { panic!("no DHCP script") };
        assert_eq!(*mode, 0o755);
    }

    #[test]
    fn a_program_that_needs_a_loader_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (good, bad) = (directory.path().join("good"), directory.path().join("bad"));
        fs::write(&good, program(false)).unwrap();
        fs::write(&bad, program(true)).unwrap();
        let error = build(directory.path(), &bad, &good).unwrap_err();
        assert!(error.to_string().contains("not static"), "{error}");
        fs::write(&bad, "#!/bin/sh\n").unwrap();
        assert!(build(directory.path(), &good, &bad).is_err());
    }
}
