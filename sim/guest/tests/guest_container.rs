//! Containers whose programs run: an uploaded template is unpacked and started, and its console is its own login shell.
#![cfg(test)]

mod guest_lab;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use guest_lab::Lab;
use sim_backend::{Backend as _, ContainerSetup, ContainerStart, GuestEventKind, Stream};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

const ROOT: &str = "store:subvol-200-disk-0";
const STATE: &str = "store:subvol-200-disk-1";

/// Makes a root file system like that of an appliance: busybox, a program that init respawns, and a login shell that is
/// another program.
fn template(lab: &Lab) -> PathBuf {
    template_with(lab, "exec sleep 98765")
}

fn template_with(lab: &Lab, daemon: &str) -> PathBuf {
    let root = lab.directory.path().join("rootfs");
    for directory in ["bin", "sbin", "etc/network", "proc", "dev", "run", "tmp", "state"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "sleep", "stty", "mkdir", "hostname", "poweroff", "grep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    std::os::unix::fs::symlink("../bin/busybox", root.join("sbin/init")).unwrap();
    let daemon = format!("#!/bin/sh\necho \"begins as $(hostname)\" >> /state/log\n{daemon}\n");
    program(&root, "bin/daemon", &daemon);
    program(
        &root,
        "bin/console",
        "#!/bin/sh\nstty raw -echo\necho ready\nread word\n[ \"$word\" != off ] || poweroff -f\nuntil grep -q \"begins as $(hostname)\" /state/log; do sleep 0.1; done\necho \"heard $word, $(cat /state/log)\"\n",
    );
    let file = |path: &str, text: &str| std::fs::write(root.join(path), text).unwrap();
    file("etc/inittab", "::sysinit:/bin/mkdir /tmp/made\n::respawn:/bin/daemon\n");
    file("etc/passwd", "root:x:0:0:root:/:/bin/console\n");
    file("etc/group", "root:x:0:\n");
    let archive = lab.directory.path().join("appliance.tar.zst");
    pack(&root, &archive);
    archive
}

fn pack(root: &Path, archive: &Path) {
    let mut tar = tar::Builder::new(zstd::Encoder::new(std::fs::File::create(archive).unwrap(), 1).unwrap());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", root).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
}

fn program(root: &Path, path: &str, text: &str) {
    std::fs::write(root.join(path), text).unwrap();
    std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn named(hostname: &str) -> ContainerSetup {
    ContainerSetup { hostname: hostname.to_owned(), ..ContainerSetup::default() }
}

async fn start(lab: &Lab, vmid: u32, hostname: &str, rootfs: &str, mount: &str) {
    let start = ContainerStart {
        vmid,
        rootfs: rootfs.to_owned(),
        mounts: vec![(mount.to_owned(), "/state".to_owned())],
        setup: named(hostname),
    };
    lab.guests.container_start(start, lab.sender.clone().into()).await.unwrap();
}

/// Reads until these words arrive.
async fn hear(console: &mut Box<dyn Stream>, words: &str) -> String {
    let mut heard = String::new();
    let listening = async {
        while !heard.contains(words) {
            let mut buffer = [0; 1024];
            match console.read(&mut buffer).await.unwrap() {
                0 => panic!("the console ended; heard {heard:?}"),
                count => heard.push_str(&String::from_utf8_lossy(&buffer[..count])),
            }
        }
    };
    let in_time = tokio::time::timeout(guest_lab::DEADLINE, listening).await;
    assert!(in_time.is_ok(), "{words:?} never came; heard {heard:?}");
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_its_program_and_its_console_is_its_login_shell() {
    let lab = Lab::start().await;
    lab.guests.container_create(ROOT, template(&lab), named("dispatcher")).await.unwrap();
    lab.guests.disk_create(STATE).await.unwrap();
    start(&lab, 200, "dispatcher", ROOT, STATE).await;

    let mut console = lab.guests.container_console(200).await.unwrap();
    hear(&mut console, "ready").await;
    console.write_all(b"hello\n").await.unwrap();
    let answer = hear(&mut console, "heard hello").await;
    assert!(answer.contains("begins as dispatcher"), "{answer}");
    // The shell has ended, and its terminal with it.
    assert_eq!(console.read(&mut [0; 16]).await.unwrap(), 0);
    drop(console);

    lab.guests.container_stop(200).await;
    assert!(lab.guests.container_console(200).await.is_err(), "a stopped container has no console");
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_volume_survives_its_move_to_another_container() {
    let mut lab = Lab::start().await;
    let template = template(&lab);
    lab.guests.container_create(ROOT, template.clone(), named("one")).await.unwrap();
    lab.guests.disk_create(STATE).await.unwrap();
    start(&lab, 200, "one", ROOT, STATE).await;
    let mut console = lab.guests.container_console(200).await.unwrap();
    hear(&mut console, "ready").await;
    console.write_all(b"x\n").await.unwrap();
    hear(&mut console, "begins as one").await;
    lab.guests.container_stop(200).await;

    lab.guests.container_create("store:subvol-201-disk-0", template, named("two")).await.unwrap();
    lab.guests.disk_rename(STATE, "store:subvol-201-disk-1").await.unwrap();
    start(&lab, 201, "two", "store:subvol-201-disk-0", "store:subvol-201-disk-1").await;
    let mut console = lab.guests.container_console(201).await.unwrap();
    hear(&mut console, "ready").await;
    console.write_all(b"y\n").await.unwrap();
    let answer = hear(&mut console, "begins as two").await;
    assert!(answer.contains("begins as one"), "{answer}");
    drop(console);

    assert_eq!(lab.events.try_recv().ok(), None, "nothing ended by itself");
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_an_archive_is_refused() {
    let lab = Lab::start().await;
    let file = lab.directory.path().join("broken.tar.zst");
    std::fs::write(&file, "no archive").unwrap();
    assert!(lab.guests.container_create(ROOT, file, named("x")).await.is_err());
    let gone = ContainerStart { vmid: 200, rootfs: ROOT.to_owned(), mounts: Vec::new(), setup: named("x") };
    assert!(lab.guests.container_start(gone, lab.sender.clone().into()).await.unwrap_err().contains(ROOT));
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_powers_itself_off_is_reported() {
    let mut lab = Lab::start().await;
    lab.guests.container_create(ROOT, template(&lab), named("x")).await.unwrap();
    lab.guests.disk_create(STATE).await.unwrap();
    start(&lab, 200, "x", ROOT, STATE).await;
    let mut console = lab.guests.container_console(200).await.unwrap();
    hear(&mut console, "ready").await;
    console.write_all(b"off\n").await.unwrap();
    lab.wait_for(200, GuestEventKind::PoweredOff).await;
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_that_does_not_react_to_a_shutdown_continues_to_run() {
    let lab = Lab::start().await;
    template(&lab);
    let inert = lab.directory.path().join("inert.tar.zst");
    let root = lab.directory.path().join("rootfs");
    std::fs::remove_file(root.join("sbin/init")).unwrap();
    program(&root, "sbin/init", "#!/bin/sh\nexec sleep 98765\n");
    pack(&root, &inert);
    lab.guests.container_create(ROOT, inert, named("x")).await.unwrap();
    lab.guests.disk_create(STATE).await.unwrap();
    start(&lab, 200, "x", ROOT, STATE).await;
    assert!(!lab.guests.container_shutdown(200, std::time::Duration::from_millis(200)).await);
    let alive = lab.guests.container_attach(200, &["/bin/hostname"]).await.unwrap();
    assert_eq!(alive.stdout, b"x\n");
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_simulator_leaves_nothing() {
    let lab = Lab::start().await;
    let words = format!("sleep 98765{}", std::process::id());
    let template = template_with(&lab, &format!("exec {words}"));
    let mut child = tokio::process::Command::new(guest_lab::example("container"));
    child.args([&guest_lab::base(), &template]).arg("/state");
    let mut child = child.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let state = loop {
        let line = lines.next_line().await.unwrap().expect("the child says where its state is");
        if let Some((_, state)) = line.split_once("state: ") {
            break PathBuf::from(state);
        }
    };
    guest_lab::until(|| guest_lab::is_running(&words)).await;
    let processes = guest_lab::descendants(child.id().unwrap());
    for program in ["dnsmasq", "socat", "init", "sleep"] {
        assert!(processes.iter().any(|process| process.name == program), "{program}: {processes:?}");
    }

    child.kill().await.unwrap();
    guest_lab::until(|| !processes.iter().any(guest_lab::Process::is_alive) && !state.exists()).await;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("pxci-guests-"), "{mounts}");
}
