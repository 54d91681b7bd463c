//! How an agent watches a kind: as a list that a watch begins with, object by object, where the API can do that (KEP-3157);
//! else in pages.
//!
//! Only what the API answers decides for pages: that it is too old, that it tells nobody its version, or that it refuses
//! such a watch. One that cannot be reached has said nothing, and is asked again until it answers.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::causes::chain;

/// Objects of a page, where lists cannot be streamed: all of a page is held at once.
const PAGE_OBJECTS: u32 = 250;

/// The first minor version of the API whose watches begin with a list unless they are told not to.
const STREAMED_SINCE: u32 = 32;

/// The longest pause between two questions for the version.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How kinds are watched.
pub(super) struct Watching {
    client: Client,
    /// Lists come object by object, so that none is ever held whole.
    streams: bool,
}

impl Watching {
    /// Asks the API what it can do, until it answers.
    pub(super) async fn begin(client: Client) -> Self {
        let mut pauses = DefaultBackoff::default();
        loop {
            match streams_lists(client.apiserver_version().await) {
                Ok(streams) => return Self { client, streams },
                Err(error) => {
                    warn!("the API cannot be asked for its version, tried again: {}", chain(&error))
                }
            }
            tokio::time::sleep(pauses.next().unwrap_or(PAUSE_MAX)).await;
        }
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
        let accepted = streamed.take_while(|event| {
            let refused = is_unstreamed(event);
            if refused {
                info!(kind = %K::kind(&()), "the API does not stream lists: it is asked for pages");
            }
            std::future::ready(!refused)
        });
        lift(accepted.chain(listed), wrap, failed).boxed()
    }
}

/// Whether the API may be asked for a list as the beginning of a watch. An older one would ignore that, and the list would
/// never end; so would one that does not tell its version. An error: there is no answer yet.
fn streams_lists(answer: Result<Info, kube::Error>) -> Result<bool, kube::Error> {
    let version = match answer {
        Ok(version) => version,
        // Not 401, which a token that was just made gets, nor what an API says that is busy or has just started.
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404) => return Ok(false),
        Err(kube::Error::SerdeError(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let minor = version.minor.trim_end_matches(|c: char| !c.is_ascii_digit());
    Ok(version.major == "1" && minor.parse::<u32>().is_ok_and(|minor| minor >= STREAMED_SINCE))
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

#[cfg(test)]
mod tests;
