//! `shelf_box`: every kind of attribute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tf_provider::{
    Attr, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model, Moved, Moves, Outcome, Plan, PlanContext,
    Resource, Secret, Timeouts,
};

use super::faults;

/// A box.
#[derive(Clone, Default, Model)]
pub(crate) struct BoxModel {
    /// Number of the box, counted up.
    #[tf(computed, keep, identity)]
    pub(crate) number: Attr<i64>,
    /// Name; another name is another box.
    #[tf(required, replace, length(1..=20))]
    pub(crate) name: Attr<String>,
    /// Label; case does not matter.
    #[tf(optional, equal = same_label)]
    pub(crate) label: Attr<String>,
    /// Weight in kilogrammes.
    #[tf(default = 0.5, range(0.0..=100.0))]
    pub(crate) weight: Attr<f64>,
    /// Colour.
    #[tf(default = "brown", one_of("brown", "white"))]
    colour: Attr<String>,
    /// Size of the contents; any size that a number has.
    #[tf(optional)]
    volume: Attr<tf_provider::Number>,
    /// Layers; fewer need a new box.
    #[tf(default = 1, replace_if = fewer)]
    layers: Attr<u32>,
    /// Contents in order.
    #[tf(optional)]
    pub(crate) contents: Attr<Vec<String>>,
    /// Notes by author.
    #[tf(optional)]
    notes: Attr<BTreeMap<String, String>>,
    /// Lid.
    #[tf(optional)]
    lid: Attr<Lid>,
    /// Compartments in order.
    #[tf(optional)]
    compartments: Attr<Vec<Compartment>>,
    /// Combination of the lock; never stored.
    #[tf(optional, write_only, sensitive)]
    combination_wo: Attr<Secret>,
    /// Change it to set the combination again.
    #[tf(optional)]
    combination_version: Attr<i64>,
    /// Kept for old configurations.
    #[tf(optional, deprecated = "Use label instead.")]
    tag: Attr<String>,
    /// Number of times the box was written.
    #[tf(computed)]
    revision: Attr<i64>,
    /// Deadlines.
    #[tf(timeouts(create = "1m", update = "1m", delete = "1m"))]
    timeouts: Timeouts,
}

/// A lid.
#[derive(Clone, Default, Model)]
pub(crate) struct Lid {
    /// Material.
    #[tf(default = "cardboard")]
    material: Attr<String>,
    /// Maker of the lid.
    #[tf(computed, keep)]
    maker: Attr<String>,
}

/// A compartment.
#[derive(Clone, Default, Model)]
pub(crate) struct Compartment {
    /// Width in millimetres.
    #[tf(required, range(1..))]
    width: Attr<u32>,
    /// Serial number.
    #[tf(computed, keep)]
    serial: Attr<String>,
}

