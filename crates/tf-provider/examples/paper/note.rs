//! `paper_note`: a minimal useful resource.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use tf_provider::{Attr, Context, Diagnostic, Diagnostics, Failure, ImportKey, Model, Outcome, Resource};

/// A note, kept as a file.
#[derive(Clone, Default, Model)]
pub(crate) struct Note {
    /// Name of the file; another name is another note.
    #[tf(required, replace, identity, length(1..=64))]
    name: Attr<String>,
    /// Text of the note.
    #[tf(default = "")]
    text: Attr<String>,
    /// Length of the text in bytes.
    #[tf(computed)]
    length: Attr<u64>,
}

/// The notes of a directory.
pub(crate) struct Notes;

impl Resource for Notes {
    const TYPE: &'static str = "paper_note";
    type Data = PathBuf;
    type Model = Note;

    async fn create(&self, cx: &Context<PathBuf>, mut plan: KnownNote) -> Outcome<KnownNote> {
        plan.length = (plan.text.len() as u64).into();
        fs::write(cx.data().join(&plan.name), &plan.text)
            .map_err(|error| Diagnostic::error("Unable to write note", error.to_string()))?;
        Ok(plan)
    }

    async fn read(&self, cx: &Context<PathBuf>, state: Note) -> Result<Option<Note>, Diagnostics> {
        match fs::read_to_string(cx.data().join(state.name.require("name")?)) {
            Ok(text) => Ok(Some(Note { length: (text.len() as u64).into(), text: text.into(), ..state })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Diagnostic::error("Unable to read note", error.to_string()).into()),
        }
    }

    async fn update(&self, cx: &Context<PathBuf>, _prior: KnownNote, plan: KnownNote) -> Outcome<KnownNote> {
        self.create(cx, plan).await
    }

    async fn delete(&self, cx: &Context<PathBuf>, state: KnownNote) -> Result<(), Failure<KnownNote>> {
        match fs::remove_file(cx.data().join(&state.name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Diagnostic::error("Unable to remove note", error.to_string()).into())
            }
            _ => Ok(()),
        }
    }

    async fn import(&self, _: &Context<PathBuf>, key: ImportKey<Note>) -> Result<Note, Diagnostics> {
        Ok(match key {
            ImportKey::Id(name) => Note { name: name.into(), ..Note::default() },
            ImportKey::Identity(note) => note,
        })
    }
}
