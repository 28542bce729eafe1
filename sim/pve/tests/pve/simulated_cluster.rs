//! A cluster on virtual time, and its HTTP client.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Line, Options, Server, Store, World};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

pub(crate) const ADMIN: &str = "root@pam!admin";

/// Returns a world of three nodes, with one storage of each type named after the type, and `local` for files.
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

pub(crate) struct SimulatedCluster {
    pub(crate) handle: Handle,
}

/// An answer with its status, reason phrase and body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) body: Value,
}

impl Answer {
    /// Returns status and message, for comparing refusals.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["message"].as_str().map_or(self.reason.as_str(), str::trim_end))
    }

    pub(crate) fn data(&self) -> &Value {
        assert_eq!(self.status, 200, "{self:?}");
        &self.body["data"]
    }
}

/// A client of one node's server.
pub(crate) struct Client<'a> {
    cluster: &'a SimulatedCluster,
    http: reqwest::Client,
    url: String,
    authorization: String,
}

impl SimulatedCluster {
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

    /// Puts a container's archive on `local` and returns its volume id.
    pub(crate) fn archive(&self) -> &'static str {
        let archive = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(archive.path(), [0x28, 0xb5, 0x2f, 0xfd]).expect("an archive");
        let volid = "local:vztmpl/tiny.tar.zst";
        self.handle.put_file(volid, archive.path()).expect("a template");
        volid
    }

    pub(crate) fn client(&self, token: &str) -> Client<'_> {
        self.client_at(&self.handle.url(), token)
    }

    pub(crate) fn client_at(&self, url: &str, token: &str) -> Client<'_> {
        let ca = reqwest::Certificate::from_pem(self.handle.ca_pem().as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client");
        let secret = self.handle.token_secret(token).expect("a token");
        Client {
            cluster: self,
            http,
            url: format!("{url}/api2/json"),
            authorization: format!("PVEAPIToken={token}={secret}"),
        }
    }
}

