//! Names of nodes in attributes.

use ownership::{NameError, NodeName};
use tf_provider::{Attr, Diagnostic};

use crate::diagnostics;

/// Checks the name of a node while the configuration is validated.
pub(crate) fn good_node(text: &str) -> Result<(), String> {
    text.parse::<NodeName>().map(drop).map_err(|error| error.to_string())
}

/// Reads the name of a node from the argument `node`.
pub(crate) fn parse(text: &str) -> Result<NodeName, Diagnostic> {
    text.parse().map_err(|error: NameError| diagnostics::refused_argument("node", "the node", &error))
}

/// Returns the node of a resource that exists, or of a plan that is being applied.
pub(crate) fn known(node: &Attr<String>) -> Result<NodeName, Diagnostic> {
    parse(node.require("node")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_node_can_have_is_refused_at_its_attribute() {
        assert_eq!(known(&"pve1".into()).unwrap().as_str(), "pve1");
        let refused = known(&"pve1.example.net".into()).unwrap_err();
        assert_eq!((refused.summary.as_str(), refused.path.to_string()), ("Unable to use the node", "node".to_owned()));
        assert!(known(&Attr::Null).is_err());
    }
}
