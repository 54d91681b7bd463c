//! A cluster with its planes, and what is done to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dataplane::forwarding_table::ForwardingTable;
use services::Protocol;
use testnet::cluster::Cluster;
use testnet::judge::Feed;
use testnet::judge::plane::{self, Plane};
use testnet::scenario::Facts;

use crate::agent::Agent;
use crate::clients::{self, Load};
use crate::objects::{self, DATAGRAMS, LONG, Member, OTHERS, PODS, SHORT};

/// Between two changes of the Service under load: each is to meet some connections.
const PAUSE: Duration = Duration::from_millis(20);

/// Endpoints whose answers count, shared with the clients.
pub(crate) type Valid = Arc<Mutex<BTreeSet<IpAddr>>>;

pub(crate) struct Lab {
    cluster: Cluster,
    feed: Feed,
    planes: Vec<Plane>,
    valid: Valid,
}

/// The model before anything happens: all Services, and `web` with all of its pods ready.
pub(crate) fn feed() -> Feed {
    let mut feed = Feed::new(&Facts::default());
    feed.model.apply_service(&objects::web()).expect("a Service");
    feed.model.apply_slice(&objects::web_slice(&all())).expect("a slice");
    for number in 0..OTHERS {
        feed.model.apply_service(&objects::other(number)).expect("a Service");
        feed.model.apply_slice(&objects::other_slice(number, number)).expect("a slice");
    }
    feed
}

fn all() -> Vec<Member> {
    (0..PODS).map(Member::ready).collect()
}

impl Lab {
    pub(crate) fn start() -> Self {
        let cluster = Cluster::start(&Facts::default()).expect("a cluster");
        for pod in (0..PODS).map(objects::pod) {
            for (protocol, port) in [(Protocol::Tcp, SHORT), (Protocol::Udp, DATAGRAMS)] {
                cluster.listen(protocol, SocketAddr::new(pod, port.target)).expect("a listener");
            }
            clients::serve_long(&cluster.pod(pod).expect("a pod"), LONG.target);
        }
        let mut feed = feed();
        let planes = plane::open_all(&cluster, &feed.known()).expect("planes");
        let mut lab = Self { cluster, planes, valid: Valid::default(), feed: Feed::new(&Facts::default()) };
        let (known, changes) = (feed.known(), feed.model.take_changes());
        lab.planes.iter_mut().for_each(|plane| plane.sync(&known, &changes).expect("a sync"));
        lab.feed = feed;
        lab.valid.lock().expect("valid endpoints").extend((0..PODS).map(objects::pod));
        lab
    }

    /// Clients of all kinds, at work until [`Load::finish`].
    pub(crate) fn load(&self) -> Load {
        Load::start(&self.cluster, &self.valid)
    }

    /// Changes `web`'s endpoints.
    pub(crate) fn apply_and_wait(&mut self, members: &[Member]) {
        let serving: BTreeSet<IpAddr> = members.iter().filter_map(Member::serves).collect();
        self.valid.lock().expect("valid endpoints").extend(&serving);
        self.feed.model.apply_slice(&objects::web_slice(members)).expect("a slice");
        self.sync();
        *self.valid.lock().expect("valid endpoints") = serving;
        thread::sleep(PAUSE);
    }

    /// Changes one of the other Services; now and then it goes, and comes back.
    pub(crate) fn change_other(&mut self, change: u32) {
        let number = change % OTHERS;
        let service = objects::other(number);
        if change.is_multiple_of(7) {
            self.feed.model.delete_service(&services::ServiceName::new("default", format!("other-{number}")));
            self.sync();
        }
        self.feed.model.apply_service(&service).expect("a Service");
        self.feed.model.apply_slice(&objects::other_slice(number, change)).expect("a slice");
        self.sync();
    }

    fn sync(&mut self) {
        let (known, changes) = (self.feed.known(), self.feed.model.take_changes());
        self.planes.iter_mut().for_each(|plane| plane.sync(&known, &changes).expect("a sync"));
    }

    /// The proxies end; their rules stay.
    pub(crate) fn drop_planes(&mut self) {
        self.planes.clear();
    }

    /// One proxy on each node, as a process of its own.
    pub(crate) fn start_agents(&self) -> Vec<Agent> {
        self.cluster.nodes().iter().map(Agent::start).collect()
    }

    /// The proxies are this process's again.
    pub(crate) fn adopt(&mut self) {
        let known = self.feed.known();
        let adopt = |node: &testnet::cluster::Node| {
            let table = ForwardingTable::build(known.node_facts(node.facts()), &known.snapshot);
            Plane::adopt(node.namespace(), table).expect("a plane").0
        };
        self.planes = self.cluster.nodes().iter().map(adopt).collect();
    }

    /// Compares the kernels with the tables in full; returns how much was wrong.
    pub(crate) fn verify(&mut self) -> usize {
        self.planes.iter_mut().map(|plane| plane.verify().expect("a comparison")).sum()
    }
}
