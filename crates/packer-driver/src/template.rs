//! The declarations in the directory of a Packer template, read without Packer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A directory of `*.pkr.hcl` and `*.pkr.json` files.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// Names of the declared input variables.
    pub variables: BTreeSet<String>,
    /// Names of the variables without a default.
    pub required: BTreeSet<String>,
    /// True if plugins are required, so that `packer init` has something to do.
    pub requires_plugins: bool,
}

/// Reason why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// File or directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A file is not HCL or JSON.
    #[error("{} cannot be parsed: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Message of the parser, with line and column.
        message: String,
    },
    /// The directory has no Packer template.
    #[error("{} has no *.pkr.hcl or *.pkr.json file", .0.display())]
    Empty(PathBuf),
    /// A file that Packer loads by itself and that takes precedence over the declared variables.
    #[error("{} would override the declared variables: Packer loads *.auto.pkrvars files by itself, and they take precedence over variables from the environment; move its values into `variables` and delete or rename it", path.display())]
    AutoVariables {
        /// The file.
        path: PathBuf,
    },
}

impl Template {
    /// Reads the declarations of `directory`, not of its subdirectories, as Packer does.
    ///
    /// # Errors
    /// Those of [`TemplateError`].
    pub fn read(directory: &Path) -> Result<Self, TemplateError> {
        let mut found = Self::default();
        let mut files = 0;
        for path in listing(directory)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.ends_with(".auto.pkrvars.hcl") || name.ends_with(".auto.pkrvars.json") {
                return Err(TemplateError::AutoVariables { path });
            }
            let json = name.ends_with(".pkr.json");
            if !json && !name.ends_with(".pkr.hcl") {
                continue;
            }
            let text =
                std::fs::read_to_string(&path).map_err(|source| TemplateError::Read { path: path.clone(), source })?;
            let read = if json { found.add_json(&text) } else { found.add_hcl(&text) };
            read.map_err(|message| TemplateError::Parse { path, message })?;
            files += 1;
        }
        if files == 0 {
            return Err(TemplateError::Empty(directory.to_owned()));
        }
        Ok(found)
    }

    fn add_hcl(&mut self, text: &str) -> Result<(), String> {
        let body: hcl::Body = hcl::from_str(text).map_err(|error| error.to_string())?;
        for block in body.blocks() {
            match (block.identifier(), block.labels()) {
                ("variable", [name]) => {
                    self.declare(name.as_str(), block.body().attributes().any(|attribute| attribute.key() == "default"))
                }
                ("variables", []) => {
                    block.body().attributes().for_each(|attribute| self.declare(attribute.key(), true))
                }
                ("packer", []) => {
                    self.requires_plugins |= block.body().blocks().any(|inner| inner.identifier() == "required_plugins")
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add_json(&mut self, text: &str) -> Result<(), String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for (name, body) in value.get("variable").and_then(serde_json::Value::as_object).into_iter().flatten() {
            self.declare(name, body.get("default").is_some());
        }
        for (name, _) in value.get("variables").and_then(serde_json::Value::as_object).into_iter().flatten() {
            self.declare(name, true);
        }
        self.requires_plugins |= value.pointer("/packer/required_plugins").is_some();
        Ok(())
    }

    fn declare(&mut self, name: &str, has_default: bool) {
        self.variables.insert(name.to_owned());
        if !has_default {
            self.required.insert(name.to_owned());
        }
    }
}

fn listing(directory: &Path) -> Result<Vec<PathBuf>, TemplateError> {
    let failed = |source| TemplateError::Read { path: directory.to_owned(), source };
    let mut paths = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn declarations_are_read_in_both_syntaxes() {
        let directory = directory(&[
            (
                "a.pkr.hcl",
                "packer {\n  required_plugins {\n  }\n}\nvariable \"node\" {\n  type = string\n}\nvariable \"cores\" {\n  default = 2\n}\nlocals {\n  x = 1\n}\n",
            ),
            ("b.pkr.json", r#"{"variable": {"token": {"sensitive": true}}}"#),
            ("notes.hcl", "not read ="),
        ]);
        let template = Template::read(directory.path()).unwrap();
        assert_eq!(template.variables, ["cores", "node", "token"].map(str::to_owned).into());
        assert_eq!(template.required, ["node", "token"].map(str::to_owned).into());
        assert!(template.requires_plugins);
    }

    #[test]
    fn a_file_of_automatic_variables_is_refused() {
        let directory = directory(&[("a.pkr.hcl", ""), ("x.auto.pkrvars.hcl", "token = 1")]);
        let error = Template::read(directory.path()).unwrap_err();
        assert!(
            matches!(&error, TemplateError::AutoVariables { path } if path.ends_with("x.auto.pkrvars.hcl")),
            "{error}"
        );
    }

    #[test]
    fn an_empty_or_broken_directory_is_reported_with_its_name() {
        assert!(matches!(Template::read(directory(&[]).path()), Err(TemplateError::Empty(_))));
        let error = Template::read(directory(&[("a.pkr.hcl", "variable \"x\" {\n")]).path()).unwrap_err();
        assert!(matches!(&error, TemplateError::Parse { path, .. } if path.ends_with("a.pkr.hcl")), "{error}");
        assert!(matches!(Template::read(Path::new("/nonexistent")), Err(TemplateError::Read { .. })));
    }
}
