//! Files that a node downloads from a web server on loopback.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use sim_http::authority::Identity;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::simulated_cluster::{ADMIN, SimulatedCluster, world};

/// Answers by path: the head after `HTTP/1.1 `, and the body.
type Files = BTreeMap<&'static str, (&'static str, Vec<u8>)>;

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, files: &Files) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await.ok()?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
    }
    let missing = ("404 File not found\r\n", b"no".to_vec());
    let (head, body) = files.get(first.split(' ').nth(1)?).unwrap_or(&missing);
    let length = body.len();
    let head = format!("HTTP/1.1 {head}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    stream.shutdown().await.ok()
}

/// Serves files until the test ends, over TLS if there is an identity.
async fn serve(files: Files, identity: Option<Identity>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let tls = identity.map(|identity| Arc::new(identity.server_config().expect("TLS")));
    let files = Arc::new(files);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (files, tls) = (files.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    Some(tls) => answer(tokio_rustls::TlsAcceptor::from(tls).accept(stream).await.ok()?, &files).await,
                    None => answer(stream, &files).await,
                }
            });
        }
    });
    address
}

fn image() -> Vec<u8> {
    vec![7; 4 << 20]
}

fn files() -> Files {
    let octets = "200 OK\r\nContent-Type: application/octet-stream\r\n";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&image()).expect("packed");
    BTreeMap::from([
        ("/img.raw", (octets, image())),
        ("/cd.iso.gz", (octets, packed.finish().expect("packed"))),
        ("/moved", ("301 Moved Permanently\r\nLocation: /img.raw\r\n", Vec::new())),
    ])
}

/// Returns the SHA-256 digest of [`image`].
fn digest() -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, &image()))
}

/// Runs a download to its end. Returns its status, and its log without dates and speeds.
async fn download(cluster: &SimulatedCluster, params: &[(&str, &str)]) -> (String, Vec<String>) {
    cluster.client(ADMIN).task("POST", "/nodes/pve1/storage/local/download-url", params).await
}

