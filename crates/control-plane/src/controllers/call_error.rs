//! Why a call of a controller failed, told in one sentence.
//!
//! kube's own text of a refusal ends with the whole Status in Rust's debug form; people read these lines in logs and
//! when a cluster does not start, so the server's message stands alone. Nothing is decided here.

use std::error::Error;
use std::fmt;
use std::ops::Deref;

/// A failed call, displayed as the server's message if there is one.
#[derive(Debug)]
pub(crate) struct CallError(Box<kube::Error>);

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        Self(Box::new(error))
    }
}

impl Deref for CallError {
    type Target = kube::Error;

    fn deref(&self) -> &kube::Error {
        &self.0
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            kube::Error::Api(status) => f.write_str(&status.message),
            other => other.fmt(f),
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            kube::Error::Api(_) => None,
            other => other.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_message_alone() {
        let status = Status::failure("the disk is full", "InternalError").with_code(500);
        let error = CallError::from(kube::Error::Api(status.boxed()));
        assert_eq!(error.to_string(), "the disk is full");
        assert!(error.source().is_none());
    }
}
