//! Calls about storages and their volumes.

use serde_json::Value;

use super::{Entry, entries};
use crate::engine::Call;
use crate::refusal::{Outcome, Refusal};
use crate::storage;

pub(super) const ENTRIES: &[Entry] = entries![|engine, call, upload|
    GET "/storage" => storage::api::definitions(engine, &call);
    POST "/storage" => storage::config::create(engine, &call)?;
    GET "/storage/{storage}" => storage::api::one_definition(engine, &call)?;
    PUT "/storage/{storage}" => storage::config::update(engine, &call)?;
    DELETE "/storage/{storage}" => storage::config::delete(engine, &call)?;
    GET "/nodes/{node}/storage" => storage::api::on_node(engine, &call)?;
    GET "/nodes/{node}/storage/{storage}/status" => storage::api::status(engine, &call)?;
    GET "/nodes/{node}/storage/{storage}/import-metadata" => import_metadata(&call)?;
    GET "/nodes/{node}/storage/{storage}/content" => storage::content::content(engine, &call)?;
    POST "/nodes/{node}/storage/{storage}/content" => storage::content::allocate(engine, &call).await?;
    GET "/nodes/{node}/storage/{storage}/content/{volume}" => storage::content::volume(engine, &call)?;
    DELETE "/nodes/{node}/storage/{storage}/content/{volume}" => storage::content::delete(engine, &call).await?;
    POST "/nodes/{node}/storage/{storage}/download-url" => storage::download::download(engine, &call)?;
    POST "/nodes/{node}/storage/{storage}/upload" => {
        storage::files::upload(engine, &call, upload.ok_or_else(storage::upload::bad_request)?)?
    };
];

fn import_metadata(call: &Call) -> Outcome<Value> {
    let volume = call.text("volume").unwrap_or_default();
    Err(Refusal::fault(format!("unable to parse directory volume name '{volume}'")))
}
