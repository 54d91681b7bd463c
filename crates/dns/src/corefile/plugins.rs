//! From the lines of a server block to its typed [`Block`]: one module for each group of plugins.

mod answers;
mod cache;
mod forward;
mod kubernetes;
mod pattern;
mod rewrite;
mod service;
mod unserved;

pub use forward::upstream_address;
pub use pattern::{Facts, Pattern};

use std::collections::HashMap;

use super::config::{Block, Config, Forward, Key, Policy, To, Unsupported};
use super::error::{CorefileError, Position, Problem};
use super::tree::{Directive, ServerBlock};
use super::words::root;
use crate::name::Name;

type Result<T> = std::result::Result<T, CorefileError>;

/// The plugins that are served here, in the order in which a query passes them.
const SUPPORTED: [&str; 23] = [
    "multisocket",
    "reload",
    "bufsize",
    "bind",
    "ready",
    "health",
    "prometheus",
    "errors",
    "log",
    "local",
    "any",
    "loadbalance",
    "rewrite",
    "header",
    "autopath",
    "minimal",
    "cache",
    "template",
    "hosts",
    "kubernetes",
    "loop",
    "forward",
    "import",
];
/// Plugins that may stand in a block several times.
const REPEATABLE: [&str; 5] = ["rewrite", "log", "template", "forward", "bind"];

/// The names of the plugins that are served here, in the order in which a query passes them.
#[must_use]
pub fn supported_plugins() -> &'static [&'static str] {
    &SUPPORTED
}

/// CoreDNS's plugins that are not served here, each with what to do instead.
#[must_use]
pub fn unserved_plugins() -> &'static [(&'static str, &'static str)] {
    &unserved::PLUGINS
}

/// What is read besides the block itself.
struct Reader {
    /// The zones of the block: the default of many plugins.
    zones: Vec<Name>,
    unsupported: Vec<Unsupported>,
}

impl Reader {
    /// Notes an option that is not served.
    fn option(&mut self, line: &Directive, of: &str, advice: &'static str) {
        let what = format!("option {:?} of {of}", line.name.text);
        self.unsupported.push(Unsupported { position: line.name.position.clone(), what, advice });
    }

    /// The zones in the arguments, else those of the block.
    fn zones_or_block(&self, arguments: &[super::token::Token]) -> Result<Vec<Name>> {
        let zones = super::words::zones(arguments)?;
        Ok(if zones.is_empty() { self.zones.clone() } else { zones })
    }
}

/// Reads all blocks and checks them against each other.
pub(super) fn read_blocks(blocks: &[ServerBlock], default_port: u16) -> Result<Config> {
    let mut config = Config::default();
    let mut known: HashMap<(Vec<u8>, u16), (Position, bool)> = HashMap::new();
    for block in blocks {
        let mut reader = Reader { zones: Vec::new(), unsupported: Vec::new() };
        let read = read_block(block, default_port, &mut reader)?;
        for key in &read.keys {
            let id = (key.zone.as_wire().to_vec(), key.port);
            let bound = !read.bind.is_empty();
            // The same zone may be served twice on different addresses.
            if let Some((first, other_bound)) = known.get(&id)
                && !(bound && *other_bound)
            {
                let name = format!("{}:{}", key.zone, key.port);
                return Err(Problem::Twice { name, first: first.clone() }.at(&read.position));
            }
            known.insert(id, (read.position.clone(), bound));
        }
        config.blocks.push(read);
        config.unsupported.append(&mut reader.unsupported);
    }
    let mut clusters = config.blocks.iter().filter_map(|block| block.kubernetes.as_ref());
    if let Some(first) = clusters.next()
        && let Some(other) = clusters.find(|other| !first.sees_the_same(other))
    {
        config.unsupported.push(Unsupported {
            position: other.position.clone(),
            what: "a second API, or a second selection of its objects,".to_owned(),
            advice: "give every kubernetes plugin the same endpoint, kubeconfig, tls, labels, namespace_labels and noendpoints",
        });
    }
    Ok(config)
}

