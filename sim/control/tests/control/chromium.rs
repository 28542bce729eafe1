//! A headless Chromium, driven over its DevTools protocol.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Deadline of every wait.
const DEADLINE: Duration = Duration::from_secs(30);

/// A page in a browser of its own. Dropping it closes both.
pub(crate) struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Value,
    calls: u64,
    /// Warnings and errors on the page's console, and uncaught exceptions.
    pub(crate) console_errors: Vec<String>,
    _browser: Child,
    _profile: TempDir,
}

fn program() -> PathBuf {
    let named = std::env::var_os("PXCI_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path).map(|directory| directory.join("chromium")).find(|file| file.exists())
    });
    found.expect("chromium is needed: `cargo xtask setup` installs it, or PXCI_CHROMIUM names another one")
}

impl Page {
    /// Opens an empty page of this size.
    pub(crate) async fn open(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let browser = Command::new(program())
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--no-proxy-server", "--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            // The browser is killed, so files elsewhere would stay.
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium starts");
        let end = Instant::now() + DEADLINE;
        let address = loop {
            // The file is complete when it has a second line.
            let reported = std::fs::read_to_string(profile.path().join("DevToolsActivePort")).unwrap_or_default();
            if let Some((port, path)) = reported.split_once('\n').filter(|(_, path)| path.starts_with('/')) {
                break format!("ws://127.0.0.1:{port}{path}");
            }
            assert!(Instant::now() < end, "chromium does not say where it listens");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let (socket, _) = connect_async(address).await.expect("chromium listens");
        let mut page = Self {
            socket,
            session: Value::Null,
            calls: 0,
            console_errors: Vec::new(),
            _browser: browser,
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" })).await["targetId"].clone();
        page.session =
            page.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true })).await["sessionId"]
                .clone();
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.resize(width, height).await;
        page
    }

    pub(crate) async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Sets the preferred colour scheme, `light` or `dark`.
    pub(crate) async fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", feature).await;
    }

    pub(crate) async fn go_to(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
    }

    /// Returns the value of an expression.
    pub(crate) async fn value(&mut self, expression: &str) -> Value {
        let wanted = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", wanted).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&mut self, expression: &str) {
        let end = Instant::now() + DEADLINE;
        while self.value(expression).await != true {
            if Instant::now() > end {
                let text = self.value("document.body.innerText").await;
                panic!(
                    "not within {DEADLINE:?}: {expression}\n{:?}\n{}",
                    self.console_errors,
                    text.as_str().unwrap_or_default()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the element has this text.
    pub(crate) async fn until_shown(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!("document.querySelector({selector})?.textContent.includes({text}) ?? false")).await;
    }

    /// Clicks an element that no other element covers.
    pub(crate) async fn click(&mut self, selector: &str) {
        // One expression, because the page may change its layout at any time.
        let click = "(e => {
            e.scrollIntoView({ block: 'center' });
            const place = e.getBoundingClientRect();
            const top = document.elementFromPoint(place.x + place.width / 2, place.y + place.height / 2);
            if (e.contains(top)) e.click();
            return e.contains(top) ? null : `${top?.outerHTML.slice(0, 200)}`;
        })";
        let covered = self.value(&format!("{click}(document.querySelector({}))", json!(selector))).await;
        assert_eq!(covered, Value::Null, "{selector} is covered");
    }

    /// Replaces the text of a field.
    pub(crate) async fn enter(&mut self, selector: &str, text: &str) {
        self.value(&format!("(e => {{ e.focus(); e.select(); }})(document.querySelector({}))", json!(selector))).await;
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Selects an entry of a list.
    pub(crate) async fn choose(&mut self, selector: &str, value: &str) {
        let (selector, value) = (json!(selector), json!(value));
        let choose = "(e, v) => { e.value = v; e.dispatchEvent(new Event('change', { bubbles: true })); }";
        self.value(&format!("({choose})(document.querySelector({selector}), {value})")).await;
    }

    /// Saves a screenshot in the directory that `PXCI_SCREENSHOTS` names, if set.
    pub(crate) async fn screenshot(&mut self, name: &str) {
        let Some(directory) = std::env::var_os("PXCI_SCREENSHOTS") else { return };
        let data = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": false })).await["data"].clone();
        let picture = STANDARD.decode(data.as_str().unwrap()).unwrap();
        std::fs::write(PathBuf::from(directory).join(format!("{name}.png")), picture).unwrap();
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(message.to_string())).await.expect("chromium listens");
        loop {
            let next =
                timeout(DEADLINE, self.socket.next()).await.unwrap_or_else(|_| panic!("{method} gets no answer"));
            let Message::Text(text) = next.expect("chromium speaks").expect("chromium speaks") else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.record_event(&message);
        }
    }

    fn record_event(&mut self, event: &Value) {
        let params = &event["params"];
        let bad = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => ["error", "warning", "assert"].iter().any(|kind| params["type"] == *kind),
            "Log.entryAdded" => ["error", "warning"].iter().any(|level| params["entry"]["level"] == *level),
            _ => false,
        };
        if bad {
            self.console_errors.push(params.to_string());
        }
    }
}
