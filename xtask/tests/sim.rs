//! `cargo xtask sim`, as other programs use it.
#![cfg(test)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

fn xtask(words: &[&str], scratch: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .arg("sim")
        .args(words)
        .env("TMPDIR", scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running command. It is killed when this value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

fn ready(child: &mut Child) -> (Value, BufReader<ChildStdout>) {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    (serde_json::from_str(&line).unwrap(), output)
}

fn get(url: &str, token: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nUser-Agent: test\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn addresses_are_printed_on_one_line_and_no_files_are_left() {
    let scratch = tempfile::tempdir().unwrap();
    let mut running =
        Running(xtask(&["--json", "--pve", "8", "--nodes", "3", "--virtual-time"], scratch.path()).spawn().unwrap());
    let (reported, mut rest) = ready(&mut running.0);
    let text = |pointer: &str| reported.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let state = get(&format!("{}/v1/state", text("/control/url")), &text("/control/token"));
    let state: Value = serde_json::from_str(state.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert!(state["pve"]["version"]["release"].as_str().unwrap().starts_with("8."), "{}", state["pve"]["version"]);
    assert_eq!(state["pve"]["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(state["clock"]["mode"], "held");
    let runners = format!("{}/repos/{}/actions/runners", text("/github/api_url"), text("/github/repository"));
    assert!(get(&runners, &text("/github/token")).starts_with("HTTP/1.1 200"));
    for (scope, name) in [("organization", "orgs/acme"), ("enterprise", "enterprises/acme-enterprise")] {
        let url = format!("{}/{name}/actions/runners", text("/github/api_url"));
        let answer = get(&url, &text(&format!("/github/{scope}/token")));
        assert!(answer.starts_with("HTTP/1.1 200"), "{scope}: {answer}");
    }
    assert_eq!(reported["github"]["ca_file"], Value::Null, "nothing that plain HTTP would need");
    let page = get(text("/control/page").split_once("#").unwrap().0, "");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("content-security-policy: default-src 'none'"), "{page}");
    let environment = std::fs::read_to_string(text("/environment")).unwrap();
    for (name, pointer) in [("PXCI_ENDPOINT", "/pve/endpoint"), ("PXCI_TOKEN_SECRET", "/pve/provider/secret")] {
        assert!(environment.contains(&format!("export {name}='{}'\n", text(pointer))), "{name}");
    }
    assert!(std::fs::read_to_string(text("/pve/ca_file")).unwrap().contains("BEGIN CERTIFICATE"));

    let interrupted = Command::new("kill").args(["-INT", &running.0.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert!(running.0.wait().unwrap().success());
    let mut more = String::new();
    rest.read_to_string(&mut more).unwrap();
    assert_eq!(more, "", "one line and no more");
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn the_certificate_authority_of_a_github_for_other_machines_is_printed() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = xtask(&["--json", "--virtual-time"], scratch.path());
    let mut running = Running(command.env("PXCI_ACC_LISTEN", "0.0.0.0").spawn().unwrap());
    let (reported, _rest) = ready(&mut running.0);
    let text = |pointer: &str| reported.pointer(pointer).and_then(Value::as_str).unwrap();
    assert!(text("/github/api_url").starts_with("https://"), "{reported}");
    let authority = std::fs::read_to_string(text("/github/ca_file")).unwrap();
    assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"), "{authority}");
}

fn refused(words: &[&str], scratch: &Path) -> String {
    let Output { status, stdout, stderr } = xtask(words, scratch).output().unwrap();
    assert!(!status.success() && stdout.is_empty(), "{words:?}");
    String::from_utf8(stderr).unwrap()
}

#[test]
fn a_large_cluster_is_ready_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let words = ["--json", "--nodes", "20", "--vms", "2000"];
    let mut running = Running(xtask(&words, scratch.path()).spawn().unwrap());
    let (reported, _rest) = ready(&mut running.0);
    let text = |pointer: &str| reported.pointer(pointer).and_then(Value::as_str).unwrap();
    let state = get(&format!("{}/v1/state?limit=5", text("/control/url")), text("/control/token"));
    let state: Value = serde_json::from_str(state.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let guests = &state["pve"]["guests"];
    assert_eq!((&guests["total"], guests["items"].as_array().unwrap().len()), (&2000.into(), 5));
    assert_eq!((&state["pve"]["nodes"][19]["node"], text("/pve/node")), (&"pve020".into(), "pve001"));
}

#[test]
fn an_invalid_option_is_refused_with_its_place() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("world.json");
    std::fs::write(&file, "{\n  \"node\": \"a\",\n  \"guests\": [{ \"vmid\": \"one\" }]\n}").unwrap();
    let reported = refused(&["--json", "--world", file.to_str().unwrap()], scratch.path());
    assert!(reported.contains("world.json") && reported.contains("guests[0].vmid (line 3, column 28)"), "{reported}");
    assert!(reported.contains("invalid type: string \"one\", expected u32"), "{reported}");
    let reported = refused(&["--json", "--world", "/nowhere.json"], scratch.path());
    assert!(reported.contains("reading /nowhere.json") && reported.contains("No such file"), "{reported}");
    let reported = refused(&["--json", "--virtual-time", "--guests", "namespaces"], scratch.path());
    assert!(reported.contains("--virtual-time needs --guests none"), "{reported}");
    assert!(refused(&["--nodes", "0"], scratch.path()).contains("0 is not in 1..=100"));
    assert!(refused(&["--pve", "7"], scratch.path()).contains("'7'"));
}
