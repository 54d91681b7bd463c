//! Where the Corefile comes from: flags, a file, or the ConfigMap kube-system/coredns; and what happens when it changes.
//!
//! A Corefile that cannot be used is told with its place. At the start that ends the program; later the old one stays.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use dns::corefile::{self, Config, ServerBlock, Sources, System};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tracing::{error, info, warn};

use super::endpoints;
use super::names::Dns;

/// kubeadm's name for it.
const CONFIG_MAP: &str = "coredns";
const NAMESPACE: &str = "kube-system";
/// The key of the ConfigMap.
const KEY: &str = "Corefile";

/// A Corefile and what to do with what is not served.
#[derive(Clone, Debug)]
pub(crate) struct CorefileSource {
    /// Where it is.
    pub(crate) place: Place,
    /// Plugins and options that are not served are left out instead of being an error.
    pub(crate) skip_unsupported: bool,
}

/// Where a Corefile is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Made from flags.
    Made(String),
    /// A file, and the port of keys without one.
    File(PathBuf, u16),
    /// The ConfigMap, and what serves without one.
    ConfigMap(String),
}

/// A Corefile that was read, in both forms: the one tells whether it has changed, the other is put to work.
pub(crate) struct Loaded {
    pub(crate) tree: Vec<ServerBlock>,
    pub(crate) config: Config,
}

impl CorefileSource {
    /// Reads it.
    pub(crate) async fn load(&self, client: Option<&Client>) -> anyhow::Result<Loaded> {
        match &self.place {
            Place::Made(text) => self.read(text, "Corefile", dns_port(), &System),
            Place::File(file, port) => self.read_file(file, *port),
            Place::ConfigMap(default) => match read_config_map(client).await {
                Some(map) => self.read_map(&map),
                None => {
                    let mut loaded = self.read(default, "Corefile", dns_port(), &System)?;
                    // Nobody asked for these: a node's ports are left to its programs.
                    for block in &mut loaded.config.blocks {
                        (block.health, block.ready, block.prometheus) = (None, None, None);
                    }
                    Ok(loaded)
                }
            },
        }
    }

    fn read_file(&self, file: &std::path::Path, port: u16) -> anyhow::Result<Loaded> {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        self.read(&text, &file.display().to_string(), port, &System)
    }

    fn read_map(&self, map: &ConfigMap) -> anyhow::Result<Loaded> {
        let keys = map.data.clone().unwrap_or_default();
        let text =
            keys.get(KEY).with_context(|| format!("{NAMESPACE}/{CONFIG_MAP} has no key {KEY}"))?.clone();
        self.read(&text, &format!("{NAMESPACE}/{CONFIG_MAP}/{KEY}"), dns_port(), &Keys(keys))
    }

    fn read(&self, text: &str, file: &str, port: u16, sources: &dyn Sources) -> anyhow::Result<Loaded> {
        let tree = corefile::parse(text, file, sources)?;
        let config = corefile::read(text, file, port, sources)?;
        for unsupported in &config.unsupported {
            warn!("{unsupported}");
        }
        if let (Some(first), false) = (config.unsupported.first(), self.skip_unsupported) {
            bail!("{first}; --skip-unsupported goes on without what is not served");
        }
        Ok(Loaded { tree, config })
    }

    /// Puts every change to work, until the program ends. `known` is what is at work.
    pub(crate) async fn follow(self, client: Option<Client>, dns: Arc<Dns>, known: Vec<ServerBlock>) {
        match &self.place {
            Place::Made(_) => {}
            Place::File(..) => self.follow_file(&dns, known).await,
            Place::ConfigMap(_) => {
                if let Some(client) = client {
                    self.follow_map(client, &dns, known).await;
                }
            }
        }
    }