async fn size(cluster: &SimulatedCluster, volid: &str) -> Option<u64> {
    let content = cluster.client(ADMIN).get("/nodes/pve1/storage/local/content").await;
    let rows = content.data().as_array().expect("rows").clone();
    rows.iter().find(|row| row["volid"] == volid).and_then(|row| row["size"].as_u64())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_downloads_a_file_with_the_messages_of_wget() {
    let cluster = SimulatedCluster::start(&world()).await;
    let address = serve(files(), None).await;
    let url = format!("http://{address}/moved#part");
    let (end, log) = download(&cluster, &[("content", "import"), ("filename", "a b.raw"), ("url", &url)]).await;
    assert_eq!(end, "OK", "{log:#?}");
    assert_eq!(size(&cluster, "local:import/a_b.raw").await, Some(4 << 20));
    let target = "/var/lib/vz/import/a_b.raw";
    let lines: Vec<&str> = log.iter().map(String::as_str).filter(|line| !line.starts_with("20")).collect();
    let [first, asked, .., row, finished, ok] = lines[..] else { panic!("{lines:#?}") };
    assert_eq!(first, format!("downloading {url} to {target}"));
    assert!(asked.starts_with("--20") && asked.ends_with(&format!("--  http://{address}/moved")), "{asked}");
    assert!(row.starts_with("     0K ....                               100% "), "{row}");
    assert_eq!((finished, ok), (format!("download of '{url}' to '{target}' finished").as_str(), "TASK OK"));
    for line in [
        format!("Connecting to {address}... connected."),
        "HTTP request sent, awaiting response... 301 Moved Permanently".to_owned(),
        "Location: /img.raw [following]".to_owned(),
        "HTTP request sent, awaiting response... 200 OK".to_owned(),
        "Length: 4194304 (4.0M) [application/octet-stream]".to_owned(),
    ] {
        assert!(log.contains(&line), "{line}: {log:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_is_compared_and_a_file_is_never_replaced() {
    let cluster = SimulatedCluster::start(&world()).await;
    let url = format!("http://{}/img.raw", serve(files(), None).await);
    let (good, bad) = (digest(), "0".repeat(64));
    let file = |name: &'static str| [("content", "import"), ("filename", name), ("url", url.as_str())];
    let with = |name, sum: &str| {
        let mut params = file(name).map(|(key, value)| (key, value.to_owned())).to_vec();
        params.extend([("checksum", sum.to_owned()), ("checksum-algorithm", "sha256".to_owned())]);
        params
    };
    let run = async |params: Vec<(&str, String)>| {
        let params: Vec<(&str, &str)> = params.iter().map(|(key, value)| (*key, value.as_str())).collect();
        download(&cluster, &params).await
    };
    let (end, _) = run(with("w.raw", &bad)).await;
    assert_eq!(end, format!("checksum mismatch: got '{good}' != expect '{bad}'"));
    assert_eq!(size(&cluster, "local:import/w.raw").await, None);
    let (end, log) = run(with("w.raw", &good)).await;
    assert_eq!(end, "OK");
    assert!(log.contains(&"calculating checksum...OK, checksum verified".to_owned()), "{log:#?}");
    let (end, log) = run(with("w.raw", &good)).await;
    assert_eq!(end, "OK");
    assert_eq!(log[1], "calculating checksum of existing file...OK, got correct file already, no need to download");
    let (end, _) = run(with("w.raw", &bad)).await;
    assert_eq!(end, format!("checksum mismatch: got '{good}' != expect '{bad}', aborting"));
    let (end, _) = download(&cluster, &file("w.raw")).await;
    assert_eq!(end, "refusing to override existing file '/var/lib/vz/import/w.raw'");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_isos_are_unpacked_and_images_are_verified() {
    let cluster = SimulatedCluster::start(&world()).await;
    let address = serve(files(), None).await;
    let (packed, plain) = (format!("http://{address}/cd.iso.gz"), format!("http://{address}/img.raw"));
    let get = async |content: &str, name: &str, url: &str, compression: Option<&str>| {
        let mut params = vec![("content", content), ("filename", name), ("url", url)];
        params.extend(compression.map(|algorithm| ("compression", algorithm)));
        download(&cluster, &params).await.0
    };
    assert_eq!(get("iso", "cd.iso", &packed, Some("gz")).await, "OK");
    assert_eq!(size(&cluster, "local:iso/cd.iso").await, Some(4 << 20));
    let end = get("iso", "no.iso", &plain, Some("gz")).await;
    assert!(end.starts_with("command 'zcat /var/lib/vz/template/iso/no.iso.tmp_dwnl."), "{end}");
    assert_eq!(get("iso", "no.iso", &plain, Some("lzo")).await, "not simulated: decompression of lzo");
    assert_eq!(get("import", "w.raw", &packed, Some("gz")).await, "decompression not supported for import");
    let end = get("import", "w.qcow2", &plain, None).await;
    assert!(end.starts_with("failed to verify file: qemu-img: Could not open '/var/lib/vz/import/w.qcow2.tmp_dwnl."));
    assert!(end.ends_with("': Image is not in qcow2 format"), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_download_ends_with_the_last_line_of_wget() {
    let cluster = SimulatedCluster::start(&world()).await;
    let plain = serve(files(), None).await;
    let closed = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a listener");
        listener.local_addr().expect("an address")
    };
    let identity = Identity::create("a CA", "a server", vec!["127.0.0.1".to_owned()]).expect("an identity");
    let secure = serve(files(), Some(identity)).await;
    let issuer = "download failed: ERROR: The certificate of '127.0.0.1' doesn't have a known issuer.";
    for (url, end) in [
        (format!("http://{plain}/none.raw"), "download failed: exit code 8"),
        (
            format!("http://{closed}/x"),
            &*format!("download failed: Connecting to {closed}... failed: Connection refused."),
        ),
        (format!("https://{plain}/img.raw"), "download failed: Unable to establish SSL connection."),
        (format!("https://{secure}/img.raw"), issuer),
        (
            "http://nohost.invalid/x".to_owned(),
            "download failed: wget: unable to resolve host address 'nohost.invalid'",
        ),
    ] {
        let file = [("content", "import"), ("filename", "w.raw"), ("url", url.as_str())];
        assert_eq!(download(&cluster, &file).await.0, end, "{url}");
    }
    let url = format!("https://{secure}/img.raw");
    let file = [("content", "import"), ("filename", "w.raw"), ("url", url.as_str()), ("verify-certificates", "0")];
    assert_eq!(download(&cluster, &file).await.0, "OK");
    cluster.handle.leave_free("pve1", "local", 1 << 20);
    let url = format!("http://{plain}/img.raw");
    let (end, _) = download(&cluster, &[("content", "import"), ("filename", "full.raw"), ("url", &url)]).await;
    assert!(end.starts_with("download failed: Cannot write to '/var/lib/vz/import/full.raw.tmp_dwnl."), "{end}");
    assert!(end.ends_with("' (No space left on device)."), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_needs_a_suitable_storage_and_access_to_the_network() {
    let url = format!("http://{}/img.raw", serve(files(), None).await);
    let file = [("content", "import"), ("filename", "w.raw"), ("url", url.as_str())];
    let cluster = SimulatedCluster::start(&world()).await;
    for (storage, text) in [
        ("dir", "storage 'dir' is not configured for content-type 'import'"),
        ("thin", "can't upload to storage type 'lvmthin', not a file based storage!"),
    ] {
        let path = format!("/nodes/pve1/storage/{storage}/download-url");
        assert_eq!(cluster.client(ADMIN).call("POST", &path, &file).await.refusal(), (500, text));
    }
    let user = |grants: &[(&str, &str)]| {
        let world = world()
            .role("Template", &["Datastore.AllocateTemplate"])
            .role("Network", &["Sys.AccessNetwork"])
            .role("Both", &["Sys.Audit", "Sys.Modify"])
            .user("ci@pve", "secret-1")
            .token("ci@pve", "t1", false);
        grants.iter().fold(world, |world, (path, role)| world.grant(path, "ci@pve", role))
    };
    let template = ("/storage/local", "Template");
    for (grants, status, reason) in [
        (&[][..], 403, "Permission check failed (/storage/local, Datastore.AllocateTemplate)"),
        (&[template], 403, "Permission check failed"),
        (&[template, ("/nodes/pve1", "Both")], 403, "Permission check failed"),
        (&[template, ("/nodes/pve1", "Network")], 200, "OK"),
        (&[template, ("/", "Both")], 200, "OK"),
    ] {
        let cluster = SimulatedCluster::start(&user(grants)).await;
        let client = cluster.client("ci@pve!t1");
        let answer = client.call("POST", "/nodes/pve1/storage/local/download-url", &file).await;
        assert_eq!((answer.status, answer.reason.as_str()), (status, reason), "{grants:?}");
    }
}
