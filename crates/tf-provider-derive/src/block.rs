//! The options `block` and `block(…)` of nested blocks.

use syn::meta::ParseNestedMeta;
use syn::{Error, Ident, LitInt, Result, token};

/// The options in `block(…)`.
pub(crate) struct Block {
    pub(crate) word: Ident,
    pub(crate) group: Option<Ident>,
    pub(crate) min: Option<LitInt>,
    pub(crate) max: Option<LitInt>,
}

impl Block {
    pub(crate) fn parse(word: Ident, meta: &ParseNestedMeta<'_>) -> Result<Self> {
        let mut block = Self { word, group: None, min: None, max: None };
        if !meta.input.peek(token::Paren) {
            return Ok(block);
        }
        meta.parse_nested_meta(|inner| {
            let word = inner.path.require_ident()?.clone();
            match word.to_string().as_str() {
                "group" => block.group = Some(word),
                "min" => block.min = Some(inner.value()?.parse()?),
                "max" => block.max = Some(inner.value()?.parse()?),
                _ => return Err(Error::new_spanned(&word, "unknown option; a block takes min, max, group")),
            }
            Ok(())
        })?;
        Ok(block)
    }
}
