//! template-family
