//! The root directory of a container. Symbolic links in it do not lead outside.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat2};
use rustix::io::Errno;

/// The root directory of a container.
pub(super) struct Root(OwnedFd);

impl Root {
    /// Opens the directory.
    ///
    /// # Errors
    /// Errors of the system.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        Ok(Self(open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Reads a regular file. Returns `None` if the path is not a regular file.
    ///
    /// # Errors
    /// Errors of the system, with the file.
    pub(super) fn read(&self, path: &str) -> io::Result<Option<String>> {
        let file = match self.open_inside(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            opened => opened.map_err(at(path))?,
        };
        if FileType::from_raw_mode(fstat(&file).map_err(at(path))?.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).map_err(|error| named(path, error))?;
        Ok(Some(text))
    }

    /// Writes a file, unless the container has a file `.pve-ignore.NAME` next to it.
    ///
    /// # Errors
    /// Errors of the system, with the file.
    pub(super) fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        if self.read(&format!("{directory}/.pve-ignore.{name}"))?.is_some() {
            return Ok(());
        }
        let file = self.open_inside(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC).map_err(at(path))?;
        File::from(file).write_all(text.as_bytes()).map_err(|error| named(path, error))
    }

    /// Creates a directory and its parent directories.
    ///
    /// # Errors
    /// Errors of the system, with the directory.
    pub(super) fn make_directories(&self, path: &str) -> io::Result<()> {
        let mut above = ".".to_owned();
        for name in path.split('/') {
            let parent = self.open_inside(&above, OFlags::PATH | OFlags::DIRECTORY).map_err(at(&above))?;
            match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(at(path)(error)),
            }
            above = format!("{above}/{name}");
        }
        Ok(())
    }

    fn open_inside(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
        openat2(&self.0, path, flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT)
    }
}

fn at(path: &str) -> impl Fn(Errno) -> io::Error + '_ {
    move |error| named(path, error.into())
}

fn named(path: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("/{path} of the container: {error}"))
}

#[cfg(test)]
mod tests {
    use super::Root;

    #[test]
    fn a_link_to_an_absolute_path_stays_inside_the_container() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir(inside.path().join("etc")).unwrap();
        let target = outside.path().join("hostname");
        std::os::unix::fs::symlink(&target, inside.path().join("etc/hostname")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        assert!(root.write("etc/hostname", "x\n").is_err(), "there is no such directory inside");
        assert!(!target.exists());
        std::fs::write(&target, "host\n").unwrap();
        assert_eq!(root.read("etc/hostname").unwrap(), None);
    }

    #[test]
    fn a_file_that_the_container_protects_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        std::fs::write(directory.path().join("etc/.pve-ignore.hosts"), "").unwrap();
        let root = Root::open(directory.path()).unwrap();
        root.write("etc/hosts", "x\n").unwrap();
        root.write("etc/hostname", "x\n").unwrap();
        assert_eq!(root.read("etc/hosts").unwrap(), None);
        assert_eq!(root.read("etc/hostname").unwrap().as_deref(), Some("x\n"));
    }
}
