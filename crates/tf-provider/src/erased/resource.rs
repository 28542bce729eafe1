//! The object-safe counterpart of [`Resource`].

use futures::future::BoxFuture;

use super::panics::{catch_panic, catch_panic_sync};
use super::typed::{Erased, known, known_to_value, model, run_validation, schema_of, to_value};
use crate::basis::Basis;
use crate::context::{Context, PlanContext};
use crate::diagnostic::Diagnostics;
use crate::element::Known;
use crate::element::Model;
use crate::moving::{self, Moves, Origin, Rule};
use crate::path::Path;
use crate::resource::{Failure, ImportKey, Plan, Resource};
use crate::schema::Schema;
use crate::timeouts::Defaults;
use crate::value::Value;

/// Result of the planning hook.
pub(crate) struct HookResult {
    /// The planned model before the hook, as a value.
    pub(crate) before: Value,
    /// The planned model after the hook.
    pub(crate) after: Value,
    /// Paths of the attributes that the hook cannot change in place.
    pub(crate) replace: Vec<Path>,
}

/// Any resource type.
pub(crate) trait DynResource<D>: Send + Sync {
    fn type_name(&self) -> &'static str;
    fn schema(&self) -> Schema;
    fn timeout_defaults(&self) -> Defaults;
    fn validate(&self, config: &Value) -> Diagnostics;
    fn plan<'a>(
        &'a self,
        cx: &'a PlanContext<D>,
        config: &'a Value,
        prior: &'a Value,
        planned: &'a Value,
    ) -> BoxFuture<'a, Result<HookResult, Diagnostics>>;
    fn create<'a>(&'a self, cx: &'a Context<D>, plan: &'a Value) -> BoxFuture<'a, Result<Value, Failure<Value>>>;
    fn read<'a>(&'a self, cx: &'a Context<D>, state: &'a Value) -> BoxFuture<'a, Result<Option<Value>, Diagnostics>>;
    fn update<'a>(
        &'a self,
        cx: &'a Context<D>,
        prior: &'a Value,
        plan: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Failure<Value>>>;
    fn delete<'a>(&'a self, cx: &'a Context<D>, state: &'a Value) -> BoxFuture<'a, Result<(), Failure<Value>>>;
    fn import<'a>(&'a self, cx: &'a Context<D>, key: ImportKey<Value>) -> BoxFuture<'a, Result<Value, Diagnostics>>;
    fn upgrade(&self, from: i64, state: serde_json::Value) -> Result<serde_json::Value, Diagnostics>;
    fn upgrade_identity(&self, from: i64, identity: serde_json::Value) -> Result<serde_json::Value, Diagnostics>;
    /// Returns true if the type takes over objects of other types.
    fn can_take_over(&self) -> bool;
    fn take_over(&self, origin: Origin) -> Result<(Value, Vec<u8>), Diagnostics>;
}

impl<R: Resource> DynResource<R::Data> for Erased<R> {
    fn type_name(&self) -> &'static str {
        R::TYPE
    }

    fn schema(&self) -> Schema {
        Schema { identity_version: R::IDENTITY_VERSION, ..schema_of::<R::Model>(R::VERSION) }
    }

    fn timeout_defaults(&self) -> Defaults {
        R::Model::timeout_defaults()
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        run_validation(config, |config, diagnostics| self.0.validate(config, diagnostics))
    }

    fn plan<'a>(
        &'a self,
        cx: &'a PlanContext<R::Data>,
        config: &'a Value,
        prior: &'a Value,
        planned: &'a Value,
    ) -> BoxFuture<'a, Result<HookResult, Diagnostics>> {
        catch_panic(async move {
            let prior = if prior.is_null() { None } else { Some(model::<R::Model>(prior)?) };
            let mut plan = Plan { config: model(config)?, prior, planned: model(planned)?, replace: Vec::new() };
            let before = plan.planned.to_value();
            self.0.plan(cx, &mut plan).await?;
            Ok(HookResult { before, after: plan.planned.to_value(), replace: plan.replace })
        })
    }

    fn create<'a>(&'a self, cx: &'a Context<R::Data>, plan: &'a Value) -> BoxFuture<'a, Result<Value, Failure<Value>>> {
        catch_panic(async move {
            let plan = known::<R::Model>(plan, Basis::Plan)?;
            self.0.create(cx, plan).await.map(known_to_value::<R::Model>).map_err(partial_value::<R::Model>)
        })
    }

    fn read<'a>(
        &'a self,
        cx: &'a Context<R::Data>,
        state: &'a Value,
    ) -> BoxFuture<'a, Result<Option<Value>, Diagnostics>> {
        catch_panic(async move { Ok(self.0.read(cx, model(state)?).await?.map(to_value)) })
    }

    fn update<'a>(
        &'a self,
        cx: &'a Context<R::Data>,
        prior: &'a Value,
        plan: &'a Value,
    ) -> BoxFuture<'a, Result<Value, Failure<Value>>> {
        catch_panic(async move {
            let (prior, plan) = (known::<R::Model>(prior, Basis::Prior)?, known::<R::Model>(plan, Basis::Plan)?);
            self.0.update(cx, prior, plan).await.map(known_to_value::<R::Model>).map_err(partial_value::<R::Model>)
        })
    }

    fn delete<'a>(&'a self, cx: &'a Context<R::Data>, state: &'a Value) -> BoxFuture<'a, Result<(), Failure<Value>>> {
        catch_panic(async move {
            self.0.delete(cx, known::<R::Model>(state, Basis::Last)?).await.map_err(partial_value::<R::Model>)
        })
    }

    fn import<'a>(
        &'a self,
        cx: &'a Context<R::Data>,
        key: ImportKey<Value>,
    ) -> BoxFuture<'a, Result<Value, Diagnostics>> {
        catch_panic(async move {
            let key = match key {
                ImportKey::Id(id) => ImportKey::Id(id),
                ImportKey::Identity(value) => ImportKey::Identity(model(&value)?),
            };
            self.0.import(cx, key).await.map(to_value)
        })
    }

    fn upgrade(&self, from: i64, state: serde_json::Value) -> Result<serde_json::Value, Diagnostics> {
        catch_panic_sync(|| self.0.upgrade(from, state))
    }

    fn upgrade_identity(&self, from: i64, identity: serde_json::Value) -> Result<serde_json::Value, Diagnostics> {
        catch_panic_sync(|| self.0.upgrade_identity(from, identity))
    }

    fn can_take_over(&self) -> bool {
        !rules(&self.0).is_empty()
    }

    fn take_over(&self, origin: Origin) -> Result<(Value, Vec<u8>), Diagnostics> {
        catch_panic_sync(|| moving::take_over(&rules(&self.0), R::TYPE, origin))
    }
}

fn rules<R: Resource>(resource: &R) -> Vec<Rule> {
    let mut moves = Moves::new();
    resource.moves(&mut moves);
    moves.into_rules()
}

fn partial_value<M: Model>(failure: Failure<Known<M>>) -> Failure<Value> {
    Failure { partial: failure.partial.map(known_to_value::<M>), diagnostics: failure.diagnostics }
}
