//! The data planes under test: on each node of a cluster the product's reconciler, fed from the node's table, and its
//! sweeper of stale UDP flows on a thread of its own.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use dataplane::conntrack::{Conntrack, Sweep, Sweeper};
use dataplane::forwarding_table::{ForwardingTable, TableChanges};
use dataplane::reconcile::{self, Reconciler};
use dataplane::{Faults, NetlinkError};
use services::{Changes, Snapshot};

use super::feed::Known;
use crate::cluster::{self, Cluster, Namespace};

/// A plane that does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The test bed.
    #[error("no cluster to test in")]
    Cluster(#[from] cluster::Error),
    /// Connection tracking.
    #[error("stale flows cannot be swept on {node}")]
    Sweeper {
        /// Whose.
        node: String,
        /// Why.
        #[source]
        source: NetlinkError,
    },
    /// The reconciler.
    #[error("the plane of {node} failed")]
    Plane {
        /// Whose.
        node: String,
        /// Why.
        #[source]
        source: reconcile::Error,
    },
}

/// One node's plane.
#[derive(Debug)]
pub struct Plane {
    node: String,
    namespace: Namespace,
    table: ForwardingTable,
    reconciler: Reconciler,
    sweeper: Arc<Sweeper>,
    sweeping: Option<JoinHandle<()>>,
}

impl Plane {
    /// Opens the plane in a node's namespace.
    ///
    /// # Errors
    /// The kernel refuses nftables.
    pub fn open(namespace: &Namespace, table: ForwardingTable) -> Result<Self, Error> {
        let node = table.facts().name.to_string();
        let reconciler = namespace.run(Reconciler::open)?;
        let reconciler = reconciler.map_err(|source| Error::Plane { node: node.clone(), source })?;
        let conntrack = namespace.run(Conntrack::open)?;
        let mut conntrack = conntrack.map_err(|source| Error::Sweeper { node: node.clone(), source })?;
        let sweeper = Arc::new(Sweeper::new());
        let swept = Arc::clone(&sweeper);
        let sweeping = Some(thread::spawn(move || swept.run(&mut conntrack)));
        Ok(Self { node, namespace: namespace.clone(), table, reconciler, sweeper, sweeping })
    }

    /// The same with a table that knows everything already, as a process that starts anew has; returns how many
    /// elements the kernel lacked or had too many.
    ///
    /// # Errors
    /// The kernel refuses nftables or the difference.
    pub fn adopt(namespace: &Namespace, table: ForwardingTable) -> Result<(Self, usize), Error> {
        let mut plane = Self::open(namespace, table)?;
        let elements = plane.verify()?;
        Ok((plane, elements))
    }

    /// Takes over what changed and brings it to the kernel.
    ///
    /// # Errors
    /// The kernel refuses it for good.
    pub fn sync(&mut self, known: &Known, changes: &Changes) -> Result<(), Error> {
        let mut touched = TableChanges::default();
        if let Some(facts) = known.facts_of(&self.node) {
            touched = self.table.set_facts(facts, &known.snapshot);
        }
        touched.merge(self.table.update(&known.snapshot, changes));
        self.push(&touched)
    }

    /// The same where the node's facts stay as they are.
    ///
    /// # Errors
    /// As [`Plane::sync`].
    pub fn sync_snapshot(&mut self, snapshot: &Snapshot, changes: &Changes) -> Result<(), Error> {
        let touched = self.table.update(snapshot, changes);
        self.push(&touched)
    }

    fn push(&mut self, touched: &TableChanges) -> Result<(), Error> {
        let synced = self.reconciler.sync(&self.table, touched);
        let synced = synced.map_err(|source| Error::Plane { node: self.node.clone(), source })?;
        self.sweeper.push(Sweep::new(&self.table, &synced.stale));
        Ok(())
    }

    /// Compares the kernel with the table in full; returns how many elements had to be repaired.
    ///
    /// # Errors
    /// The kernel refuses it for good.
    pub fn verify(&mut self) -> Result<usize, Error> {
        let repaired = self.reconciler.verify(&self.table);
        repaired
            .map(|synced| synced.elements)
            .map_err(|source| Error::Plane { node: self.node.clone(), source })
    }

    /// Makes kernel calls fail.
    pub fn set_faults(&mut self, faults: Option<Box<dyn Faults>>) {
        self.reconciler.set_faults(faults);
    }

    /// What the kernel holds, in the text of the stage `nft`.
    ///
    /// # Errors
    /// The kernel's state cannot be read.
    pub fn dump(&self) -> Result<String, Error> {
        let lines = self.namespace.run(reconcile::dump)?;
        let lines = lines.map_err(|source| Error::Plane { node: self.node.clone(), source })?;
        Ok(lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect())
    }

    /// The table that it is fed from.
    #[must_use]
    pub fn table(&self) -> &ForwardingTable {
        &self.table
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.sweeper.close();
        if let Some(thread) = self.sweeping.take() {
            let _ = thread.join();
        }
    }
}

/// Opens a plane on every node of the cluster.
///
/// # Errors
/// The kernel refuses nftables.
pub fn open_all(cluster: &Cluster, known: &Known) -> Result<Vec<Plane>, Error> {
    let table = |node: &cluster::Node| ForwardingTable::new(known.node_facts(node.facts()));
    cluster.nodes().iter().map(|node| Plane::open(node.namespace(), table(node))).collect()
}
