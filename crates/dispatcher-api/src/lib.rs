//! dispatcher-api
