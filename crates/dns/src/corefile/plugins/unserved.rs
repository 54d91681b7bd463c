//! CoreDNS's other plugins, and what to do without them.

use crate::corefile::config::Unsupported;
use crate::corefile::error::Position;

const ELSEWHERE: &str =
    "serve these names with a server of their own and send them there with a forward block";
const NOT_NEEDED: &str = "remove the line; the server does without";

pub(super) const PLUGINS: [(&str, &str); 34] = [
    ("acl", "restrict the clients with a NetworkPolicy or a firewall"),
    ("auto", ELSEWHERE),
    ("azure", ELSEWHERE),
    ("cancel", NOT_NEEDED),
    ("chaos", "remove the line; queries of class CH are refused here"),
    ("clouddns", ELSEWHERE),
    ("debug", "remove the line; SLUICE_LOG=debug does the same"),
    ("dns64", "use a resolver upstream that does DNS64"),
    ("dnssec", "leave signing to a server upstream"),
    ("dnstap", "remove the line; use log or the metrics"),
    ("erratic", "remove the line; it is for tests"),
    ("etcd", ELSEWHERE),
    ("file", ELSEWHERE),
    ("geoip", "remove the line and what depends on it"),
    ("grpc", "forward over TLS instead"),
    ("grpc_server", "clients must use plain DNS"),
    ("https", "clients must use plain DNS"),
    ("https3", "clients must use plain DNS"),
    ("k8s_external", ELSEWHERE),
    ("metadata", "remove the line; log takes no metadata here"),
    ("nomad", ELSEWHERE),
    ("nsid", NOT_NEEDED),
    ("on", "start the command from the service manager"),
    ("pprof", "remove the line; it shows the inside of Go programs"),
    ("quic", "clients must use plain DNS"),
    ("root", "write the files with their whole path"),
    ("route53", ELSEWHERE),
    ("secondary", ELSEWHERE),
    ("sign", "leave signing to a server upstream"),
    ("timeouts", "remove the line; the limits are fixed"),
    ("tls", "clients must use plain DNS"),
    ("trace", "remove the line; use log or the metrics"),
    ("transfer", "remove the line; zones are not transferred"),
    ("whoami", "remove the line; it is for tests"),
];

/// The entry for a plugin that is not served.
pub(super) fn plugin(name: &str, position: &Position) -> Unsupported {
    let known = PLUGINS.iter().find(|(known, _)| *known == name);
    let advice = known.map_or("remove the line, or run CoreDNS built with it", |(_, advice)| advice);
    Unsupported { position: position.clone(), what: format!("plugin {name:?}"), advice }
}
