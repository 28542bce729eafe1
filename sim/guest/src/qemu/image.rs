//! Disk images that QEMU boots: Debian from its packages, changed by the scripts of an image.
//!
//! This works without root. `mke2fs` writes the file system from a directory, and the two parts of the boot loader are
//! written to the places that its installer would use. The disk is complete (boot sector, one partition, kernel
//! inside), so a clone boots from its disk alone.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::super::bootstrap::{Bootstrap, BootstrapError, LEFT_OUT, codename, in_directory, lock, output, remove};
use super::super::host;
use super::super::sandbox::PATH;

/// Number of the recipe. Raise it if images are made in another way that their parts do not show.
const RECIPE: u32 = 1;

/// Packages of every image: kernel, boot loader, service manager, network set-up, file system tools.
const PACKAGES: &[&str] = &[
    "dbus",
    "e2fsprogs",
    "grub-common",
    "grub-pc-bin",
    "initramfs-tools",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "netplan.io",
    "systemd",
    "systemd-sysv",
    "udev",
];

/// Size of the disk in bytes.
const DISK: u64 = 4 << 30;
/// Start of the partition in bytes. The boot loader is in front of it.
const PARTITION: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// Number of bytes of code in the first sector.
const BOOT_CODE: usize = 440;
/// Label of the root file system.
const LABEL: &str = "pxci-root";

/// Script of the boot loader, which shows no menu and does not wait.
const BOOT: &str = "set root=(hd0,msdos1)
linux /vmlinuz root=LABEL=pxci-root rw console=ttyS0 quiet
initrd /initrd.img
boot
";

/// Script that does the work of an installer in the new system, before the image's own scripts.
const SYSTEM: &str = r"echo 'LABEL=pxci-root / ext4 defaults 0 1' >/etc/fstab
echo runner >/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 runner\n' >/etc/hosts
mkdir -p /etc/cloud/cloud.cfg.d
echo 'locale: false' >/etc/cloud/cloud.cfg.d/90-installed.cfg
mkdir -p /boot/grub
grub-mkimage --format=i386-pc --output=/boot/grub/core.img --config=/tmp/pxci-image/boot.cfg \
  --prefix='(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2 linux
cp /usr/lib/grub/i386-pc/boot.img /boot/grub/boot.img
";

/// Inputs of an image besides the system.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// Further Debian packages.
    pub packages: Vec<String>,
    /// Directory that is at `/tmp/pxci-image` while the scripts run.
    pub directory: PathBuf,
    /// Bash scripts that root runs in the system, in order, by their path below that directory.
    pub scripts: Vec<String>,
    /// Environment of the scripts.
    pub environment: Vec<(String, String)>,
}

/// Returns the path of the qcow2 image of `recipe` below `cache`. Makes it if it does not exist, which takes some
/// minutes and half a gigabyte.
///
/// Concurrent callers wait for one another. The name contains a digest of everything that the image is made from.
///
/// # Errors
/// See [`BootstrapError`].
pub fn build(cache: &Path, recipe: &Recipe) -> Result<PathBuf, BootstrapError> {
    let codename = codename();
    let digest = recipe.digest().map_err(in_directory(&recipe.directory))?;
    let image = cache.join(format!("guest-image-{codename}-{digest}.qcow2"));
    if image.is_file() {
        return Ok(image);
    }
    fs::create_dir_all(cache).map_err(in_directory(cache))?;
    let _lock = lock(&cache.join("guest-image.lock"))?;
    if image.is_file() {
        return Ok(image);
    }
    let scratch =
        tempfile::Builder::new().prefix("guest-image-").tempdir().map_err(in_directory(&std::env::temp_dir()))?;
    let root = cache.join("guest-image.unfinished");
    remove(&root)?;
    fs::create_dir(&root).map_err(in_directory(&root))?;
    let made = recipe.unpack(scratch.path(), &codename, &root).and_then(|()| assemble(&root, scratch.path(), &image));
    remove(&root)?;
    made.map(|()| image)
}

impl Recipe {
    fn digest(&self) -> io::Result<String> {
        let mut digest = Sha256::new();
        let Self { packages, directory, scripts, environment } = self;
        digest.update(format!(
            "{RECIPE} {PACKAGES:?} {LEFT_OUT:?} {SYSTEM} {BOOT} {packages:?} {scripts:?} {environment:?}"
        ));
        for file in files(directory)? {
            let name = file.strip_prefix(directory).unwrap_or(&file);
            let content = fs::read(&file)?;
            digest.update(format!("\n{} {}\n", name.display(), content.len()));
            digest.update(content);
        }
        Ok(hex::encode(&digest.finalize()[..8]))
    }

    /// Makes the system in `root`.
    fn unpack(&self, scratch: &Path, codename: &str, root: &Path) -> Result<(), BootstrapError> {
        let brought = scratch.join("pxci-image");
        copy(&self.directory, &brought).map_err(in_directory(&self.directory))?;
        for (name, text) in [("boot.cfg", BOOT), ("make", &self.script())] {
            fs::write(brought.join(name), text).map_err(in_directory(&brought))?;
        }
        let mut bring = OsString::from("copy-in ");
        bring.push(&brought);
        bring.push(" /tmp");
        let run = format!("chroot \"$1\" env -i PATH={PATH} bash /tmp/pxci-image/make >&2");
        let mut packages = PACKAGES.to_vec();
        packages.extend(self.packages.iter().map(String::as_str));
        let hooks = [bring, run.into(), "rm -rf \"$1\"/tmp/pxci-image".into()];
        Bootstrap { packages: &packages, hooks: &hooks }.unpack(scratch, codename, root)
    }

