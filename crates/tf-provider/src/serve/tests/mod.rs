//! Tests of the transport with our own client, which behaves like a core.

mod bad_input;
mod tcp;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tonic::codegen::http;

use super::listen::Serving;
use super::socket::{Address, Endpoint, Io, Socket};
use super::tls::Identity;
use crate::wire::{plugin, tfplugin6 as proto};
use crate::{
    Attr, CancellationToken, Context, Diagnostic, Diagnostics, Failure, Model, Outcome, Provider, Registry, Resource,
    Secret, Value,
};

/// An empty configuration.
#[derive(Clone, Default, Model)]
struct Nothing {}

/// Notifications from a waiting create to the test.
#[derive(Clone, Default)]
struct Toy {
    started: Arc<Notify>,
    stopped: Arc<Notify>,
}

impl Provider for Toy {
    const NAME: &'static str = "toy";
    type Model = Nothing;
    type Data = Toy;

    fn register(&self, registry: &mut Registry<Toy>) {
        registry.resource(Safes);
    }

    async fn configure(&self, _: &CancellationToken, _: Nothing) -> Result<Option<Toy>, Diagnostics> {
        Ok(Some(self.clone()))
    }
}

/// A safe.
#[derive(Clone, Default, Model)]
struct Safe {
    /// Name.
    #[tf(required)]
    name: Attr<String>,
    /// Combination.
    #[tf(optional, write_only, sensitive)]
    combination: Attr<Secret>,
    /// Length of the combination that create got.
    #[tf(computed)]
    length: Attr<u64>,
}

struct Safes;

impl Resource for Safes {
    const TYPE: &'static str = "toy_safe";
    type Data = Toy;
    type Model = Safe;

    async fn create(&self, cx: &Context<Toy>, mut plan: KnownSafe) -> Outcome<KnownSafe> {
        match plan.name.as_str() {
            "panics" => panic!("asked to"),
            "waits" => {
                cx.data().started.notify_one();
                let stopped = cx.guard(std::future::pending::<()>()).await;
                // Cleaning up takes a moment.
                tokio::task::yield_now().await;
                cx.data().stopped.notify_one();
                stopped?;
            }
            "half" => return Err(Failure::partial(plan, Diagnostic::error("Half", "made"))),
            _ => {}
        }
        let length = plan.combination.as_ref().map(|secret| secret.expose().len() as u64);
        plan.length = length.unwrap_or_default().into();
        Ok(plan)
    }

    async fn read(&self, _: &Context<Toy>, state: Safe) -> Result<Option<Safe>, Diagnostics> {
        Ok(Some(state))
    }

    async fn update(&self, _: &Context<Toy>, _: KnownSafe, plan: KnownSafe) -> Outcome<KnownSafe> {
        Ok(plan)
    }

    async fn delete(&self, _: &Context<Toy>, _: KnownSafe) -> Result<(), Failure<KnownSafe>> {
        Ok(())
    }
}

/// Key and certificate of a client.
struct Peer {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: String,
}

fn peer() -> Peer {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("key");
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = certificate.self_signed(&key).expect("certificate");
    Peer {
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        pem: certificate.pem(),
    }
}

/// Accepts exactly the certificate of the handshake line, as go-plugin does.
#[derive(Debug)]
struct PinnedServer(Vec<u8>, Arc<CryptoProvider>);

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(end_entity.as_ref(), self.0, "another certificate than in the handshake line");
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        panic!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.1.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

/// A served toy provider that trusts `peer`.
struct Served {
    address: Address,
    certificate: Vec<u8>,
    shutdown: CancellationToken,
    toy: Toy,
    task: tokio::task::JoinHandle<Result<(), super::ServeError>>,
}

fn serve(peer: &Peer) -> Served {
    serve_at(Endpoint::any(), peer)
}

fn serve_at(place: Endpoint, peer: &Peer) -> Served {
    let identity = Identity::for_client(&peer.pem).expect("identity");
    let certificate = identity.certificate().to_vec();
    let socket = Socket::bind(place).expect("socket");
    let (address, shutdown) = (socket.address().expect("address"), CancellationToken::new());
    let serving = Serving { socket, acceptor: Some(identity.acceptor), shutdown: shutdown.clone() };
    let toy = Toy::default();
    Served { address, certificate, shutdown, toy: toy.clone(), task: tokio::spawn(serving.run(toy)) }
}

impl Served {
    async fn reach(&self) -> std::io::Result<Box<dyn Io>> {
        match self.address.network {
            "unix" => Ok(Box::new(UnixStream::connect(&self.address.text).await?)),
            _ => Ok(Box::new(TcpStream::connect(&self.address.text).await?)),
        }
    }

