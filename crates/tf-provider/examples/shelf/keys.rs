//! `ephemeral "shelf_key"`: a combination for a lock, which only exists during a run.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tf_provider::{Attr, Context, Diagnostic, Diagnostics, EphemeralResource, Model, Opened, Renewed, Secret};

/// A key. The shelf logs the holders of open keys in `keys.log`.
#[derive(Clone, Default, Model)]
pub(crate) struct Key {
    /// Holder of the key.
    #[tf(required, length(1..=20))]
    holder: Attr<String>,
    /// Milliseconds after which the key must be renewed. Without this, the key lasts as long as the run.
    #[tf(optional, range(1..))]
    lasts: Attr<u32>,
    /// Combination that opens the lock.
    #[tf(computed, sensitive)]
    secret: Attr<Secret>,
}

/// Private data of an open key.
#[derive(Serialize, Deserialize)]
pub(crate) struct Handed {
    holder: String,
    #[serde(with = "tf_provider::exposed")]
    secret: Secret,
    lasts: Option<u32>,
}

pub(crate) struct Keys;

fn note(cx: &Context<PathBuf>, line: &str) -> Result<(), Diagnostic> {
    let file = OpenOptions::new().append(true).create(true).open(cx.data().join("keys.log"));
    file.and_then(|mut file| writeln!(file, "{line}"))
        .map_err(|error| Diagnostic::error("Unable to write keys.log", error.to_string()))
}

fn renewal(lasts: Option<u32>) -> Option<SystemTime> {
    lasts.map(|lasts| SystemTime::now() + Duration::from_millis(lasts.into()))
}

impl EphemeralResource for Keys {
    const TYPE: &'static str = "shelf_key";
    type Data = PathBuf;
    type Model = Key;
    type Private = Handed;

    async fn open(&self, cx: &Context<PathBuf>, wanted: KnownKey) -> Result<Opened<KnownKey, Handed>, Diagnostics> {
        let holder = wanted.holder.clone();
        note(cx, &format!("open {holder}"))?;
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let secret = Secret::new(format!("sesame-{holder}-{}", moment.as_nanos()));
        let lasts = wanted.lasts;
        let handed = Handed { holder, secret: secret.clone(), lasts };
        let opened = Opened::new(KnownKey { secret: secret.into(), ..wanted }, handed);
        Ok(Opened { renew_at: renewal(lasts), ..opened })
    }

    async fn renew(&self, cx: &Context<PathBuf>, private: Handed) -> Result<Renewed<Handed>, Diagnostics> {
        note(cx, &format!("renew {}", private.holder))?;
        Ok(Renewed { renew_at: renewal(private.lasts), private })
    }

    async fn close(&self, cx: &Context<PathBuf>, private: Handed) -> Result<(), Diagnostics> {
        if !private.secret.expose().starts_with("sesame-") {
            return Err(Diagnostic::error("Wrong key", "This key was not handed out here.").into());
        }
        Ok(note(cx, &format!("close {}", private.holder))?)
    }
}
