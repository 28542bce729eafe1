//! No secret in the state, in a plan, in the log at its loudest, or in a diagnostic: searched for byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use crate::lab::{Lab, with_each_core};

const JIT: &str = "ZW5jb2RlZC1qaXQtY29uZmlnLW9mLWEtcnVubmVy";
const GITHUB: &str = "ghp_Zx81kQm2Vn73bTc90sLpWq45RtYu67IoPaSd";
const LICENSE: &str = "license-c0ffee-4711-of-the-image";

/// Every file that a run left in the working directory, the members of plan files one by one, and what it printed.
fn everything(lab: &Lab, printed: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::from([("what was printed".to_owned(), printed.as_bytes().to_vec())]);
    let files = walkdir::WalkDir::new(lab.work.path()).into_iter().filter_map(Result::ok);
    for file in files.filter(|entry| entry.file_type().is_file()) {
        let bytes = fs::read(file.path()).expect("readable");
        let name = file.path().display().to_string();
        for (member, content) in members(&bytes) {
            found.insert(format!("{name}: {member}"), content);
        }
        found.insert(name, bytes);
    }
    found
}

/// The members of a ZIP archive, from its central directory; nothing for other files.
fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    const END: &[u8] = b"PK\x05\x06";
    let Some(end) = archive.windows(END.len()).rposition(|window| window == END) else { return Vec::new() };
    let short = |at: usize| usize::from(u16::from_le_bytes([archive[at], archive[at + 1]]));
    let long = |at: usize| short(at) + (short(at + 2) << 16);
    let (count, mut entry) = (short(end + 10), long(end + 16));
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let (packed, name_length, header) = (long(entry + 20), short(entry + 28), long(entry + 42));
        let name = String::from_utf8_lossy(&archive[entry + 46..entry + 46 + name_length]).into_owned();
        let begin = header + 30 + short(header + 26) + short(header + 28);
        let data = &archive[begin..begin + packed];
        let mut content = Vec::new();
        if short(entry + 10) == 0 {
            content.extend_from_slice(data);
        } else {
            flate2::read::DeflateDecoder::new(data).read_to_end(&mut content).expect("deflated");
        }
        found.push((name, content));
        entry += 46 + name_length + short(entry + 30) + short(entry + 32);
    }
    found
}

#[track_caller]
fn is_absent(lab: &Lab, printed: &str, secrets: &[&str]) {
    let found = everything(lab, printed);
    assert!(found.keys().any(|name| name.contains("plan.bin: tfplan")), "there is a plan: {:?}", found.keys());
    assert!(found.keys().any(|name| name.ends_with("trace.log")), "there is a log");
    for (name, bytes) in &found {
        for secret in secrets {
            let shown = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            let around = shown.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..at]).into_owned());
            assert!(around.is_none(), "{secret} stands in {name}, behind: {}", around.unwrap_or_default());
        }
    }
}

fn log_loudly(lab: &mut Lab) {
    let log = lab.work.path().join("trace.log").display().to_string();
    lab.environment("TF_LOG", "TRACE");
    lab.environment("TF_LOG_PATH", &log);
}

async fn run(lab: &Lab, words: &[&str], printed: &mut String) {
    let finished = lab.work.run(words).await.expect("the core runs");
    printed.push_str(&finished.text());
}

const PLAN: &[&str] = &["plan", "-no-color", "-out=plan.bin"];
const APPLY: &[&str] = &["apply", "-no-color", "-auto-approve"];

#[tokio::test]
async fn the_provider_s_token_and_a_job() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        log_loudly(lab);
        lab.set("jit_config", JIT);
        lab.set("jit_config_version", "1");
        lab.set("started", "true");
        let mut printed = String::new();
        run(lab, PLAN, &mut printed).await;
        run(lab, APPLY, &mut printed).await;
        assert!(lab.attributes("pxci_runner_vm.it").await.is_some(), "{printed}");
        run(lab, &["plan", "-no-color", "-destroy"], &mut printed).await;
        run(lab, &["destroy", "-no-color", "-auto-approve"], &mut printed).await;
        let secret = lab.farm.pve.provider.secret.clone();
        is_absent(lab, &printed, &[JIT, &secret]);
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_in_the_provider_block() {
    with_each_core("snippet.tf", async |lab| {
        log_loudly(lab);
        let secret = lab.farm.pve.provider.secret.clone();
        lab.provider_block("token_secret = var.secret");
        let variable = "variable \"secret\" {\n  type      = string\n  sensitive = true\n  ephemeral = true\n}\n";
        lab.work.write("secret.tf", variable).expect("written");
        lab.environment("PXCI_TOKEN_SECRET", "");
        lab.set("secret", &secret);
        let mut printed = String::new();
        run(lab, PLAN, &mut printed).await;
        run(lab, APPLY, &mut printed).await;
        assert!(lab.attributes("pxci_cloudinit_snippet.it").await.is_some(), "{printed}");
        is_absent(lab, &printed, &[&secret]);
    })
    .await;
}

#[tokio::test]
async fn the_dispatcher_s_tokens() {
    with_each_core("dispatcher.tf", async |lab| {
        lab.stub_appliance();
        log_loudly(lab);
        lab.set("github_token", GITHUB);
        let mut printed = String::new();
        run(lab, PLAN, &mut printed).await;
        lab.refuse("POST", "/nodes/pve1/lxc/*/status/start", "internal error");
        run(lab, APPLY, &mut printed).await;
        assert!(printed.contains("internal error"), "{printed}");
        let secret = lab.farm.pve.provider.secret.clone();
        is_absent(lab, &printed, &[GITHUB, &secret]);
    })
    .await;
}

#[tokio::test]
async fn what_packer_gets_although_it_prints_it() {
    with_each_core("template.tf", async |lab| {
        // Packer 1.6 prints variables marked sensitive; this one prints all that it has.
        lab.stub_packer("cat \"$variables\"; cat \"$variables\" >&2; echo \"0,,error,$(cat \"$variables\")\"; exit 1");
        log_loudly(lab);
        lab.set("secrets", &format!("{{ license = \"{LICENSE}\" }}"));
        let mut printed = String::new();
        run(lab, PLAN, &mut printed).await;
        run(lab, APPLY, &mut printed).await;
        assert!(printed.contains("Unable to build template"), "{printed}");
        let secret = lab.farm.pve.provider.secret.clone();
        is_absent(lab, &printed, &[LICENSE, &secret]);
        lab.is_as_before().await;
    })
    .await;
}
