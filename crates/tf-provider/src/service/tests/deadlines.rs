//! Deadlines of calls: from the configuration, otherwise from the model's declaration.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::{Context, Failure, Outcome, Resource, Timeouts};

/// An errand that never ends.
#[derive(Clone, Default, Model)]
struct Errand {
    /// Purpose of the errand.
    #[tf(required)]
    what: Attr<String>,
    /// Deadlines.
    #[tf(timeouts(create = "1h", read = "1ms", update = "1h", delete = "1h"))]
    timeouts: Timeouts,
}

struct Errands;

impl Resource for Errands {
    const TYPE: &'static str = "late_errand";
    type Data = ();
    type Model = Errand;

    async fn create(&self, cx: &Context<()>, plan: KnownErrand) -> Outcome<KnownErrand> {
        cx.guard(std::future::pending::<()>()).await?;
        Ok(plan)
    }

    async fn read(&self, cx: &Context<()>, state: Errand) -> Result<Option<Errand>, Diagnostics> {
        cx.guard(std::future::pending::<()>()).await?;
        Ok(Some(state))
    }

    async fn update(&self, cx: &Context<()>, _: KnownErrand, plan: KnownErrand) -> Outcome<KnownErrand> {
        self.create(cx, plan).await
    }

    async fn delete(&self, cx: &Context<()>, _: KnownErrand) -> Result<(), Failure<KnownErrand>> {
        Ok(cx.guard(std::future::pending::<()>()).await?)
    }
}

struct Late;

impl Provider for Late {
    const NAME: &'static str = "late";
    type Model = Settings;
    type Data = ();

    fn register(&self, registry: &mut Registry<()>) {
        registry.resource(Errands);
    }

    async fn configure(&self, _: &CancellationToken, _: Settings) -> Result<Option<()>, Diagnostics> {
        Ok(Some(()))
    }
}

/// Returns an errand with a limit of a millisecond for one operation.
fn errand(operation: &str) -> proto::DynamicValue {
    let limits = ["create", "read", "update", "delete"].map(|name| {
        let limit = if name == operation { Value::String("1ms".to_owned()) } else { Value::Null };
        (name.to_owned(), limit)
    });
    let timeouts = Timeouts::from_value(&Value::Map(BTreeMap::from(limits)), &Path::root()).expect("fits");
    dynamic(&Errand { what: "bread".into(), timeouts })
}

#[tokio::test]
async fn each_operation_ends_at_its_deadline() {
    let service = Service::new(Late, CancellationToken::new(), TaskTracker::new());
    let config = Some(dynamic(&Settings::default()));
    let request = proto::configure_provider::Request { config, ..Default::default() };
    assert_eq!(service.configure_provider(request).await.expect("answered").diagnostics, []);
    let null = || Some(proto::DynamicValue { msgpack: vec![0xc0], json: Vec::new() });
    for operation in ["create", "update", "delete"] {
        let request = proto::apply_resource_change::Request {
            type_name: "late_errand".to_owned(),
            prior_state: if operation == "create" { null() } else { Some(errand(operation)) },
            planned_state: if operation == "delete" { null() } else { Some(errand(operation)) },
            config: if operation == "delete" { null() } else { Some(errand(operation)) },
            ..Default::default()
        };
        let answer = tokio::time::timeout(Duration::from_secs(60), service.apply_resource_change(request));
        let answer = answer.await.unwrap_or_else(|_| panic!("{operation} has an hour")).expect("answered");
        assert!(reported(&answer.diagnostics).starts_with(": Timed out: "), "{operation}");
    }
    // The declared deadline applies if the configuration has none.
    let request = proto::read_resource::Request {
        type_name: "late_errand".to_owned(),
        current_state: Some(errand("none")),
        ..Default::default()
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), service.read_resource(request));
    let answer = answer.await.expect("in time").expect("answered");
    assert!(reported(&answer.diagnostics).starts_with(": Timed out: "));
}
