//! Cluster DNS: the service model in, answers on the wire out.
//!
//! ```text
//! services::Snapshot + Changes ─► zone (immutable, published as Arc) ─► answer (bytes in, bytes out) ─► server (UDP, TCP)
//!                                                                          └─ not ours ─► chain ─► upstream resolvers
//! ```
//! [`zone`] and [`answer`] are pure: no I/O, no clock, no lock, and `answer` allocates nothing. [`server`] owns the
//! sockets and the threads, [`chain`] asks others. The crate reads no Kubernetes API and knows no namespaces: sockets
//! may be made elsewhere and handed in.
//!
//! Whoever owns the model publishes:
//!
//! ```no_run
//! # fn now() -> u32 { 0 }
//! use std::sync::Arc;
//! use dns::server::{Server, Sockets};
//! use dns::zone::{Zone, ZoneConfig};
//!
//! let mut model = services::Model::new();
//! let mut zone = Zone::build(Arc::new(ZoneConfig::cluster("cluster.local")?), &model.snapshot(), now());
//! let sockets = Sockets::bind("10.96.0.10:53".parse()?, Sockets::default_workers())?;
//! let server = Server::start(Arc::new(zone.clone()), dns::resolv_conf::host_upstreams(&[]), vec![sockets])?;
//! // After the first full list:
//! server.set_synced(true);
//! // After each change:
//! zone = zone.update(&model.snapshot(), &model.take_changes(), now());
//! server.publish(Arc::new(zone.clone()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The contract is the Kubernetes DNS specification 1.1.0 with what CoreDNS adds to it.

pub mod answer;
pub mod chain;
pub mod corefile;
pub mod datagrams;
pub mod instance;
pub mod lookup;
pub mod message;
pub mod metrics;
pub mod name;
pub mod relay;
pub mod resolv_conf;
pub mod search_path;
pub mod server;
pub mod tap;
pub mod zone;
