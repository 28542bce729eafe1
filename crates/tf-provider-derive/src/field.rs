//! Parses a field and refuses contradictory options.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::{
    Error, Expr, ExprLit, ExprPath, GenericArgument, Ident, Lit, LitStr, PathArguments, Result, Token, Type,
    Visibility, parenthesized,
};

use crate::block::Block;
use crate::documentation::doc_text;

/// An attribute of a model.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    Attribute(Box<Rules>),
    Timeouts(Vec<(Ident, LitStr)>),
}

/// The options in `#[tf(…)]` of an attribute.
pub(crate) struct Rules {
    /// Type `T` of `Attr<T>`.
    pub(crate) element: Type,
    pub(crate) block: Option<Block>,
    pub(crate) required: Option<Ident>,
    pub(crate) unread: Option<Ident>,
    pub(crate) optional: Option<Ident>,
    pub(crate) computed: Option<Ident>,
    pub(crate) default: Option<Expr>,
    pub(crate) keep: Option<Ident>,
    pub(crate) replace: Option<Ident>,
    pub(crate) replace_if: Option<ExprPath>,
    pub(crate) sensitive: Option<Ident>,
    pub(crate) write_only: Option<Ident>,
    pub(crate) identity: Option<Ident>,
    pub(crate) deprecated: Option<LitStr>,
    pub(crate) equal: Option<ExprPath>,
    pub(crate) checks: Vec<CheckOption>,
}

pub(crate) enum CheckOption {
    Range(TokenStream),
    Length(TokenStream),
    OneOf(Vec<LitStr>),
    Custom(ExprPath),
}

const OPTIONS: &str = "required, unread, optional, computed, default, keep, replace, replace_if, sensitive, write_only, \
                     identity, range, length, one_of, validate, equal, deprecated, name, block, timeouts";

impl CheckOption {
    pub(crate) fn is_custom(&self) -> bool {
        matches!(self, Self::Custom(_))
    }
}

impl Field {
    pub(crate) fn parse(field: &syn::Field) -> Result<Self> {
        let ident = field.ident.clone().ok_or_else(|| Error::new_spanned(field, "a model has named fields"))?;
        let description = doc_text(&field.attrs);
        if description.is_empty() {
            return Err(Error::new_spanned(&ident, "needs a doc comment: it is the published description"));
        }
        let mut raw = RawField::new(&ident);
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("tf")) {
            attribute.parse_nested_meta(|meta| raw.word(&meta))?;
        }
        let name = raw.name.take().map_or_else(|| ident.to_string().trim_start_matches("r#").to_owned(), |n| n.value());
        check_name(&ident, &name)?;
        let shape = raw.shape(&ident, &field.ty)?;
        Ok(Self { ident, visibility: field.vis.clone(), name, description, shape })
    }
}

/// Checks that configurations can use the name of an attribute.
fn check_name(ident: &Ident, name: &str) -> Result<()> {
    const RESERVED: [&str; 7] =
        ["count", "for_each", "depends_on", "lifecycle", "provider", "provisioner", "connection"];
    if RESERVED.contains(&name) {
        return Err(Error::new_spanned(ident, format!("`{name}` is reserved in every resource block")));
    }
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if good { Ok(()) } else { Err(Error::new_spanned(ident, "attribute names are lower case letters, digits and `_`")) }
}

/// The options of a field as written, before they are checked together.
struct RawField {
    name: Option<LitStr>,
    timeouts: Option<Vec<(Ident, LitStr)>>,
    rules: Rules,
}

