//! A Corefile at work on loopback, for the tests of plugins.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use dns::corefile::{self, NoSources};
use dns::instance::{Instance, Options};
use dns::message::records::Response;
use dns::metrics::Metrics;
use serde_json::Value;

use super::{ask_tcp, ask_udp, load, query, read};

/// An instance with what it has said.
pub(crate) struct Served {
    pub(crate) instance: Instance,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Served {
    /// Starts one; port 0 in the text takes any.
    pub(crate) fn start(text: &str) -> Self {
        let (metrics, log) = (Arc::new(Metrics::default()), Arc::new(Mutex::new(Vec::new())));
        let lines = Arc::clone(&log);
        let options = Options {
            listen: vec!["127.0.0.1".parse().unwrap()],
            hold: false,
            workers: 1,
            metrics: Arc::clone(&metrics),
            sink: Arc::new(move |text: &str| lines.lock().unwrap().extend(text.lines().map(str::to_owned))),
        };
        Self { instance: Instance::start(config(text), options).unwrap(), metrics, log }
    }

    /// The same with the cluster's objects known.
    pub(crate) fn with_objects(text: &str, objects: &[Value]) -> Self {
        let mut served = Self::start(text);
        let (mut model, pods) = load(objects);
        served.instance.set_pods(pods);
        served.instance.update(&model.snapshot(), &model.take_changes(), 1);
        served
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.instance.addresses()[0]
    }

    /// Asks over UDP.
    pub(crate) fn ask(&self, name: &str, kind: &str) -> Response {
        read(&ask_udp(self.address(), &query(name, kind, Some(1232))))
    }

    /// Asks over TCP.
    pub(crate) fn ask_tcp(&self, name: &str, kind: &str) -> Response {
        read(&ask_tcp(self.address(), &[query(name, kind, None)])[0])
    }

    /// The answer section, one line for each record.
    pub(crate) fn answers(&self, name: &str, kind: &str) -> Vec<String> {
        self.ask(name, kind).answers.iter().map(ToString::to_string).collect()
    }

    /// Reads another Corefile.
    pub(crate) fn reload(&mut self, text: &str) {
        self.instance.reload(config(text)).unwrap();
    }

    /// The value of a sample whose line begins so.
    pub(crate) fn metric(&self, start: &str) -> Option<f64> {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

pub(crate) fn config(text: &str) -> corefile::Config {
    let config = corefile::read(text, "Corefile", 53, &NoSources).unwrap();
    assert!(config.unsupported.is_empty(), "{:?}", config.unsupported);
    config
}
