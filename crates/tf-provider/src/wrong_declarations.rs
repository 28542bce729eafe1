//! Declarations that must not compile, as documentation tests: the type's part, which the derive alone cannot see.
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
//!     /// No type of attribute.
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
