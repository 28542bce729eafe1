//! Generates the implementations of a model.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use crate::block::Block;
use crate::declare::Declaration;
use crate::field::{CheckOption, Field, Rules, Shape, default_value};
use crate::framework::Framework;
use crate::known;

pub(crate) fn model(declaration: &Declaration) -> TokenStream {
    let ident = &declaration.ident;
    let (generics, arguments, bounds) = declaration.generics.split_for_impl();
    let description = &declaration.description;
    let framework = &declaration.options.framework;
    let deprecated = declaration.options.deprecation();
    let attributes = declaration.fields.iter().map(|field| attribute(framework, field));
    let reads = declaration.fields.iter().map(|field| read(framework, field));
    let writes = declaration.fields.iter().map(|field| write(framework, field));
    let timeouts = declaration.fields.iter().find_map(|field| timeout_defaults(framework, field));
    let concrete = declaration.generics.params.is_empty();
    let places = declaration.fields.iter().filter_map(|field| placement_check(framework, field, concrete));
    let (element, blocks) = (element(declaration), blocks(declaration));
    let (known, conversions) = (known::known(declaration), known::conversions(declaration));
    quote! {
        #[automatically_derived]
        impl #generics #framework::Model for #ident #arguments #bounds {
            const DESCRIPTION: &'static str = #description;
            #deprecated

            fn attributes() -> ::std::vec::Vec<#framework::schema::Attribute> {
                #(#places)*
                ::std::vec![#(#attributes),*]
            }

            fn from_value(
                value: &#framework::Value,
                path: &#framework::Path,
            ) -> ::core::result::Result<Self, #framework::ValueError> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }

            fn to_value(&self) -> #framework::Value {
                #framework::Value::Map(::std::collections::BTreeMap::from([#(#writes),*]))
            }

            #conversions

            #timeouts
        }

        #known

        #element

        #blocks
    }
}

/// Returns the implementation by which other models nest this one.
fn element(declaration: &Declaration) -> TokenStream {
    let ident = &declaration.ident;
    let (generics, arguments, bounds) = declaration.generics.split_for_impl();
    let framework = &declaration.options.framework;
    let contents = declaration.fields.iter().filter_map(|field| contents(framework, field));
    quote! {
        #[automatically_derived]
        impl #generics #framework::Element for #ident #arguments #bounds {
            type Borrowed = Self;

            type Known = <Self as #framework::Model>::Known;

            const CONTENTS: #framework::Contents = #framework::Contents::PLAIN #(.and(#contents))*;

            fn kind() -> #framework::schema::Kind {
                #framework::schema::Kind::Nested(
                    #framework::schema::Nesting::Single,
                    <Self as #framework::Model>::attributes(),
                )
            }

            fn decode(
                value: &#framework::Value,
                path: &#framework::Path,
            ) -> ::core::result::Result<::core::option::Option<Self>, #framework::ValueError> {
                <Self as #framework::Model>::from_value(value, path).map(::core::option::Option::Some)
            }

            fn encode(&self) -> #framework::Value {
                <Self as #framework::Model>::to_value(self)
            }

            fn into_known(
                self,
                basis: #framework::derived::Basis,
                path: &#framework::Path,
            ) -> ::core::result::Result<Self::Known, #framework::ValueError> {
                <Self as #framework::Model>::into_known(self, basis, path)
            }

            fn from_known(known: Self::Known) -> Self {
                <Self as #framework::Model>::from_known(known)
            }
        }
    }
}

/// Returns the implementation by which other models have this one as a block.
fn blocks(declaration: &Declaration) -> TokenStream {
    let ident = &declaration.ident;
    let (generics, arguments, bounds) = declaration.generics.split_for_impl();
    let framework = &declaration.options.framework;
    let nesting = quote!(#framework::schema::Nesting);
    quote! {
        #[automatically_derived]
        impl #generics #framework::Blocks for #ident #arguments #bounds {
            const NESTING: #nesting = #nesting::Single;

            type Present = ::core::option::Option<<Self as #framework::Model>::Known>;

            fn present(
                attr: #framework::Attr<Self>,
                basis: #framework::derived::Basis,
                path: &#framework::Path,
            ) -> ::core::result::Result<Self::Present, #framework::ValueError> {
                #framework::derived::optional::<Self>(attr, basis, path)
            }

            fn from_present(present: Self::Present) -> #framework::Attr<Self> {
                #framework::derived::from_optional::<Self>(present)
            }

            fn absent() -> ::core::option::Option<Self> {
                ::core::option::Option::None
            }
        }
    }
}

