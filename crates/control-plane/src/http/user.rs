//! Who asks: the subject of the client's certificate.
//!
//! Every certificate of the cluster's authority may do everything; roles come with a later version. The name serves
//! logs and `managedFields`-like records only.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::MASTERS;

/// The subject of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Common name.
    pub(crate) name: String,
    /// Organizations.
    pub(crate) groups: Vec<String>,
}

impl User {
    /// Who asks in process.
    pub(crate) fn admin() -> Self {
        Self { name: "system:admin".to_owned(), groups: vec![MASTERS.to_owned()] }
    }

    /// The subject of `certificate` (DER), which TLS has verified.
    pub(crate) fn from_certificate(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().find_map(|n| n.as_str().ok())?.to_owned();
        let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
        Some(Self { name, groups })
    }
}
