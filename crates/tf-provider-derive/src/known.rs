//! Generates the second struct of a model, with the values that the core guarantees to create, update and delete.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use crate::block::Block;
use crate::declare::Declaration;
use crate::field::{Field, Rules, Shape, default_value};
use crate::framework::Framework;

/// Form of a field in the known struct.
enum Form<'a> {
    Timeouts,
    /// A value.
    Present(&'a Rules),
    /// A value or null.
    Optional(&'a Rules),
    /// A block without further options. The type says whether it can be absent.
    Block(&'a Rules),
    /// A value, null or unknown.
    Open(&'a Rules),
}

impl<'a> Form<'a> {
    fn of(field: &'a Field) -> Self {
        let rules = match &field.shape {
            Shape::Timeouts(_) => return Self::Timeouts,
            Shape::Attribute(rules) => rules,
        };
        match &rules.block {
            Some(Block { group: None, .. }) if rules.required.is_none() => Self::Block(rules),
            Some(_) => Self::Present(rules),
            None if rules.required.is_some() || rules.default.is_some() => Self::Present(rules),
            None if rules.computed.is_some() => Self::Open(rules),
            None => Self::Optional(rules),
        }
    }
}

/// Returns the name of the struct.
pub(crate) fn name(declaration: &Declaration) -> Ident {
    format_ident!("Known{}", declaration.ident)
}

/// Returns the struct and its implementations.
pub(crate) fn known(declaration: &Declaration) -> TokenStream {
    let (ident, name, visibility) = (&declaration.ident, name(declaration), &declaration.visibility);
    let generics = &declaration.generics;
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let framework = &declaration.options.framework;
    let description = format!("The known values of [`{ident}`], for create, update and delete.");
    let fields = declaration.fields.iter().map(|field| declared(framework, field));
    let idents: Vec<&Ident> = declaration.fields.iter().map(|field| &field.ident).collect();
    quote! {
        #[doc = #description]
        #visibility struct #name #generics #bounds { #(#fields),* }

        #[automatically_derived]
        impl #parameters ::core::clone::Clone for #name #arguments #bounds {
            fn clone(&self) -> Self {
                Self { #(#idents: ::core::clone::Clone::clone(&self.#idents)),* }
            }
        }

        #[automatically_derived]
        impl #parameters ::core::default::Default for #name #arguments #bounds {
            fn default() -> Self {
                Self { #(#idents: ::core::default::Default::default()),* }
            }
        }

        #[automatically_derived]
        impl #parameters ::core::cmp::PartialEq for #name #arguments #bounds {
            fn eq(&self, other: &Self) -> bool {
                ::core::cmp::Ord::cmp(self, other).is_eq()
            }
        }

        #[automatically_derived]
        impl #parameters ::core::cmp::Eq for #name #arguments #bounds {}

        #[automatically_derived]
        impl #parameters ::core::cmp::PartialOrd for #name #arguments #bounds {
            fn partial_cmp(&self, other: &Self) -> ::core::option::Option<::core::cmp::Ordering> {
                ::core::option::Option::Some(::core::cmp::Ord::cmp(self, other))
            }
        }

        #[automatically_derived]
        impl #parameters ::core::cmp::Ord for #name #arguments #bounds {
            fn cmp(&self, other: &Self) -> ::core::cmp::Ordering {
                let value = |known: &Self| {
                    let model = <#ident #arguments as #framework::Model>::from_known(::core::clone::Clone::clone(known));
                    <#ident #arguments as #framework::Model>::to_value(&model)
                };
                ::core::cmp::Ord::cmp(&value(self), &value(other))
            }
        }

        #[automatically_derived]
        impl #parameters ::core::convert::From<#name #arguments> for #ident #arguments #bounds {
            fn from(known: #name #arguments) -> Self {
                <Self as #framework::Model>::from_known(known)
            }
        }
    }
}

