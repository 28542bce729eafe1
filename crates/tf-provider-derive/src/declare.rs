//! Reads the struct.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, ExprLit, Fields, Generics, Ident, Lit, LitStr, Meta, Result, Visibility,
};

use crate::field::Field;
use crate::framework::Framework;

/// A struct that is a model.
pub(crate) struct Declaration {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) generics: Generics,
    pub(crate) description: String,
    pub(crate) words: TypeWords,
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
            words: TypeWords::parse(&input.attrs)?,
            fields,
        })
    }
}

/// The words of `#[tf(…)]` on the type.
#[derive(Default)]
pub(crate) struct TypeWords {
    pub(crate) deprecated: Option<LitStr>,
    pub(crate) framework: Framework,
}

impl TypeWords {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut words = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("tf")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("deprecated") {
                    words.deprecated = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("crate") {
                    words.framework = Framework::parse(&meta.value()?.parse()?)?;
                } else {
                    return Err(meta.error("unknown word; a type knows `deprecated = \"…\"` and `crate = \"…\"`"));
                }
                Ok(())
            })?;
        }
        Ok(words)
    }

    /// Returns the constant of a model or of parameters.
    pub(crate) fn deprecation(&self) -> Option<TokenStream> {
        self.deprecated.as_ref().map(|message| {
            quote!(const DEPRECATED: ::core::option::Option<&'static str> = ::core::option::Option::Some(#message);)
        })
    }
}

/// Returns the doc comment as Markdown: the one leading space of each line taken off.
pub(crate) fn doc_text(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else { return None };
        if !pair.path.is_ident("doc") {
            return None;
        }
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value else { return None };
        let text = text.value();
        Some(text.strip_prefix(' ').unwrap_or(&text).trim_end().to_owned())
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