fn same_label(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn fewer(prior: Option<&u32>, planned: Option<&u32>) -> bool {
    planned < prior
}

fn text_in(object: &Json, key: &str) -> Attr<String> {
    object[key].as_str().map(str::to_owned).into()
}

impl KnownBoxModel {
    /// Returns a plain box.
    pub(crate) fn common(number: Attr<i64>, name: String) -> Self {
        let (weight, colour, layers, revision) = (0.5, "brown".to_owned(), 1, 1.into());
        Self { number, name, weight, colour, layers, revision, ..Self::default() }
    }
}

/// Private state: the number of times this configuration wrote the box.
#[derive(Default, Serialize, Deserialize)]
struct History {
    writes: u32,
}

/// The block `provider_meta "shelf"` of a module.
#[derive(Clone, Default, Model)]
pub(crate) struct Asker {
    /// Person who asks for the boxes of the module.
    #[tf(optional)]
    asked_by: Attr<String>,
}

pub(crate) struct Boxes;

impl Boxes {
    fn file(shelf: &Path, number: i64) -> PathBuf {
        shelf.join(format!("{number}.json"))
    }

    pub(crate) fn write(shelf: &Path, model: &KnownBoxModel) -> Result<(), Diagnostic> {
        let number = *model.number.require("number")?;
        let lid = model.lid.as_ref().map(|lid| json!({ "material": lid.material, "maker": lid.maker.text() }));
        let compartment = |it: &KnownCompartment| json!({ "width": it.width, "serial": it.serial.text() });
        let compartments = model.compartments.as_ref().map(|all| all.iter().map(compartment).collect::<Vec<_>>());
        let stored = json!({
            "name": model.name,
            "label": model.label.as_deref().map(str::to_uppercase),
            "weight": model.weight,
            "colour": model.colour,
            "volume": model.volume.as_ref().map(ToString::to_string),
            "layers": model.layers,
            "contents": model.contents,
            "notes": model.notes,
            "lid": lid,
            "compartments": compartments,
            "combination_length": model.combination_wo.as_ref().map(|secret| secret.expose().len()),
            "combination_version": model.combination_version,
            "tag": model.tag,
            "revision": model.revision.known(),
        });
        std::fs::write(Self::file(shelf, number), stored.to_string())
            .map_err(|error| Diagnostic::error(format!("Unable to write box \"{number}\""), error.to_string()))
    }

    pub(crate) fn from_stored(number: i64, stored: &Json) -> BoxModel {
        let text = |key: &str| Attr::from(stored[key].as_str().map(str::to_owned));
        let number_of = |value: &Json| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let lid = |lid: &Json| Lid { material: text_in(lid, "material"), maker: text_in(lid, "maker") };
        let compartment =
            |it: &Json| Compartment { width: number_of(&it["width"]).into(), serial: text_in(it, "serial") };
        BoxModel {
            number: number.into(),
            name: text("name"),
            label: text("label"),
            weight: stored["weight"].as_f64().into(),
            colour: text("colour"),
            volume: stored["volume"].as_str().and_then(tf_provider::Number::parse).into(),
            layers: number_of(&stored["layers"]).into(),
            contents: serde_json::from_value(stored["contents"].clone()).ok().into(),
            notes: serde_json::from_value(stored["notes"].clone()).ok().into(),
            lid: stored["lid"].as_object().map(|_| lid(&stored["lid"])).into(),
            compartments: stored["compartments"].as_array().map(|all| all.iter().map(compartment).collect()).into(),
            combination_version: stored["combination_version"].as_i64().into(),
            tag: text("tag"),
            revision: stored["revision"].as_i64().into(),
            ..BoxModel::default()
        }
    }

    pub(crate) fn load(shelf: &Path, number: i64) -> Option<Json> {
        serde_json::from_slice(&std::fs::read(Self::file(shelf, number)).ok()?).ok()
    }

    pub(crate) fn remove(shelf: &Path, number: i64) -> Result<(), Diagnostic> {
        match std::fs::remove_file(Self::file(shelf, number)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Diagnostic::error(format!("Unable to remove box \"{number}\""), error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Takes the lowest free number. Several processes may try at the same time, and the one that creates the file
    /// succeeds.
    pub(crate) fn take_number(shelf: &Path) -> Result<i64, Diagnostic> {
        for number in 1.. {
            match std::fs::File::create_new(Self::file(shelf, number)) {
                Ok(_) => return Ok(number),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Diagnostic::error("Unable to make a box", error.to_string())),
            }
        }
        Err(Diagnostic::error("Unable to make a box", "The shelf is full."))
    }

    /// Sets the computed attributes.
    fn complete(model: &mut KnownBoxModel, number: i64, revision: i64) {
        model.number = number.into();
        model.revision = revision.into();
        if let Some(lid) = &mut model.lid {
            lid.maker = lid.maker.known_or("lidworks".to_owned()).into();
        }
        for (index, compartment) in model.compartments.iter_mut().flatten().enumerate() {
            compartment.serial = compartment.serial.known_or(format!("{number}-{index}")).into();
        }
    }
}

impl Resource for Boxes {
    const TYPE: &'static str = "shelf_box";
    const VERSION: i64 = 1;
    type Data = PathBuf;
    type Model = BoxModel;

    fn validate(&self, config: &BoxModel, diagnostics: &mut Diagnostics) {
        if config.name.text() == Some("forbidden") {
            diagnostics.push(Diagnostic::error("Wrong name", "This name is taken by the shelf itself.").at("name"));
        }
    }

    async fn plan(&self, cx: &PlanContext<PathBuf>, plan: &mut Plan<BoxModel>) -> Result<(), Diagnostics> {
        if plan.config.contents.known().is_some_and(|contents| contents.len() > 9) {
            cx.add_warning(Diagnostic::warning("Heavy box", "More than nine things are hard to carry.").at("contents"));
        }
        Ok(())
    }

    async fn create(&self, cx: &Context<PathBuf>, mut plan: KnownBoxModel) -> Outcome<KnownBoxModel> {
        let shelf = cx.data();
        faults::at(cx, "create before").await?;
        let number = Self::take_number(shelf)?;
        tracing::debug!(number, "making a box");
        Self::complete(&mut plan, number, 1);
        Self::write(shelf, &plan).map_err(|error| Failure::partial(plan.clone(), error))?;
        if let Some(Asker { asked_by: Attr::Known(name) }) = cx.meta()? {
            cx.warn("Made on request", format!("{name} asked for this box."));
        }
        faults::at(cx, "create middle").await.map_err(|fault| Failure::partial(plan.clone(), fault))?;
        faults::at(cx, "create after").await.map_err(|fault| Failure::partial(plan.clone(), fault))?;
        if plan.name == "panics" {
            panic!("asked to");
        }
        if plan.name == "half-done" {
            return Err(Failure::partial(plan, Diagnostic::error("Lid does not fit", "The box stands without one.")));
        }
        if plan.name == "slow" {
            let slow = cx.guard(tokio::time::sleep(Duration::from_secs(60))).await;
            slow.map_err(|stopped| Failure::partial(plan.clone(), stopped))?;
        }
        if plan.name == "patient" {
            let allowed = async {
                while !shelf.join("go").exists() {
                    tokio::task::yield_now().await
                }
            };
            cx.guard(allowed).await.map_err(|stopped| Failure::partial(plan.clone(), stopped))?;
        }
        if plan.name == "inconsistent" {
            plan.colour = "green".into();
        }
        cx.set_private(&History { writes: 1 })?;
        Ok(plan)
    }

    async fn read(&self, cx: &Context<PathBuf>, state: BoxModel) -> Result<Option<BoxModel>, Diagnostics> {
        let number = *state.number.require("number")?;
        let stored = Self::load(cx.data(), number);
        // Deadlines are only in the configuration, so the shelf does not store them.
        Ok(stored.map(|stored| BoxModel { timeouts: state.timeouts, ..Self::from_stored(number, &stored) }))
    }

    async fn update(
        &self,
        cx: &Context<PathBuf>,
        prior: KnownBoxModel,
        mut plan: KnownBoxModel,
    ) -> Outcome<KnownBoxModel> {
        let number = *prior.number.require("number")?;
        faults::at(cx, "update").await?;
        Self::complete(&mut plan, number, prior.revision.known_or(0) + 1);
        Self::write(cx.data(), &plan)?;
        let History { writes } = cx.private().unwrap_or_default();
        cx.set_private(&History { writes: writes + 1 })?;
        Ok(plan)
    }

    async fn delete(&self, cx: &Context<PathBuf>, state: KnownBoxModel) -> Result<(), Failure<KnownBoxModel>> {
        faults::at(cx, "delete").await?;
        Ok(Self::remove(cx.data(), *state.number.require("number")?)?)
    }

    async fn import(&self, _: &Context<PathBuf>, key: ImportKey<BoxModel>) -> Result<BoxModel, Diagnostics> {
        match key {
            ImportKey::Identity(model) => Ok(model),
            ImportKey::Id(id) => {
                let number: i64 = id.parse().map_err(|_| Diagnostic::error("Wrong id", "A box's number is needed."))?;
                Ok(BoxModel { number: number.into(), ..BoxModel::default() })
            }
        }
    }

    fn upgrade(&self, _from: i64, mut state: Json) -> Result<Json, Diagnostics> {
        // Version 0 called the colour `color`.
        if let Some(color) = state.get("color").cloned() {
            state["colour"] = color;
        }
        Ok(state)
    }

    fn moves(&self, moves: &mut Moves<BoxModel>) {
        moves.from("example/shelf", "shelf_crate", 0..=0, |origin| {
            Ok(BoxModel { number: origin.state["number"].as_i64().into(), ..BoxModel::default() })
        });
        // Boxes that were made by hand, whose number is in a `terraform_data`.
        moves.from("terraform.io/builtin/terraform", "terraform_data", 0..=0, |origin| {
            let number = origin.state["input"]["value"].as_i64();
            let number = number.ok_or_else(|| Diagnostic::error("Not a box", "The input must be a box's number."))?;
            Ok(Moved::from(BoxModel { number: number.into(), ..BoxModel::default() })
                .with_private(&History::default())?)
        });
    }
}
