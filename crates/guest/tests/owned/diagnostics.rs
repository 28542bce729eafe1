//! I10: the diagnostics of a failed VM, from its guest agent or from its serial console.

use guest::{Diagnostics, Error, Place, Problem, RunnerVm};
use sim_pve::Fault;
use sim_pve::scripted::{Boot, Scripted};
use tokio_util::sync::CancellationToken;

use crate::lab::{CASES, Case, Differences, Lab, TOKEN, VM, world};

const CASE: Case = CASES[0];
const ANSWER: &str = "/run/pxci/diagnostics";

/// Starts a lab whose VM has a serial port and runs.
async fn lab(boot: Boot) -> Lab {
    let differences = Differences { options: vec![("serial0", "socket")], ..Differences::default() };
    let lab = Lab::with_guests(&world(&differences), Scripted::new(boot)).await;
    lab.power_on(CASE).await;
    lab
}

async fn diagnose(lab: &Lab, asks_agent: bool) -> Result<Diagnostics, Error> {
    let marker = CASE.marker();
    let place = Place {
        claimant: marker.owner,
        node: "pve1".parse().unwrap(),
        range: "9000-9199".parse().unwrap(),
        resource_pool: "ci".into(),
    };
    let name = "lab-p-9100-aaaaaa".parse().unwrap();
    let vm = RunnerVm::new(lab.client(TOKEN), name, marker, place, CancellationToken::new());
    vm.diagnostics(asks_agent).await
}

async fn write(lab: &Lab, path: &str, content: &str) {
    lab.call("POST", &CASE.path("/agent/file-write"), &[("file", path), ("content", content)]).await;
}

fn texts(diagnostics: &Diagnostics) -> Vec<(&str, String)> {
    let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
    diagnostics.parts.iter().map(|part| (part.source, text(&part.content))).collect()
}

#[tokio::test(start_paused = true)]
async fn i10_the_guest_is_asked_for_its_logs_and_they_are_read() {
    let lab = lab(Boot::AtOnce).await;
    write(&lab, ANSWER, "Runner_1.log: a line").await;
    let diagnostics = diagnose(&lab, true).await.unwrap();
    assert_eq!(texts(&diagnostics), [("the guest's logs", "Runner_1.log: a line".to_owned())]);
    assert_eq!(lab.guests.file(VM, "/run/pxci/diagnose"), Some(b"logs\n".to_vec()), "the file starts the image's unit");
    assert!(!lab.changes_of(VM).iter().any(|change| change.contains("termproxy")), "the console is not needed");
}

#[tokio::test(start_paused = true)]
async fn i10_an_image_without_the_unit_has_the_state_of_its_runner() {
    let lab = lab(Boot::AtOnce).await;
    write(&lab, "/run/pxci/state", "starting\nlistening\n").await;
    let before = lab.pve.requests().entries().len();
    let diagnostics = diagnose(&lab, true).await.unwrap();
    assert_eq!(texts(&diagnostics), [("the guest's logs", "starting\nlistening\n".to_owned())]);
    let requests = lab.pve.requests().entries().len() - before;
    assert!(requests <= 12, "{requests} requests");
}

/// The simulated serial port shows the line with which the terminal program begins, and nothing of the guest.
#[tokio::test(start_paused = true)]
async fn i10_a_guest_whose_agent_is_silent_shows_its_serial_console() {
    for asks_agent in [true, false] {
        let lab = lab(Boot::OnRequest).await;
        let diagnostics = diagnose(&lab, asks_agent).await.unwrap();
        let shown = "starting serial terminal on interface serial0\r\n".to_owned();
        assert_eq!(texts(&diagnostics), [("the serial console", shown)]);
        assert_eq!(diagnostics.missing.len(), usize::from(asks_agent), "{:?}", diagnostics.missing);
    }
}

#[tokio::test(start_paused = true)]
async fn i10_a_token_without_the_console_privilege_leaves_nothing_to_keep() {
    let lab = lab(Boot::OnRequest).await;
    let refusal = Fault::Refuse { status: 403, text: "Permission check failed (/vms/9100, VM.Console)".into() };
    lab.pve.inject("POST", &CASE.path("/termproxy"), refusal, 1);
    let diagnostics = diagnose(&lab, false).await.unwrap();
    assert!(diagnostics.parts.is_empty());
    assert!(matches!(&diagnostics.missing[..], [("the serial console", Problem::Pve(_))]), "{diagnostics:?}");
}

#[tokio::test(start_paused = true)]
async fn i10_a_vm_that_is_off_or_has_no_serial_port_has_no_diagnostics() {
    let lab = Lab::start().await;
    assert!(diagnose(&lab, true).await.unwrap().parts.is_empty(), "it is off");
    lab.power_on(CASE).await;
    assert!(diagnose(&lab, false).await.unwrap().parts.is_empty(), "it has no serial port");
    assert!(!lab.changes_of(VM).iter().any(|change| change.contains("/agent/") || change.contains("termproxy")));
}

#[tokio::test(start_paused = true)]
async fn i4_a_vm_that_is_not_ours_is_not_spoken_to() {
    let differences = Differences { description: Some("a foreign guest".into()), ..Differences::default() };
    let lab = Lab::with(&differences).await;
    lab.power_on(CASE).await;
    let error = diagnose(&lab, true).await.unwrap_err();
    assert!(matches!(error.problem, Problem::NotOurs(_)), "{error:?}");
    assert_eq!(lab.changes_of(VM), [""; 0]);
}
