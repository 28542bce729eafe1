//! tf-provider
