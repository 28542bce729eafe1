//! The typed state of `pxci_cloudinit_snippet`, and what it says about the file on the storage.

use cloudinit::{SeedImage, SeedIso};
use ownership::{Installation, Nonce, SeedFile};
use tf_provider::{Attr, Model, Timeouts};

/// Cloud-init data as a NoCloud image on a storage, for any number of guests.
///
/// The data is checked when planned. Each resource has files of its own, whatever other installations and states deliver:
/// the file's name carries the installation, an id of the resource and a digest of the content. A change is a new file, so
/// that guests which still use the old one are not disturbed. The old file is deleted with the next change or with the
/// resource, once no guest and no dispatcher's pool uses it. The resource cannot be destroyed before that; when a change
/// replaces it, `create_before_destroy` lets the new file come first.
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

    /// File name of the volume.
    pub(crate) fn file(&self) -> Option<&str> {
        self.volid.text().and_then(file_of)
    }

    /// The parts of the file's name, if the file says that it belongs to this installation.
    pub(crate) fn owned_file(&self, installation: &Installation) -> Option<SeedFile> {
        self.file().and_then(SeedFile::parse).filter(|file| file.installation == *installation)
    }

    /// Volume id that this resource has once its data makes `image`: the present one while the data stays the same. `None`
    /// where the resource has no id yet, because nothing exists or because release 0.1 made the file.
    pub(crate) fn volid_with(&self, image: &SeedImage, installation: &Installation) -> Option<String> {
        let digest = SeedFile::digest_of(&image.sha256);
        if self.file().and_then(digest_in) == Some(digest.to_owned()) {
            return self.volid.text().map(str::to_owned);
        }
        let file = SeedFile { digest: digest.to_owned(), ..self.owned_file(installation)? };
        Some(volid(self.storage.text()?, &file))
    }

    /// Volume id of a resource that gets its id now. `None` while name or storage are not known.
    pub(crate) fn new_volid(&self, image: &SeedImage, installation: &Installation) -> Option<String> {
        let file = SeedFile {
            installation: installation.clone(),
            name: self.name.text()?.to_owned(),
            owner: Nonce::random(),
            digest: SeedFile::digest_of(&image.sha256).to_owned(),
        };
        Some(volid(self.storage.text()?, &file))
    }

    /// Fills in what follows from the image.
    pub(crate) fn describe(&mut self, image: &SeedImage, volid: Option<String>) {
        self.volid = volid.map_or(Attr::Unknown, Attr::Known);
        self.sha256 = image.sha256.clone().into();
        self.size = i64::try_from(image.bytes.len()).map_or(Attr::Unknown, Attr::Known);
    }
}

fn volid(storage: &str, file: &SeedFile) -> String {
    format!("{storage}:iso/{file}")
}

/// File name of an ISO volume.
pub(crate) fn file_of(volid: &str) -> Option<&str> {
    volid.split_once(":iso/").map(|(_, file)| file)
}

fn digest_in(file: &str) -> Option<String> {
    let owned = SeedFile::parse(file).map(|file| file.digest);
    owned.or_else(|| SeedFile::parse_unowned(file).map(|(_, digest)| digest.to_owned()))
}

/// The parts of an import id, `node/storage:iso/file`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportId {
    pub(crate) node: String,
    pub(crate) storage: String,
    pub(crate) name: String,
    pub(crate) volid: String,
    /// Installation in the file's name; release 0.1 wrote none.
    pub(crate) installation: Option<Installation>,
}

impl ImportId {
    /// `None` when the text has another form, or pxci did not name the file.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (node, volid) = text.split_once('/')?;
        let (storage, _) = volid.split_once(':')?;
        let file = file_of(volid)?;
        let (name, installation) = match (SeedFile::parse(file), SeedFile::parse_unowned(file)) {
            (Some(file), _) => (file.name, Some(file.installation)),
            (None, Some((name, _))) => (name.to_owned(), None),
            (None, None) => return None,
        };
        let complete = !node.is_empty() && !storage.is_empty();
        complete.then(|| Self {
            node: node.to_owned(),
            storage: storage.to_owned(),
            name,
            volid: volid.to_owned(),
            installation,
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
