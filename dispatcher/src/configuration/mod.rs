//! Where the configuration comes from when it does not come over the console: a file, or environment variables.

mod environment;
mod file;

pub use environment::{EnvironmentError, Variables, from_environment};
pub use file::{FileError, from_file};