impl RawField {
    fn new(ident: &Ident) -> Self {
        let element = Type::Verbatim(quote!(#ident));
        let rules = Rules {
            element,
            block: None,
            required: None,
            unread: None,
            optional: None,
            computed: None,
            default: None,
            keep: None,
            replace: None,
            replace_if: None,
            sensitive: None,
            write_only: None,
            identity: None,
            deprecated: None,
            equal: None,
            checks: Vec::new(),
        };
        Self { name: None, timeouts: None, rules }
    }

    fn word(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let word = meta.path.require_ident()?.clone();
        let rules = &mut self.rules;
        match word.to_string().as_str() {
            "block" => rules.block = Some(Block::parse(word, meta)?),
            "required" => rules.required = Some(word),
            "unread" => rules.unread = Some(word),
            "optional" => rules.optional = Some(word),
            "computed" => rules.computed = Some(word),
            "keep" => rules.keep = Some(word),
            "replace" => rules.replace = Some(word),
            "sensitive" => rules.sensitive = Some(word),
            "write_only" => rules.write_only = Some(word),
            "identity" => rules.identity = Some(word),
            "default" => rules.default = Some(meta.value()?.parse()?),
            "replace_if" => rules.replace_if = Some(meta.value()?.parse()?),
            "equal" => rules.equal = Some(meta.value()?.parse()?),
            "deprecated" => rules.deprecated = Some(meta.value()?.parse()?),
            "name" => self.name = Some(meta.value()?.parse()?),
            "validate" => rules.checks.push(CheckOption::Custom(meta.value()?.parse()?)),
            "range" => rules.checks.push(CheckOption::Range(range_argument(meta)?)),
            "length" => rules.checks.push(CheckOption::Length(range_argument(meta)?)),
            "one_of" => rules.checks.push(CheckOption::OneOf(choices(meta)?)),
            "timeouts" => self.timeouts = Some(durations(meta)?),
            _ => return Err(Error::new_spanned(&word, format!("unknown option; expected one of {OPTIONS}"))),
        }
        Ok(())
    }

    fn shape(self, ident: &Ident, ty: &Type) -> Result<Shape> {
        if let Some(durations) = self.timeouts {
            if ident != "timeouts" {
                return Err(Error::new_spanned(ident, "the field with `timeouts(…)` must be called `timeouts`"));
            }
            return Ok(Shape::Timeouts(durations));
        }
        let Some(element) = argument_of(ty, "Attr") else {
            return Err(Error::new_spanned(ty, "an attribute is an `Attr<…>`, because it may be null or unknown"));
        };
        let rules = Rules { element, ..self.rules };
        rules.check(ident)?;
        Ok(Shape::Attribute(Box::new(rules)))
    }
}

impl Rules {
    /// Refuses combinations that no core accepts, or that would have no effect.
    fn check(&self, ident: &Ident) -> Result<()> {
        let at = |place: &Ident, text: &str| Err(Error::new_spanned(place, text));
        if let (Some(word), Some(_)) = (&self.replace, &self.replace_if) {
            return at(word, "`replace` and `replace_if` exclude each other");
        }
        if let Some(block) = &self.block {
            return self.check_block(block);
        }
        if self.required.is_none() && self.optional.is_none() && self.computed.is_none() && self.default.is_none() {
            return at(ident, "needs #[tf(required)], #[tf(optional)], #[tf(computed)] or #[tf(default = …)]");
        }
        let by_provider = self.optional.is_some() || self.computed.is_some() || self.default.is_some();
        if let (Some(word), true) = (&self.required, by_provider) {
            return at(word, "`required` excludes `optional`, `computed` and `default`");
        }
        if let (Some(word), Some(_)) = (&self.computed, &self.default) {
            return at(word, "`default` already makes it optional and computed");
        }
        if let Some(word) = &self.unread {
            if self.required.is_none() {
                return at(
                    word,
                    "`unread` is for `required` attributes: others are null or have their default if the state lacks them",
                );
            }
            if self.write_only.is_some() || self.identity.is_some() {
                return at(
                    word,
                    "no state has a write-only value, and every state has the identity: leave `unread` out",
                );
            }
        }
        if let (Some(word), None) = (&self.keep, &self.computed) {
            return at(word, "`keep` is for `computed` attributes: others get their value from the configuration");
        }
        if let Some(word) = &self.write_only {
            if self.computed.is_some() || self.default.is_some() {
                return at(word, "a write-only value is never stored, so it cannot be computed or have a default");
            }
            if self.identity.is_some() || self.replace.is_some() || self.replace_if.is_some() {
                return at(
                    word,
                    "a write-only value is never stored, so it cannot identify an object or show a change",
                );
            }
        }
        let may_change = self.replace.is_none() && self.replace_if.is_none() && self.keep.is_none();
        if let (Some(word), true) = (&self.identity, may_change) {
            return at(
                word,
                "an identifying attribute cannot change in place: add `replace`, or `keep` if it is computed",
            );
        }
        let only_computed = self.computed.is_some() && self.optional.is_none();
        if only_computed && !self.checks.is_empty() {
            return at(ident, "checks are for configured values, but this attribute is only computed");
        }
        Ok(())
    }

    /// Refuses options that only apply to values, because a block has no value of its own.
    fn check_block(&self, block: &Block) -> Result<()> {
        let flags = [
            &self.unread,
            &self.optional,
            &self.computed,
            &self.keep,
            &self.sensitive,
            &self.write_only,
            &self.identity,
        ];
        if let Some(word) = flags.into_iter().flatten().next() {
            let text = format!("`{word}` is for attributes: put it inside of the block");
            return Err(Error::new_spanned(word, text));
        }
        if let Some(default) = &self.default {
            return Err(Error::new_spanned(default, "a block has no default: put it on the block's attributes"));
        }
        if self.checks.iter().any(|check| !check.is_custom()) {
            return Err(Error::new_spanned(&block.word, "limit the number of blocks with `block(min = …, max = …)`"));
        }
        Ok(())
    }
}

/// Returns the code of a default. Text literals become owned strings; everything else must have the attribute's type.
pub(crate) fn default_value(default: &Expr) -> TokenStream {
    match default {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            quote_spanned!(text.span()=> ::core::convert::From::from(#text))
        }
        other => quote!(#other),
    }
}

/// Returns `T` of `NAME<T>`.
pub(crate) fn argument_of(ty: &Type, name: &str) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if last.ident != name {
        return None;
    }
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(element) => Some(element.clone()),
        _ => None,
    }
}

pub(crate) fn range_argument(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let content;
    parenthesized!(content in meta.input);
    let range: Expr = content.parse()?;
    match &range {
        Expr::Range(_) => Ok(quote!(#range)),
        other => Err(Error::new_spanned(other, "a range is needed, such as `1..=128` or `1..`")),
    }
}

pub(crate) fn choices(meta: &ParseNestedMeta<'_>) -> Result<Vec<LitStr>> {
    let content;
    parenthesized!(content in meta.input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

fn durations(meta: &ParseNestedMeta<'_>) -> Result<Vec<(Ident, LitStr)>> {
    let mut all = Vec::new();
    meta.parse_nested_meta(|operation| {
        let word = operation.path.require_ident()?.clone();
        if !["create", "read", "update", "delete"].iter().any(|known| word == known) {
            return Err(Error::new_spanned(&word, "operations are create, read, update, delete"));
        }
        let text: LitStr = operation.value()?.parse()?;
        let good = text.value().ends_with(['s', 'm', 'h']) && text.value().starts_with(|c: char| c.is_ascii_digit());
        if !good {
            return Err(Error::new_spanned(&text, "a duration is needed, such as \"30m\""));
        }
        all.push((word, text));
        Ok(())
    })?;
    Ok(all)
}
