//! Calls that need a configured provider, without one.

use super::*;

const SUMMARY: &str = ": Provider is not configured yet: ";

fn boat(hull: impl Into<Attr<i64>>) -> proto::DynamicValue {
    dynamic(&resource::boat("a", hull))
}

fn nothing() -> Option<proto::DynamicValue> {
    Some(proto::DynamicValue { msgpack: vec![0xc0], json: Vec::new() })
}

/// Returns a provider that was never configured, and one whose configuration is unknown.
async fn unconfigured() -> [Service<Toy>; 2] {
    let unknown = service();
    let config = Some(dynamic(&Settings { site: Attr::Unknown }));
    let request = proto::configure_provider::Request { config, ..Default::default() };
    assert_eq!(unknown.configure_provider(request).await.expect("answered").diagnostics, []);
    [service(), unknown]
}

#[tokio::test]
async fn nothing_is_applied_and_the_state_stays() {
    for service in unconfigured().await {
        for (prior, planned) in
            [(nothing(), Some(boat(Attr::Unknown))), (Some(boat(1)), Some(boat(1))), (Some(boat(1)), nothing())]
        {
            let request = proto::apply_resource_change::Request {
                type_name: "toy_boat".to_owned(),
                prior_state: prior.clone(),
                planned_state: planned.clone(),
                config: planned,
                planned_private: b"kept".to_vec(),
                ..Default::default()
            };
            let answer = service.apply_resource_change(request).await.expect("answered");
            assert!(reported(&answer.diagnostics).starts_with(SUMMARY));
            assert_eq!((answer.new_state, answer.private.as_slice()), (prior, &b"kept"[..]));
        }
    }
}

#[tokio::test]
async fn nothing_is_imported() {
    for service in unconfigured().await {
        let (type_name, id) = ("toy_boat".to_owned(), "a".to_owned());
        let request = proto::import_resource_state::Request { type_name, id, ..Default::default() };
        let answer = service.import_resource_state(request).await.expect("answered");
        assert!(reported(&answer.diagnostics).starts_with(SUMMARY));
        assert_eq!(answer.imported_resources, []);
    }
}

#[tokio::test]
async fn ephemeral_resources_are_refused() {
    for service in unconfigured().await {
        let opened = service.open_ephemeral_resource(ephemeral::open("ann")).await.expect("answered");
        assert!(reported(&opened.diagnostics).starts_with(SUMMARY) && opened.result.is_none());
        let renewed = service.renew_ephemeral_resource(ephemeral::renew("toy_ticket", None)).await.expect("answered");
        assert!(reported(&renewed.diagnostics).starts_with(SUMMARY));
        let closed = service.close_ephemeral_resource(ephemeral::close("toy_ticket", None)).await.expect("answered");
        assert!(reported(&closed.diagnostics).starts_with(SUMMARY));
    }
}

#[tokio::test]
async fn a_plan_is_made_and_a_read_keeps_the_state() {
    for service in unconfigured().await {
        let request = proto::plan_resource_change::Request {
            type_name: "toy_boat".to_owned(),
            prior_state: nothing(),
            proposed_new_state: Some(boat(Attr::Null)),
            config: Some(boat(Attr::Null)),
            ..Default::default()
        };
        let planned = service.plan_resource_change(request).await.expect("answered");
        assert_eq!((planned.diagnostics.len(), planned.planned_private.is_empty()), (0, false), "the hook was asked");
        let request = proto::read_resource::Request {
            type_name: "toy_boat".to_owned(),
            current_state: Some(boat(7)),
            ..Default::default()
        };
        let read = service.read_resource(request).await.expect("answered");
        assert_eq!((read.diagnostics.len(), read.new_state), (0, Some(boat(7))));
    }
}
