//! Storages: upload, list, delete.

use std::collections::BTreeMap;

use bytes::Bytes;
use ownership::{NodeName, Vmid};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    call::{Call, Parameters, Upload, segment},
    client::Client,
    error::{Error, Refusal},
    lenient,
    upid::Upid,
};

/// The privilege that an upload needs on its storage.
const UPLOADING: &str = "Datastore.AllocateTemplate";

/// Kinds of content that PVE takes by upload. It takes no snippets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// ISO images.
    Iso,
    /// Container templates.
    ContainerTemplate,
}

impl Content {
    /// PVE's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Iso => "iso",
            Self::ContainerTemplate => "vztmpl",
        }
    }
}

/// One storage, as a node sees it.
#[derive(Debug, Clone)]
pub struct Storage {
    client: Client,
    node: NodeName,
    storage: String,
}

/// A storage's content types and state.
#[derive(Debug, Clone, Deserialize)]
pub struct StorageStatus {
    /// Kinds of content that it takes, for example `iso`.
    #[serde(default, deserialize_with = "lenient::list")]
    pub content: Vec<String>,
    /// True if the storage is enabled and reachable.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub active: bool,
    /// Free space in bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub avail: u64,
    /// Size in bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub total: u64,
}

/// A volume on a storage.
#[derive(Debug, Clone, Deserialize)]
pub struct Volume {
    /// For example `local:iso/x.iso`.
    pub volid: String,
    /// Size in bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: u64,
    /// VMID of the guest that it belongs to.
    #[serde(default, deserialize_with = "lenient::optional_vmid")]
    pub vmid: Option<Vmid>,
}

impl Client {
    /// A storage as a node sees it.
    #[must_use]
    pub fn storage(&self, node: &NodeName, storage: &str) -> Storage {
        Storage::new(self.clone(), node, storage)
    }
}

impl Storage {
    pub(crate) fn new(client: Client, node: &NodeName, storage: &str) -> Self {
        Self { client, node: node.clone(), storage: storage.to_owned() }
    }

    fn path(&self, rest: &str) -> String {
        format!("/nodes/{}/storage/{}{rest}", segment(self.node.as_str()), segment(&self.storage))
    }

    /// Reads the storage's content types and state.
    ///
    /// # Errors
    /// [`Error::is_storage_missing`].
    pub async fn status(&self) -> Result<StorageStatus, Error> {
        self.client.call(Call::get(self.path("/status"), &Parameters::default())).await
    }

    /// Uploads a file; PVE checks it against its checksum. A file of that name is overwritten without a word. In the name, PVE turns all but
    /// letters, digits, `.`, `_` and `-` into `_`.
    ///
    /// # Errors
    /// [`Error::is_content_type_refused`], [`Error::is_storage_missing`], [`Error::missing_privilege`].
    pub async fn upload(&self, content: Content, filename: &str, bytes: Bytes) -> Result<Upid, Error> {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let upload = Upload { content: content.as_str(), filename: filename.to_owned(), sha256, bytes };
        match self.client.call(Call::upload(self.path("/upload"), upload)).await {
            Err(broken @ Error::Interrupted { .. }) => Err(self.refused_unread(broken).await),
            outcome => outcome,
        }
    }

    /// Why an upload broke off: PVE refuses one before it has read the file, and closes, so that its answer may be lost on the way.
    async fn refused_unread(&self, broken: Error) -> Error {
        let path = format!("/storage/{}", self.storage);
        match self.client.privileges_on(&path).await {
            Ok(privileges) if !privileges.contains(UPLOADING) => Error::Refused(Refusal {
                method: "POST",
                path: self.path("/upload"),
                status: 403,
                message: format!("Permission check failed ({path}, {UPLOADING})"),
                errors: BTreeMap::new(),
                token_id: self.client.token().id().to_owned(),
            }),
            Err(unauthenticated) if unauthenticated.is_unauthenticated() => unauthenticated,
            _ => broken,
        }
    }

    /// Volumes of one kind of content, for example `iso`.
    ///
    /// # Errors
    /// [`Error::is_storage_missing`].
    pub async fn volumes(&self, content: &str) -> Result<Vec<Volume>, Error> {
        self.client.call(Call::get(self.path("/content"), &Parameters::default().with("content", content))).await
    }

    /// Deletes a volume, whether a guest uses it or not. Succeeds if the volume does not exist. Returns `None` if it is gone already.
    ///
    /// # Errors
    /// See [`Error`]. Needs `Datastore.Allocate`, which uploading does not.
    pub async fn delete(&self, volid: &str) -> Result<Option<Upid>, Error> {
        self.client.call(Call::delete(self.path(&format!("/content/{}", segment(volid))), &Parameters::default())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storages_status_is_read() {
        let status: StorageStatus = serde_json::from_str(
            r#"{"active":1,"avail":12,"content":"snippets,backup,iso","enabled":1,"shared":0,"type":"dir"}"#,
        )
        .unwrap();
        assert_eq!(status.content, ["snippets", "backup", "iso"]);
    }

    #[test]
    fn volumes_are_read() {
        let volume: Volume = serde_json::from_str(
            r#"{"content":"iso","ctime":1,"format":"iso","size":473088,"volid":"local:iso/tiny.iso"}"#,
        )
        .unwrap();
        assert_eq!((volume.volid.as_str(), volume.size, volume.vmid), ("local:iso/tiny.iso", 473_088, None));
    }
}
