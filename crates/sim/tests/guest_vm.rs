//! Virtual machines that really run: installation, clones, seed data, agent, power.

mod guest_lab;

use guest_lab::Lab;
use sim::backend::{AgentCall, AgentError, AgentReply, Backend as _, GuestEventKind};

/// `openssl passwd -6 secret`
const AUTOINSTALL: &str = "#cloud-config
autoinstall:
  version: 1
  identity:
    hostname: image
    username: ci
    password: $6$saltsalt$/JyU.xDFgZrwxVbQoOZ1WoaOZDWM5Xy7BGmxTDSJFfDhnfAZOoXTD4v/KgIA2qHqREo2ZGYPBqXDjPuqbgWXJ1
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

    let write = AgentCall::FileWrite { path: "/run/x".to_owned(), content: b"hello".to_vec() };
    assert_eq!(lab.guests.agent(100, write).await, Ok(AgentReply::Done));
    assert_eq!(lab.run(100, "stat -c %a /run/x; cat /run/x").await, (Some(0), "666\nhello".to_owned()));
    let read = AgentCall::FileRead { path: "/run/x".to_owned() };
    assert_eq!(lab.guests.agent(100, read).await, Ok(AgentReply::Content(b"hello".to_vec())));
    let gone = lab.guests.agent(100, AgentCall::ExecStatus { pid: 4711 }).await;
    assert_eq!(gone, Err(AgentError::Refused("PID ld does not exist".to_owned())));

    let command = ["/usr/sbin/poweroff", "-f"].map(str::to_owned).to_vec();
    lab.guests.agent(100, AgentCall::Exec { command, input: Vec::new() }).await.unwrap();
    lab.wait_for(100, GuestEventKind::PoweredOff).await;
    let after = lab.guests.agent(100, AgentCall::OsInfo).await;
    assert_eq!(after, Err(AgentError::NotRunning));
    lab.guests.end().await;
}
