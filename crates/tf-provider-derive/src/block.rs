//! The options `block` and `block(…)` of nested blocks.

use syn::meta::ParseNestedMeta;
use syn::{Error, Ident, LitInt, Result, token};

use crate::field::Rules;

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

/// Refuses options that only apply to values, because a block has no value of its own.
pub(crate) fn check(block: &Block, rules: &Rules) -> Result<()> {
    let flags = [
        &rules.unread,
        &rules.optional,
        &rules.computed,
        &rules.keep,
        &rules.sensitive,
        &rules.write_only,
        &rules.identity,
    ];
    if let Some(word) = flags.into_iter().flatten().next() {
        let text = format!("`{word}` is for attributes: put it inside of the block");
        return Err(Error::new_spanned(word, text));
    }
    if let Some(default) = &rules.default {
        return Err(Error::new_spanned(default, "a block has no default: put it on the block's attributes"));
    }
    if rules.checks.iter().any(|check| !check.is_custom()) {
        return Err(Error::new_spanned(&block.word, "limit the number of blocks with `block(min = …, max = …)`"));
    }
    Ok(())
}