    fn script(&self) -> String {
        let exports: String =
            self.environment.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
        let scripts: String = self.scripts.iter().map(|script| format!("bash /tmp/pxci-image/{script}\n")).collect();
        format!("set -eu\nexport DEBIAN_FRONTEND=noninteractive\n{SYSTEM}{exports}{scripts}")
    }
}

/// Makes the disk out of the system in `root`.
fn assemble(root: &Path, scratch: &Path, image: &Path) -> Result<(), BootstrapError> {
    let disk = scratch.join("disk.raw");
    let blocks = format!("{}k", (DISK - PARTITION) >> 10);
    File::create(&disk).and_then(|file| file.set_len(DISK)).map_err(in_directory(&disk))?;
    let mut writer = host::as_root(["mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-d"]);
    writer.arg(root).arg("-E").arg(format!("offset={PARTITION},lazy_itable_init=1")).arg(&disk).arg(blocks);
    output("mke2fs", "e2fsprogs", writer.env("PATH", PATH))?;
    write_boot_loader(&disk, &root.join("boot/grub")).map_err(in_directory(&disk))?;

    let unfinished = image.with_extension("unfinished");
    let mut converter = Command::new("qemu-img");
    output("qemu-img", "qemu-utils", converter.args(["convert", "-O", "qcow2"]).arg(&disk).arg(&unfinished))?;
    fs::rename(&unfinished, image).map_err(in_directory(image))
}

/// Writes the partition table and the boot loader. Its first part is in the first sector, and its second part follows,
/// where the first part expects it.
fn write_boot_loader(disk: &Path, from: &Path) -> io::Result<()> {
    let (first, second) = (fs::read(from.join("boot.img"))?, fs::read(from.join("core.img"))?);
    if first.len() < BOOT_CODE || second.len() as u64 > PARTITION - SECTOR {
        return Err(io::Error::other("the boot loader does not fit in front of the partition"));
    }
    let mut file = File::options().read(true).write(true).open(disk)?;
    let mut sector = [0; SECTOR as usize];
    file.read_exact(&mut sector)?;
    sector[..BOOT_CODE].copy_from_slice(&first[..BOOT_CODE]);
    sector[446..462].copy_from_slice(&partition());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&sector)?;
    file.write_all(&second)
}

/// Returns the only entry of the partition table: bootable, Linux, with addresses in sectors. Addresses in cylinders
/// are no longer used.
fn partition() -> [u8; 16] {
    let number = |bytes: u64| u32::try_from(bytes / SECTOR).unwrap_or(u32::MAX).to_le_bytes();
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&[0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&number(PARTITION));
    entry[12..].copy_from_slice(&number(DISK - PARTITION));
    entry
}

/// Quotes a word for a shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Returns all files below a directory, in the order of their names.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from).unwrap_or(&file));
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(&file, &target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{BOOT, LABEL, Recipe, SYSTEM, partition, write_boot_loader};

    fn recipe(directory: &std::path::Path) -> Recipe {
        Recipe {
            packages: vec!["jq".into()],
            directory: directory.to_owned(),
            scripts: vec!["scripts/a.sh".into()],
            environment: vec![("VERSION".into(), "it's 1".into())],
        }
    }

    #[test]
    fn each_change_of_a_recipe_makes_another_image() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("scripts")).unwrap();
        fs::write(directory.path().join("scripts/a.sh"), "true").unwrap();
        let before = recipe(directory.path());
        let digest = before.digest().unwrap();
        assert_eq!(recipe(directory.path()).digest().unwrap(), digest);
        let more = Recipe { packages: vec!["jq".into(), "git".into()], ..before.clone() };
        let newer = Recipe { environment: vec![("VERSION".into(), "2".into())], ..before.clone() };
        for changed in [more, newer] {
            assert_ne!(changed.digest().unwrap(), digest);
        }
        fs::write(directory.path().join("scripts/a.sh"), "false").unwrap();
        assert_ne!(before.digest().unwrap(), digest);
    }

    #[test]
    fn the_scripts_get_their_environment() {
        let script = recipe(std::path::Path::new("/nowhere")).script();
        let end = "export VERSION='it'\\''s 1'\nbash /tmp/pxci-image/scripts/a.sh\n";
        assert!(script.ends_with(end), "{script}");
    }

    #[test]
    fn all_parts_name_the_same_file_system() {
        assert!(BOOT.contains(&format!("root=LABEL={LABEL} ")) && SYSTEM.contains(&format!("LABEL={LABEL} /")));
    }

    #[test]
    fn the_boot_loader_does_not_overwrite_the_partition() {
        let directory = tempfile::tempdir().unwrap();
        let disk = directory.path().join("disk");
        fs::write(&disk, vec![7; 4096]).unwrap();
        fs::write(directory.path().join("boot.img"), [1; 512]).unwrap();
        fs::write(directory.path().join("core.img"), [2; 1000]).unwrap();
        write_boot_loader(&disk, directory.path()).unwrap();
        let written = fs::read(&disk).unwrap();
        assert_eq!(written[..440], [1; 440]);
        assert_eq!(written[440..446], [7; 6], "the disk's own number");
        assert_eq!(written[446..462], partition());
        assert_eq!(written[510..512], [0x55, 0xaa]);
        assert_eq!(written[512..1512], [2; 1000]);
        assert_eq!(written[1512..], [7; 2584]);
        fs::write(directory.path().join("core.img"), vec![2; 1 << 20]).unwrap();
        assert!(write_boot_loader(&disk, directory.path()).is_err());
    }
}
