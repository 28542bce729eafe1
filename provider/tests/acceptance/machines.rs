//! The whole life of a runner VM that QEMU runs. Firmware, boot loader, kernel, systemd, cloud-init and guest agent are
//! real, as are its disk, its CD and the agent's port. The provider uploads the cloud-init data and makes the
//! dispatcher's container, and the dispatcher does everything else.

use std::time::Duration;

use farm::engines::preferred_core;
use farm::simulation::{Farm, Guests, REPOSITORY};
use ownership::RunnerName;
use sim_github::{JobSpec, JobState, RunSpec};
use sim_guest::Namespaces;
use sim_guest::qemu::Qemu;

use crate::administrator::Administrator;
use crate::site::{prepared, working_directory};
use crate::working_directory::install_tls;

/// Longest wait for a step. An emulated processor takes minutes for a boot.
const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// Name of the template, which is also its family because the template has no marker.
const TEMPLATE: &str = "machine";

/// Steps of the job. The first check that does not hold fails the job.
const STEPS: [&str; 5] = [
    // Firmware, kernel and first process are those of the guest, not of this machine.
    r#"grep -x SeaBIOS /sys/class/dmi/id/bios_vendor; uname -r | grep cloud-amd64; grep -x systemd /proc/1/comm"#,
    // cloud-init has read the CD that the provider uploaded.
    r#"grep -x acceptance /etc/pxci/pool; cloud-init status --wait --long >status || true; cat status; grep -x 'status: done' status; grep 'seed=/dev/sr0' status"#,
    // The host name came over the guest agent.
    r#"systemctl is-active qemu-guest-agent.service pxci-runner.service; hostname | grep -x "$RUNNER_NAME""#,
    // The JIT configuration is deleted, and the credentials of the runner are in memory only.
    r#"sudo test ! -e /run/pxci/jitconfig; sudo test -s /opt/actions-runner/.credentials
sudo findmnt --noheadings --output FSTYPE --mountpoint /run/pxci/memory | grep -x tmpfs
sudo test -s /run/pxci/memory/upper/.credentials
sudo mkdir /mnt/disk; sudo mount --bind / /mnt/disk; sudo test -d /mnt/disk/opt/actions-runner/bin
sudo test ! -e /mnt/disk/opt/actions-runner/.credentials"#,
    r#"echo "said by the job" | sudo tee /dev/ttyS0"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_boots_takes_one_job_and_powers_itself_off() {
    if std::env::var_os("PXCI_GUESTS").is_none_or(|guests| guests != "qemu") {
        println!("not run: guests backed by QEMU (cargo xtask test --guests qemu)");
        return;
    }
    install_tls();
    let containers = Namespaces::start(&prepared("PXCI_GUEST_BASE")).await.expect("containers");
    let qemu = Qemu::start(containers).await.expect("machines");
    let farm = Farm::simulated(Guests::Machines(qemu.clone())).await.expect("a farm");
    let template = make_template(&farm, &qemu).await;
    let before = farm.leftovers();

    let directory = tempfile::tempdir().expect("directory");
    let core = preferred_core().expect("a core");
    let mut work = working_directory(&farm, core, directory.path(), Some(&prepared("PXCI_APPLIANCE")));
    work.set("TF_VAR_template_vmid", &template.to_string());
    work.set("TF_VAR_template_family", TEMPLATE);
    work.set("TF_VAR_runner_vm", "false");
    work.set("TF_VAR_boot_limit", &DEADLINE.as_secs().to_string());
    work.init().await.expect("init");
    work.apply().await.expect("apply");

    let runner = runs_a_job(&farm, &qemu).await;
    reaped(&farm, &runner).await;
    let console = console(&qemu, &runner);
    for words in ["said by the job", "reboot: Power down"] {
        assert!(console.contains(words), "{words:?} is not on the console:\n{console}");
    }

    work.destroy().await.expect("destroy");
    assert_eq!(farm.leftovers(), before, "nothing is left");
    qemu.end().await;
}

/// Makes a template with the image on its disk, as an installation would leave it.
async fn make_template(farm: &Farm, qemu: &Qemu) -> u32 {
    let template = farm.pve.first_vmid;
    let administrator = Administrator::new(farm.simulated_pve.as_ref().expect("a simulated Proxmox VE"));
    administrator.make_template(template, TEMPLATE, "made by this test", "").await;
    let config = administrator.call("GET", &format!("/nodes/pve1/qemu/{template}/config"), &[]).await;
    let disk = config["scsi0"].as_str().expect("a disk");
    let volume = disk.split(',').next().unwrap_or_default();
    qemu.install(volume, &prepared("PXCI_GUEST_IMAGE")).await.expect("a disk image");
    template
}

/// Runs a job, which must succeed. Returns the name of its runner.
async fn runs_a_job(farm: &Farm, qemu: &Qemu) -> RunnerName {
    let github = farm.simulated_github.as_ref().expect("a simulated GitHub");
    let job = JobSpec {
        name: "looks around".to_owned(),
        labels: ["self-hosted", "pxci-acceptance"].map(str::to_owned).to_vec(),
        steps: STEPS.map(Into::into).to_vec(),
    };
    let run = RunSpec { repository: REPOSITORY.to_owned(), event: "push".to_owned(), fork: None, jobs: vec![job] };
    let id = github.queue_run(run)[0];
    let ended = github.wait_for(DEADLINE, |world| {
        let job = world.job(id)?;
        let JobState::Completed { conclusion } = &job.state else { return None };
        Some((conclusion.clone(), job.runner_name.clone().unwrap_or_default(), job.log.clone()))
    });
    let said =
        || farm.simulated_pve.iter().flat_map(|pve| pve.handle.guests()).map(|vmid| qemu.guest_log(vmid).join("\n"));
    let Some((conclusion, runner, log)) = ended.await else {
        panic!("the job does not end:\n{}", said().collect::<String>());
    };
    let runner = runner.parse().unwrap_or_else(|_| panic!("no runner of pxci took the job:\n{log}"));
    assert_eq!(conclusion, "success", "{log}\n{}", console(qemu, &runner));
    runner
}

/// Waits until neither the VM nor its registration exists.
async fn reaped(farm: &Farm, runner: &RunnerName) {
    let (pve, github) =
        (farm.simulated_pve.as_ref().expect("simulated"), farm.simulated_github.as_ref().expect("simulated"));
    let gone = github.wait_for(DEADLINE, |world| world.runner_names().is_empty().then_some(()));
    assert!(gone.await.is_some(), "{runner} stays registered");
    let watching = async {
        while pve.handle.guests().contains(&runner.vmid().get()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, watching).await.is_ok(), "{runner} is not reaped");
}

fn console(qemu: &Qemu, runner: &RunnerName) -> String {
    qemu.guest_log(runner.vmid().get()).join("\n")
}
