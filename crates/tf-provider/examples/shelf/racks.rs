//! `shelf_rack`: blocks in every nesting mode.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tf_provider::{Attr, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model, Outcome, Resource};

use super::faults;

/// A rack, put together from parts.
#[derive(Clone, Default, Model)]
pub(crate) struct RackModel {
    /// Name; another name is another rack.
    #[tf(required, replace, identity)]
    name: Attr<String>,
    /// Boards, from the bottom up.
    #[tf(block(min = 1, max = 9), name = "board", validate = wide_at_the_bottom)]
    boards: Attr<Vec<Board>>,
    /// Hooks; their order does not matter.
    #[tf(block, name = "hook")]
    hooks: Attr<BTreeSet<Hook>>,
    /// Drawers by name.
    #[tf(block, name = "drawer")]
    drawers: Attr<BTreeMap<String, Drawer>>,
    /// Base of the rack; another base is another rack.
    #[tf(block, replace)]
    base: Attr<Base>,
    /// Position at the wall.
    #[tf(block(group))]
    wall: Attr<Wall>,
}

/// A board.
#[derive(Clone, Default, Model)]
struct Board {
    /// Width in millimetres.
    #[tf(required, range(100..=2000))]
    width: Attr<u32>,
    /// Finish; case does not matter.
    #[tf(default = "raw", equal = same_finish)]
    finish: Attr<String>,
    /// Serial number.
    #[tf(computed, keep)]
    serial: Attr<String>,
}

/// A hook.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Model)]
struct Hook {
    /// Side of the hook.
    #[tf(required, one_of("left", "right", "front"))]
    side: Attr<String>,
    /// Finish; case does not matter.
    #[tf(optional, equal = same_finish)]
    finish: Attr<String>,
    /// Maximum load in kilogrammes.
    #[tf(default = 5)]
    load: Attr<u32>,
    /// Serial number.
    #[tf(computed, keep)]
    serial: Attr<String>,
}

/// A drawer.
#[derive(Clone, Default, Model)]
struct Drawer {
    /// Depth in millimetres.
    #[tf(required)]
    depth: Attr<u32>,
    /// Number of the key.
    #[tf(computed, keep)]
    key: Attr<String>,
    /// Partitions, front to back.
    #[tf(block, name = "partition")]
    partitions: Attr<Vec<Partition>>,
}

/// A partition of a drawer.
#[derive(Clone, Default, Model)]
struct Partition {
    /// Share of the drawer's depth.
    #[tf(required)]
    share: Attr<tf_provider::Number>,
}

/// A base.
#[derive(Clone, Default, Model)]
struct Base {
    /// Material.
    #[tf(required)]
    material: Attr<String>,
}

/// A wall.
#[derive(Clone, Default, Model)]
struct Wall {
    /// Distance in millimetres.
    #[tf(default = 20)]
    distance: Attr<u32>,
    /// True if the rack is screwed on.
    #[tf(optional)]
    screwed: Attr<bool>,
}

