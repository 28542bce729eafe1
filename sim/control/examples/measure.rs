//! Measures the simulators and prints JSON on standard output. `cargo xtask bench` builds this with optimisations and
//! reads it.
//!
//! ```text
//! measure start             starts both simulators, says so, and ends
//! measure front REQUESTS    requests per second over HTTPS, eight clients at a time
//! measure lives COUNT       lives of a VM on virtual time, one after the other, on one thread
//! measure lists NODES VMS   milliseconds that each list of a large cluster takes over HTTPS
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Options, Server, World};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Number of simultaneous requests.
const CLIENTS: usize = 8;
/// Number of requests for each list.
const LISTINGS: usize = 20;
const LISTS: [(&str, &str); 5] = [
    ("resources", "/cluster/resources"),
    ("vms", "/cluster/resources?type=vm"),
    ("node_vms", "/nodes/pve001/qemu"),
    ("nodes", "/nodes"),
    ("tasks", "/cluster/tasks"),
];
const TEMPLATE: &str = "/nodes/pve1/qemu/9000";
const ROOT: &str = "root@pam";

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let reported = match words.as_slice() {
        ["start"] => several_threads()?.block_on(start()),
        ["front", requests] => several_threads()?.block_on(front(requests.parse()?)),
        ["lives", count] => one_thread()?.block_on(lives(count.parse()?)),
        ["lists", nodes, vms] => several_threads()?.block_on(lists(nodes.parse()?, vms.parse()?)),
        _ => Err("usage: measure start | front REQUESTS | lives COUNT | lists NODES VMS".into()),
    };
    println!("{}", reported?);
    Ok(())
}

fn several_threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn one_thread() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn pve(latency: Latency) -> Outcome<Handle> {
    let world = World::new("pve1").storage("local", &["iso"]).storage("disks", &["images"]).pool("ci");
    serve(&world.token(ROOT, "admin", false), latency).await
}

async fn serve(world: &World, latency: Latency) -> Outcome<Handle> {
    let options = Options { latency, ..Options::default() };
    Ok(Server::start(world, Arc::new(Scripted::new(Boot::AtOnce)), options).await?)
}

/// Starts both simulators. They answer after the return; the parent process measures the time until then.
async fn start() -> Outcome<Value> {
    let pve = pve(Latency::Real).await?;
    let github = sim_github::Server::start(sim_github::ServerOptions::default()).await?;
    Ok(json!({ "pve": pve.url(), "github": github.url() }))
}

/// An HTTPS client.
struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    fn of(pve: &Handle) -> Outcome<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(pve.ca_pem().as_bytes())?;
        let http = reqwest::Client::builder().tls_certs_only([ca]).build()?;
        let id = format!("{ROOT}!admin");
        let token = format!("PVEAPIToken={id}={}", pve.token_secret(&id).ok_or("no token")?);
        Ok(Self { http, url: format!("{}/api2/json", pve.url()), token })
    }

    async fn get(&self, path: &str) -> Result<(), reqwest::Error> {
        let request = self.http.get(format!("{}{path}", self.url)).header("Authorization", &self.token);
        request.send().await?.error_for_status()?.bytes().await.map(drop)
    }
}

async fn front(requests: u32) -> Outcome<Value> {
    let pve = pve(Latency::Instant).await?;
    template(&pve).await?;
    let client = Client::of(&pve)?;
    let mut reported = serde_json::Map::new();
    for (name, path) in [("version", "/version"), ("status", "/nodes/pve1/qemu/9000/status/current")] {
        client.get(path).await?;
        let began = Instant::now();
        let mut answers = futures::stream::iter(0..requests).map(|_| client.get(path)).buffer_unordered(CLIENTS);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        reported.insert(name.to_owned(), json!(f64::from(requests) / began.elapsed().as_secs_f64()));
    }
    Ok(reported.into())
}

