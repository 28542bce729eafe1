//! tf-provider-derive