    /// Returns the directory of the unix socket.
    fn directory(&self) -> &std::path::Path {
        std::path::Path::new(&self.address.text).parent().expect("directory")
    }
}

async fn connect(served: &Served, client: Option<Peer>) -> std::io::Result<Client> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(PinnedServer(served.certificate.clone(), provider.clone()));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(peer) => builder.with_client_auth_cert(vec![peer.certificate], peer.key).expect("certificate"),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = served.reach().await?;
    let name = ServerName::try_from("localhost").expect("name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Client::over(stream).await
}

/// Returns the error of a client that must be refused. With TLS 1.3, the client only learns of the refusal when it
/// first reads, so it makes a call.
async fn refusal(served: &Served, client: Option<Peer>) -> String {
    let client = match connect(served, client).await {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    let request = proto::get_provider_schema::Request {};
    let answer = client.provider::<_, proto::get_provider_schema::Response>("GetProviderSchema", request).await;
    answer.expect_err("served a client that must be refused")
}

/// A minimal gRPC client.
struct Client(h2::client::SendRequest<Bytes>);

impl Client {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> std::io::Result<Self> {
        let (send, connection) = h2::client::handshake(stream).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(send))
    }

    async fn raw(&self, path: &str, body: Bytes) -> Result<Bytes, String> {
        let request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("request");
        let mut send = self.0.clone().ready().await.map_err(|error| error.to_string())?;
        let (response, mut stream) = send.send_request(request, false).map_err(|error| error.to_string())?;
        stream.send_data(body, true).map_err(|error| error.to_string())?;
        let response = response.await.map_err(|error| error.to_string())?;
        let status = |headers: &http::HeaderMap| {
            let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            (text("grpc-status"), text("grpc-message").replace("%20", " ").replace("%22", "\""))
        };
        let early = status(response.headers());
        let mut body = response.into_body();
        let mut received = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| error.to_string())?;
            body.flow_control().release_capacity(chunk.len()).expect("capacity");
            received.extend_from_slice(&chunk);
        }
        let late = body.trailers().await.map_err(|error| error.to_string())?.map(|trailers| status(&trailers));
        match late.unwrap_or(early) {
            (code, _) if code == "0" => Ok(received.freeze().slice(5..)),
            (code, message) => Err(format!("{code}: {message}")),
        }
    }

    async fn call<Q: Message, A: Message + Default>(&self, path: &str, request: Q) -> Result<A, String> {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(request.encoded_len()).expect("small"));
        request.encode(&mut body).expect("room");
        A::decode(self.raw(path, body.freeze()).await?).map_err(|error| error.to_string())
    }

    async fn provider<Q: Message, A: Message + Default>(&self, method: &str, request: Q) -> Result<A, String> {
        self.call(&format!("/tfplugin6.Provider/{method}"), request).await
    }
}

fn safe(name: &str, combination: Value, length: Value) -> Value {
    let name = Value::String(name.to_owned());
    let entries = [("name", name), ("combination", combination), ("length", length)];
    Value::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn dynamic(value: &Value) -> proto::DynamicValue {
    let declared = crate::schema::object_type(&Safe::attributes());
    crate::wire::messages::dynamic(value, &crate::schema::Type::Object(declared))
}

fn undynamic(value: &proto::DynamicValue) -> Value {
    let declared = crate::schema::object_type(&Safe::attributes());
    crate::wire::msgpack::decode(&value.msgpack, &crate::schema::Type::Object(declared)).expect("value")
}

async fn configured(served: &Served, peer: Peer) -> Client {
    let client = connect(served, Some(peer)).await.expect("accepted");
    let config = proto::DynamicValue { msgpack: vec![0x80], json: Vec::new() };
    let request = proto::configure_provider::Request { config: Some(config), ..Default::default() };
    let answer: proto::configure_provider::Response =
        client.provider("ConfigureProvider", request).await.expect("configured");
    assert_eq!(answer.diagnostics, []);
    client
}

async fn create(client: &Client, name: &str, combination: Value) -> proto::apply_resource_change::Response {
    let request = proto::apply_resource_change::Request {
        type_name: "toy_safe".to_owned(),
        prior_state: Some(proto::DynamicValue { msgpack: vec![0xc0], json: Vec::new() }),
        planned_state: Some(dynamic(&safe(name, Value::Null, Value::Unknown))),
        config: Some(dynamic(&safe(name, combination, Value::Null))),
        ..Default::default()
    };
    client.provider("ApplyResourceChange", request).await.expect("answered")
}

#[tokio::test]
async fn the_expected_client_is_served() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = connect(&served, Some(trusted)).await.expect("accepted");
    let schema: proto::get_provider_schema::Response =
        client.provider("GetProviderSchema", proto::get_provider_schema::Request {}).await.expect("answered");
    let safe = schema.resource_schemas["toy_safe"].block.as_ref().expect("block");
    let combination = safe.attributes.iter().find(|a| a.name == "combination").expect("declared");
    assert!(combination.write_only && combination.sensitive && combination.optional);
    assert_eq!(combination.r#type, b"\"string\"");
    assert_eq!(safe.description, "A safe.");
}

#[tokio::test]
async fn shutdown_ends_serving_and_removes_the_socket() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = connect(&served, Some(trusted)).await.expect("accepted");
    // The answer may be lost, because the process ends.
    let _ = client.call::<_, plugin::Empty>("/plugin.GRPCController/Shutdown", plugin::Empty {}).await;
    let directory = served.directory().to_path_buf();
    served.task.await.expect("no panic").expect("served");
    assert!(!directory.exists());
}

