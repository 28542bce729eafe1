//! Declarations that must not compile, as documentation tests: mistakes in types, which the derive alone cannot detect.
//!
//! ```compile_fail,E0277
//! use tf_provider::{Attr, Model};
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// Text has no range.
//!     #[tf(required, range(1..=3))]
//!     text: Attr<String>,
//! }
//! ```
//!
//! ```compile_fail,E0277
//! use tf_provider::{Attr, Model};
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// Not a type of an attribute.
//!     #[tf(required)]
//!     started: Attr<std::time::Duration>,
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use tf_provider::{Attr, Model};
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// Another type than its default.
//!     #[tf(default = 1.5)]
//!     cores: Attr<i64>,
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use tf_provider::{Attr, Model};
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// The check is for numbers.
//!     #[tf(required, validate = positive)]
//!     name: Attr<String>,
//! }
//!
//! fn positive(_: &i64) -> Result<(), String> {
//!     Ok(())
//! }
//! ```
//!
//! ```compile_fail,E0277
//! use tf_provider::{Attr, Model};
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// Text is not a block.
//!     #[tf(block)]
//!     name: Attr<String>,
//! }
//! ```
//!
//! The following are panics while compiling, at the field's type.
//!
//! ```compile_fail,E0080
//! # use tf_provider::{Attr, Model};
//! /// A disk.
//! #[derive(Clone, Default, Model)]
//! struct Disk {}
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// The minimum is greater than the maximum.
//!     #[tf(block(min = 3, max = 2))]
//!     disks: Attr<Vec<Disk>>,
//! }
//! ```
//!
//! ```compile_fail,E0080
//! # use tf_provider::{Attr, Model};
//! # /// A disk.
//! # #[derive(Clone, Default, Model)]
//! # struct Disk {}
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// A list cannot be a group.
//!     #[tf(block(group))]
//!     disks: Attr<Vec<Disk>>,
//! }
//! ```
//!
//! ```compile_fail,E0080
//! # use tf_provider::{Attr, Model};
//! # /// A disk.
//! # #[derive(Clone, Default, Model)]
//! # struct Disk {}
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// A list has a number, so `min = 1`.
//!     #[tf(block, required)]
//!     disks: Attr<Vec<Disk>>,
//! }
//! ```
//!
//! ```compile_fail,E0080
//! # use tf_provider::{Attr, Model};
//! # /// A disk.
//! # #[derive(Clone, Default, Model)]
//! # struct Disk {}
//! /// A machine.
//! #[derive(Clone, Default, Model)]
//! struct Machine {
//!     /// Disks.
//!     #[tf(block)]
//!     disks: Attr<Vec<Disk>>,
//! }
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// An attribute cannot hold blocks.
//!     #[tf(optional)]
//!     machine: Attr<Machine>,
//! }
//! ```
//!
//! ```compile_fail,E0080
//! # use std::collections::BTreeSet;
//! # use tf_provider::{Attr, Model};
//! /// A key.
//! #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Model)]
//! struct Key {
//!     /// Combination of the key.
//!     #[tf(optional, write_only)]
//!     combination: Attr<String>,
//! }
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// The combination could not be assigned to a key.
//!     #[tf(optional)]
//!     keys: Attr<BTreeSet<Key>>,
//! }
//! ```
//!
//! ```compile_fail,E0080
//! # use std::collections::BTreeSet;
//! # use tf_provider::{Attr, Model};
//! /// A hook.
//! #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Model)]
//! struct Hook {
//!     /// Another side is another hook, not a changed one.
//!     #[tf(required, replace)]
//!     side: Attr<String>,
//! }
//!
//! /// A model.
//! #[derive(Clone, Default, Model)]
//! struct Wrong {
//!     /// Hooks.
//!     #[tf(block)]
//!     hooks: Attr<BTreeSet<Hook>>,
//! }
//! ```
//!
//! ```compile_fail,E0277
//! /// Takes a value that no configuration can write.
//! #[derive(tf_provider::Parameters)]
//! struct Wrong {
//!     /// Not a type of a value.
//!     pause: std::time::Duration,
//! }
//! ```
//!
//! ```compile_fail,E0277
//! /// Has a check for another type.
//! #[derive(tf_provider::Parameters)]
//! struct Wrong {
//!     /// A number has no length.
//!     #[tf(length(1..))]
//!     size: Option<i64>,
//! }
//! ```
