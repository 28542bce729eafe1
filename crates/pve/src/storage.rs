//! Storages, and uploads to them.

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

/// Privilege that an upload needs on its storage.
const UPLOADING: &str = "Datastore.AllocateTemplate";

/// Kinds of content that PVE accepts as uploads. It does not accept snippets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// ISO images.
    Iso,
    /// Container templates.
    ContainerTemplate,
}

impl Content {
    /// Returns PVE's name of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Iso => "iso",
            Self::ContainerTemplate => "vztmpl",
        }
    }
}

/// Handle to one storage on one node.
#[derive(Debug, Clone)]
pub struct Storage {
    client: Client,
    node: NodeName,
    storage: String,
}

/// A storage's content types and state.
#[derive(Debug, Clone, Deserialize)]
pub struct StorageStatus {
    /// Kinds of content that the storage accepts, for example `iso`.
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
    /// Volume id, for example `local:iso/x.iso`.
    pub volid: String,
    /// Size in bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: u64,
    /// VMID of the guest that the volume belongs to.
    #[serde(default, deserialize_with = "lenient::optional_vmid")]
    pub vmid: Option<Vmid>,
}

impl Client {
    /// Returns the handle to a storage on one node.
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

    /// Uploads a file. PVE compares it with its checksum. A file of the same name is overwritten. In the name, PVE
    /// replaces all characters except letters, digits, `.`, `_` and `-` by `_`.
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

    /// Returns the error of an upload that was cut off. PVE refuses an upload before it has read the file and closes
    /// the connection, so the refusal may be lost. The token's privileges show whether that is the cause.
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

    /// Returns the volumes of one kind of content, for example `iso`.
    ///
    /// # Errors
    /// [`Error::is_storage_missing`].
    pub async fn volumes(&self, content: &str) -> Result<Vec<Volume>, Error> {
        self.client.call(Call::get(self.path("/content"), &Parameters::default().with("content", content))).await
    }

    /// Deletes a volume, even if a guest uses it. Returns `None` if the volume does not exist.
    ///
    /// # Errors
    /// See [`Error`]. The token needs `Datastore.Allocate`, which an upload does not need.
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
