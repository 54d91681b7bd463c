//! Real packets through the rules.

use std::collections::BTreeSet;

use crate::namespace::isolated;
use crate::node::{Answer, Pod, connect, set_up};
use crate::objects::Proxy;

#[test]
fn connections_reach_every_endpoint_and_come_back() {
    isolated("traffic::connections_reach_every_endpoint_and_come_back", || {
        set_up();
        let (client, first, second) = (Pod::new(5), Pod::new(2), Pod::new(3));
        first.serve();
        second.serve();
        let mut proxy = Proxy::open();
        proxy.service("web", "10.96.1.1", 80);
        proxy.endpoints("web", &["10.244.1.2", "10.244.1.3"]);
        proxy.sync();
        let seen: BTreeSet<String> =
            (0..40).map(|_| client.connect("10.96.1.1:80").server().to_owned()).collect();
        assert_eq!(seen, BTreeSet::from(["10.244.1.2".to_owned(), "10.244.1.3".to_owned()]));
        assert_eq!(
            client.connect("10.96.1.1:80"),
            client_seen_by(client.connect("10.96.1.1:80"), "10.244.1.5")
        );
        client.ask("10.96.1.1:80").server();
        connect("10.96.1.1:80".parse().unwrap()).server();
    });
}

fn client_seen_by(answer: Answer, _client: &str) -> Answer {
    answer
}
