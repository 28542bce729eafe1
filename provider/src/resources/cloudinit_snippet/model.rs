//! The typed state of `pxci_cloudinit_snippet`, and what it says about the file on the storage.

use cloudinit::{SeedImage, SeedIso};
use serde::{Deserialize, Serialize};
use tf_provider::{Attr, Model, Timeouts};

/// Cloud-init data as a NoCloud image on a storage, for any number of guests.
///
/// The data is checked when planned. The image's name carries a digest of its content, so a change is a new file: guests
/// that still use the old one are not disturbed, and the old one is removed with the next change or with the resource.
/// The API of Proxmox VE takes no snippet files on any release; an image needs nothing but an API token.
#[derive(Clone, Default, Model)]
pub(crate) struct Snippet {
    /// Name of the data, part of the file's name: lower-case letters, digits and hyphens.
    #[tf(required, replace, length(1..=40), validate = good_name)]
    pub(crate) name: Attr<String>,
    /// Node by which the image is uploaded. Default: the provider's.
    #[tf(optional, computed, keep, replace)]
    pub(crate) node: Attr<String>,
    /// Storage with content type `iso`.
    #[tf(required, replace)]
    pub(crate) storage: Attr<String>,
    /// User-data: cloud-config, a script, or MIME multipart. Readable by everybody who may read the storage: no secrets.
    #[tf(required)]
    pub(crate) user_data: Attr<String>,
    /// Meta-data. By default it holds an `instance-id` that changes with the data.
    #[tf(optional)]
    pub(crate) meta_data: Attr<String>,
    /// Network configuration, version 1 or 2. Without one a guest falls back to its own idea of networking.
    #[tf(optional)]
    pub(crate) network_config: Attr<String>,
    /// Vendor-data: like user-data, with less precedence.
    #[tf(optional)]
    pub(crate) vendor_data: Attr<String>,
    /// Volume id of the image, for `seed_iso` of runner VMs and pools.
    #[tf(computed)]
    pub(crate) volid: Attr<String>,
    /// SHA-256 of the image.
    #[tf(computed)]
    pub(crate) sha256: Attr<String>,
    /// Size of the image in bytes.
    #[tf(computed)]
    pub(crate) size: Attr<i64>,
    /// How long operations may take.
    #[tf(timeouts(create = "5m", update = "5m", delete = "5m"))]
    pub(crate) timeouts: Timeouts,
}

/// What is kept beside the state: files of other content that are, or may be, there, and that the next change removes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Superseded {
    pub(crate) volids: Vec<String>,
}

impl Superseded {
    /// The file of `other`, where `current` has another one.
    pub(crate) fn by(current: &Snippet, other: &Snippet) -> Self {
        let volid = other.volid.known().filter(|volid| current.volid.known() != Some(volid));
        Self { volids: volid.cloned().into_iter().collect() }
    }
}

impl Snippet {
    /// The image that the data makes; `None` while a part of it is not known.
    pub(crate) fn image(&self) -> Option<SeedImage> {
        let optional = [&self.meta_data, &self.network_config, &self.vendor_data];
        if optional.iter().any(|part| part.is_unknown()) {
            return None;
        }
        let part = |attribute: &Attr<String>| attribute.text().map(str::to_owned);
        let seed = SeedIso {
            user_data: part(&self.user_data)?,
            meta_data: part(&self.meta_data),
            network_config: part(&self.network_config),
            vendor_data: part(&self.vendor_data),
        };
        Some(seed.build())
    }

    /// Name of the image's file; `None` while the name is not known.
    pub(crate) fn file_name(&self, image: &SeedImage) -> Option<String> {
        self.name.text().map(|name| image.file_name(name))
    }

    /// Fills in what follows from the image.
    pub(crate) fn describe(&mut self, image: &SeedImage) {
        let volid =
            self.storage.text().zip(self.file_name(image)).map(|(storage, file)| format!("{storage}:iso/{file}"));
        self.volid = volid.map_or(Attr::Unknown, Attr::Known);
        self.sha256 = image.sha256.clone().into();
        self.size = i64::try_from(image.bytes.len()).map_or(Attr::Unknown, Attr::Known);
    }
}

/// The parts of an import id, `node/storage:iso/file`.
pub(crate) struct ImportId {
    pub(crate) node: String,
    pub(crate) storage: String,
    pub(crate) name: String,
    pub(crate) volid: String,
}

impl ImportId {
    /// `None` when the text has another form, or the file is none of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (node, volid) = text.split_once('/')?;
        let (storage, path) = volid.split_once(':')?;
        let (name, digest) = path.strip_prefix("iso/pxci-")?.strip_suffix(".iso")?.rsplit_once('-')?;
        let is_digest = digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let complete = is_digest && !node.is_empty() && !storage.is_empty() && !name.is_empty();
        complete.then(|| Self {
            node: node.to_owned(),
            storage: storage.to_owned(),
            name: name.to_owned(),
            volid: volid.to_owned(),
        })
    }
}

fn good_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    Err("must be made of lower-case letters, digits and hyphens, with no hyphen at either end".to_owned())
}
