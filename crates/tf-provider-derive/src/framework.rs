//! The path by which derived code names the framework.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Error, LitStr, Path, Result};

/// Path of the framework in the crate that derives.
pub(crate) struct Framework(TokenStream);

impl Default for Framework {
    fn default() -> Self {
        Self(quote!(::tf_provider))
    }
}

impl Framework {
    /// Reads `#[tf(crate = "…")]`.
    pub(crate) fn parse(text: &LitStr) -> Result<Self> {
        let path = text.parse_with(Path::parse_mod_style).map_err(|_| {
            Error::new_spanned(text, "the path of the framework is needed, such as `crate = \"crate::framework\"`")
        })?;
        Ok(Self(path.into_token_stream()))
    }

    /// Returns the path for code about the tokens at `place`, where the compiler then reports mistakes. Names are
    /// resolved as before.
    pub(crate) fn at(&self, place: Span) -> TokenStream {
        let tokens = self.0.clone().into_iter().map(|mut token| {
            token.set_span(place.resolved_at(token.span()));
            token
        });
        tokens.collect()
    }
}

impl ToTokens for Framework {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
