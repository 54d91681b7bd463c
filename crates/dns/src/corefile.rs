//! CoreDNS's configuration file: text in, a typed [`Config`] out, or an error that says where and what was expected.
//!
//! ```text
//! text ─► token (words with their places) ─► tree (blocks, imports, snippets) ─► plugins (typed) ─► Config
//! ```
//! Pure but for [`Sources`], which reads imported files and environment variables. A plugin or an option that is not served
//! here is no error yet: it is listed in [`Config::unsupported`] with what to do, and the caller decides whether to go on.
//! Whatever is served has its types and ranges checked here, so that nothing later can fail on a word of the file.

mod config;
mod error;
mod key;
mod plugins;
mod sources;
mod token;
mod tree;
mod words;

pub use config::{
    Answers, Autopath, Bind, Block, Cache, CacheSide, Config, ErrorsConfig, Forward, HeaderBit, HeaderRule,
    Health, HealthCheck, Hosts, Key, Kubernetes, LogClass, LogRule, NameMatch, Policy, Prefetch, Ready,
    Reload, Rewrite, RewriteAction, SearchSource, ServeStale, Template, Tls, To, Unsupported,
};
pub use error::{CorefileError, Position, Problem};
pub use plugins::{Facts, Pattern, supported_plugins, unserved_plugins, upstream_address};
pub use sources::{NoSources, Sources, System, matches};
pub use tree::{Directive, ServerBlock, parse};

/// Reads a Corefile. `file` is its name in errors and the folder that imports are relative to; `default_port` is that of
/// keys without one (`-dns.port`).
///
/// # Errors
/// [`CorefileError`] with the place of the first word that cannot be understood.
pub fn read(
    text: &str,
    file: &str,
    default_port: u16,
    sources: &dyn Sources,
) -> Result<Config, CorefileError> {
    let blocks = parse(text, file, sources)?;
    plugins::read_blocks(&blocks, default_port)
}

/// The Corefile that kubeadm writes, for this cluster domain and these upstreams (`/etc/resolv.conf`, or addresses).
#[must_use]
pub fn kubeadm(domain: &str, upstreams: &str) -> String {
    format!(
        ".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . {upstreams} {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {domain}
       disable denial {domain}
    }}
    loop
    reload
    loadbalance
}}
"
    )
}