async fn lists(nodes: u32, vms: u32) -> Outcome<Value> {
    // The statistics rounds would follow one another without a pause on a clock that does not wait.
    let options = Options { latency: Latency::Instant, statistics: false, ..Options::default() };
    let pve = Server::start(&World::scale(nodes, vms), Arc::new(Scripted::new(Boot::AtOnce)), options).await?;
    let client = Client::of(&pve)?;
    let mut reported = serde_json::Map::new();
    for (name, path) in LISTS {
        client.get(path).await?;
        let mut took = Vec::new();
        for _ in 0..LISTINGS {
            let began = Instant::now();
            client.get(path).await?;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        reported.insert(name.to_owned(), json!(took));
    }
    Ok(reported.into())
}

/// Creates the template that VMs are cloned from.
async fn template(pve: &Handle) -> Outcome<()> {
    let options =
        [("vmid", "9000"), ("scsi0", "disks:4"), ("net0", "virtio,bridge=vmbr0"), ("agent", "1"), ("name", "golden")];
    task(pve, "POST", "/nodes/pve1/qemu", &options).await?;
    task(pve, "POST", &format!("{TEMPLATE}/template"), &[]).await
}

async fn lives(count: u32) -> Outcome<Value> {
    let pve = pve(Latency::Virtual).await?;
    template(&pve).await?;
    let (wall, processor) = (Instant::now(), processor_time());
    for _ in 0..count {
        life(&pve).await?;
    }
    let processor = processor_time().saturating_sub(processor);
    if pve.guests() != [9000] {
        return Err("a VM outlived its life".into());
    }
    Ok(json!({
        "per_processor_second": f64::from(count) / processor.as_secs_f64(),
        "seconds": wall.elapsed().as_secs_f64(),
    }))
}

/// Creates and removes a VM with the calls that the dispatcher makes for a runner VM.
async fn life(pve: &Handle) -> Outcome<()> {
    let vm = "/nodes/pve1/qemu/100";
    task(pve, "POST", &format!("{TEMPLATE}/clone"), &[("newid", "100"), ("name", "runner"), ("pool", "ci")]).await?;
    let options = [("cores", "4"), ("memory", "4096"), ("tags", "runner"), ("protection", "1")];
    pve.call(ROOT, "PUT", &format!("{vm}/config"), &options).await?;
    task(pve, "POST", &format!("{vm}/status/start"), &[]).await?;
    pve.call(ROOT, "POST", &format!("{vm}/agent/ping"), &[]).await?;
    let file = [("file", "/run/pxci/jit"), ("content", "secret")];
    pve.call(ROOT, "POST", &format!("{vm}/agent/file-write"), &file).await?;
    let started = pve.call(ROOT, "POST", &format!("{vm}/agent/exec"), &[("command", "true")]).await?;
    let pid = started["pid"].to_string();
    pve.call(ROOT, "GET", &format!("{vm}/agent/exec-status"), &[("pid", &pid)]).await?;
    task(pve, "POST", &format!("{vm}/status/shutdown"), &[]).await?;
    pve.call(ROOT, "PUT", &format!("{vm}/config"), &[("protection", "0")]).await?;
    task(pve, "DELETE", vm, &[("purge", "1")]).await
}

/// Carries out a call and polls its task each second until the end.
async fn task(pve: &Handle, method: &str, path: &str, parameters: &[(&str, &str)]) -> Outcome<()> {
    let upid = pve.call(ROOT, method, path, parameters).await?;
    let upid = upid.as_str().ok_or_else(|| format!("{method} {path} answered without a task"))?;
    let status = format!("/nodes/pve1/tasks/{upid}/status");
    loop {
        let status = pve.call(ROOT, "GET", &status, &[]).await?;
        if status["status"] == "stopped" {
            let exit = status["exitstatus"].as_str().unwrap_or_default();
            return if exit == "OK" { Ok(()) } else { Err(format!("{method} {path}: {exit}").into()) };
        }
        pve.pass(Duration::from_secs(1)).await;
    }
}

/// Returns the processor time of all threads of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
