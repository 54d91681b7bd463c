//! Which objects an agent watches, and how: as a list that a watch begins with, object by object, where the API can do that;
//! else in pages.

use std::fmt::Debug;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
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

/// Objects of a page, where lists cannot be streamed: all of a page is held at once.
const PAGE_OBJECTS: u32 = 250;

/// The first minor version of the API whose watches begin with a list unless they are told not to (KEP-3157).
const STREAMED_SINCE: u32 = 32;

/// Whether the API may be asked for a list as the beginning of a watch. An older one would ignore that, and the list would
/// never end; so would one whose version is unknown.
async fn streams_lists(client: &Client) -> bool {
    let Ok(version) = client.apiserver_version().await else { return false };
    let minor = version.minor.trim_end_matches(|c: char| !c.is_ascii_digit());
    version.major == "1" && minor.parse::<u32>().is_ok_and(|minor| minor >= STREAMED_SINCE)
}

/// How kinds are watched.
pub(super) struct Watching {
    client: Client,
    /// Lists come object by object, so that none is ever held whole.
    streams: bool,
}

impl Watching {
    pub(super) async fn new(client: Client) -> Self {
        Self { streams: streams_lists(&client).await, client }
    }

    /// The events of one kind, or those of its objects that are asked for, without an end.
    pub(super) fn kind<K, I: 'static>(
        &self,
        which: watcher::Config,
        wrap: fn(Event<K>) -> I,
        failed: fn(watcher::Error) -> I,
    ) -> BoxStream<'static, I>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let listed = watcher(api.clone(), which.clone().page_size(PAGE_OBJECTS)).default_backoff();
        if !self.streams {
            return lift(listed, wrap, failed).boxed();
        }
        let streamed = watcher(api, which.streaming_lists()).default_backoff();
        let accepted = streamed.take_while(|event| std::future::ready(!is_unstreamed(event)));
        lift(accepted.chain(listed), wrap, failed).boxed()
    }
}

/// The answer of an API with the feature turned off.
fn is_unstreamed<K>(event: &Result<Event<K>, watcher::Error>) -> bool {
    let Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) = event else { return false };
    matches!(status.code, 400 | 422)
}

fn lift<K, I>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
    wrap: fn(Event<K>) -> I,
    failed: fn(watcher::Error) -> I,
) -> impl Stream<Item = I> + Send + 'static
where
    K: Send + 'static,
    I: 'static,
{
    events.map(move |event| event.map_or_else(failed, wrap))
}
