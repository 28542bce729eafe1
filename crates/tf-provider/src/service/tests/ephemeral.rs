use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Log, configured, dynamic, reported, service, undynamic};
use crate::wire::tfplugin6 as proto;
use crate::{Attr, Context, Diagnostic, Diagnostics, EphemeralResource, Model, Opened, Renewed, Secret};

/// A ticket.
#[derive(Clone, Default, Model)]
pub(super) struct Ticket {
    /// Holder of the ticket.
    #[tf(required)]
    holder: Attr<String>,
    /// The secret.
    #[tf(computed, sensitive)]
    code: Attr<Secret>,
}

/// Private data of a ticket.
#[derive(Serialize, Deserialize)]
pub(super) struct Stub {
    #[serde(with = "crate::exposed")]
    code: Secret,
    renewals: u32,
}

pub(super) struct Tickets;

fn note(cx: &Context<Log>, text: String) -> Result<(), Diagnostic> {
    cx.data().lock().expect("no panic").push(text);
    Ok(())
}

/// Returns a time that is the same in every run.
fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

impl EphemeralResource for Tickets {
    const TYPE: &'static str = "toy_ticket";
    type Data = Log;
    type Model = Ticket;
    type Private = Stub;

    fn validate(&self, config: &Ticket, diagnostics: &mut Diagnostics) {
        if config.holder.text() == Some("nobody") {
            diagnostics.push(Diagnostic::error("No holder", "A ticket is for somebody.").at("holder"));
        }
    }

    async fn open(&self, cx: &Context<Log>, wanted: KnownTicket) -> Result<Opened<KnownTicket, Stub>, Diagnostics> {
        let holder = &wanted.holder;
        note(cx, format!("open {holder}"))?;
        let code = match holder.as_str() {
            "panics" => panic!("asked to"),
            "forgets" => Attr::Unknown,
            _ => Secret::new(format!("code-of-{holder}")).into(),
        };
        let stub = Stub { code: Secret::new(format!("code-of-{holder}")), renewals: 0 };
        Ok(Opened::new(KnownTicket { code, ..wanted }, stub).renew_at(moment()))
    }

    async fn renew(&self, cx: &Context<Log>, private: Stub) -> Result<Renewed<Stub>, Diagnostics> {
        note(cx, format!("renew {}", private.code.expose()))?;
        if private.renewals > 0 {
            return Err(Diagnostic::error("Too often", "It was renewed before.").into());
        }
        Ok(Renewed { private: Stub { renewals: 1, ..private }, renew_at: None })
    }

    async fn close(&self, cx: &Context<Log>, private: Stub) -> Result<(), Diagnostics> {
        note(cx, format!("close {} after {}", private.code.expose(), private.renewals))?;
        cx.guard(tokio::task::yield_now()).await?;
        Ok(())
    }
}

/// A stamp, which is neither renewed nor closed.
#[derive(Clone, Default, Model)]
pub(super) struct Stamp {
    /// Motif of the stamp.
    #[tf(default = "a bird")]
    motif: Attr<String>,
}

pub(super) struct Stamps;

impl EphemeralResource for Stamps {
    const TYPE: &'static str = "toy_stamp";
    type Data = Log;
    type Model = Stamp;
    type Private = ();

    async fn open(&self, _: &Context<Log>, wanted: KnownStamp) -> Result<Opened<KnownStamp>, Diagnostics> {
        Ok(Opened::new(wanted, ()))
    }
}

pub(super) fn open(holder: &str) -> proto::open_ephemeral_resource::Request {
    let config = Ticket { holder: holder.into(), ..Ticket::default() };
    let (type_name, config) = ("toy_ticket".to_owned(), Some(dynamic(&config)));
    proto::open_ephemeral_resource::Request { type_name, config, client_capabilities: None }
}

pub(super) fn renew(type_name: &str, private: Option<Vec<u8>>) -> proto::renew_ephemeral_resource::Request {
    proto::renew_ephemeral_resource::Request { type_name: type_name.to_owned(), private }
}

pub(super) fn close(type_name: &str, private: Option<Vec<u8>>) -> proto::close_ephemeral_resource::Request {
    proto::close_ephemeral_resource::Request { type_name: type_name.to_owned(), private }
}

#[tokio::test]
async fn a_ticket_is_opened_renewed_and_closed() {
    let service = configured().await;
    let opened = service.open_ephemeral_resource(open("ann")).await.expect("answered");
    assert_eq!(opened.diagnostics, []);
    assert_eq!(opened.renew_at, Some(moment().into()));
    let ticket: Ticket = undynamic(&opened.result.expect("result"));
    assert_eq!(ticket.code.known().map(Secret::expose), Some("code-of-ann"));
    let renewed = service.renew_ephemeral_resource(renew("toy_ticket", opened.private)).await.expect("answered");
    assert_eq!((renewed.diagnostics, renewed.renew_at), (vec![], None));
    let again = renew("toy_ticket", renewed.private.clone());
    let refused = service.renew_ephemeral_resource(again).await.expect("answered");
    assert_eq!(reported(&refused.diagnostics), ": Too often: It was renewed before.");
    let closed = service.close_ephemeral_resource(close("toy_ticket", renewed.private)).await.expect("answered");
    assert_eq!(closed.diagnostics, []);
    let log = service.provider.log.lock().expect("no panic").clone();
    assert_eq!(log, ["open ann", "renew code-of-ann", "renew code-of-ann", "close code-of-ann after 1"]);
}