    /// Looks at the file as often as `reload` says; without `reload`, at SIGUSR1 alone, as CoreDNS.
    async fn follow_file(&self, dns: &Dns, mut known: Vec<ServerBlock>) {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut asked) = signal(SignalKind::user_defined1()) else { return };
        let mut told = String::new();
        loop {
            match dns.reload_pause() {
                Some(pause) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = asked.recv() => {}
                    }
                }
                None => drop(asked.recv().await),
            }
            // Reading again is cheap, and sees imported files that have changed.
            match self.load(None).await {
                Ok(loaded) => {
                    told.clear();
                    take_up(dns, &mut known, loaded);
                }
                // The same mistake is told once.
                Err(error) => {
                    let text = format!("{error:#}");
                    if text != told {
                        dns.reload_failed(&error);
                        told = text;
                    }
                }
            }
        }
    }

    async fn follow_map(&self, client: Client, dns: &Dns, mut known: Vec<ServerBlock>) {
        let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let only = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
        let mut maps = watcher(api, only).default_backoff().applied_objects().boxed();
        while let Some(event) = maps.next().await {
            let Ok(map) = event else { continue };
            match self.read_map(&map) {
                Ok(loaded) => take_up(dns, &mut known, loaded),
                Err(error) => dns.reload_failed(&error),
            }
        }
    }
}

/// Reloads when the Corefile differs from the one at work.
fn take_up(dns: &Dns, known: &mut Vec<ServerBlock>, loaded: Loaded) {
    if *known == loaded.tree {
        return;
    }
    // One that fails is not tried again until it changes.
    known.clone_from(&loaded.tree);
    if dns.with(|instance| endpoints::places(instance.config())) != endpoints::places(&loaded.config) {
        warn!("health, ready and prometheus stay where they are until the program starts again");
    }
    match dns.reload(loaded.config) {
        Ok(()) => info!("the Corefile has changed and is at work"),
        Err(error) => dns.reload_failed(&error),
    }
}

impl Dns {
    fn reload_failed(&self, error: &anyhow::Error) {
        error!("the Corefile is of no use, the old one stays: {error:#}");
        self.metrics.add("coredns_reload_failed_total", &[], 1);
    }

    /// How long to wait before the file is looked at again.
    fn reload_pause(&self) -> Option<Duration> {
        let reload = self.with(|instance| instance.config().blocks.iter().find_map(|block| block.reload))?;
        let spread = reload.jitter.as_secs_f64();
        let shift = spread * (rand::random::<f64>() - 0.5);
        Some(Duration::from_secs_f64((reload.interval.as_secs_f64() + shift).max(1.0)))
    }
}

fn dns_port() -> u16 {
    super::DNS_PORT
}

/// The ConfigMap; `None` when there is none, or it may not be read.
async fn read_config_map(client: Option<&Client>) -> Option<ConfigMap> {
    let api: Api<ConfigMap> = Api::namespaced(client?.clone(), NAMESPACE);
    match api.get_opt(CONFIG_MAP).await {
        Ok(map) => map.filter(|map| map.data.as_ref().is_some_and(|keys| keys.contains_key(KEY))),
        Err(error) => {
            warn!("the ConfigMap {NAMESPACE}/{CONFIG_MAP} is not read, kubeadm's Corefile serves: {error}");
            None
        }
    }
}

/// The keys of a ConfigMap, which are files in the folder where CoreDNS has it mounted.
struct Keys(std::collections::BTreeMap<String, String>);

impl Sources for Keys {
    fn variable(&self, name: &str) -> Option<String> {
        System.variable(name)
    }

    fn files(&self, pattern: &str, importer: &str) -> io::Result<Vec<(String, String)>> {
        let name = pattern.rsplit('/').next().unwrap_or_default();
        let keys = self.0.iter().filter(|(key, _)| corefile::matches(name, key));
        let files: Vec<_> = keys.map(|(key, text)| (key.clone(), text.clone())).collect();
        // A ConfigMap of its own that is mounted beside it is no part of this one.
        if files.is_empty() { System.files(pattern, importer) } else { Ok(files) }
    }
}
