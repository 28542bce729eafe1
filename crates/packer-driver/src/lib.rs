//! packer-driver
