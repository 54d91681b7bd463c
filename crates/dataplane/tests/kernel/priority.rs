//! The packet's priority, which carries a number between two lookups, is free again behind our rules.

use serde_json::json;

use crate::namespace::{isolated, output};
use crate::node::connect;
use crate::objects::{apply, web};
use crate::restart::nft;

/// Behind translation: what connections' first packets have, and how many passed.
const WATCH: &str = "
    table ip watch {
        counter first { }
        counter numbered { }
        chain each { counter name first; meta priority != 0 counter name numbered; }
        chain count { tcp flags & (syn | ack) == syn ip daddr 10.244.1.2 goto each; }
        chain arriving { type filter hook prerouting priority -50; goto count; }
        chain leaving { type filter hook output priority -50; goto count; }
    }";

pub(crate) fn no_number_is_left_in_a_packets_priority() {
    isolated("priority::no_number_is_left_in_a_packets_priority", || {
        let (client, _servers, mut proxy) = web([2]);
        let sticky = json!({
            "clusterIPs": ["10.96.1.2"], "sessionAffinity": "ClientIP", "ports": [{"name": "tcp", "port": 80}],
        });
        apply(&mut proxy, "sticky", &sticky, &[]);
        let local = json!({
            "type": "LoadBalancer", "clusterIPs": ["10.96.1.3"], "externalTrafficPolicy": "Local",
            "sessionAffinity": "ClientIP", "ports": [{"name": "tcp", "port": 80}],
        });
        apply(&mut proxy, "local", &local, &["198.51.100.7"]);
        proxy.endpoints("sticky", &["10.244.1.2"]);
        proxy.endpoints("local", &["10.244.1.2"]);
        proxy.sync();
        assert!(nft(WATCH));
        for to in ["10.96.1.1:80", "10.96.1.2:80", "198.51.100.7:80"] {
            client.connect(to).server();
            connect(to.parse().unwrap()).server();
        }
        let counted = |name| output("nft", &["list", "counter", "ip", "watch", name]).unwrap();
        assert!(counted("first").contains("packets 6 "), "{}", counted("first"));
        assert!(counted("numbered").contains("packets 0 "), "{}", counted("numbered"));
    });
}
