//! The proxy of one node in this process, without the API.

use anyhow::Result;
use dataplane::forwarding_table::{ForwardingTable, NodeFacts};
use dataplane::reconcile::{Reconciler, Synced};
use services::Model;

/// From objects to the kernel of this namespace.
pub(crate) struct Node {
    pub(crate) model: Model,
    pub(crate) table: ForwardingTable,
    pub(crate) reconciler: Reconciler,
}

impl Node {
    pub(crate) fn open() -> Result<Self> {
        let facts = NodeFacts::new("worker-1", ["10.96.0.0/12".parse()?]);
        Ok(Self { model: Model::new(), table: ForwardingTable::new(facts), reconciler: Reconciler::open()? })
    }

    /// Programs what has changed in the model.
    pub(crate) fn sync(&mut self) -> Result<Synced> {
        let changes = self.model.take_changes();
        let touched = self.table.update(&self.model.snapshot(), &changes);
        Ok(self.reconciler.sync(&self.table, &touched)?)
    }
}
