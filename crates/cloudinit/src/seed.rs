//! The seed ISO, which cloud-init's NoCloud data source finds by its label `cidata`.

use sha2::{Digest as _, Sha256};

use crate::iso::{self, File};

/// The files of a seed ISO.
#[derive(Debug, Clone, Default)]
pub struct SeedIso {
    /// User-data: cloud-config, a script, or MIME multipart.
    pub user_data: String,
    /// Meta-data: YAML with an `instance-id`. The default has an `instance-id` that changes with the content.
    pub meta_data: Option<String>,
    /// Network configuration of version 1, or of version 2 (netplan). Without it, a guest uses a fallback, which can
    /// wait for minutes.
    pub network_config: Option<String>,
    /// Vendor-data, in the form of user-data, which takes precedence.
    pub vendor_data: Option<String>,
}

/// A seed ISO as bytes. The same [`SeedIso`] always gives the same bytes.
#[derive(Debug, Clone)]
pub struct SeedImage {
    /// The ISO image.
    pub bytes: Vec<u8>,
    /// SHA-256 of the image, as 64 hexadecimal digits.
    pub sha256: String,
}

impl SeedIso {
    /// Makes the image, with the label `cidata` and with Joliet and Rock Ridge names.
    #[must_use]
    pub fn build(&self) -> SeedImage {
        let meta_data = self.meta_data.clone().unwrap_or_else(|| self.default_meta_data());
        // The files of a directory are in the byte order of their names.
        let mut files = vec![File { name: "meta-data", short: "METADATA", content: meta_data.as_bytes() }];
        if let Some(content) = &self.network_config {
            files.push(File { name: "network-config", short: "NETWORKC", content: content.as_bytes() });
        }
        files.push(File { name: "user-data", short: "USERDATA", content: self.user_data.as_bytes() });
        if let Some(content) = &self.vendor_data {
            files.push(File { name: "vendor-data", short: "VENDORDA", content: content.as_bytes() });
        }
        let bytes = iso::image("cidata", &files);
        let sha256 = hex::encode(Sha256::digest(&bytes));
        SeedImage { bytes, sha256 }
    }

    /// Returns meta-data whose `instance-id` is a digest of the content, because cloud-init runs once for each
    /// `instance-id`.
    fn default_meta_data(&self) -> String {
        let mut digest = Sha256::new();
        for part in [Some(&self.user_data), self.network_config.as_ref(), self.vendor_data.as_ref()] {
            let text = part.map_or("", String::as_str);
            digest.update(text.len().to_be_bytes());
            digest.update(text);
        }
        format!("instance-id: pxci-{}\n", &hex::encode(digest.finalize())[..16])
    }
}
