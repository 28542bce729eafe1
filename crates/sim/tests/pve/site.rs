//! A cluster with a client that waits on its clock.

use std::sync::Arc;

use serde_json::Value;
use sim::pve::scripted::{Boot, Scripted};
use sim::pve::{Handle, Latency, Line, Options, Server, Store, World};

pub(crate) const ADMIN: &str = "root@pam!admin";

/// Three nodes; each type of storage, by its type's name; `local` for files.
pub(crate) fn world() -> World {
    World::new("pve1")
        .node("pve2")
        .node("pve3")
        .store("local", Store::directory("/var/lib/vz").content(&["iso", "vztmpl", "snippets", "import"]))
        .store("dir", Store::directory("/srv/dir"))
        .store("nfs", Store::nfs("/mnt/pve/nfs"))
        .store("lvm", Store::lvm())
        .store("thin", Store::lvm_thin())
        .store("zfs", Store::zfs())
        .store("rbd", Store::rbd())
        .token("root@pam", "admin", false)
}

pub(crate) struct Site {
    pub(crate) handle: Handle,
}

/// An answer: status, reason phrase and body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) body: Value,
}

impl Answer {
    /// Status and message, for comparing refusals.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["message"].as_str().map_or(self.reason.as_str(), str::trim_end))
    }

    pub(crate) fn data(&self) -> &Value {
        assert_eq!(self.status, 200, "{self:?}");
        &self.body["data"]
    }
}

/// Somebody who calls one node's server.
pub(crate) struct Client<'a> {
    site: &'a Site,
    http: reqwest::Client,
    url: String,
    authorization: String,
}

impl Site {
    pub(crate) async fn start(world: &World) -> Self {
        Self::of_line(world, Line::Nine).await
    }

    pub(crate) async fn of_line(world: &World, line: Line) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guests = Scripted::new(Boot::AtOnce);
        let options = Options { latency: Latency::Virtual, statistics: false, line: Some(line), ..Options::default() };
        let handle = Server::start(world, Arc::new(guests), options).await.expect("a simulator");
        Self { handle }
    }

    pub(crate) fn client(&self, token: &str) -> Client<'_> {
        self.client_at(&self.handle.url(), token)
    }

    pub(crate) fn client_at(&self, url: &str, token: &str) -> Client<'_> {
        let ca = reqwest::Certificate::from_pem(self.handle.ca_pem().as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
        let secret = self.handle.token_secret(token).expect("a token");
        Client {
            site: self,
            http,
            url: format!("{url}/api2/json"),
            authorization: format!("PVEAPIToken={token}={secret}"),
        }
    }
}

impl Client<'_> {
    /// Calls with parameters in the query of GET and DELETE, in a form otherwise.
    pub(crate) async fn call(&self, method: &str, path: &str, params: &[(&str, &str)]) -> Answer {
        let url = format!("{}{path}", self.url);
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let in_query = method == reqwest::Method::GET || method == reqwest::Method::DELETE;
        let request = self.http.request(method, url).header("Authorization", &self.authorization);
        let request = if in_query { request.query(params) } else { request.form(params) };
        answer(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[]).await
    }

    /// A call that may get no answer at all.
    pub(crate) async fn try_get(&self, path: &str) -> Result<u16, reqwest::Error> {
        let request = self.http.get(format!("{}{path}", self.url)).header("Authorization", &self.authorization);
        request.send().await.map(|answer| answer.status().as_u16())
    }

    /// Runs a call to the end of its task: what it ended with, and its log.
    pub(crate) async fn task(&self, method: &str, path: &str, params: &[(&str, &str)]) -> (String, Vec<String>) {
        let answer = self.call(method, path, params).await;
        let upid = answer.data().as_str().unwrap_or_else(|| panic!("no task: {answer:?}")).to_owned();
        self.site.handle.task_end(&upid).await.expect("an ended task")
    }

    /// The same where all must go well.
    pub(crate) async fn done(&self, method: &str, path: &str, params: &[(&str, &str)]) -> Vec<String> {
        let (end, log) = self.task(method, path, params).await;
        assert_eq!(end, "OK", "{method} {path} {params:?}: {log:#?}");
        log
    }

    pub(crate) async fn upload(&self, path: &str, name: &str, bytes: usize) -> Answer {
        let part = reqwest::multipart::Part::bytes(vec![7; bytes]).file_name(name.to_owned());
        let form = reqwest::multipart::Form::new().text("content", "iso").part("filename", part);
        let request = self.http.post(format!("{}{path}", self.url)).header("Authorization", &self.authorization);
        answer(request.multipart(form)).await
    }

    /// A stopped VM with one disk of 1 GiB on a storage.
    pub(crate) async fn vm(&self, node: &str, vmid: &str, storage: &str) {
        let disk = format!("{storage}:1");
        self.done("POST", &format!("/nodes/{node}/qemu"), &[("vmid", vmid), ("scsi0", &disk)]).await;
    }

    /// The same as a template.
    pub(crate) async fn template(&self, node: &str, vmid: &str, storage: &str) {
        self.vm(node, vmid, storage).await;
        self.done("POST", &format!("/nodes/{node}/qemu/{vmid}/template"), &[]).await;
    }

    /// A value of a VM's configuration.
    pub(crate) async fn option(&self, node: &str, vmid: &str, key: &str) -> String {
        let config = self.get(&format!("/nodes/{node}/qemu/{vmid}/config")).await;
        config.data()[key].as_str().unwrap_or_default().to_owned()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned()).unwrap_or_default();
    let text = response.text().await.expect("a body");
    Answer { status, reason, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
}