impl Client<'_> {
    /// Sends parameters in the query for GET and DELETE, and in a form otherwise.
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

    async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let address = self.url.trim_start_matches("https://").split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(address).await.expect("a connection");
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.cluster.handle.ca_pem().as_bytes()).expect("a certificate");
        roots.add(ca).expect("a root");
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
    }

    /// Sends the head of a request with this header and no body. Returns the first line of the answer.
    pub(crate) async fn head_only(&self, method: &str, path: &str, header: &str) -> String {
        let mut stream = self.connect().await;
        let authorization = &self.authorization;
        let head = format!(
            "{method} /api2/json{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n{header}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("a request");
        let mut line = String::new();
        tokio::io::BufReader::new(stream).read_line(&mut line).await.expect("an answer");
        line.trim_end().to_owned()
    }

    /// Opens a websocket.
    pub(crate) async fn websocket(&self, path: &str) -> WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = self.connect().await;
        let mut request = format!("wss://localhost/api2/json{path}").into_client_request().expect("a request");
        let authorization = self.authorization.parse().expect("a header");
        request.headers_mut().insert("Authorization", authorization);
        tokio_tungstenite::client_async(request, stream).await.expect("a websocket").0
    }

    /// Sends a request that may get no answer.
    pub(crate) async fn try_get(&self, path: &str) -> Result<u16, reqwest::Error> {
        let request = self.http.get(format!("{}{path}", self.url)).header("Authorization", &self.authorization);
        request.send().await.map(|answer| answer.status().as_u16())
    }

    /// Runs a call and waits for the end of its task. Returns the task's status and log.
    pub(crate) async fn task(&self, method: &str, path: &str, params: &[(&str, &str)]) -> (String, Vec<String>) {
        let answer = self.call(method, path, params).await;
        let upid = answer.data().as_str().unwrap_or_else(|| panic!("no task: {answer:?}")).to_owned();
        self.cluster.handle.task_end(&upid).await.expect("an ended task")
    }

    /// Runs a call whose task must succeed. Returns the task's log.
    pub(crate) async fn done(&self, method: &str, path: &str, params: &[(&str, &str)]) -> Vec<String> {
        let (end, log) = self.task(method, path, params).await;
        assert_eq!(end, "OK", "{method} {path} {params:?}: {log:#?}");
        log
    }

    pub(crate) async fn upload(&self, path: &str, name: &str, bytes: usize) -> Answer {
        let part = reqwest::multipart::Part::bytes(vec![7; bytes]).file_name(name.to_owned());
        self.multipart(path, reqwest::multipart::Form::new().text("content", "iso").part("filename", part)).await
    }

    pub(crate) async fn multipart(&self, path: &str, form: reqwest::multipart::Form) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).header("Authorization", &self.authorization);
        answer(request.multipart(form)).await
    }

    /// Sends a form with a given body.
    pub(crate) async fn send(&self, method: &str, path: &str, body: reqwest::Body) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request =
            self.http.request(method, format!("{}{path}", self.url)).header("Authorization", &self.authorization);
        answer(request.header("Content-Type", "application/x-www-form-urlencoded").body(body)).await
    }

    /// Sets the authorization of all later calls.
    pub(crate) fn authorize(&mut self, authorization: &str) {
        authorization.clone_into(&mut self.authorization);
    }

    pub(crate) async fn login(&self, user: &str, password: &str) -> Answer {
        let form = [("username", user), ("password", password)];
        answer(self.http.post(format!("{}/access/ticket", self.url)).form(&form)).await
    }

    pub(crate) async fn with_ticket(&self, method: &str, path: &str, ticket: &str, csrf: Option<&str>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let cookie = format!("PVEAuthCookie={ticket}");
        let request = self.http.request(method, format!("{}{path}", self.url)).header("Cookie", cookie);
        let request = csrf.into_iter().fold(request, |request, csrf| request.header("CSRFPreventionToken", csrf));
        answer(request).await
    }

    /// Sends this number of calls on one connection. Returns the `Connection` header of each answer, and true if the
    /// server closes the connection afterwards.
    pub(crate) async fn on_one_connection(&self, path: &str, calls: usize) -> (Vec<String>, bool) {
        let io = hyper_util::rt::TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP");
        tokio::spawn(connection);
        let mut said = Vec::new();
        for _ in 0..calls {
            sender.ready().await.expect("an open connection");
            let request = hyper::Request::get(format!("/api2/json{path}"))
                .header("Host", "localhost")
                .header("Authorization", &self.authorization)
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .expect("a request");
            let response = sender.send_request(request).await.expect("an answer");
            let header = response.headers().get("connection").expect("a header").to_str().expect("text").to_owned();
            http_body_util::BodyExt::collect(response.into_body()).await.expect("a body");
            said.push(header);
        }
        (said, sender.ready().await.is_err())
    }

    /// Creates a stopped VM with one disk of 1 GiB.
    pub(crate) async fn vm(&self, node: &str, vmid: &str, storage: &str) {
        let disk = format!("{storage}:1");
        self.done("POST", &format!("/nodes/{node}/qemu"), &[("vmid", vmid), ("scsi0", &disk)]).await;
    }

    /// Creates a template with one disk of 1 GiB.
    pub(crate) async fn template(&self, node: &str, vmid: &str, storage: &str) {
        self.vm(node, vmid, storage).await;
        self.done("POST", &format!("/nodes/{node}/qemu/{vmid}/template"), &[]).await;
    }

    /// Returns a value of a VM's configuration.
    pub(crate) async fn option(&self, node: &str, vmid: &str, key: &str) -> String {
        let config = self.get(&format!("/nodes/{node}/qemu/{vmid}/config")).await;
        config.data()[key].as_str().unwrap_or_default().to_owned()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    // The library has a reason phrase only if it is not the standard one.
    let reason = match response.extensions().get::<hyper::ext::ReasonPhrase>() {
        Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
        None => response.status().canonical_reason().unwrap_or_default().to_owned(),
    };
    let text = response.text().await.expect("a body");
    Answer { status, reason, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
}
