//! Reads the struct.

use syn::{Attribute, Data, DeriveInput, Error, Expr, ExprLit, Fields, Generics, Ident, Lit, LitStr, Meta, Result};

use crate::field::Field;

/// A struct that is a model.
pub(crate) struct Declaration {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) description: String,
    pub(crate) deprecated: Option<LitStr>,
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
            generics: input.generics.clone(),
            description: doc_text(&input.attrs),
            deprecated: deprecation(&input.attrs)?,
            fields,
        })
    }
}

/// `#[tf(deprecated = "…")]` on the type.
pub(crate) fn deprecation(attributes: &[Attribute]) -> Result<Option<LitStr>> {
    let mut message = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("tf")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("deprecated") {
                return Err(meta.error("on the type, only `deprecated = \"…\"` is known"));
            }
            message = Some(meta.value()?.parse::<LitStr>()?);
            Ok(())
        })?;
    }
    Ok(message)
}

/// The doc comment as Markdown: the one leading space of each line taken off.
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
