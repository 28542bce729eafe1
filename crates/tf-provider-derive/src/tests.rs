use syn::{DeriveInput, parse_quote};

use crate::declare::Declaration;
use crate::parameters;

/// Returns the compiler's errors, one line each.
fn errors(input: &DeriveInput) -> Vec<String> {
    match Declaration::parse(input) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

/// Returns the only error of a model with this one field.
macro_rules! error {
    ($($field:tt)*) => {{
        let found = errors(&parse_quote!(struct M { $($field)* }));
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap_or_default()
    }};
}

#[test]
fn a_good_declaration_passes() {
    let found = errors(&parse_quote! {
        struct M {
            /// Name.
            #[tf(required, replace, length(1..))]
            name: Attr<String>,
            /// Token.
            #[tf(optional, write_only, sensitive)]
            token: tf_provider::Attr<Secret>,
            /// Deadlines.
            #[tf(timeouts(create = "30m"))]
            timeouts: Timeouts,
        }
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_wrong_field_is_reported() {
    let found = errors(&parse_quote! {
        struct M {
            #[tf(required)]
            undocumented: Attr<String>,
            /// Nobody sets it.
            nobody: Attr<String>,
        }
    });
    assert_eq!(found.len(), 2);
    assert!(found[0].contains("doc comment") && found[1].contains("needs #[tf(required)]"));
}

#[test]
fn contradictions_are_refused() {
    assert!(error!(#[doc = "A."] #[tf(required, computed)] a: Attr<i64>,).contains("`required` excludes"));
    assert!(error!(#[doc = "A."] #[tf(required, default = 1)] a: Attr<i64>,).contains("`required` excludes"));
    assert!(error!(#[doc = "A."] #[tf(optional, keep)] a: Attr<i64>,).contains("`keep` is for `computed`"));
    assert!(error!(#[doc = "A."] #[tf(computed, default = 1)] a: Attr<i64>,).contains("already"));
    assert!(error!(#[doc = "A."] #[tf(optional, write_only, replace)] a: Attr<i64>,).contains("never stored"));
    assert!(error!(#[doc = "A."] #[tf(computed, write_only)] a: Attr<i64>,).contains("never stored"));
    assert!(error!(#[doc = "A."] #[tf(computed, range(1..2))] a: Attr<i64>,).contains("only computed"));
    assert!(error!(#[doc = "A."] #[tf(required, identity)] a: Attr<i64>,).contains("cannot change in place"));
    assert!(error!(#[doc = "A."] #[tf(computed, identity)] a: Attr<i64>,).contains("cannot change in place"));
    assert!(error!(#[doc = "A."] #[tf(optional, unread)] a: Attr<i64>,).contains("`unread` is for `required`"));
    assert!(error!(#[doc = "A."] #[tf(required, unread, write_only)] a: Attr<i64>,).contains("no state has"));
    assert!(
        error!(#[doc = "A."] #[tf(required, replace, replace_if = f)] a: Attr<i64>,).contains("exclude each other")
    );
}

#[test]
fn mistakes_are_named() {
    assert!(error!(#[doc = "A."] #[tf(requierd)] a: Attr<i64>,).contains("unknown option; expected one of required"));
    assert!(error!(#[doc = "A."] #[tf(required)] a: Option<i64>,).contains("an attribute is an `Attr<…>`"));
    assert!(error!(#[doc = "A."] #[tf(required)] count: Attr<i64>,).contains("`count` is reserved"));
    assert!(error!(#[doc = "A."] #[tf(required)] Name: Attr<i64>,).contains("lower case"));
    assert!(error!(#[doc = "A."] #[tf(required, range(3))] a: Attr<i64>,).contains("a range is needed"));
    assert!(
        error!(#[doc = "A."] #[tf(timeouts(create = "soon"))] timeouts: Timeouts,).contains("a duration is needed")
    );
    assert!(error!(#[doc = "A."] #[tf(timeouts(start = "1m"))] timeouts: Timeouts,).contains("operations are"));
    assert!(error!(#[doc = "A."] #[tf(timeouts(create = "1m"))] limits: Timeouts,).contains("be called `timeouts`"));
}

#[test]
fn blocks_have_their_own_options() {
    let found = errors(&parse_quote! {
        struct M {
            /// Disks.
            #[tf(block(min = 1, max = 4), validate = distinct, replace_if = fewer, deprecated = "Use drives.")]
            disks: Attr<Vec<Disk>>,
            /// Console.
            #[tf(block, required)]
            console: Attr<Console>,
            /// Limits.
            #[tf(block(group))]
            limits: Attr<Limits>,
        }
    });
    assert_eq!(found, Vec::<String>::new());
    assert!(error!(#[doc = "A."] #[tf(block, optional)] a: Attr<D>,).contains("`optional` is for attributes"));
    assert!(error!(#[doc = "A."] #[tf(block, computed, keep)] a: Attr<D>,).contains("`computed` is for attributes"));
    assert!(error!(#[doc = "A."] #[tf(block, default = D)] a: Attr<D>,).contains("a block has no default"));
    assert!(error!(#[doc = "A."] #[tf(block, length(1..))] a: Attr<Vec<D>>,).contains("block(min = …, max = …)"));
    assert!(error!(#[doc = "A."] #[tf(block(least = 1))] a: Attr<Vec<D>>,).contains("takes min, max, group"));
    assert!(error!(#[doc = "A."] #[tf(block, replace, replace_if = f)] a: Attr<D>,).contains("exclude each other"));
    assert!(error!(#[doc = "A."] #[tf(block)] a: Vec<D>,).contains("an attribute is an `Attr<…>`"));
}

#[test]
fn only_structs_with_named_fields_are_models() {
    assert_eq!(
        errors(&parse_quote!(
            enum E {}
        )),
        ["a model is a struct"]
    );
    assert_eq!(
        errors(&parse_quote!(
            struct T(Attr<i64>);
        )),
        ["a model has named fields"]
    );
}

/// Returns the compiler's errors about parameters.
fn refusal(input: &DeriveInput) -> String {
    parameters::Declaration::parse(input).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn good_parameters_pass() {
    let found = refusal(&parse_quote! {
        /// Joins.
        struct P {
            /// Between the parts.
            #[tf(length(..=3))]
            separator: Option<String>,
            /// The parts.
            #[tf(variadic, validate = no_comma)]
            parts: Vec<String>,
        }
    });
    assert_eq!(found, "");
    assert_eq!(
        refusal(&parse_quote!(
            /// Nothing to take.
            struct P;
        )),
        ""
    );
}

#[test]
fn wrong_parameters_are_named() {
    assert!(
        refusal(&parse_quote!(
            struct P;
        ))
        .contains("needs a doc comment")
    );
    assert!(
        refusal(&parse_quote!(
            #[doc = "P."]
            enum P {}
        ))
        .contains("fields of a struct")
    );
    assert!(
        refusal(&parse_quote!(
            #[doc = "P."]
            struct P(String);
        ))
        .contains("named fields")
    );
    assert!(
        refusal(&parse_quote!(
            #[doc = "P."]
            struct P<T> {
                #[doc = "A."]
                a: T,
            }
        ))
        .contains("no generics")
    );
}

#[test]
fn wrong_fields_of_parameters_are_named() {
    assert!(
        refusal(&parse_quote!(
            #[doc = "P."]
            struct P {
                a: String,
            }
        ))
        .contains("needs a doc comment")
    );
    assert!(
        refusal(&parse_quote!(
            #[doc = "P."]
            struct P {
                #[doc = "A."]
                #[tf(required)]
                a: String,
            }
        ))
        .contains("expected one of variadic")
    );
    assert!(
        refusal(&parse_quote!(
            #[doc = "P."]
            struct P {
                #[doc = "A."]
                #[tf(variadic)]
                a: String,
            }
        ))
        .contains("is a `Vec<…>`")
    );
    let first = refusal(&parse_quote! {
        #[doc = "P."]
        struct P { #[doc = "A."] #[tf(variadic)] a: Vec<String>, #[doc = "B."] b: String }
    });
    assert!(first.contains("only the last parameter"));
}

/// Returns the errors of a type with these options.
fn type_error(input: &DeriveInput) -> String {
    errors(input).join("\n")
}

#[test]
fn the_path_of_the_framework_is_a_string() {
    let good = type_error(&parse_quote! {
        #[tf(crate = "::vendor::framework", deprecated = "Use N.")]
        struct M {}
    });
    assert_eq!(good, "");
    for wrong in ["", "a framework", "Vec<u8>", "1"] {
        let reported = type_error(&parse_quote! {
            #[tf(crate = #wrong)]
            struct M {}
        });
        assert_eq!(reported, "the path of the framework is needed, such as `crate = \"crate::framework\"`", "{wrong}");
    }
    let bare = type_error(&parse_quote! {
        #[tf(crate = vendor::framework)]
        struct M {}
    });
    assert_eq!(bare, "expected string literal");
    let unknown = type_error(&parse_quote! {
        #[tf(framework = "vendor")]
        struct M {}
    });
    assert_eq!(unknown, "unknown option; a type takes `deprecated = \"…\"` and `crate = \"…\"`");
}
