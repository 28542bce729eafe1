//! Wrong input from outside is refused with an exact message, and other clients are still served.

use super::*;

type Planned = proto::plan_resource_change::Response;

const PLAN: &str = "/tfplugin6.Provider/PlanResourceChange";

fn plan(type_name: &str, config: &[u8]) -> proto::plan_resource_change::Request {
    proto::plan_resource_change::Request {
        type_name: type_name.to_owned(),
        proposed_new_state: Some(dynamic(&safe("a", Value::Null, Value::Null))),
        config: Some(proto::DynamicValue { msgpack: config.to_vec(), json: Vec::new() }),
        ..Default::default()
    }
}

async fn is_served(client: &Client) {
    assert_eq!(create(client, "a", Value::Null).await.diagnostics, []);
}

#[tokio::test]
async fn a_foreign_client_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    assert_eq!(refusal(&served, Some(peer())).await, "received fatal alert: AccessDenied");
    configured(&served, trusted).await;
}

#[tokio::test]
async fn a_client_without_certificate_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    assert_eq!(refusal(&served, None).await, "received fatal alert: CertificateRequired");
    configured(&served, trusted).await;
}

#[tokio::test]
async fn a_silent_client_does_not_disturb_others() {
    let trusted = peer();
    let served = serve(&trusted);
    let _silent = served.reach().await.expect("connected");
    configured(&served, trusted).await;
}

#[tokio::test]
async fn bytes_that_are_not_tls_are_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let trusted = peer();
    let served = serve(&trusted);
    let mut stream = served.reach().await.expect("connected");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("closed");
    // The answer is a fatal TLS alert.
    assert_eq!((answer[0], answer[5]), (21, 2), "{answer:x?}");
    configured(&served, trusted).await;
}

#[tokio::test]
async fn malformed_messagepack_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    for (bytes, message) in [
        (&[0x81, 0xa4][..], "malformed value at \"\": ends too early"),
        (&[0xc3], "malformed value at \"\": no object"),
        (&[0x81, 0xa4, b'n', b'a', b'm', b'e', 0x01], "malformed value at \"name\": no text"),
        (&[0x81, 0xa4, b'n', b'a', b'm', b'e', 0xa1, 0xff], "malformed value at \"name\": text is not UTF-8"),
        (&[0x81, 0xa1, b'x', 0xc0], "malformed value at \"x\": not declared"),
        (&[0xc0, 0xc0], "malformed value at \"\": bytes follow the value"),
    ] {
        let error = client.provider::<_, Planned>("PlanResourceChange", plan("toy_safe", bytes)).await;
        assert_eq!(error.expect_err("malformed"), format!("3: {message}"));
    }
    is_served(&client).await;
}

#[tokio::test]
async fn an_unknown_type_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let error = client.provider::<_, Planned>("PlanResourceChange", plan("toy_hat", &[0xc0])).await;
    assert_eq!(error.expect_err("unknown"), "3: this provider has no resource type \"toy_hat\"");
    is_served(&client).await;
}

#[tokio::test]
async fn an_unknown_call_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let error = client.raw("/tfplugin6.Provider/PlanEverything", Bytes::from_static(&[0; 5])).await;
    assert_eq!(error.expect_err("unknown"), "12: ");
    is_served(&client).await;
}

/// The frame announces more bytes than it has.
#[tokio::test]
async fn a_truncated_frame_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let error = client.raw(PLAN, Bytes::from_static(&[0, 0, 0, 1, 0, 1])).await;
    assert_eq!(error.expect_err("truncated"), "13: Unexpected EOF decoding stream.");
    is_served(&client).await;
}

/// The frame is complete, but does not contain a message.
#[tokio::test]
async fn a_malformed_message_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let error = client.raw(PLAN, Bytes::from_static(&[0, 0, 0, 0, 2, 0x0a, 0x7f])).await;
    assert_eq!(
        error.expect_err("malformed"),
        "13: failed to decode Protobuf message: Request.type_name: buffer underflow"
    );
    is_served(&client).await;
}

/// The announced size is enough for the refusal.
#[tokio::test]
async fn an_oversized_message_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let error = client.raw(PLAN, Bytes::from_static(&[0, 0x10, 0, 0, 1])).await;
    assert_eq!(
        error.expect_err("too large"),
        "11: Error, decoded message length too large: found 268435457 bytes, the limit is: 268435456 bytes"
    );
    is_served(&client).await;
}

/// The message has more than the 4 MiB that gRPC libraries allow by default, in both directions.
#[tokio::test]
async fn a_large_message_is_served() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    let name = "n".repeat(9 << 20);
    let made = create(&client, &name, Value::Null).await;
    assert_eq!(made.diagnostics, []);
    let state = undynamic(made.new_state.as_ref().expect("state"));
    assert!(*state.get("name") == Value::String(name));
}

#[tokio::test]
async fn stored_state_that_is_not_a_state_is_refused() {
    let trusted = peer();
    let served = serve(&trusted);
    let client = configured(&served, trusted).await;
    for (stored, detail) in [
        (&b"{\"name\":"[..], "The stored object does not fit its type: it is not JSON."),
        (
            b"{\"name\":[1]}",
            "The stored object does not fit its type: stored value at \"name\" does not have the type string.",
        ),
        (b"[]", "The stored object does not fit its type: stored value at \"\" does not have the type object."),
    ] {
        let request = proto::upgrade_resource_state::Request {
            type_name: "toy_safe".to_owned(),
            version: 0,
            raw_state: Some(proto::RawState { json: stored.to_vec(), ..Default::default() }),
        };
        let answer: proto::upgrade_resource_state::Response =
            client.provider("UpgradeResourceState", request).await.expect("answered");
        assert_eq!(answer.diagnostics[0].summary, "Unable to read the stored state");
        assert_eq!(answer.diagnostics[0].detail, detail);
        assert!(answer.upgraded_state.is_none());
    }
    is_served(&client).await;
}

#[test]
fn an_invalid_client_certificate_ends_the_start() {
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let error = Identity::for_client(text).err().expect("refused");
        assert_eq!(
            error.to_string(),
            "unable to set up mutual TLS: the core's certificate in PLUGIN_CLIENT_CERT is not PEM"
        );
    }
}