fn read_block(block: &ServerBlock, default_port: u16, reader: &mut Reader) -> Result<Block> {
    let mut keys: Vec<Key> = Vec::new();
    for key in &block.keys {
        keys.extend(super::key::read_key(key, default_port)?);
    }
    reader.zones = keys.iter().map(|key| key.zone.clone()).collect();
    let Some(first) = block.keys.first() else { return Err(no_key()) };
    let mut read = Block::new(first.position.clone(), keys);
    let mut seen: HashMap<&str, &Position> = HashMap::new();
    for line in &block.directives {
        let name = &line.name.text[..];
        if let Some(earlier) = seen.insert(name, &line.name.position)
            && !REPEATABLE.contains(&name)
        {
            let problem = Problem::Twice { name: name.into(), first: earlier.clone() };
            return Err(problem.at(&line.name.position));
        }
        read_plugin(&mut read, line, reader)?;
    }
    Ok(read)
}

/// The parser makes no block without a key.
fn no_key() -> CorefileError {
    let position = Position { file: "Corefile".into(), line: 1, column: 1 };
    Problem::Missing { after: "Corefile".into(), expected: "a zone such as \".:53\"".into() }.at(&position)
}

fn read_plugin(block: &mut Block, line: &Directive, reader: &mut Reader) -> Result<()> {
    match &line.name.text[..] {
        "bind" => service::read_bind(block, line)?,
        "bufsize" => block.bufsize = Some(service::read_bufsize(line)?),
        "errors" => block.errors = Some(service::read_errors(line, reader)?),
        "log" => block.log.extend(service::read_log(line)?),
        "health" => block.health = Some(service::read_health(line)?),
        "ready" => block.ready = Some(service::read_ready(line)?),
        "prometheus" => block.prometheus = Some(service::read_prometheus(line)?),
        "reload" => block.reload = Some(service::read_reload(line)?),
        "loadbalance" => block.loadbalance = service::read_loadbalance(line, reader)?,
        "loop" => {
            line.bare()?;
            block.detect_loops = true;
        }
        "any" => {
            line.bare()?;
            block.any = true;
        }
        "local" => {
            line.bare()?;
            block.local = true;
        }
        "minimal" => {
            line.bare()?;
            block.minimal = true;
        }
        "header" => block.header = service::read_header(line, reader)?,
        "multisocket" => block.sockets = Some(service::read_multisocket(line)?),
        "rewrite" => block.rewrite.extend(rewrite::read(line, reader)?),
        "autopath" => block.autopath = Some(answers::read_autopath(line, reader)?),
        "cache" => block.cache = Some(cache::read(line, reader)?),
        "template" => block.template.push(answers::read_template(line, reader)?),
        "hosts" => block.hosts = Some(answers::read_hosts(line, reader)?),
        "kubernetes" => block.kubernetes = Some(kubernetes::read(line, reader)?),
        "forward" => block.forward.push(forward::read(line, reader)?),
        other => reader.unsupported.push(unserved::plugin(other, &line.name.position)),
    }
    Ok(())
}

impl Block {
    /// A block that asks these resolvers for every name, in this order and over UDP first, and does nothing else.
    pub(crate) fn forwarding(upstreams: Vec<To>) -> Self {
        let position = Position { file: "names outside".into(), line: 0, column: 0 };
        let mut block = Self::new(position.clone(), vec![Key { zone: root(), port: 0 }]);
        if !upstreams.is_empty() {
            let forward = Forward::new(position, root(), upstreams);
            block.forward.push(Forward { policy: Policy::Sequential, prefer_udp: true, ..forward });
        }
        block
    }

    fn new(position: Position, keys: Vec<Key>) -> Self {
        Self {
            position,
            keys,
            bind: Vec::new(),
            bind_except: Vec::new(),
            bufsize: None,
            errors: None,
            log: Vec::new(),
            health: None,
            ready: None,
            prometheus: None,
            reload: None,
            loadbalance: false,
            rewrite: Vec::new(),
            autopath: None,
            cache: None,
            template: Vec::new(),
            hosts: None,
            kubernetes: None,
            detect_loops: false,
            any: false,
            local: false,
            minimal: false,
            header: Vec::new(),
            sockets: None,
            forward: Vec::new(),
        }
    }
}
