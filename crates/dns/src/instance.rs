//! A Corefile at work: one server for each set of addresses, the zone that they answer from, and what is read again when
//! the file changes.
//!
//! ```text
//! Config ─► plan (which blocks listen where) ─► Server + Chain for each group
//! Snapshot + Changes ─► one Zone for each kind of configuration ─► published to the groups
//! ```
//! A reload keeps sockets whose addresses stay, so no query is lost; the new plugins are made first, and when that fails
//! nothing has changed. Counts outlive it.

mod addresses;
mod plan;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use services::{Changes, Snapshot};

use crate::chain::{Chain, ChainError, Sink, Surroundings};
use crate::corefile::Config;
use crate::metrics::Metrics;
use crate::server::{Counts, Server, ServerError, Sockets};
use crate::zone::{PodTable, Zone, ZoneConfig};
use plan::Group;

/// Why a Corefile cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// A socket or a thread.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A plugin.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The addresses of this machine cannot be read.
    #[error("cannot read the addresses of this machine")]
    Addresses(#[source] nix::Error),
    /// `bind` names an interface that is not there.
    #[error("{position}: there is no interface {name:?} with an address to bind to")]
    Interface {
        /// Where it is named.
        position: crate::corefile::Position,
        /// Its name.
        name: String,
    },
    /// A Corefile without a server block.
    #[error("the Corefile has no server block: write one such as \".:53 {{ … }}\"")]
    Empty,
}

/// What an instance is started with besides its Corefile.
#[derive(Clone)]
pub struct Options {
    /// Where blocks without `bind` listen; empty: on every address of this machine.
    pub listen: Vec<IpAddr>,
    /// Servers of cluster names take no queries before the first update or [`Instance::open`]: another server on the same
    /// addresses, or another node's, gives better answers than SERVFAIL.
    pub hold: bool,
    /// UDP threads for each address.
    pub workers: usize,
    /// Where counts go.
    pub metrics: Arc<Metrics>,
    /// Where the lines of `log` and `errors` go.
    pub sink: Sink,
}

/// Servers of one group of addresses.
struct Running {
    group: Group,
    server: Server,
    chain: Arc<Chain>,
}

/// A Corefile at work. Dropping it stops it.
pub struct Instance {
    options: Options,
    config: Config,
    running: Vec<Running>,
    /// One for each different configuration of the `kubernetes` plugin.
    zones: Vec<Arc<Zone>>,
    snapshot: Snapshot,
    pods: PodTable,
    serial: u32,
    synced: bool,
    opened: bool,
}

impl Instance {
    /// Listens and answers, unless it is to hold: SERVFAIL for names of the cluster until the first update.
    ///
    /// # Errors
    /// [`InstanceError`] when an address, a file or a thread cannot be had; nothing is left behind.
    pub fn start(config: Config, options: Options) -> Result<Self, InstanceError> {
        let opened = !options.hold;
        let mut instance = Self {
            opened,
            options,
            config: Config::default(),
            running: Vec::new(),
            zones: Vec::new(),
            snapshot: Snapshot::default(),
            pods: PodTable::default(),
            serial: 0,
            synced: false,
        };
        instance.reload(config)?;
        Ok(instance)
    }

    /// Answers as this Corefile says from now on.
    ///
    /// # Errors
    /// [`InstanceError`]; then everything goes on as before.
    pub fn reload(&mut self, config: Config) -> Result<(), InstanceError> {
        let groups = plan::groups(&config, &self.options.listen)?;
        let around = self.surroundings(&groups);
        let chains = groups.iter().map(|group| group.chain(&config, &around));
        let chains = chains.collect::<Result<Vec<_>, _>>()?;
        let zones = self.build_zones(&chains);
        // Sockets that are new are opened before anything changes.
        let mut fresh = Vec::new();
        for (group, chain) in groups.iter().zip(&chains) {
            let stays = self.running.iter().any(|running| running.group.is_same_place(group));
            fresh.push(if stays { None } else { Some(self.listen(group, chain, group.sockets(&config))?) });
        }
        let mut old = std::mem::take(&mut self.running);
        for ((group, chain), fresh) in groups.into_iter().zip(chains).zip(fresh) {
            let place = old.iter().position(|running| running.group.is_same_place(&group));
            let server = match (fresh, place) {
                (Some(server), _) => server,
                (None, Some(place)) => old.swap_remove(place).server,
                (None, None) => continue,
            };
            self.running.push(Running { group, server, chain });
        }
        drop(old);
        (self.config, self.zones) = (config, zones);
        self.publish();
        self.running.iter().for_each(|running| running.server.set_chain(Arc::clone(&running.chain)));
        self.report_plugins();
        Ok(())
    }