/// Returns the items of the implementation of `Model`.
pub(crate) fn conversions(declaration: &Declaration) -> TokenStream {
    let name = name(declaration);
    let (_, arguments, _) = declaration.generics.split_for_impl();
    let framework = &declaration.options.framework;
    let into = declaration.fields.iter().map(|field| into(framework, field));
    let from = declaration.fields.iter().map(|field| from(framework, field));
    quote! {
        type Known = #name #arguments;

        #[allow(unused_variables)]
        fn into_known(
            self,
            basis: #framework::derived::Basis,
            path: &#framework::Path,
        ) -> ::core::result::Result<Self::Known, #framework::ValueError> {
            ::core::result::Result::Ok(#name { #(#into),* })
        }

        #[allow(unused_variables)]
        fn from_known(known: Self::Known) -> Self {
            Self { #(#from),* }
        }
    }
}

fn declared(framework: &Framework, field: &Field) -> TokenStream {
    let (ident, visibility, description) = (&field.ident, &field.visibility, &field.description);
    let here = |rules: &Rules| framework.at(rules.element.span());
    let known = |rules: &Rules| {
        let (element, here) = (&rules.element, here(rules));
        quote_spanned!(element.span()=> <#element as #here::Element>::Known)
    };
    let ty = match Form::of(field) {
        Form::Timeouts => quote!(#framework::Timeouts),
        Form::Present(rules) => known(rules),
        Form::Optional(rules) => {
            let known = known(rules);
            quote!(::core::option::Option<#known>)
        }
        Form::Block(rules) => {
            let (element, here) = (&rules.element, here(rules));
            quote_spanned!(element.span()=> <#element as #here::Blocks>::Present)
        }
        Form::Open(rules) => {
            let element = &rules.element;
            quote!(#framework::Attr<#element>)
        }
    };
    quote!(#[doc = #description] #visibility #ident: #ty)
}

fn into(framework: &Framework, field: &Field) -> TokenStream {
    let (ident, name) = (&field.ident, &field.name);
    let value = match Form::of(field) {
        Form::Timeouts | Form::Open(_) => quote!(self.#ident),
        Form::Present(rules) => {
            let (element, absent) = (&rules.element, absent(framework, rules));
            let here = framework.at(element.span());
            let present = quote_spanned!(element.span()=> #here::derived::present::<#element>);
            quote!(#present(self.#ident, basis, &path.then(#name), #absent)?)
        }
        Form::Optional(rules) => {
            let element = &rules.element;
            quote!(#framework::derived::optional::<#element>(self.#ident, basis, &path.then(#name))?)
        }
        Form::Block(rules) => {
            let element = &rules.element;
            quote!(<#element as #framework::Blocks>::present(self.#ident, basis, &path.then(#name))?)
        }
    };
    quote!(#ident: #value)
}

/// Returns the expression that replaces null.
fn absent(framework: &Framework, rules: &Rules) -> TokenStream {
    let (element, word) = (&rules.element, quote!(#framework::derived::Absent));
    match &rules.default {
        Some(default) => {
            let value = default_value(default);
            quote_spanned!(default.span()=> #word::Default(|| -> #element { #value }))
        }
        None if rules.write_only.is_some() || rules.block.as_ref().is_some_and(|block| block.group.is_some()) => {
            quote!(#word::Empty)
        }
        None if rules.unread.is_some() => quote!(#word::Unread),
        None if rules.identity.is_some() => quote!(#word::Never),
        None => quote!(#word::Missing),
    }
}

fn from(framework: &Framework, field: &Field) -> TokenStream {
    let ident = &field.ident;
    let value = match Form::of(field) {
        Form::Timeouts | Form::Open(_) => quote!(known.#ident),
        Form::Present(Rules { element, .. }) => quote!(#framework::derived::from_present::<#element>(known.#ident)),
        Form::Optional(Rules { element, .. }) => quote!(#framework::derived::from_optional::<#element>(known.#ident)),
        Form::Block(Rules { element, .. }) => quote!(<#element as #framework::Blocks>::from_present(known.#ident)),
    };
    quote!(#ident: #value)
}
