use super::{Log, configured, dynamic, malformed, reported, service, undynamic};
use crate::wire::tfplugin6 as proto;
use crate::{Attr, Context, DataSource, Diagnostic, Diagnostics, Model, Secret, Timeouts};

/// A source.
#[derive(Clone, Default, Model)]
#[tf(deprecated = "Use toy_river instead.")]
pub(super) struct Source {
    /// Name, which selects the behaviour in the test.
    #[tf(required, length(1..))]
    name: Attr<String>,
    /// Depth.
    #[tf(default = 3)]
    depth: Attr<i64>,
    /// Case does not matter.
    #[tf(optional, equal = same_word)]
    kind: Attr<String>,
    /// Key.
    #[tf(optional, sensitive)]
    key: Attr<Secret>,
    /// Rarely set.
    #[tf(optional, validate = never_asked)]
    source: Attr<String>,
    /// Found.
    #[tf(computed)]
    flow: Attr<i64>,
    /// Deadlines.
    #[tf(timeouts(read = "1ms"))]
    timeouts: Timeouts,
}

fn never_asked(_: &str) -> Result<(), String> {
    panic!("asked to")
}

fn same_word(one: &str, other: &str) -> bool {
    assert!(other != "abysmal", "not that deep");
    one.eq_ignore_ascii_case(other)
}

pub(super) struct Sources;

impl DataSource for Sources {
    const TYPE: &'static str = "toy_source";
    type Data = Log;
    type Model = Source;

    fn validate(&self, config: &Source, diagnostics: &mut Diagnostics) {
        if config.depth.known().is_some_and(|depth| *depth < 0) {
            diagnostics.push(Diagnostic::error("Too high", "It is dry there.").at("depth"));
        }
    }

    async fn read(&self, cx: &Context<Log>, mut wanted: KnownSource) -> Result<KnownSource, Diagnostics> {
        assert!(wanted.flow.is_unknown(), "the computed attribute is unknown");
        match wanted.name.as_str() {
            "dry" => return Err(Diagnostic::error("Dry", "Nothing flows.").at("name").into()),
            "panics" => panic!("asked to"),
            "forgets" => return Ok(wanted),
            "waits" => cx.guard(std::future::pending::<()>()).await?,
            "other" => wanted.depth = 4,
            "leaks" => wanted.key = Secret::new("another-key").into(),
            _ => cx.warn("Cold", "Mind the temperature."),
        }
        wanted.kind = wanted.kind.as_deref().map(str::to_uppercase);
        Ok(KnownSource { flow: 7.into(), ..wanted })
    }
}

fn named(name: &str) -> Source {
    Source { name: name.into(), kind: "deep".into(), key: Secret::new("the-key").into(), ..Source::default() }
}

fn request(name: &str) -> proto::read_data_source::Request {
    request_for(&named(name))
}

fn request_for(config: &Source) -> proto::read_data_source::Request {
    let (type_name, config) = ("toy_source".to_owned(), Some(dynamic(config)));
    proto::read_data_source::Request { type_name, config, ..Default::default() }
}

async fn refused(name: &str) -> String {
    let answer = configured().await.read_data_source(request(name)).await.expect("answered");
    assert!(answer.state.is_none(), "no state with an error");
    reported(&answer.diagnostics)
}

#[tokio::test]
async fn a_result_has_defaults_and_the_users_spelling() {
    let answer = configured().await.read_data_source(request("a")).await.expect("answered");
    assert_eq!(reported(&answer.diagnostics), ": Cold: Mind the temperature.");
    let found: Source = undynamic(&answer.state.expect("state"));
    assert_eq!((found.depth, found.kind.text(), found.flow), (3.into(), Some("deep"), 7.into()));
}

#[tokio::test]
async fn errors_are_reported_at_the_attribute() {
    assert_eq!(refused("dry").await, "name: Dry: Nothing flows.");
    let bug = "This is a bug in the provider.";
    let summary = "Result differs from the configuration";
    assert_eq!(refused("forgets").await, format!("flow: {summary}: \"flow\" is unknown in the result. {bug}"));
    let other = format!("depth: {summary}: \"depth\" was configured as 3, but was returned as 4. {bug}");
    assert_eq!(refused("other").await, other);
    assert_eq!(refused("leaks").await, format!("key: {summary}: \"key\" is not what was configured. {bug}"));
    assert!(refused("panics").await.contains("Provider bug") && refused("panics").await.contains("asked to"));
}

#[tokio::test]
async fn a_deadline_ends_reading() {
    assert!(refused("waits").await.contains("Timed out"));
}

/// A check that panics fails, and a comparison that panics finds a difference.
#[tokio::test]
async fn panics_in_checks_and_comparisons_are_reported() {
    let service = configured().await;
    let config = Source { source: "x".into(), ..named("a") };
    let request = proto::validate_data_resource_config::Request {
        type_name: "toy_source".to_owned(),
        config: Some(dynamic(&config)),
    };
    let found = service.validate_data_resource_config(request).expect("answered").diagnostics;
    assert_eq!((found.len(), found[1].summary.as_str()), (2, "Invalid value"));
    assert!(found[1].detail.contains("asked to"));
    let request = request_for(&Source { kind: "abysmal".into(), ..named("a") });
    let answer = service.read_data_source(request).await.expect("answered");
    let errors: Vec<_> = answer.diagnostics.iter().map(|diagnostic| diagnostic.detail.as_str()).collect();
    assert!(errors.last().expect("one").contains("\"kind\" was configured as \"abysmal\""), "{errors:?}");
}

#[tokio::test]
async fn an_interrupt_ends_reading() {
    let service = configured().await;
    service.stop_provider(proto::stop_provider::Request {}).expect("answered");
    let answer = service.read_data_source(request("waits")).await.expect("answered");
    assert!(reported(&answer.diagnostics).contains("Interrupted"));
}

#[tokio::test]
async fn without_configuration_the_reason_is_reported() {
    let answer = service().read_data_source(request("a")).await.expect("answered");
    assert!(reported(&answer.diagnostics).contains("Provider is not configured yet"));
}

#[tokio::test]
async fn a_configuration_is_checked_and_its_type_deprecated() {
    let service = service();
    let validate = |type_name: &str, config| {
        let request = proto::validate_data_resource_config::Request { type_name: type_name.to_owned(), config };
        service.validate_data_resource_config(request)
    };
    let config = Source { name: "".into(), depth: Attr::Known(-1), ..Source::default() };
    let found = validate("toy_source", Some(dynamic(&config))).expect("answered").diagnostics;
    let summaries: Vec<_> = found.iter().map(|diagnostic| diagnostic.summary.as_str()).collect();
    assert_eq!(summaries, ["Deprecated", "Invalid value", "Too high"]);
    assert_eq!(found[0].detail, "Use toy_river instead.");
    let unknown = validate("toy_hat", None).expect_err("unknown type");
    assert_eq!(unknown.message(), "this provider has no data source \"toy_hat\"");
    assert_eq!(unknown.code(), tonic::Code::InvalidArgument);
    assert!(validate("toy_source", Some(malformed())).expect_err("malformed").message().contains("ends too early"));
}

#[tokio::test]
async fn an_unknown_type_or_malformed_configuration_is_refused() {
    let service = configured().await;
    let mut unknown = request("a");
    unknown.type_name = "toy_hat".to_owned();
    let error = service.read_data_source(unknown).await.expect_err("refused");
    assert_eq!(error.message(), "this provider has no data source \"toy_hat\"");
    let mut broken = request("a");
    broken.config = Some(malformed());
    assert!(service.read_data_source(broken).await.is_err());
}
