//! Which objects an agent watches: what its halves need, and no more. How they are watched is `watching`'s.

use services::Detail;

/// Which objects are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Namespaces: DNS needs them, the proxy does not.
    pub(crate) namespaces: bool,
    /// Pods, for `pods verified`.
    pub(crate) pods: bool,
    /// Label selector of Services.
    pub(super) labels: Option<String>,
    /// Label selector of EndpointSlices.
    pub(super) slice_labels: Option<String>,
    /// Label selector of Namespaces.
    pub(super) namespace_labels: Option<String>,
    /// No EndpointSlices.
    pub(super) noendpoints: bool,
    /// What the model keeps of endpoints.
    pub(super) detail: Detail,
}

impl Selection {
    /// What a proxy alone needs: what another proxy forwards, and the endpoints of headless Services, never take up its
    /// memory (kube-proxy's informers).
    pub(crate) fn forwarded() -> Self {
        Self {
            labels: Some("!service.kubernetes.io/service-proxy-name".to_owned()),
            slice_labels: Some("!service.kubernetes.io/headless".to_owned()),
            ..Self::default()
        }
    }

    /// What the `kubernetes` plugin of this Corefile wants to see.
    pub(crate) fn of(config: &dns::corefile::Config) -> Self {
        let kubernetes = config.blocks.iter().find_map(|block| block.kubernetes.as_ref());
        let Some(kubernetes) = kubernetes else { return Self::default() };
        Self {
            namespaces: true,
            pods: kubernetes.pods == dns::zone::Pods::Verified,
            labels: kubernetes.labels.clone(),
            slice_labels: kubernetes.labels.clone(),
            namespace_labels: kubernetes.namespace_labels.clone(),
            noendpoints: kubernetes.noendpoints,
            detail: Detail { placement: false, pods: kubernetes.endpoint_pod_names },
        }
    }

    /// The same with everything about each object, for a proxy beside the names.
    pub(crate) fn with_all_detail(self) -> Self {
        Self { detail: Detail::default(), ..self }
    }

    /// True when whoever watches this sees all that `other` wants to see.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let same = (&self.labels, &self.namespace_labels) == (&other.labels, &other.namespace_labels);
        let nothing = Self { detail: other.detail, ..Self::default() };
        *other == nothing
            || (same
                && self.namespaces
                && self.noendpoints == other.noendpoints
                && (self.detail.pods || !other.detail.pods)
                && (self.pods || !other.pods))
    }

    /// True when no object is left out.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.namespace_labels.is_none() && !self.noendpoints
    }
}
