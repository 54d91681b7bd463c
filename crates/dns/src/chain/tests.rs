use super::*;

/// Each query that waits has a task that holds it, which is copied when it starts. An await of a large future (TLS, say)
/// that is not on the heap, or of one that is passed on by value, shows here.
#[test]
fn what_waits_for_an_upstream_is_small() {
    let chain = Chain::forwarding(Vec::new()).unwrap();
    let peer = SocketAddr::from(([127, 0, 0, 1], 53));
    let waiting = chain.answer(&[], None, Transport::Udp, peer);
    assert!(size_of_val(&waiting) < 4096, "{} bytes", size_of_val(&waiting));
}