#[tokio::test]
async fn only_this_user_enters_the_socket_directory() {
    use std::os::unix::fs::PermissionsExt;
    let served = serve(&peer());
    let directory = served.directory();
    let mode = std::fs::metadata(directory).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    served.shutdown.cancel();
}

#[tokio::test]
async fn write_only_values_reach_create_and_nothing_else() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let made = create(&client, "a", Value::String("1234".to_owned())).await;
    assert_eq!(made.diagnostics, []);
    let state = undynamic(made.new_state.as_ref().expect("state"));
    assert!(state == safe("a", Value::Null, Value::Number(4_i64.into())));
}

#[tokio::test]
async fn write_only_is_an_error_where_the_core_would_store_it() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    for (allowed, errors) in [(false, 1), (true, 0)] {
        let request = proto::validate_resource_config::Request {
            type_name: "toy_safe".to_owned(),
            config: Some(dynamic(&safe("a", Value::String("1234".to_owned()), Value::Null))),
            client_capabilities: Some(proto::ClientCapabilities {
                write_only_attributes_allowed: allowed,
                ..Default::default()
            }),
        };
        let answer: proto::validate_resource_config::Response =
            client.provider("ValidateResourceConfig", request).await.expect("answered");
        assert_eq!(answer.diagnostics.len(), errors);
        let reported = format!("{:?}", answer.diagnostics);
        assert!(!reported.contains("1234"));
        assert_eq!(reported.contains("Terraform 1.11"), !allowed);
    }
}

#[tokio::test]
async fn a_panic_is_a_diagnostic_and_the_provider_continues() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let answer = create(&client, "panics", Value::Null).await;
    assert_eq!(answer.diagnostics[0].summary, "Provider bug");
    assert!(undynamic(answer.new_state.as_ref().expect("state")).is_null());
    assert_eq!(create(&client, "a", Value::Null).await.diagnostics, []);
}

#[tokio::test]
async fn a_failure_carries_the_existing_object_with_null_for_unknown_values() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let answer = create(&client, "half", Value::String("1234".to_owned())).await;
    assert_eq!(answer.diagnostics[0].summary, "Half");
    assert!(undynamic(answer.new_state.as_ref().expect("state")) == safe("half", Value::Null, Value::Null));
}

#[tokio::test]
async fn stop_ends_running_calls() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let waiting = create(&client, "waits", Value::Null);
    let stopping = async {
        let stop = proto::stop_provider::Request {};
        client.provider::<_, proto::stop_provider::Response>("StopProvider", stop).await.expect("answered")
    };
    let (answer, _) = tokio::join!(waiting, stopping);
    assert_eq!(answer.diagnostics[0].summary, "Interrupted");
}

#[tokio::test]
async fn an_abandoned_call_is_asked_to_stop() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    tokio::select! {
        _ = create(&client, "waits", Value::Null) => panic!("it waits for ever"),
        () = served.toy.started.notified() => {}
    }
    served.toy.stopped.notified().await;
}

#[tokio::test]
async fn shutdown_lets_running_work_clean_up() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let waiting = tokio::spawn(async move { create(&client, "waits", Value::Null).await });
    served.toy.started.notified().await;
    served.shutdown.cancel();
    served.toy.stopped.notified().await;
    served.task.await.expect("no panic").expect("served");
    waiting.abort();
}
