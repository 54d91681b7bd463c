//! Where the Corefile comes from: flags, a file, or the ConfigMap kube-system/coredns; and what happens when it changes.
//!
//! A Corefile that cannot be used is told with its place. At the start that ends the program; later the old one stays.

mod config_map;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use dns::corefile::{self, Config, ServerBlock, Sources, System, To};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use tracing::{error, info, warn};

use super::endpoints;
use super::names::Dns;
use super::selection::Selection;
use config_map::Herald;

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
    /// The ConfigMap kube-system/coredns.
    ConfigMap {
        /// What serves without one.
        default: String,
        /// Where names outside are asked for when it says `/etc/resolv.conf`: a node of the cluster on this machine does not
        /// reach what the host's file names.
        resolver: Option<SocketAddr>,
        /// One that is of no use at the start ends the program; else the default serves until it is mended.
        must_be_good: bool,
    },
}

/// A Corefile that was read, in both forms: the one tells whether it has changed, the other is put to work.
pub(crate) struct Loaded {
    pub(crate) tree: Vec<ServerBlock>,
    pub(crate) config: Config,
    /// SHA-512 of the text, in hexadecimal.
    pub(crate) hash: String,
}

impl CorefileSource {
    /// Reads it.
    pub(crate) async fn load(&self, client: Option<&Client>) -> anyhow::Result<Loaded> {
        match &self.place {
            Place::Made(text) => self.read(text, "Corefile", dns_port(), &System),
            Place::File(file, port) => self.read_file(file, *port),
            Place::ConfigMap { must_be_good, .. } => match config_map::read(client).await {
                Some(map) => match self.read_map(&map) {
                    // It is read again, and told of, as soon as it is followed.
                    Err(_) if !must_be_good => self.read_default(),
                    loaded => loaded,
                },
                None => self.read_default(),
            },
        }
    }

    /// What serves without a ConfigMap.
    fn read_default(&self) -> anyhow::Result<Loaded> {
        let Place::ConfigMap { default, .. } = &self.place else { bail!("there is no default") };
        let mut loaded = self.read(default, "Corefile", dns_port(), &System)?;
        // Nobody asked for these: a node's ports are left to its programs.
        for block in &mut loaded.config.blocks {
            (block.health, block.ready, block.prometheus) = (None, None, None);
        }
        Ok(loaded)
    }

    fn read_file(&self, file: &Path, port: u16) -> anyhow::Result<Loaded> {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        self.read(&text, &file.display().to_string(), port, &System)
    }

    fn read_map(&self, map: &ConfigMap) -> anyhow::Result<Loaded> {
        let (text, name, keys) = config_map::text(map)?;
        let mut loaded = self.read(&text, &name, dns_port(), &keys)?;
        if let Place::ConfigMap { resolver: Some(resolver), .. } = self.place {
            for forward in loaded.config.blocks.iter_mut().flat_map(|block| &mut block.forward) {
                forward.to.iter_mut().filter(|to| is_hosts_file(to)).for_each(|to| *to = To::Dns(resolver));
            }
        }
        Ok(loaded)
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
        Ok(Loaded { tree, config, hash: sha512(text) })
    }

    /// Puts every change to work, until the program ends. `known` is what is at work, `node` is for Events.
    pub(crate) async fn follow(
        self,
        client: Option<Client>,
        dns: Arc<Dns>,
        known: Vec<ServerBlock>,
        node: String,
    ) {
        let selection = dns.with(|instance| Selection::of(instance.config()));
        let mut follower = Follower { dns: &dns, node: &node, known, selection };
        match (&self.place, client) {
            (Place::File(..), _) => self.follow_file(&mut follower).await,
            (Place::ConfigMap { .. }, Some(client)) => self.follow_map(client, &mut follower).await,
            (Place::Made(_) | Place::ConfigMap { .. }, _) => {}
        }
    }

    /// Looks at the file as often as `reload` says; without `reload`, at SIGUSR1 alone, as CoreDNS.
    async fn follow_file(&self, follower: &mut Follower<'_>) {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut asked) = signal(SignalKind::user_defined1()) else { return };
        let mut told = String::new();
        loop {
            match follower.dns.reload_pause() {
                Some(pause) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = asked.recv() => {}
                    }
                }
                None => drop(asked.recv().await),
            }
            // Reading again is cheap, and sees imported files that have changed.
            let loaded = match self.load(None).await {
                Ok(loaded) => {
                    told.clear();
                    loaded
                }
                // The same mistake is told once.
                Err(error) => {
                    let text = format!("{error:#}");
                    if text != told {
                        follower.dns.reload_failed(&error);
                        told = text;
                    }
                    continue;
                }
            };
            if let Err(error) = follower.take_up(loaded) {
                follower.dns.reload_failed(&error);
            }
        }
    }

    /// Every change of the ConfigMap; one that is of no use is told by an Event too. When it goes, the default serves.
    async fn follow_map(&self, client: Client, follower: &mut Follower<'_>) {
        let herald = Herald::new(&client, follower.node);
        let mut watch = config_map::Watch::start(&client);
        while let Some(map) = watch.next().await {
            let loaded = match &map {
                Some(map) => self.read_map(map),
                None => self.read_default(),
            };
            if let (Err(error), Some(map)) = (loaded.and_then(|loaded| follower.take_up(loaded)), &map) {
                follower.dns.reload_failed(&error);
                herald.refused(map, &error).await;
            }
        }
    }
}

/// What follows a Corefile.
struct Follower<'f> {
    dns: &'f Dns,
    /// The node's name, for Events.
    node: &'f str,
    /// What is at work, or was tried last.
    known: Vec<ServerBlock>,
    /// Which objects are watched, from the start to the end of the program.
    selection: Selection,
}

impl Follower<'_> {
    /// Reloads when the Corefile differs from the one at work.
    ///
    /// # Errors
    /// When it cannot be put to work; the old one stays, and this one is not tried again until it changes.
    fn take_up(&mut self, loaded: Loaded) -> anyhow::Result<()> {
        if self.known == loaded.tree {
            return Ok(());
        }
        self.known.clone_from(&loaded.tree);
        ensure!(
            self.selection.covers(&Selection::of(&loaded.config)),
            "labels, namespace_labels, noendpoints, endpoint_pod_names and pods verified of the kubernetes plugin cannot be changed while it runs: \
             start the program again"
        );
        if self.dns.with(|instance| endpoints::places(instance.config())) != endpoints::places(&loaded.config)
        {
            warn!("health, ready and prometheus stay where they are until the program starts again");
        }
        self.dns.reload(loaded.config)?;
        self.dns.at_work(&loaded.hash);
        info!("the Corefile has changed and is at work");
        Ok(())
    }
}

impl Dns {
    /// Tells which Corefile is at work, when it is one that is followed.
    pub(crate) fn at_work(&self, hash: &str) {
        const INFO: &str = "coredns_reload_version_info";
        self.metrics.clear(INFO);
        if self.with(|instance| instance.config().blocks.iter().any(|block| block.reload.is_some())) {
            self.metrics.set(INFO, &[("hash", "sha512"), ("value", hash)], 1);
        }
    }

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

/// The hash of a text, in hexadecimal.
fn sha512(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA512, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hosts_file(to: &To) -> bool {
    matches!(to, To::File(file) if file == Path::new("/etc/resolv.conf"))
}

fn dns_port() -> u16 {
    super::DNS_PORT
}
