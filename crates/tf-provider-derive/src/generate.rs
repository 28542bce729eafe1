//! Writes the implementations.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Lit};

use crate::block::Block;
use crate::declare::Declaration;
use crate::field::{CheckWord, Field, Rules, Shape};

pub(crate) fn model(declaration: &Declaration) -> TokenStream {
    let ident = &declaration.ident;
    let (generics, arguments, bounds) = declaration.generics.split_for_impl();
    let description = &declaration.description;
    let deprecated = declaration.deprecated.as_ref().map(|message| {
        quote!(const DEPRECATED: ::core::option::Option<&'static str> = ::core::option::Option::Some(#message);)
    });
    let attributes = declaration.fields.iter().map(attribute);
    let reads = declaration.fields.iter().map(read);
    let writes = declaration.fields.iter().map(write);
    let timeouts = declaration.fields.iter().find_map(timeout_defaults);
    let contents = declaration.fields.iter().filter_map(contents);
    let concrete = declaration.generics.params.is_empty();
    let places = declaration.fields.iter().filter_map(|field| placed(field, concrete));
    let nesting = quote!(::tf_provider::schema::Nesting);
    quote! {
        #[automatically_derived]
        impl #generics ::tf_provider::Model for #ident #arguments #bounds {
            const DESCRIPTION: &'static str = #description;
            #deprecated

            fn attributes() -> ::std::vec::Vec<::tf_provider::schema::Attribute> {
                #(#places)*
                ::std::vec![#(#attributes),*]
            }

            fn from_value(
                value: &::tf_provider::Value,
                path: &::tf_provider::Path,
            ) -> ::core::result::Result<Self, ::tf_provider::ValueError> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }

            fn to_value(&self) -> ::tf_provider::Value {
                ::tf_provider::Value::Map(::std::collections::BTreeMap::from([#(#writes),*]))
            }

            #timeouts
        }

        #[automatically_derived]
        impl #generics ::tf_provider::Element for #ident #arguments #bounds {
            type Borrowed = Self;

            const CONTENTS: ::tf_provider::Contents = ::tf_provider::Contents::PLAIN #(.and(#contents))*;

            fn kind() -> ::tf_provider::schema::Kind {
                ::tf_provider::schema::Kind::Nested(
                    ::tf_provider::schema::Nesting::Single,
                    <Self as ::tf_provider::Model>::attributes(),
                )
            }

            fn decode(
                value: &::tf_provider::Value,
                path: &::tf_provider::Path,
            ) -> ::core::result::Result<::core::option::Option<Self>, ::tf_provider::ValueError> {
                <Self as ::tf_provider::Model>::from_value(value, path).map(::core::option::Option::Some)
            }

            fn encode(&self) -> ::tf_provider::Value {
                <Self as ::tf_provider::Model>::to_value(self)
            }
        }

        #[automatically_derived]
        impl #generics ::tf_provider::Blocks for #ident #arguments #bounds {
            const NESTING: #nesting = #nesting::Single;

            fn absent() -> ::core::option::Option<Self> {
                ::core::option::Option::None
            }
        }
    }
}

/// What a field adds to the contents of the model.
fn contents(field: &Field) -> Option<TokenStream> {
    let Shape::Attribute(rules) = &field.shape else { return None };
    let element = &rules.element;
    let (blocks, write_only) = (rules.block.is_some(), rules.write_only.is_some());
    let replace = rules.replace.is_some() || rules.replace_if.is_some();
    Some(quote_spanned! {element.span()=>
        <#element as ::tf_provider::Element>::CONTENTS
            .and(::tf_provider::Contents {
                blocks: #blocks,
                write_only: #write_only,
                replace: #replace,
                ..::tf_provider::Contents::PLAIN
            })
    })
}

/// The check that the field's type may stand here, made while compiling; reported at the type. An item is looked at even
/// where nothing uses the model, but cannot name the generic parameters.
fn placed(field: &Field, concrete: bool) -> Option<TokenStream> {
    let Shape::Attribute(rules) = &field.shape else { return None };
    let element = &rules.element;
    let check = match &rules.block {
        Some(block) => {
            let declared = declared(block, rules);
            quote_spanned!(element.span()=> ::tf_provider::block::check::<#element>(#declared))
        }
        None => quote_spanned!(element.span()=> ::tf_provider::contents::check::<#element>()),
    };
    Some(if concrete { quote_spanned!(element.span()=> const _: () = #check;) } else { quote!(const { #check };) })
}

fn declared(block: &Block, rules: &Rules) -> TokenStream {
    let (group, required) = (block.group.is_some(), rules.required.is_some());
    let limit = |limit: &Option<syn::LitInt>| limit.as_ref().map_or_else(|| quote!(0), |limit| quote!(#limit));
    let (min, max) = (limit(&block.min), limit(&block.max));
    quote!(::tf_provider::block::Declared { group: #group, required: #required, min: #min, max: #max })
}

fn attribute(field: &Field) -> TokenStream {
    let (name, description) = (&field.name, &field.description);
    let rules = match &field.shape {
        Shape::Timeouts(_) => {
            return quote!(<Self as ::tf_provider::Model>::timeout_defaults().attribute(#description));
        }
        Shape::Attribute(rules) => rules,
    };
    let element = &rules.element;
    let settings = settings(rules);
    if let Some(block) = &rules.block {
        let declared = declared(block, rules);
        let new = quote_spanned!(element.span()=> ::tf_provider::block::attribute::<#element>);
        return quote!({
            #[allow(unused_mut)]
            let mut attribute = #new(#name, #declared, #description);
            #(#settings)*
            attribute
        });
    }
    // At the field's type: a type that cannot be an attribute is reported there.
    let kind = quote_spanned!(element.span()=> <#element as ::tf_provider::Element>::kind());
    let mode = mode(rules);
    quote!({
        #[allow(unused_mut)]
        let mut attribute = ::tf_provider::schema::Attribute::new(#name, #kind, #mode, #description);
        #(#settings)*
        attribute
    })
}

fn mode(rules: &Rules) -> TokenStream {
    let computed = rules.computed.is_some();
    let word = match (rules.required.is_some(), rules.optional.is_some(), computed, rules.default.is_some()) {
        (true, ..) => quote!(Required),
        (_, _, _, true) | (_, true, true, _) => quote!(OptionalComputed),
        (_, _, true, _) => quote!(Computed),
        _ => quote!(Optional),
    };
    quote!(::tf_provider::schema::Mode::#word)
}

fn settings(rules: &Rules) -> Vec<TokenStream> {
    let element = &rules.element;
    let mut all = Vec::new();
    let mut flag = |word: &Option<Ident>, setting: TokenStream| {
        if word.is_some() {
            all.push(setting);
        }
    };
    flag(&rules.keep, quote!(attribute.keep = true;));
    flag(&rules.sensitive, quote!(attribute.sensitive = true;));
    flag(&rules.write_only, quote!(attribute.write_only = true;));
    flag(&rules.identity, quote!(attribute.identity = true;));
    flag(&rules.replace, quote!(attribute.replace = ::tf_provider::schema::Replace::Always;));
    if let Some(path) = &rules.replace_if {
        let when = quote_spanned!(path.span()=> ::tf_provider::check::replace_when::<#element>(#path));
        all.push(quote!(attribute.replace = ::tf_provider::schema::Replace::When(#when);));
    }
    if let Some(path) = &rules.equal {
        let equal = quote_spanned!(path.span()=> ::tf_provider::check::equality::<#element>(#path));
        all.push(quote!(attribute.equality = ::core::option::Option::Some(#equal);));
    }
    if let Some(message) = &rules.deprecated {
        all.push(quote!(attribute.deprecated = ::core::option::Option::Some(::std::string::String::from(#message));));
    }
    if let Some(default) = &rules.default {
        let value = default_value(default);
        all.push(quote_spanned! {default.span()=>
            let value: #element = #value;
            attribute.default = ::core::option::Option::Some(::tf_provider::Element::encode(&value));
        });
    }
    all.extend(rules.checks.iter().map(|check| check_setting(rules, check)));
    all
}

/// Text literals become owned strings; everything else must have the attribute's type already.
fn default_value(default: &Expr) -> TokenStream {
    match default {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            quote_spanned!(text.span()=> ::core::convert::From::from(#text))
        }
        other => quote!(#other),
    }
}

fn check_setting(rules: &Rules, word: &CheckWord) -> TokenStream {
    let element = &rules.element;
    let check = check(&quote!(#element), element.span(), word);
    quote!(attribute.checks.push(#check);)
}

/// A check of values of type `element`; mismatches are reported at `place`.
pub(crate) fn check(element: &TokenStream, place: Span, word: &CheckWord) -> TokenStream {
    match word {
        CheckWord::Range(range) => quote_spanned!(place=> ::tf_provider::check::range::<#element>(#range)),
        CheckWord::Length(range) => quote_spanned!(place=> ::tf_provider::check::length::<#element>(#range)),
        CheckWord::OneOf(choices) => {
            quote_spanned!(place=> ::tf_provider::check::one_of::<#element>(&[#(#choices),*]))
        }
        CheckWord::Custom(path) => quote_spanned!(path.span()=> ::tf_provider::check::custom::<#element>(#path)),
    }
}

fn read(field: &Field) -> TokenStream {
    let (ident, name) = (&field.ident, &field.name);
    let call = match &field.shape {
        Shape::Timeouts(_) => quote!(::tf_provider::Timeouts::from_value),
        Shape::Attribute(rules) => {
            let element = &rules.element;
            let call = match &rules.block {
                None => quote!(decode_attr),
                Some(Block { group: None, .. }) => quote!(block::decode_block),
                Some(_) => quote!(block::decode_group),
            };
            quote_spanned!(element.span()=> ::tf_provider::#call::<#element>)
        }
    };
    quote!(#ident: #call(value.get(#name), &path.then(#name))?)
}

fn write(field: &Field) -> TokenStream {
    let (ident, name) = (&field.ident, &field.name);
    let value = match &field.shape {
        Shape::Timeouts(_) => quote!(self.#ident.to_value()),
        Shape::Attribute(rules) => match &rules.block {
            None => quote!(::tf_provider::encode_attr(&self.#ident)),
            Some(Block { group: None, .. }) => quote!(::tf_provider::block::encode_block(&self.#ident)),
            Some(_) => quote!(::tf_provider::block::encode_group(&self.#ident)),
        },
    };
    quote!((::std::string::String::from(#name), #value))
}

fn timeout_defaults(field: &Field) -> Option<TokenStream> {
    let Shape::Timeouts(durations) = &field.shape else { return None };
    // Every field is written out: an update syntax that has nothing left to update is a lint in the user's crate.
    let fields = ["create", "read", "update", "delete"].map(|operation| {
        let ident = format_ident!("{operation}");
        match durations.iter().find(|(named, _)| named == operation) {
            Some((_, text)) => quote!(#ident: ::core::option::Option::Some(#text)),
            None => quote!(#ident: ::core::option::Option::None),
        }
    });
    Some(quote! {
        fn timeout_defaults() -> ::tf_provider::timeouts::Defaults {
            ::tf_provider::timeouts::Defaults { #(#fields,)* }
        }
    })
}
