//! A server of several addresses: a reply, from the zone or from an upstream, leaves with the address that was asked.
//! The part over IPv6 needs an IPv6 loopback, which a machine or a container may lack.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::UdpSocket;
use std::process::ExitCode;
use std::sync::Arc;

use dns::server::{Server, Sockets};
use dns::zone::{Zone, ZoneConfig};
use serde_json::json;
use support::{PATIENCE, Upstream, load, query, read};
use testnet::harness;

const OURS: &str = "web.default.svc.cluster.local";
const OUTSIDE: &str = "www.example.com";

fn main() -> ExitCode {
    harness::run(testnet::trials![over_ipv4, over_ipv6])
}

fn over_ipv4() {
    replies_leave_with_the_address_that_was_asked(&["127.0.0.2:0", "127.0.0.3:0"]);
}

fn over_ipv6() {
    if let Err(error) = UdpSocket::bind("[::1]:0") {
        harness::skip(format!("no socket can be bound to ::1: {error}"));
    }
    replies_leave_with_the_address_that_was_asked(&["127.0.0.2:0", "[::1]:0"]);
}

fn replies_leave_with_the_address_that_was_asked(addresses: &[&str]) {
    let record = (format!("{OUTSIDE}."), "A".to_owned(), "192.0.2.53".to_owned());
    let upstream = Upstream::with_records(vec![record]);
    let sockets: Vec<Sockets> =
        addresses.iter().map(|address| Sockets::bind(address.parse().unwrap(), 1).unwrap()).collect();
    let server = Server::start(zone(), vec![upstream.address], sockets).unwrap();
    assert_eq!(server.addresses().len(), addresses.len());
    for address in server.addresses() {
        let client = UdpSocket::bind((address.ip(), 0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for name in [OURS, OUTSIDE] {
            client.send_to(&query(name, "A", None), address).unwrap();
            let mut buffer = [0; 512];
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((from, read(&buffer[..length]).answers.len()), (*address, 1), "{name}");
        }
    }
}

fn zone() -> Arc<Zone> {
    let objects = [
        json!({"kind": "Namespace", "metadata": {"name": "default"}}),
        json!({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
               "spec": {"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80}]}}),
    ];
    let config = Arc::new(ZoneConfig::cluster("cluster.local").unwrap());
    Arc::new(Zone::build(config, &load(&objects).0.snapshot(), 1))
}
