//! Virtual machines whose programs run: installation, clones, seed data, agent, power.
#![cfg(test)]

mod guest_lab;

use guest_lab::Lab;
use sim_backend::{AgentCall, AgentError, AgentReply, Backend as _, GuestEventKind};

const AUTOINSTALL: &str = "#cloud-config
autoinstall:
  version: 1
  identity:
    hostname: image
    username: ci
    password: $6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1
  packages: [qemu-guest-agent]
  late-commands:
    - curtin in-target --target=/target -- touch /etc/in-target
    - echo 'ci ALL=(ALL) NOPASSWD:ALL' > /target/etc/sudoers.d/ci
";

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_machine_answers_its_agent_and_powers_itself_off() {
    let mut lab = Lab::start().await;
    lab.install(100, "store:100/disk", AUTOINSTALL).await;

    assert_eq!(lab.run(100, "hostname; id -u; test -e /etc/in-target").await, (Some(0), "image\n0\n".to_owned()));
    assert_eq!(lab.run(100, "exit 3").await, (Some(3), String::new()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(host.trim(), "image", "a guest's host name is its own");
    let roots = lab.run(100, "awk '$5 == \"/\" { print $(NF-1) }' /proc/self/mountinfo; ls -A /target 2>&1").await.1;
    assert!(roots.starts_with("guest\nls: "), "nothing of the host's file system is left: {roots}");

    let write = AgentCall::FileWrite { path: "/run/x".to_owned(), content: b"hello".to_vec() };
    assert_eq!(lab.guests.agent(100, write).await, Ok(AgentReply::Done));
    assert_eq!(lab.run(100, "stat -c %a /run/x; cat /run/x").await, (Some(0), "666\nhello".to_owned()));
    let read = AgentCall::FileRead { path: "/run/x".to_owned() };
    assert_eq!(lab.guests.agent(100, read).await, Ok(AgentReply::Content(b"hello".to_vec())));
    let gone = lab.guests.agent(100, AgentCall::ExecStatus { pid: 4711 }).await;
    assert_eq!(gone, Err(AgentError::Refused("PID ld does not exist".to_owned())));

    let words = ["/bin/sleep".to_owned(), format!("98764{}", std::process::id())];
    let sleep = AgentCall::Exec { command: words.to_vec(), input: Vec::new() };
    lab.guests.agent(100, sleep).await.unwrap();
    let group = process_group_of(&words).await;
    assert_ne!(group, process_group("self"), "the end of a guest's process cannot hang up the simulator's group");

    let command = ["/usr/sbin/poweroff", "-f"].map(str::to_owned).to_vec();
    lab.guests.agent(100, AgentCall::Exec { command, input: Vec::new() }).await.unwrap();
    lab.wait_for(100, GuestEventKind::PoweredOff).await;
    let after = lab.guests.agent(100, AgentCall::OsInfo).await;
    assert_eq!(after, Err(AgentError::NotRunning));
    lab.guests.end().await;
}

/// Returns the process group of the process with this command line, once there is one.
async fn process_group_of(words: &[String]) -> i32 {
    let line = format!("{}\0", words.join("\0"));
    let found = async {
        loop {
            let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
            let mut numbers = processes.filter_map(|name| name.into_string().ok());
            let runs = |number: &String| {
                std::fs::read_to_string(format!("/proc/{number}/cmdline")).is_ok_and(|text| text == line)
            };
            if let Some(number) = numbers.find(runs) {
                return process_group(&number);
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), found).await.expect("the process runs")
}

/// Returns the fifth field of a process's `stat`.
fn process_group(process: &str) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// Installs a system on `disk`, which is then a base for clones.
async fn install_base(lab: &mut Lab, disk: &str) {
    lab.install(100, disk, &AUTOINSTALL.replace("packages:", "user-data: {}\n  packages:")).await;
    // Files that an image's own scripts clear.
    let clear = "rm /etc/cloud/cloud.cfg.d/99-installer.cfg; : > /etc/machine-id; rm -rf /var/lib/cloud/instance* /var/lib/cloud/data";
    assert_eq!(lab.run(100, clear).await.0, Some(0));
    lab.guests.vm_shutdown(100).await;
    lab.wait_for(100, GuestEventKind::PoweredOff).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_share_the_base_and_nothing_else() {
    let mut lab = Lab::start().await;
    install_base(&mut lab, "store:100/disk").await;
    for (vmid, linked) in [(101, true), (102, false)] {
        lab.guests.disk_clone("store:100/disk", &format!("store:{vmid}/disk"), linked).await.unwrap();
        lab.power_on(vmid, &format!("store:{vmid}/disk"), Vec::new()).await;
        lab.wait_for(vmid, GuestEventKind::AgentUp).await;
        let (code, _) = lab
            .run(
                vmid,
                &format!("test -e /etc/in-target; test ! -e /etc/mine; echo {vmid} > /etc/mine; rm /etc/in-target"),
            )
            .await;
        assert_eq!(code, Some(0));
    }
    let ids = [lab.run(101, "cat /etc/machine-id").await.1, lab.run(102, "cat /etc/machine-id").await.1];
    assert_ne!(ids[0], ids[1], "each clone made itself an id");

    // The base is removed while its clones exist, as on a storage that does not track them.
    lab.guests.disk_delete("store:100/disk").await.unwrap();
    lab.guests.vm_stop(101).await;
    assert_eq!(lab.events.try_recv().ok(), None, "a stop from outside is not an event");
    lab.power_on(101, "store:101/disk", Vec::new()).await;
    lab.wait_for(101, GuestEventKind::AgentUp).await;
    assert_eq!(
        lab.run(101, "cat /etc/mine; ls /etc/in-target 2>&1").await.1,
        "101\nls: cannot access '/etc/in-target': No such file or directory\n"
    );
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_data_is_applied_once_per_instance_and_unknown_keys_are_logged() {
    let mut lab = Lab::start().await;
    install_base(&mut lab, "store:100/disk").await;
    lab.guests.disk_clone("store:100/disk", "store:101/disk", true).await.unwrap();
    let user_data = "#cloud-config
hostname: seeded
manage_etc_hosts: true
package_upgrade: false
frobnicate: 1
users:
  - name: dev
    sudo: ALL=(ALL) NOPASSWD:ALL
    groups: [adm]
bootcmd:
  - echo boot >> /root/boots
write_files:
  - {path: /etc/a/b, content: aGVsbG8=, encoding: b64, permissions: '0600', owner: 'root:adm'}
runcmd:
  - [sh, -c, 'echo $0 ran >> /root/ran', one]
  - exit 1
  - echo two ran >> /root/ran
";
    let seed = lab.seed("instance-1", user_data);
    lab.power_on(101, "store:101/disk", vec![seed.clone()]).await;
    lab.wait_for(101, GuestEventKind::AgentUp).await;
    let shown = "hostname; stat -c '%a %G' /etc/a/b; cat /etc/a/b; echo; id -nG dev; cat /root/ran /root/boots";
    assert_eq!(lab.run(101, shown).await.1, "seeded\n600 adm\nhello\ndev adm\none ran\ntwo ran\nboot\n");
    let said = lab.guests.guest_log(101).join("\n");
    assert!(said.contains("frobnicate: unknown key") && said.contains("package_upgrade: without effect"), "{said}");

    lab.guests.vm_stop(101).await;
    lab.power_on(101, "store:101/disk", vec![seed]).await;
    lab.wait_for(101, GuestEventKind::AgentUp).await;
    assert_eq!(lab.run(101, "cat /root/ran /root/boots; hostname").await.1, "one ran\ntwo ran\nboot\nboot\nseeded\n");

    // The machine boots without a document that cannot be read, and logs it.
    lab.guests.disk_clone("store:100/disk", "store:102/disk", true).await.unwrap();
    lab.power_on(102, "store:102/disk", vec![lab.seed("instance-2", "#cloud-config\nruncmd: {a: b}\n")]).await;
    lab.wait_for(102, GuestEventKind::AgentUp).await;
    assert!(lab.guests.guest_log(102).join("\n").contains("the seed is not usable"));
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_waits_for_ever_if_a_real_one_would() {
    let lab = Lab::start().await;
    let cases = [
        // The three cases: no word on the kernel line, a document that is refused, and no seed.
        (AUTOINSTALL.to_owned(), "linux /casper/vmlinuz ---", "waiting for a person"),
        (AUTOINSTALL.replace("version: 1", "version: 9"), "linux /casper/vmlinuz autoinstall ---", "version 9"),
        (
            AUTOINSTALL.replace("touch /etc/in-target", "false"),
            "linux /casper/vmlinuz autoinstall ---",
            "late-commands",
        ),
        (String::new(), "linux /casper/vmlinuz autoinstall ds=nocloud;s=http://127.0.0.1:1/ ---", "no seed"),
    ];
    for (vmid, (document, kernel, reason)) in (100..).zip(cases) {
        let disk = format!("store:{vmid}/disk");
        lab.guests.disk_create(&disk).await.unwrap();
        let mut discs = vec![lab.installer()];
        if !document.is_empty() {
            discs.push(lab.seed(&format!("seed-{vmid}"), &document));
        }
        lab.power_on(vmid, &disk, discs).await;
        lab.type_lines(vmid, &[kernel, "initrd /casper/initrd", "boot"]).await;
        lab.wait_for_log(vmid, reason).await;
        lab.guests.vm_shutdown(vmid).await;
        assert_eq!(lab.guests.agent(vmid, AgentCall::Interfaces).await, Err(AgentError::NotRunning));
        lab.guests.vm_stop(vmid).await;
    }
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_the_backend() {
    let mut lab = Lab::start().await;
    install_base(&mut lab, "store:100/disk").await;
    lab.power_on(100, "store:100/disk", Vec::new()).await;
    lab.wait_for(100, GuestEventKind::AgentUp).await;
    let marker = format!("sleep 98765{}", std::process::id());
    let command = ["/bin/sh", "-c", &format!("exec {marker}")].map(str::to_owned).to_vec();
    lab.guests.agent(100, AgentCall::Exec { command, input: Vec::new() }).await.unwrap();
    guest_lab::until(|| guest_lab::is_running(&marker)).await;
    let state = lab.guests.state_directory().to_owned();
    lab.guests.end().await;
    assert!(!guest_lab::is_running(&marker));
    assert!(!state.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_images_own_units_are_interpreted() {
    let mut lab = Lab::start().await;
    lab.install(100, "store:100/disk", AUTOINSTALL).await;
    let units = "cd /etc/systemd/system
        printf '[Path]\\nPathExists=/run/go\\n[Install]\\nWantedBy=multi-user.target\\n' > job.path
        printf '[Unit]\\nFailureAction=poweroff-force\\nFrobnicate=1\\n[Service]\\nExecStart=-/bin/false\\nExecStart=/bin/sh -c \"exit 3\"\\nExecStopPost=/opt/post\\n' > job.service
        printf '[Service]\\nExecStart=/bin/echo static\\n[Install]\\nWantedBy=multi-user.target\\n' > now.service
        printf '#!/bin/sh\\necho post $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS\\n' > /opt/post
        chmod 755 /opt/post
        systemctl enable job.path now.service";
    assert_eq!(lab.run(100, units).await.0, Some(0));

    let reboot = ["/usr/sbin/reboot", "-f"].map(str::to_owned).to_vec();
    lab.guests.agent(100, AgentCall::Exec { command: reboot, input: Vec::new() }).await.unwrap();
    lab.wait_for(100, GuestEventKind::AgentDown).await;
    lab.wait_for(100, GuestEventKind::AgentUp).await;
    lab.wait_for_log(100, "static").await;
    let go = AgentCall::FileWrite { path: "/run/go".to_owned(), content: Vec::new() };
    assert_eq!(lab.guests.agent(100, go).await, Ok(AgentReply::Done));
    lab.wait_for(100, GuestEventKind::PoweredOff).await;
    let said = lab.guests.guest_log(100).join("\n");
    assert!(said.contains("post exit-code exited 3") && said.contains("Frobnicate: without effect"), "{said}");
    lab.guests.end().await;
}
