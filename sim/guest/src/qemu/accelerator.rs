//! The choice between this machine's processor (KVM) and QEMU's emulation.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::PROGRAM;

/// Longest time for both. After that time, neither of them works.
const DEADLINE: Duration = Duration::from_secs(60);
/// Value that the boot sector writes to the port of QEMU's exit device.
const WORD: u8 = 42;
/// Exit code of QEMU for that value.
const EXIT: i32 = (WORD as i32) << 1 | 1;

/// Code of the boot sector. It counts down from 2^26, which shows the speed of the processor, and ends QEMU: `mov
/// ecx,N` `dec ecx` `jnz` `mov dx,0x501` `mov al,WORD` `out dx,al` `hlt`.
const CODE: [u8; 17] = [0x66, 0xb9, 0, 0, 0, 4, 0x66, 0x49, 0x75, 0xfc, 0xba, 0x01, 0x05, 0xb0, WORD, 0xee, 0xf4];

/// The means of running a machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The machine's own processor.
    Kvm,
    /// QEMU's emulation of a processor.
    Emulation,
}

impl Accelerator {
    /// Returns the faster accelerator. Both boot the same sector, and the one that finishes first is chosen.
    ///
    /// The existence of `/dev/kvm` is not enough. This user may not be allowed to open it, it may refuse the processor,
    /// and in some virtual machines it is slower than emulation. The sector is written into `directory`.
    ///
    /// # Errors
    /// When QEMU does not start, or cannot run the sector.
    pub(super) async fn choose(directory: &Path) -> io::Result<Self> {
        let image = directory.join("probe.img");
        tokio::fs::write(&image, boot_sector()).await?;
        let (kvm, emulation) = (Self::Kvm.runs(&image), Self::Emulation.runs(&image));
        tokio::pin!(kvm, emulation);
        let (mut kvm_failed, mut emulation_failed) = (None, None);
        let race = async {
            loop {
                tokio::select! {
                    result = &mut kvm, if kvm_failed.is_none() => match result {
                        Ok(()) => return Ok(Self::Kvm),
                        Err(error) => kvm_failed = Some(error),
                    },
                    result = &mut emulation, if emulation_failed.is_none() => match result {
                        Ok(()) => return Ok(Self::Emulation),
                        Err(error) => emulation_failed = Some(error),
                    },
                    else => return Err(emulation_failed.take()),
                }
            }
        };
        match tokio::time::timeout(DEADLINE, race).await {
            Ok(Ok(chosen)) => Ok(chosen),
            Ok(Err(error)) => Err(error.unwrap_or_else(|| io::Error::other("no accelerator was tried"))),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU does not get through a boot sector")),
        }
    }

    /// Returns QEMU's options for this accelerator and its processor.
    pub(super) fn options(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Emulation => ["-accel", "tcg", "-cpu", "max"],
        }
    }

    async fn runs(self, image: &Path) -> io::Result<()> {
        let mut command = Command::new(PROGRAM);
        command.args(self.options()).args(["-machine", "q35", "-m", "64", "-nodefaults", "-no-user-config"]);
        command.args(["-display", "none", "-device", "isa-debug-exit,iobase=0x501,iosize=2"]);
        command.arg("-drive").arg(super::options::drive("none,id=disk,format=raw,readonly=on", image));
        command.args(["-device", "virtio-blk-pci,drive=disk"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = command.output().await.map_err(super::not_started)?;
        if output.status.code() == Some(EXIT) {
            return Ok(());
        }
        Err(io::Error::other(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
    }
}

/// Returns a disk of 1 MiB, because firmware does not accept much smaller disks.
fn boot_sector() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[..CODE.len()].copy_from_slice(&CODE);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}
