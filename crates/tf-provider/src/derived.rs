//! Calls made by the code of `#[derive(Model)]`.
//!
//! A provider never names this module, because the derive writes the calls. The items are public because derived code
//! is compiled in the provider's crate. They can change with every release, because framework and derive have the same
//! version.
pub use crate::basis::Basis;
pub use crate::block::{
    BlockOptions, check_block, declare_block, decode_block, decode_group, encode_block, encode_group,
};
pub use crate::check::{custom, equality, length, one_of, range, replace_when};
pub use crate::element::{check_attribute, decode_attr, encode_attr};
pub use crate::known::{Absent, from_optional, from_present, optional, present};
pub use crate::timeouts::timeouts_attribute;
