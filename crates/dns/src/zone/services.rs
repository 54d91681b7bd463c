//! One Service's names, compact, and the key they are found by.

use std::borrow::Borrow;
use std::net::IpAddr;
use std::sync::Arc;

use services::ServiceName;

use super::Endpoints;
use super::endpoints::NamedPort;
use crate::name::{Name, labels, push_label};

/// The labels `service.namespace` in lower-case wire form without a root: exactly what stands in a question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServiceKey(Arc<[u8]>);

impl ServiceKey {
    /// `None` when the Service's name cannot be a label; such a Service has no names.
    pub(crate) fn new(name: &ServiceName) -> Option<Self> {
        let mut key = Vec::with_capacity(name.name.len() + name.namespace.len() + 2);
        push_label(&mut key, &name.name)?;
        push_label(&mut key, &name.namespace)?;
        Some(Self(key.into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Service and namespace.
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        let mut labels = labels(&self.0);
        (labels.next().unwrap_or_default(), labels.next().unwrap_or_default())
    }
}

impl Borrow<[u8]> for ServiceKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// How the Service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By virtual IPs, in the Service's order.
    ClusterIps { addresses: Box<[IpAddr]>, ports: Box<[NamedPort]> },
    /// By its endpoints.
    Headless,
    /// By another name.
    ExternalName(Name),
}

/// All that is known of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceRecords {
    pub(crate) kind: Kind,
    pub(crate) endpoints: Endpoints,
}

impl ServiceRecords {
    pub(crate) fn cluster_ips(&self) -> &[IpAddr] {
        match &self.kind {
            Kind::ClusterIps { addresses, .. } => addresses,
            _ => &[],
        }
    }
}