/// Returns the features that a field adds to the contents of the model.
fn contents(framework: &Framework, field: &Field) -> Option<TokenStream> {
    let Shape::Attribute(rules) = &field.shape else { return None };
    let element = &rules.element;
    let (blocks, write_only) = (rules.block.is_some(), rules.write_only.is_some());
    let replace = rules.replace.is_some() || rules.replace_if.is_some();
    let here = framework.at(element.span());
    Some(quote_spanned! {element.span()=>
        <#element as #here::Element>::CONTENTS
            .and(#here::Contents {
                blocks: #blocks,
                write_only: #write_only,
                replace: #replace,
                ..#here::Contents::PLAIN
            })
    })
}

/// Returns the check, made while compiling, that the field's type is allowed here; it is reported at the type. A
/// constant item is checked even if nothing uses the model, but it cannot name the generic parameters.
fn placement_check(framework: &Framework, field: &Field, concrete: bool) -> Option<TokenStream> {
    let Shape::Attribute(rules) = &field.shape else { return None };
    let element = &rules.element;
    let here = framework.at(element.span());
    let check = match &rules.block {
        Some(block) => {
            let declared = declared(framework, block, rules);
            quote_spanned!(element.span()=> #here::derived::check_block::<#element>(#declared))
        }
        None => quote_spanned!(element.span()=> #here::derived::check_attribute::<#element>()),
    };
    Some(if concrete { quote_spanned!(element.span()=> const _: () = #check;) } else { quote!(const { #check };) })
}

fn declared(framework: &Framework, block: &Block, rules: &Rules) -> TokenStream {
    let (group, required) = (block.group.is_some(), rules.required.is_some());
    let limit = |limit: &Option<syn::LitInt>| limit.as_ref().map_or_else(|| quote!(0), |limit| quote!(#limit));
    let (min, max) = (limit(&block.min), limit(&block.max));
    quote!(#framework::derived::BlockOptions { group: #group, required: #required, min: #min, max: #max })
}

fn attribute(framework: &Framework, field: &Field) -> TokenStream {
    let (name, description) = (&field.name, &field.description);
    let rules = match &field.shape {
        Shape::Timeouts(_) => {
            return quote!(#framework::derived::timeouts_attribute(
                &<Self as #framework::Model>::timeout_defaults(),
                #description,
            ));
        }
        Shape::Attribute(rules) => rules,
    };
    let element = &rules.element;
    let here = framework.at(element.span());
    let settings = settings(framework, rules);
    if let Some(block) = &rules.block {
        let declared = declared(framework, block, rules);
        let new = quote_spanned!(element.span()=> #here::derived::declare_block::<#element>);
        return quote!({
            #[allow(unused_mut)]
            let mut attribute = #new(#name, #declared, #description);
            #(#settings)*
            attribute
        });
    }
    // The span is the field's type, so a type that cannot be an attribute is reported there.
    let kind = quote_spanned!(element.span()=> <#element as #here::Element>::kind());
    let mode = mode(framework, rules);
    quote!({
        #[allow(unused_mut)]
        let mut attribute = #framework::schema::Attribute::new(#name, #kind, #mode, #description);
        #(#settings)*
        attribute
    })
}

fn mode(framework: &Framework, rules: &Rules) -> TokenStream {
    let computed = rules.computed.is_some();
    let word = match (rules.required.is_some(), rules.optional.is_some(), computed, rules.default.is_some()) {
        (true, ..) => quote!(Required),
        (_, _, _, true) | (_, true, true, _) => quote!(OptionalComputed),
        (_, _, true, _) => quote!(Computed),
        _ => quote!(Optional),
    };
    quote!(#framework::schema::Mode::#word)
}

fn settings(framework: &Framework, rules: &Rules) -> Vec<TokenStream> {
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
    flag(&rules.replace, quote!(attribute.replace = #framework::schema::Replace::Always;));
    if let Some(path) = &rules.replace_if {
        let here = framework.at(path.span());
        let when = quote_spanned!(path.span()=> #here::derived::replace_when::<#element>(#path));
        all.push(quote!(attribute.replace = #framework::schema::Replace::When(#when);));
    }
    if let Some(path) = &rules.equal {
        let here = framework.at(path.span());
        let equal = quote_spanned!(path.span()=> #here::derived::equality::<#element>(#path));
        all.push(quote!(attribute.equality = ::core::option::Option::Some(#equal);));
    }
    if let Some(message) = &rules.deprecated {
        all.push(quote!(attribute.deprecated = ::core::option::Option::Some(::std::string::String::from(#message));));
    }
    if let Some(default) = &rules.default {
        let value = default_value(default);
        let here = framework.at(default.span());
        all.push(quote_spanned! {default.span()=>
            let value: #element = #value;
            attribute.default = ::core::option::Option::Some(#here::Element::encode(&value));
        });
    }
    all.extend(rules.checks.iter().map(|check| check_setting(framework, rules, check)));
    all
}

fn check_setting(framework: &Framework, rules: &Rules, word: &CheckOption) -> TokenStream {
    let element = &rules.element;
    let check = check(framework, &quote!(#element), element.span(), word);
    quote!(attribute.checks.push(#check);)
}

/// Returns a check of values of type `element`; mismatches are reported at `place`.
pub(crate) fn check(framework: &Framework, element: &TokenStream, place: Span, word: &CheckOption) -> TokenStream {
    let here = match word {
        CheckOption::Custom(path) => framework.at(path.span()),
        _ => framework.at(place),
    };
    match word {
        CheckOption::Range(range) => quote_spanned!(place=> #here::derived::range::<#element>(#range)),
        CheckOption::Length(range) => quote_spanned!(place=> #here::derived::length::<#element>(#range)),
        CheckOption::OneOf(choices) => {
            quote_spanned!(place=> #here::derived::one_of::<#element>(&[#(#choices),*]))
        }
        CheckOption::Custom(path) => quote_spanned!(path.span()=> #here::derived::custom::<#element>(#path)),
    }
}

fn read(framework: &Framework, field: &Field) -> TokenStream {
    let (ident, name) = (&field.ident, &field.name);
    let call = match &field.shape {
        Shape::Timeouts(_) => quote!(#framework::Timeouts::from_value),
        Shape::Attribute(rules) => {
            let element = &rules.element;
            let here = framework.at(element.span());
            let call = match &rules.block {
                None => quote!(decode_attr),
                Some(Block { group: None, .. }) => quote!(decode_block),
                Some(_) => quote!(decode_group),
            };
            quote_spanned!(element.span()=> #here::derived::#call::<#element>)
        }
    };
    quote!(#ident: #call(value.get(#name), &path.then(#name))?)
}

fn write(framework: &Framework, field: &Field) -> TokenStream {
    let (ident, name) = (&field.ident, &field.name);
    let value = match &field.shape {
        Shape::Timeouts(_) => quote!(self.#ident.to_value()),
        Shape::Attribute(rules) => match &rules.block {
            None => quote!(#framework::derived::encode_attr(&self.#ident)),
            Some(Block { group: None, .. }) => quote!(#framework::derived::encode_block(&self.#ident)),
            Some(_) => quote!(#framework::derived::encode_group(&self.#ident)),
        },
    };
    quote!((::std::string::String::from(#name), #value))
}

fn timeout_defaults(framework: &Framework, field: &Field) -> Option<TokenStream> {
    let Shape::Timeouts(durations) = &field.shape else { return None };
    // Every field is written out, because a struct update without remaining fields is a lint in the user's crate.
    let fields = ["create", "read", "update", "delete"].map(|operation| {
        let ident = format_ident!("{operation}");
        match durations.iter().find(|(named, _)| named == operation) {
            Some((_, text)) => quote!(#ident: ::core::option::Option::Some(#text)),
            None => quote!(#ident: ::core::option::Option::None),
        }
    });
    Some(quote! {
        fn timeout_defaults() -> #framework::timeouts::Defaults {
            #framework::timeouts::Defaults { #(#fields,)* }
        }
    })
}