fn same_finish(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn wide_at_the_bottom(boards: &[Board]) -> Result<(), String> {
    let widths: Vec<u32> = boards.iter().filter_map(|board| board.width.known().copied()).collect();
    if widths.is_sorted_by(|below, above| below >= above) {
        return Ok(());
    }
    Err("a board must not be wider than the one below it".to_owned())
}

fn text_of(object: &Json, key: &str) -> Attr<String> {
    object[key].as_str().map(str::to_owned).into()
}

fn number_of(object: &Json, key: &str) -> Attr<u32> {
    object[key].as_u64().and_then(|number| u32::try_from(number).ok()).into()
}

fn each<T>(list: &Json, read: impl Fn(&Json) -> T) -> impl Iterator<Item = T> {
    list.as_array().into_iter().flatten().map(read)
}

impl KnownBoard {
    fn to_json(&self) -> Json {
        // The shelf keeps finishes in capitals.
        json!({ "width": self.width, "finish": self.finish.to_uppercase(), "serial": self.serial.text() })
    }
}

impl Board {
    fn from_json(stored: &Json) -> Self {
        Self { width: number_of(stored, "width"), finish: text_of(stored, "finish"), serial: text_of(stored, "serial") }
    }
}

impl KnownHook {
    fn to_json(&self) -> Json {
        json!({
            "side": self.side,
            "finish": self.finish.as_deref().map(str::to_uppercase),
            "load": self.load,
            "serial": self.serial.text(),
        })
    }
}

impl Hook {
    fn from_json(stored: &Json) -> Self {
        Self {
            side: text_of(stored, "side"),
            finish: text_of(stored, "finish"),
            load: number_of(stored, "load"),
            serial: text_of(stored, "serial"),
        }
    }
}

impl KnownDrawer {
    fn to_json(&self) -> Json {
        let shares: Vec<_> = self.partitions.iter().map(|partition| partition.share.to_string()).collect();
        json!({ "depth": self.depth, "key": self.key.text(), "partitions": shares })
    }
}

impl Drawer {
    fn from_json(stored: &Json) -> Self {
        let share = |share: &Json| Partition { share: share.as_str().and_then(tf_provider::Number::parse).into() };
        Self {
            depth: number_of(stored, "depth"),
            key: text_of(stored, "key"),
            partitions: each(&stored["partitions"], share).collect::<Vec<_>>().into(),
        }
    }
}

pub(crate) struct Racks;

impl Racks {
    fn file(shelf: &Path, name: &str) -> PathBuf {
        shelf.join(format!("rack-{name}.json"))
    }

    fn write(shelf: &Path, model: &KnownRackModel) -> Result<(), Diagnostic> {
        let name = &model.name;
        let drawers: BTreeMap<_, _> = model.drawers.iter().map(|(name, drawer)| (name, drawer.to_json())).collect();
        let stored = json!({
            "boards": model.boards.iter().map(KnownBoard::to_json).collect::<Vec<_>>(),
            "hooks": model.hooks.iter().map(KnownHook::to_json).collect::<Vec<_>>(),
            "drawers": drawers,
            "base": model.base.as_ref().map(|base| json!({ "material": base.material })),
            "wall": { "distance": model.wall.distance, "screwed": model.wall.screwed },
        });
        std::fs::write(Self::file(shelf, name), stored.to_string())
            .map_err(|error| Diagnostic::error(format!("Unable to write rack \"{name}\""), error.to_string()))
    }

    fn from_stored(name: &str, stored: &Json) -> RackModel {
        let drawers = stored["drawers"].as_object().into_iter().flatten();
        let drawers: BTreeMap<_, _> = drawers.map(|(name, drawer)| (name.clone(), Drawer::from_json(drawer))).collect();
        let base = stored["base"].as_object().map(|_| Base { material: text_of(&stored["base"], "material") });
        let wall = &stored["wall"];
        RackModel {
            name: name.into(),
            boards: each(&stored["boards"], Board::from_json).collect::<Vec<_>>().into(),
            hooks: each(&stored["hooks"], Hook::from_json).collect::<BTreeSet<_>>().into(),
            drawers: drawers.into(),
            base: base.into(),
            wall: Wall { distance: number_of(wall, "distance"), screwed: wall["screwed"].as_bool().into() }.into(),
        }
    }

    /// Adds missing serial numbers.
    fn complete(model: &mut KnownRackModel) {
        for (index, board) in model.boards.iter_mut().enumerate() {
            board.serial = board.serial.known_or(format!("board-{index}")).into();
        }
        let hooks = std::mem::take(&mut model.hooks);
        let taken: BTreeSet<_> = hooks.iter().filter_map(|hook| hook.serial.known().cloned()).collect();
        let mut free = (1..).map(|number| format!("hook-{number}")).filter(|serial| !taken.contains(serial));
        let named = hooks
            .into_iter()
            .map(|hook| KnownHook { serial: hook.serial.known().cloned().or_else(|| free.next()).into(), ..hook });
        model.hooks = named.collect();
        for (name, drawer) in &mut model.drawers {
            drawer.key = drawer.key.known_or(format!("key-{name}")).into();
        }
    }
}

impl Resource for Racks {
    const TYPE: &'static str = "shelf_rack";
    type Data = PathBuf;
    type Model = RackModel;

    async fn create(&self, cx: &Context<PathBuf>, mut plan: KnownRackModel) -> Outcome<KnownRackModel> {
        faults::at(cx, "create before").await?;
        Self::complete(&mut plan);
        Self::write(cx.data(), &plan)?;
        faults::at(cx, "create middle").await.map_err(|fault| Failure::partial(plan.clone(), fault))?;
        faults::at(cx, "create after").await.map_err(|fault| Failure::partial(plan.clone(), fault))?;
        Ok(plan)
    }

    async fn read(&self, cx: &Context<PathBuf>, state: RackModel) -> Result<Option<RackModel>, Diagnostics> {
        let name = state.name.require("name")?;
        let Ok(stored) = std::fs::read(Self::file(cx.data(), name)) else { return Ok(None) };
        let stored: Json = serde_json::from_slice(&stored)
            .map_err(|error| Diagnostic::error(format!("Unable to read rack \"{name}\""), error.to_string()))?;
        Ok(Some(Self::from_stored(name, &stored)))
    }

    async fn update(
        &self,
        cx: &Context<PathBuf>,
        _prior: KnownRackModel,
        mut plan: KnownRackModel,
    ) -> Outcome<KnownRackModel> {
        faults::at(cx, "update").await?;
        Self::complete(&mut plan);
        Self::write(cx.data(), &plan)?;
        Ok(plan)
    }

    async fn delete(&self, cx: &Context<PathBuf>, state: KnownRackModel) -> Result<(), Failure<KnownRackModel>> {
        faults::at(cx, "delete").await?;
        let _ = std::fs::remove_file(Self::file(cx.data(), &state.name));
        Ok(())
    }

    async fn import(&self, _: &Context<PathBuf>, key: ImportKey<RackModel>) -> Result<RackModel, Diagnostics> {
        match key {
            ImportKey::Id(name) => Ok(RackModel { name: name.into(), ..RackModel::default() }),
            ImportKey::Identity(rack) => Ok(rack),
        }
    }
}
