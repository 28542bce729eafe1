//! Scopes in which runners are registered.

/// The scope of a runner's registration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A repository, as `owner/name`.
    Repository(String),
    /// An organization, by login.
    Organization(String),
    /// An enterprise, by slug.
    Enterprise(String),
}

impl Scope {
    /// Returns the part of URLs that names the scope.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Repository(name) | Self::Organization(name) => name.clone(),
            Self::Enterprise(slug) => format!("enterprises/{slug}"),
        }
    }

    /// Returns true if both are the same scope. GitHub ignores case in names.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Repository(a), Self::Repository(b))
            | (Self::Organization(a), Self::Organization(b))
            | (Self::Enterprise(a), Self::Enterprise(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }
}
