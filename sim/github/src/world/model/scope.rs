//! Where runners are registered.

/// Where a runner is registered.
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
    /// What names it in URLs.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Repository(name) | Self::Organization(name) => name.clone(),
            Self::Enterprise(slug) => format!("enterprises/{slug}"),
        }
    }

    /// Whether it is the same; GitHub ignores case in names.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Repository(a), Self::Repository(b))
            | (Self::Organization(a), Self::Organization(b))
            | (Self::Enterprise(a), Self::Enterprise(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }
}
