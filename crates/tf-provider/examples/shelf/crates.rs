//! `shelf_crate`: the older type whose objects `shelf_box` takes over.

use std::path::PathBuf;

use tf_provider::{Attr, Context, Diagnostics, Failure, Model, Outcome, Resource};

use super::boxes::{Boxes, KnownBoxModel};

/// A crate.
#[derive(Clone, Default, Model)]
#[tf(deprecated = "Use shelf_box instead: a `moved` block keeps existing objects.")]
pub(crate) struct CrateModel {
    /// Number of the crate.
    #[tf(computed, keep, identity)]
    number: Attr<i64>,
    /// Name; another name is another crate.
    #[tf(required, replace)]
    name: Attr<String>,
}

impl KnownCrateModel {
    /// Returns the box that stores the crate.
    fn as_box(&self) -> KnownBoxModel {
        KnownBoxModel::common(self.number.clone(), self.name.clone())
    }
}

pub(crate) struct Crates;

impl Resource for Crates {
    const TYPE: &'static str = "shelf_crate";
    type Data = PathBuf;
    type Model = CrateModel;

    async fn create(&self, cx: &Context<PathBuf>, mut plan: KnownCrateModel) -> Outcome<KnownCrateModel> {
        plan.number = Boxes::take_number(cx.data())?.into();
        Boxes::write(cx.data(), &plan.as_box())?;
        Ok(plan)
    }

    async fn read(&self, cx: &Context<PathBuf>, state: CrateModel) -> Result<Option<CrateModel>, Diagnostics> {
        let number = *state.number.require("number")?;
        let stored = Boxes::load(cx.data(), number).map(|stored| Boxes::from_stored(number, &stored));
        Ok(stored.map(|stored| CrateModel { number: stored.number, name: stored.name }))
    }

    async fn update(
        &self,
        _: &Context<PathBuf>,
        _: KnownCrateModel,
        plan: KnownCrateModel,
    ) -> Outcome<KnownCrateModel> {
        Ok(plan)
    }

    async fn delete(&self, cx: &Context<PathBuf>, state: KnownCrateModel) -> Result<(), Failure<KnownCrateModel>> {
        Ok(Boxes::remove(cx.data(), *state.number.require("number")?)?)
    }
}
