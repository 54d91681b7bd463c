//! Upstreams over TCP and over TLS: streams are kept, certificates checked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use support::answer_with;
use support::corefile::Served;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A stream upstream; it ends with the process.
struct Streams {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

/// Answers every query of every connection with one address.
fn start<S: Read + Write>(wrap: impl Fn(std::net::TcpStream) -> S + Send + Sync + 'static) -> Streams {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (counter, wrap) = (Arc::clone(&accepted), Arc::new(wrap));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (counter, wrap) = (Arc::clone(&counter), Arc::clone(&wrap));
            counter.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let mut stream = wrap(stream.unwrap());
                let mut length = [0; 2];
                // A client that goes, or that does not trust the certificate, ends the connection.
                while stream.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut query).unwrap();
                    stream.write_all(&support::frame(&answer_with(&query, 9))).unwrap();
                    stream.flush().unwrap();
                }
            });
        }
    });
    Streams { address, accepted }
}

fn block(lines: &str) -> String {
    format!(".:0 {{\n{lines}\n}}\n")
}

#[test]
fn tcp_is_used_when_asked_for_and_its_streams_are_kept() {
    let upstream = start(|stream| stream);
    let served = Served::start(&block(&format!("forward . {} {{\n force_tcp\n}}", upstream.address)));
    for index in 0..5 {
        assert_eq!(served.answers(&format!("a{index}.test"), "A").len(), 1);
    }
    assert_eq!(upstream.accepted.load(Ordering::Relaxed), 1, "one connection for all");
    let hits = format!(
        "coredns_proxy_conn_cache_hits_total{{proxy_name=\"forward\",to=\"{}\",proto=\"tcp\"}}",
        upstream.address
    );
    assert_eq!(served.metric(&hits), Some(4.0));
    let plain = Served::start(&block(&format!("forward . {}", upstream.address)));
    assert_eq!(plain.ask_tcp("b.test", "A").answers.len(), 1, "a client's TCP is the upstream's");
    let udp = Served::start(&block(&format!(
        "forward . {} {{\n prefer_udp\n read_timeout 200ms\n}}",
        upstream.address
    )));
    assert_eq!(udp.ask_tcp("b.test", "A").rcode, 2, "nobody answers over UDP");
}

#[test]
fn tls_upstreams_are_checked() {
    let made = rcgen::generate_simple_self_signed(vec!["dot.test".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let folder = std::env::temp_dir().join(format!("sluice-dot-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let authority = folder.join("ca.pem");
    std::fs::write(&authority, &certificate).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let upstream =
        start(move |stream| StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream));
    let (address, authority) = (upstream.address, authority.display());
    let serve = |name: &str| {
        Served::start(&block(&format!(
            "forward . tls://{address} {{\n tls {authority}\n tls_servername {name}\n read_timeout 1s\n}}"
        )))
    };
    let served = serve("dot.test");
    for _ in 0..3 {
        assert_eq!(served.answers("a.test", "A"), ["a.test. 60 IN A 192.0.2.9"]);
    }
    assert_eq!(upstream.accepted.load(Ordering::Relaxed), 1, "one handshake for all");
    assert_eq!(serve("other.test").ask("a.test", "A").rcode, 2, "the certificate is another's");
    std::fs::remove_dir_all(folder).unwrap();
}
