//! Selectors: which objects a list, a watch or a controller means, by labels and by fields.
//!
//! The grammar and the refusals are kube-apiserver's (`apimachinery/pkg/labels`, `apimachinery/pkg/fields`). Matching works
//! on the JSON of an object, so that nothing needs to be decoded for it.

mod fields;
mod grammar;
mod labels;

pub use fields::FieldSelector;
pub use labels::{LabelSelector, Operator, Requirement};

/// A selector that cannot be understood; the text is the API's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);
