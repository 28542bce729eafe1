//! `#[derive(Model)]` and `#[derive(Parameters)]` for `tf-provider`. One declaration defines schema, conversion,
//! planning rules and documentation.

mod block;
mod declare;
mod documentation;
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

/// Derives `Model` and `Element` for a struct with named fields. Each field is an `Attr<T>` with a doc comment and
/// `#[tf(…)]`, or the field `timeouts` of type `Timeouts`.
///
/// | Option | Meaning |
/// | --- | --- |
/// | `required`, `optional`, `computed`, `optional, computed` | configuration or provider sets the attribute |
/// | `unread` | for `required`: import and read cannot determine the value; delete gets an empty value if the state lacks it |
/// | `default = expr` | value if the configuration leaves the attribute out; implies optional and computed |
/// | `keep` | for `computed`: updates keep the prior value |
/// | `replace`, `replace_if = path` | a change needs a new object; `fn(Option<&T>, Option<&T>) -> bool`, prior and planned |
/// | `sensitive`, `write_only` | not shown; not stored |
/// | `identity` | part of the identity; needs `replace` or `keep` |
/// | `range(1..=9)`, `length(1..=9)`, `one_of("a", "b")`, `validate = path` | checks; `fn(&T) -> Result<(), String>` |
/// | `equal = path` | `fn(&T, &T) -> bool`: true if the values mean the same to the server |
/// | `deprecated = "…"` | deprecation message |
/// | `name = "…"` | name of the attribute, if the field has another |
/// | `block`, `block(min = 1, max = 4)` | nested blocks instead of a nested attribute: a model, or a `Vec`, `BTreeSet` or `BTreeMap<String, _>` of models. Allowed with it: `required` (a single block), `replace`, `validate`, `equal`, `deprecated` |
/// | `block(group)` | one block that is always present |
/// | `timeouts(create = "30m", …)` | default deadlines, on the field `timeouts` |
///
/// The struct has two options: `deprecated = "…"` is a message, and `crate = "…"` is the path of the framework, for a
/// crate that uses another name than `tf_provider`: `#[tf(crate = "crate::framework")]`.
///
/// The derive makes a second struct for create, update and delete, `KnownNote` for a model `Note`. It has the same
/// fields: `T` where the attribute is `required` or has a `default`, `Option<T>` where it is `optional`, and `Attr<T>`
/// where it is `computed`. Comparisons of the struct compare the values.
///
/// Functions take `&str` for an `Attr<String>` and a slice for an `Attr<Vec<_>>`. Otherwise `&T` is the attribute's own
/// type.
#[proc_macro_derive(Model, attributes(tf))]
pub fn derive_model(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match declare::Declaration::parse(&input) {
        Ok(declaration) => generate::model(&declaration).into(),
        Err(error) => error.to_compile_error().into(),
    }
}

/// Derives `Parameters` for a struct whose fields are the parameters of a function, in order. The doc comment of the
/// struct describes the function, and that of a field describes the parameter.
///
/// The type of a field says which values are allowed: `T` neither null nor unknown, `Option<T>` also null, `Attr<T>`
/// also null and unknown.
///
/// | Option | Meaning |
/// | --- | --- |
/// | `variadic` | takes all remaining arguments; on the last field, a `Vec` |
/// | `range(1..=9)`, `length(1..=9)`, `one_of("a", "b")`, `validate = path` | checks; `fn(&T) -> Result<(), String>` |
/// | `name = "…"` | name of the parameter, if the field has another |
/// | `deprecated = "…"` | deprecation message, on the struct |
/// | `crate = "…"` | path of the framework if it is not `::tf_provider`, on the struct |
#[proc_macro_derive(Parameters, attributes(tf))]
pub fn derive_parameters(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match parameters::Declaration::parse(&input) {
        Ok(declaration) => declaration.generate().into(),
        Err(error) => error.to_compile_error().into(),
    }
}
