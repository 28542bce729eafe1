//! The schema and state of `pxci_cloudinit_snippet`, and the names of its files on the storage.

use cloudinit::{SeedImage, SeedIso};
use ownership::{Installation, NodeName, Nonce, SeedFile};
use tf_provider::{Attr, Model, Timeouts};

use crate::nodes::good_node;

/// Name of the resource in diagnostics.
pub(super) const THING: &str = "cloud-init data";

/// Cloud-init data as a seed ISO on a storage, for any number of guests.
///
/// The data is checked when it is planned. Each resource has its own files: a file's name contains the installation, an id
/// of the resource, and a digest of the content. A change of the data uploads a new file, so guests that use the old file
/// are not disturbed. The old file is deleted with the next change or with the resource, once no guest and no dispatcher's
/// pool uses it. Until then the resource cannot be destroyed. If a change replaces the resource, set
/// `create_before_destroy`, so that the new file is uploaded first.
/// No release of Proxmox VE accepts snippet files over its API. A seed ISO needs only an API token.
#[derive(Clone, Default, Model)]
pub(crate) struct Snippet {
    /// Name of the data, which is a part of the file's name. Lower-case letters, digits and hyphens.
    #[tf(required, replace, length(1..=40), validate = good_name)]
    pub(crate) name: Attr<String>,
    /// Node that receives the upload. Default: the provider's node.
    #[tf(optional, computed, keep, replace, validate = good_node)]
    pub(crate) node: Attr<String>,
    /// Storage for the seed ISO. Needs content type `iso`.
    #[tf(required, replace)]
    pub(crate) storage: Attr<String>,
    /// User-data: cloud-config, a script, or MIME multipart. Must not contain secrets, because every user who may read the
    /// storage can read it.
    #[tf(required, unread)]
    pub(crate) user_data: Attr<String>,
    /// Meta-data. Default: an `instance-id` that changes with the data.
    #[tf(optional)]
    pub(crate) meta_data: Attr<String>,
    /// Network configuration, version 1 or 2. Default: none, so the guest uses the default of its image.
    #[tf(optional)]
    pub(crate) network_config: Attr<String>,
    /// Vendor-data, which has the form of user-data. User-data takes precedence.
    #[tf(optional)]
    pub(crate) vendor_data: Attr<String>,
    /// Volume id of the seed ISO, for `seed_iso` of runner VMs and pools.
    #[tf(computed)]
    pub(crate) volid: Attr<String>,
    /// SHA-256 of the seed ISO.
    #[tf(computed)]
    pub(crate) sha256: Attr<String>,
    /// Size of the seed ISO in bytes.
    #[tf(computed)]
    pub(crate) size: Attr<i64>,
    /// Time limits of operations.
    #[tf(timeouts(create = "5m", update = "5m", delete = "5m"))]
    pub(crate) timeouts: Timeouts,
}

impl Snippet {
    /// Sets the attributes that follow from the seed ISO.
    pub(crate) fn describe(&mut self, image: &SeedImage, volid: Option<String>) {
        (self.volid, self.sha256, self.size) = described(image, volid);
    }
}

fn described(image: &SeedImage, volid: Option<String>) -> (Attr<String>, Attr<String>, Attr<i64>) {
    let size = i64::try_from(image.bytes.len()).map_or(Attr::Unknown, Attr::Known);
    (volid.map_or(Attr::Unknown, Attr::Known), image.sha256.clone().into(), size)
}

impl KnownSnippet {
    /// Builds the seed ISO.
    pub(crate) fn image(&self) -> SeedImage {
        let seed = SeedIso {
            user_data: self.user_data.clone(),
            meta_data: self.meta_data.clone(),
            network_config: self.network_config.clone(),
            vendor_data: self.vendor_data.clone(),
        };
        seed.build()
    }

    /// Returns the file name of the volume.
    pub(crate) fn file(&self) -> Option<&str> {
        self.volid.text().and_then(file_of)
    }

    /// Returns the parts of the file's name if it names this installation.
    pub(crate) fn owned_file(&self, installation: &Installation) -> Option<SeedFile> {
        owned(self.file()?, installation)
    }

    /// Returns a volume id with a new id of the resource.
    pub(crate) fn new_volid(&self, image: &SeedImage, installation: &Installation) -> String {
        let file = SeedFile {
            installation: installation.clone(),
            name: self.name.clone(),
            owner: Nonce::random(),
            digest: SeedFile::digest_of(&image.sha256).to_owned(),
        };
        volid(&self.storage, &file)
    }

    /// Sets the attributes that follow from the seed ISO.
    pub(crate) fn describe(&mut self, image: &SeedImage, volid: String) {
        (self.volid, self.sha256, self.size) = described(image, Some(volid));
    }
}

/// Returns the volume id of a resource whose volume is `current` and whose data makes `image`. The volume id stays the same
/// as long as the data does. Returns `None` for a file of release 0.1, whose name has no id of a resource.
pub(crate) fn volid_with(current: &str, image: &SeedImage, installation: &Installation) -> Option<String> {
    let (storage, file) = current.split_once(":iso/")?;
    let digest = SeedFile::digest_of(&image.sha256);
    if digest_in(file).as_deref() == Some(digest) {
        return Some(current.to_owned());
    }
    Some(volid(storage, &SeedFile { digest: digest.to_owned(), ..owned(file, installation)? }))
}

/// Returns the parts of a file's name if it names this installation.
fn owned(file: &str, installation: &Installation) -> Option<SeedFile> {
    SeedFile::parse(file).filter(|file| file.installation == *installation)
}

fn volid(storage: &str, file: &SeedFile) -> String {
    format!("{storage}:iso/{file}")
}

/// Returns the file name in the volume id of an ISO image.
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
    pub(crate) node: NodeName,
    pub(crate) storage: String,
    pub(crate) name: String,
    pub(crate) volid: String,
    /// Installation in the file's name. `None` for a file of release 0.1.
    pub(crate) installation: Option<Installation>,
}

impl ImportId {
    /// Reads an import id. Returns `None` if the text has another form, or the file's name is not one that pxci gives.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (node, volid) = text.split_once('/')?;
        let (storage, _) = volid.split_once(':')?;
        let file = file_of(volid)?;
        let (name, installation) = match (SeedFile::parse(file), SeedFile::parse_unowned(file)) {
            (Some(file), _) => (file.name, Some(file.installation)),
            (None, Some((name, _))) => (name.to_owned(), None),
            (None, None) => return None,
        };
        let node = node.parse().ok()?;
        let id = Self { node, storage: storage.to_owned(), name, volid: volid.to_owned(), installation };
        (!storage.is_empty()).then_some(id)
    }
}

fn good_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    Err("must be made of lower-case letters, digits and hyphens, with no hyphen at either end".to_owned())
}
