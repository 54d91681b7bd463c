//! A proxy as a process: this very program in a node's namespace, which changes `web` until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use dataplane::forwarding_table::ForwardingTable;
use testnet::cluster::{Namespace, Node};
use testnet::judge::Order;
use testnet::judge::plane::Plane;
use testnet::scenario::Facts;

use crate::lab;
use crate::objects::{self, PODS};

/// Names the node, in the process that is its proxy.
pub(crate) const NODE: &str = "SLUICE_LOAD_NODE";

/// A running proxy, killed when it is dropped.
pub(crate) struct Agent(Child);

impl Agent {
    /// A child of a thread in the node's namespace is born there.
    pub(crate) fn start(node: &Node) -> Self {
        let name = node.facts().name.clone();
        let spawn = move || {
            let program = std::env::current_exe().expect("this program");
            Command::new(program).env(NODE, name).stdout(Stdio::piped()).spawn().expect("a process")
        };
        Self(node.run(spawn).expect("the node"))
    }

    /// Waits until it has taken over the kernel's rules.
    pub(crate) fn await_adoption(&mut self) {
        let output = self.0.stdout.as_mut().expect("a pipe");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "adopted\n", "the proxy ended early");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the process does. Whatever it makes of `web`, all of its pods answer.
pub(crate) fn run(node: &str) -> ExitCode {
    let mut feed = lab::feed();
    let facts = Facts::default();
    let node = facts.node(node).expect("a node of the facts");
    let known = feed.known();
    feed.model.take_changes();
    let table = ForwardingTable::build(known.node_facts(node), &known.snapshot);
    let namespace = Namespace::current(&node.name).expect("this namespace");
    let (mut plane, _) = Plane::adopt(&namespace, table).expect("the kernel's rules");
    let mut output = std::io::stdout();
    output.write_all(b"adopted\n").and_then(|()| output.flush()).expect("whoever started this");
    let mut order = Order::seeded(u64::from(std::process::id()));
    loop {
        let first = order.below(PODS);
        let members: Vec<usize> = (0..=order.below(PODS - 1)).map(|index| (first + index) % PODS).collect();
        feed.model.apply_slice(&objects::web_slice(&objects::ready(&members))).expect("a slice");
        plane.sync(&feed.known(), &feed.model.take_changes()).expect("a sync");
    }
}