    fn surroundings(&self, groups: &[Group]) -> Surroundings {
        let addresses = |wanted: &dyn Fn(&SocketAddr) -> bool| {
            let all =
                groups.iter().flat_map(|group| group.addresses.iter().filter(|address| wanted(address)));
            let mut addresses: Vec<IpAddr> = all.map(SocketAddr::ip).collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses
        };
        Surroundings {
            own: addresses(&|_| true),
            avoid: addresses(&|address| address.port() == 53),
            metrics: Arc::clone(&self.options.metrics),
            sink: Arc::clone(&self.options.sink),
        }
    }

    /// Takes queries from now on, synced or not.
    pub fn open(&mut self) {
        self.opened = true;
        self.running.iter_mut().for_each(|running| running.server.open());
    }

    fn listen(
        &self,
        group: &Group,
        chain: &Arc<Chain>,
        sockets: Option<usize>,
    ) -> Result<Server, InstanceError> {
        let workers = sockets.unwrap_or(self.options.workers);
        let answers = self.opened || chain.zone_config().zones.is_empty();
        let make = if answers { Sockets::bind } else { Sockets::reserve };
        let sockets = group.addresses.iter().map(|address| make(*address, workers));
        let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
        let empty = Arc::new(Zone::empty(Arc::clone(chain.zone_config())));
        Ok(Server::start_chain(chain.hot_zone(&empty), Arc::clone(chain), sockets)?)
    }

    /// The zones of what is known now, one for each configuration.
    fn build_zones(&self, chains: &[Arc<Chain>]) -> Vec<Arc<Zone>> {
        let mut zones: Vec<Arc<Zone>> = Vec::new();
        for chain in chains {
            let config = chain.zone_config();
            if zones.iter().any(|zone| zone.config() == &**config) {
                continue;
            }
            let known = self.zones.iter().find(|zone| zone.config() == &**config);
            let build = || {
                let zone = Zone::build(Arc::clone(config), &self.snapshot, self.serial);
                Arc::new(zone.with_pods(self.pods.clone()))
            };
            zones.push(known.cloned().unwrap_or_else(build));
        }
        zones
    }

    /// Takes up what changed in the model; `serial` is the Unix second.
    pub fn update(&mut self, snapshot: &Snapshot, changes: &Changes, serial: u32) {
        (self.snapshot, self.serial) = (snapshot.clone(), serial);
        for zone in &mut self.zones {
            *zone = Arc::new(zone.update(snapshot, changes, serial));
        }
        self.synced = true;
        self.publish();
        self.open();
    }

    /// Takes up the cluster's pods, for `pods verified`.
    pub fn set_pods(&mut self, pods: PodTable) {
        self.zones.iter_mut().for_each(|zone| *zone = Arc::new(zone.with_pods(pods.clone())));
        self.pods = pods;
        self.publish();
    }

    fn publish(&self) {
        for running in &self.running {
            let config: &ZoneConfig = running.chain.zone_config();
            let Some(zone) = self.zones.iter().find(|zone| zone.config() == config) else { continue };
            running.chain.publish(Arc::clone(zone));
            running.chain.set_synced(self.synced);
            running.server.publish(running.chain.hot_zone(zone));
            running.server.set_synced(self.synced || config.zones.is_empty());
        }
    }

    fn report_plugins(&self) {
        let metrics = &self.options.metrics;
        metrics.clear("coredns_plugin_enabled");
        for running in &self.running {
            for (server, zone, plugin) in running.group.plugins(&self.config) {
                let pairs = [("server", &server[..]), ("zone", &zone[..]), ("view", ""), ("name", plugin)];
                metrics.set("coredns_plugin_enabled", &pairs, 1);
            }
        }
    }

    /// Stops all servers at once; returns when what they had received is answered (see [`Server::stop`]).
    pub fn stop(&mut self) {
        let running = std::mem::take(&mut self.running);
        std::thread::scope(|scope| {
            for running in running {
                scope.spawn(move || running.server.stop());
            }
        });
    }

    /// True when every name that the configuration serves can be answered.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced || self.config.blocks.iter().all(|block| block.kubernetes.is_none())
    }

    /// The Corefile at work.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The addresses listened on, with the ports that were really taken.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.running.iter().flat_map(|running| running.server.addresses()).copied().collect()
    }

    /// The zone of the first `kubernetes` plugin, for `sluice dump`.
    #[must_use]
    pub fn zone(&self) -> Option<Arc<Zone>> {
        self.zones.iter().find(|zone| !zone.config().zones.is_empty()).cloned()
    }

    /// What was done so far by all servers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.running.iter().map(|running| running.server.counts()) {
            total.queries += counts.queries;
            total.replies += counts.replies;
            total.forwarded += counts.forwarded;
            total.refused += counts.refused;
        }
        total
    }

    /// True when the hot path of every server answers the cluster's names by itself.
    #[must_use]
    pub fn is_hot(&self) -> bool {
        self.running.iter().all(|running| running.chain.is_hot())
    }
}
