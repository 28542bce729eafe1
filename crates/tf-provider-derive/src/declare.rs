//! Parses the struct of a model.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Generics, Ident, LitStr, Result, Visibility};

use crate::documentation::doc_text;
use crate::field::Field;
use crate::framework::Framework;

/// The struct of a model.
pub(crate) struct Declaration {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) generics: Generics,
    pub(crate) description: String,
    pub(crate) options: TypeOptions,
    pub(crate) fields: Vec<Field>,
}

impl Declaration {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(Error::new_spanned(&input.ident, "a model is a struct"));
        };
        let Fields::Named(named) = &data.fields else {
            return Err(Error::new_spanned(&input.ident, "a model has named fields"));
        };
        let mut errors: Option<Error> = None;
        let mut fields = Vec::new();
        for field in &named.named {
            match Field::parse(field) {
                Ok(field) => fields.push(field),
                Err(error) => match &mut errors {
                    Some(errors) => errors.combine(error),
                    None => errors = Some(error),
                },
            }
        }
        if let Some(errors) = errors {
            return Err(errors);
        }
        Ok(Self {
            ident: input.ident.clone(),
            visibility: input.vis.clone(),
            generics: input.generics.clone(),
            description: doc_text(&input.attrs),
            options: TypeOptions::parse(&input.attrs)?,
            fields,
        })
    }
}

/// The options in `#[tf(…)]` of the type.
#[derive(Default)]
pub(crate) struct TypeOptions {
    pub(crate) deprecated: Option<LitStr>,
    pub(crate) framework: Framework,
}

impl TypeOptions {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("tf")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("deprecated") {
                    options.deprecated = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("crate") {
                    options.framework = Framework::parse(&meta.value()?.parse()?)?;
                } else {
                    return Err(meta.error("unknown option; a type takes `deprecated = \"…\"` and `crate = \"…\"`"));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }

    /// Returns the constant with the deprecation message, for a model or parameters.
    pub(crate) fn deprecation(&self) -> Option<TokenStream> {
        self.deprecated.as_ref().map(|message| {
            quote!(const DEPRECATED: ::core::option::Option<&'static str> = ::core::option::Option::Some(#message);)
        })
    }
}
