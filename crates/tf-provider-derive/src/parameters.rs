//! `#[derive(Parameters)]`: the arguments of a provider function.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Ident, LitStr, Result, Type};

use crate::declare::TypeOptions;
use crate::documentation::doc_text;
use crate::field::{CheckOption, argument_of, choices, range_argument};
use crate::framework::Framework;
use crate::generate::check;

const OPTIONS: &str = "variadic, name, range, length, one_of, validate";

/// A struct whose fields are parameters.
pub(crate) struct Declaration {
    ident: Ident,
    description: String,
    options: TypeOptions,
    parameters: Vec<Parameter>,
}

struct Parameter {
    ident: Ident,
    name: String,
    description: String,
    /// Type of an argument; for a variadic parameter, the type of the elements.
    argument: Type,
    variadic: bool,
    checks: Vec<CheckOption>,
}

impl Declaration {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(Error::new_spanned(&input.ident, "parameters are the fields of a struct"));
        };
        if !input.generics.params.is_empty() {
            return Err(Error::new_spanned(&input.generics, "each parameter has one type: no generics"));
        }
        let description = doc_text(&input.attrs);
        if description.is_empty() {
            let text = "needs a doc comment: it is the published description of the function";
            return Err(Error::new_spanned(&input.ident, text));
        }
        let fields = match &data.fields {
            Fields::Named(named) => named.named.iter().collect(),
            Fields::Unit => Vec::new(),
            Fields::Unnamed(_) => return Err(Error::new_spanned(&input.ident, "parameters are named fields")),
        };
        let mut parameters = Vec::new();
        for (position, field) in fields.iter().enumerate() {
            let parameter = Parameter::parse(field)?;
            if parameter.variadic && position + 1 != fields.len() {
                return Err(Error::new_spanned(&parameter.ident, "only the last parameter can be variadic"));
            }
            parameters.push(parameter);
        }
        let options = TypeOptions::parse(&input.attrs)?;
        Ok(Self { ident: input.ident.clone(), description, options, parameters })
    }

    pub(crate) fn generate(&self) -> TokenStream {
        let Self { ident, description, options, parameters } = self;
        let framework = &options.framework;
        let deprecated = options.deprecation();
        let declared = parameters.iter().map(|parameter| parameter.declaration(framework));
        let taken = parameters.iter().map(Parameter::take);
        quote! {
            #[automatically_derived]
            impl #framework::Parameters for #ident {
                const DESCRIPTION: &'static str = #description;
                #deprecated

                fn parameters() -> ::std::vec::Vec<#framework::function::Parameter> {
                    ::std::vec![#(#declared),*]
                }

                fn take(
                    arguments: &mut #framework::function::Arguments,
                ) -> ::core::result::Result<Self, #framework::FunctionError> {
                    ::core::result::Result::Ok(Self { #(#taken),* })
                }
            }
        }
    }
}

impl Parameter {
    fn parse(field: &syn::Field) -> Result<Self> {
        let ident = field.ident.clone().ok_or_else(|| Error::new_spanned(field, "parameters are named fields"))?;
        let description = doc_text(&field.attrs);
        if description.is_empty() {
            return Err(Error::new_spanned(&ident, "needs a doc comment: it is the published description"));
        }
        let (mut name, mut variadic, mut checks) =
            (ident.to_string().trim_start_matches("r#").to_owned(), None, vec![]);
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("tf")) {
            attribute.parse_nested_meta(|meta| {
                let word = meta.path.require_ident()?.clone();
                match word.to_string().as_str() {
                    "variadic" => variadic = Some(word),
                    "name" => name = meta.value()?.parse::<LitStr>()?.value(),
                    "validate" => checks.push(CheckOption::Custom(meta.value()?.parse()?)),
                    "range" => checks.push(CheckOption::Range(range_argument(&meta)?)),
                    "length" => checks.push(CheckOption::Length(range_argument(&meta)?)),
                    "one_of" => checks.push(CheckOption::OneOf(choices(&meta)?)),
                    _ => return Err(Error::new_spanned(&word, format!("unknown option; expected one of {OPTIONS}"))),
                }
                Ok(())
            })?;
        }
        let argument = match &variadic {
            None => field.ty.clone(),
            Some(word) => argument_of(&field.ty, "Vec")
                .ok_or_else(|| Error::new_spanned(word, "a variadic parameter is a `Vec<…>` of its arguments"))?,
        };
        Ok(Self { ident, name, description, argument, variadic: variadic.is_some(), checks })
    }

    fn declaration(&self, framework: &Framework) -> TokenStream {
        let Self { name, description, argument, variadic, checks, .. } = self;
        let here = framework.at(argument.span());
        let of = quote_spanned!(argument.span()=> #here::function::Parameter::of::<#argument>);
        let element = quote!(<#argument as #framework::function::Argument>::Element);
        let checks = checks.iter().map(|word| check(framework, &element, argument.span(), word));
        quote!({
            #[allow(unused_mut)]
            let mut parameter = #of(#name, #description);
            parameter.variadic = #variadic;
            #(parameter.checks.push(#checks);)*
            parameter
        })
    }

    fn take(&self) -> TokenStream {
        let Self { ident, argument, .. } = self;
        if self.variadic {
            quote!(#ident: arguments.rest::<#argument>()?)
        } else {
            quote!(#ident: arguments.one::<#argument>()?)
        }
    }
}
