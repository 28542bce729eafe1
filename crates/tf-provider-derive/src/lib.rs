//! `#[derive(Model)]` and `#[derive(Parameters)]` for `tf-provider`: one declaration gives schema, conversion, planning
//! rules and documentation.

mod block;
mod declare;
mod field;
mod framework;
mod generate;
mod known;
mod parameters;
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Derives `Model` and `Element` for a struct with named fields. Every field is an `Attr<T>` with a doc comment and
/// `#[tf(…)]`; or it is called `timeouts` and is a `Timeouts`.
///
/// | Word | Meaning |
/// | --- | --- |
/// | `required`, `optional`, `computed`, `optional, computed` | who sets it |
/// | `unread` | required: neither import nor read can find it out; delete gets an empty value if the state lacks it |
/// | `default = expr` | planned where nothing is set; implies optional and computed |
/// | `keep` | computed: the prior value stays across updates |
/// | `replace`, `replace_if = path` | a change needs a new object; `fn(Option<&T>, Option<&T>) -> bool`, prior and planned |
/// | `sensitive`, `write_only` | hidden; never stored |
/// | `identity` | part of the identity; needs `replace` or `keep` |
/// | `range(1..=9)`, `length(1..=9)`, `one_of("a", "b")`, `validate = path` | checks; `fn(&T) -> Result<(), String>` |
/// | `equal = path` | `fn(&T, &T) -> bool`: same for the server |
/// | `deprecated = "…"` | message |
/// | `name = "…"` | where the field's name is not the attribute's |
/// | `block`, `block(min = 1, max = 4)` | nested blocks instead of a nested attribute: a model, or a `Vec`, `BTreeSet` or `BTreeMap<String, _>` of one; beside it: `required` (a single one), `replace`, `validate`, `equal`, `deprecated` |
/// | `block(group)` | one block that is always there |
/// | `timeouts(create = "30m", …)` | on the field `timeouts` |
///
/// Two words are for the struct: `deprecated = "…"` is a message, and `crate = "…"` is the path of the framework, for a
/// crate that has it under another name than `tf_provider`: `#[tf(crate = "crate::framework")]`.
///
/// The derive makes a second struct, `KnownNote` for a model `Note`, with the same fields as create, update and delete get
/// them: `T` where the attribute is `required` or has a `default`, `Option<T>` where it is `optional`, and `Attr<T>` where
/// it is `computed`. Its comparisons are those of the values.
///
/// Functions take `&str` for an `Attr<String>` and a slice for an `Attr<Vec<_>>`; for all others `&T` is the attribute's
/// own type.
#[proc_macro_derive(Model, attributes(tf))]
pub fn derive_model(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match declare::Declaration::parse(&input) {
        Ok(declaration) => generate::model(&declaration).into(),
        Err(error) => error.to_compile_error().into(),
    }
}

/// Derives `Parameters` for a struct whose fields are the parameters of a function, in order. The doc comment of the
/// struct describes the function, that of a field the parameter.
///
/// The type of a field says what may be passed: `T` neither null nor unknown, `Option<T>` also null, `Attr<T>` also
/// unknown.
///
/// | Word | Meaning |
/// | --- | --- |
/// | `variadic` | on the last field, a `Vec`: takes all arguments that are left |
/// | `range(1..=9)`, `length(1..=9)`, `one_of("a", "b")`, `validate = path` | checks; `fn(&T) -> Result<(), String>` |
/// | `name = "…"` | where the field's name is not the parameter's |
/// | `deprecated = "…"` | on the struct: message |
/// | `crate = "…"` | on the struct: path of the framework, where that is not `::tf_provider` |
#[proc_macro_derive(Parameters, attributes(tf))]
pub fn derive_parameters(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match parameters::Declaration::parse(&input) {
        Ok(declaration) => declaration.generate().into(),
        Err(error) => error.to_compile_error().into(),
    }
}
