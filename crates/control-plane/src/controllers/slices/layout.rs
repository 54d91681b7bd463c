//! Packing of endpoints into slices, as Kubernetes' endpointslice reconciler does it.
//!
//! First every slice keeps what is still wanted of it. What is new fills the slices that change anyway, the
//! fullest first; the rest goes into the fullest slice that takes all of it, or into new slices. Nothing is
//! moved to balance slices: each write goes to every node.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{Port, Wanted};

/// Which slice gets what.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Slices that stay, with their endpoints (perhaps the same as before).
    pub(super) kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)>,
    /// Slices to be made.
    pub(super) new: Vec<(Vec<Port>, Vec<Endpoint>)>,
    /// Slices with nothing left in them.
    pub(super) emptied: Vec<Arc<EndpointSlice>>,
}

/// One slice while it is packed.
struct Packing {
    slice: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    changed: bool,
}

/// Packs `wanted` into `held` and new slices of at most `capacity` endpoints.
pub(super) fn layout(
    held: &[Arc<EndpointSlice>],
    wanted: Wanted,
    capacity: usize,
    placeholder: bool,
) -> Layout {
    let mut by_ports: HashMap<Vec<Port>, Vec<Arc<EndpointSlice>>> = HashMap::new();
    for slice in held {
        let mut ports: Vec<_> = slice.ports.iter().flatten().map(Port::of).collect();
        ports.sort();
        by_ports.entry(ports).or_default().push(slice.clone());
    }
    let mut layout = Layout::default();
    for (ports, endpoints) in wanted {
        let held = by_ports.remove(&ports).unwrap_or_default();
        pack(&mut layout, ports, &held, endpoints, capacity);
    }
    layout.emptied.extend(by_ports.into_values().flatten());
    layout.emptied.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    if placeholder && layout.kept.is_empty() && layout.new.is_empty() {
        keep_placeholder(&mut layout);
    }
    layout
}

/// The slice without endpoints and ports that says that there are none.
fn keep_placeholder(layout: &mut Layout) {
    let is_blank = |slice: &Arc<EndpointSlice>| slice.ports.as_ref().is_none_or(Vec::is_empty);
    match layout.emptied.iter().position(is_blank) {
        Some(index) => {
            let slice = layout.emptied.remove(index);
            layout.kept.push((slice, Vec::new()));
        }
        None => layout.new.push((Vec::new(), Vec::new())),
    }
}

fn pack(
    layout: &mut Layout,
    ports: Vec<Port>,
    held: &[Arc<EndpointSlice>],
    wanted: Vec<Endpoint>,
    capacity: usize,
) {
    let mut missing: HashMap<_, _> =
        wanted.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    let mut packings: Vec<_> = held.iter().map(|slice| keep(slice, &mut missing)).collect();
    let mut missing: Vec<_> = missing.into_values().collect();
    missing.sort_by_key(identity);
    // Fill what changes anyway, the fullest first.
    packings.sort_by_key(|packing| std::cmp::Reverse((packing.changed, packing.endpoints.len())));
    for packing in packings.iter_mut().filter(|packing| packing.changed && !packing.endpoints.is_empty()) {
        fill(packing, &mut missing, capacity);
    }
    while !missing.is_empty() {
        let rest = missing.len() % capacity;
        let fits = |packing: &&mut Packing| {
            !packing.changed
                && rest > 0
                && missing.len() < capacity
                && packing.endpoints.len() + rest <= capacity
        };
        match packings.iter_mut().filter(fits).max_by_key(|packing| packing.endpoints.len()) {
            Some(packing) => fill(packing, &mut missing, capacity),
            None => {
                let batch = missing.split_off(missing.len().saturating_sub(capacity));
                layout.new.push((ports.clone(), batch));
            }
        }
    }
    for packing in packings {
        if packing.endpoints.is_empty() {
            layout.emptied.push(packing.slice);
        } else {
            layout.kept.push((packing.slice, packing.endpoints));
        }
    }
}

/// What is still wanted of a slice, in its order, as it should be now.
fn keep(slice: &Arc<EndpointSlice>, missing: &mut HashMap<(Vec<String>, String), Endpoint>) -> Packing {
    let before = slice.endpoints.as_deref().unwrap_or_default();
    let endpoints: Vec<_> =
        before.iter().filter_map(|endpoint| missing.remove(&identity(endpoint))).collect();
    let changed = endpoints != before;
    Packing { slice: slice.clone(), endpoints, changed }
}

fn fill(packing: &mut Packing, missing: &mut Vec<Endpoint>, capacity: usize) {
    let room = capacity.saturating_sub(packing.endpoints.len()).min(missing.len());
    packing.endpoints.extend(missing.drain(..room));
    packing.changed |= room > 0;
}

/// What makes two endpoints the same one: addresses and target. A name that was given to a new pod is a new
/// endpoint.
fn identity(endpoint: &Endpoint) -> (Vec<String>, String) {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    (endpoint.addresses.clone(), uid.unwrap_or_default())
}
