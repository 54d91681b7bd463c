//! What `kubernetes` is told.

use std::path::PathBuf;

use crate::corefile::error::Position;
use crate::name::Name;
use crate::zone::Pods;

/// `kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// Where it stands, for messages.
    pub position: Position,
    /// Its zones in order.
    pub zones: Vec<Name>,
    /// Address of the API.
    pub endpoint: Option<String>,
    /// A kubeconfig, with the name of a context.
    pub kubeconfig: Option<(PathBuf, Option<String>)>,
    /// Certificate, key and authority to reach the API with.
    pub tls: Option<[PathBuf; 3]>,
    /// Namespaces that are served; empty serves all.
    pub namespaces: Vec<String>,
    /// Label selector of objects.
    pub labels: Option<String>,
    /// Label selector of namespaces.
    pub namespace_labels: Option<String>,
    /// Pod names.
    pub pods: Pods,
    /// Endpoints are called by their pods' names.
    pub endpoint_pod_names: bool,
    /// Lifetime of records in seconds.
    pub ttl: u32,
    /// Endpoints have no names.
    pub noendpoints: bool,
    /// A Service without ready endpoints does not exist.
    pub ignore_empty_service: bool,
    /// Names below these go on to the next plugin when they do not exist.
    pub fallthrough: Vec<Name>,
}

impl Kubernetes {
    /// True when both ask one API for the same objects.
    pub(crate) fn sees_the_same(&self, other: &Self) -> bool {
        let view = |one: &Self| {
            let reached = (one.endpoint.clone(), one.kubeconfig.clone(), one.tls.clone());
            (reached, one.labels.clone(), one.namespace_labels.clone(), one.noendpoints)
        };
        view(self) == view(other)
    }

    /// True when both are one but for their zones and which of them fall through.
    pub(crate) fn differs_in_zones_only(&self, other: &Self) -> bool {
        let (position, zones, fallthrough) =
            (self.position.clone(), self.zones.clone(), self.fallthrough.clone());
        *self == Self { position, zones, fallthrough, ..other.clone() }
    }
}