/// An interrupted run leaves no resource open.
#[tokio::test]
async fn an_interrupt_does_not_keep_it_from_being_closed() {
    let service = configured().await;
    let opened = service.open_ephemeral_resource(open("ann")).await.expect("answered");
    service.stop_provider(proto::stop_provider::Request {}).expect("answered");
    let closed = service.close_ephemeral_resource(close("toy_ticket", opened.private)).await.expect("answered");
    assert_eq!(closed.diagnostics, []);
}

#[tokio::test]
async fn resources_that_the_core_leaves_open_are_closed_at_the_end() {
    let service = configured().await;
    for holder in ["ann", "bob", "carl"] {
        let opened = service.open_ephemeral_resource(open(holder)).await.expect("answered");
        match holder {
            "ann" => {
                let close = close("toy_ticket", opened.private);
                assert_eq!(service.close_ephemeral_resource(close).await.expect("answered").diagnostics, []);
            }
            "bob" => {
                let renew = renew("toy_ticket", opened.private);
                assert_eq!(service.renew_ephemeral_resource(renew).await.expect("answered").diagnostics, []);
            }
            _ => {}
        }
    }
    service.provider.log.lock().expect("no panic").clear();
    service.stop_provider(proto::stop_provider::Request {}).expect("answered");
    service.leases().close_all().await;
    service.leases().close_all().await;
    let mut log = service.provider.log.lock().expect("no panic").clone();
    log.sort();
    assert_eq!(log, ["close code-of-bob after 1", "close code-of-carl after 0"]);
}

#[tokio::test]
async fn a_resource_with_an_invalid_result_is_closed_at_once() {
    let service = configured().await;
    let opened = service.open_ephemeral_resource(open("forgets")).await.expect("answered");
    assert!(reported(&opened.diagnostics).contains("\"code\" is unknown in the result"));
    assert!(opened.result.is_none() && opened.private.is_none());
    let log = service.provider.log.lock().expect("no panic").clone();
    assert_eq!(log, ["open forgets", "close code-of-forgets after 0"]);
}

#[tokio::test]
async fn nothing_to_renew_or_close_is_not_code() {
    let service = configured().await;
    let request = proto::open_ephemeral_resource::Request {
        type_name: "toy_stamp".to_owned(),
        config: Some(dynamic(&Stamp::default())),
        ..Default::default()
    };
    let opened = service.open_ephemeral_resource(request).await.expect("answered");
    assert_eq!(undynamic::<Stamp>(&opened.result.expect("result")).motif.text(), Some("a bird"));
    assert_eq!(opened.renew_at, None);
    let renewed = service.renew_ephemeral_resource(renew("toy_stamp", opened.private.clone())).await;
    assert!(reported(&renewed.expect("answered").diagnostics).contains("toy_stamp cannot be renewed"));
    let closed = service.close_ephemeral_resource(close("toy_stamp", opened.private)).await.expect("answered");
    assert_eq!(closed.diagnostics, []);
}

#[tokio::test]
async fn foreign_private_data_is_refused_unseen() {
    let service = configured().await;
    for private in [None, Some(b"{\"code\":17".to_vec()), Some(b"{\"code\":\"hush\"}".to_vec())] {
        let renewed = service.renew_ephemeral_resource(renew("toy_ticket", private.clone())).await.expect("answered");
        let reported = reported(&renewed.diagnostics);
        assert!(reported.contains("Unable to read private data") && !reported.contains("hush"), "{reported}");
        let closed = service.close_ephemeral_resource(close("toy_ticket", private)).await.expect("answered");
        assert_eq!(closed.diagnostics.len(), 1);
    }
}

#[tokio::test]
async fn mistakes_and_panics_are_reported() {
    let service = configured().await;
    let opened = service.open_ephemeral_resource(open("panics")).await.expect("answered");
    assert!(reported(&opened.diagnostics).contains("asked to"));
    let mut unknown = open("ann");
    unknown.type_name = "toy_hat".to_owned();
    let error = service.open_ephemeral_resource(unknown).await.expect_err("refused");
    assert_eq!(error.message(), "this provider has no ephemeral resource type \"toy_hat\"");
    assert!(service.renew_ephemeral_resource(renew("toy_hat", None)).await.is_err());
    assert!(service.close_ephemeral_resource(close("toy_hat", None)).await.is_err());
    let config = Some(dynamic(&Ticket { holder: "nobody".into(), ..Ticket::default() }));
    let request = proto::validate_ephemeral_resource_config::Request { type_name: "toy_ticket".to_owned(), config };
    let found = service.validate_ephemeral_resource_config(request).expect("answered").diagnostics;
    assert_eq!(reported(&found), "holder: No holder: A ticket is for somebody.");
}

#[tokio::test]
async fn without_configuration_nothing_is_opened() {
    let opened = service().open_ephemeral_resource(open("ann")).await.expect("answered");
    assert!(reported(&opened.diagnostics).contains("Provider is not configured yet"));
}
