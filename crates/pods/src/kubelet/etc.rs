//! The files of a container's own `/etc`.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::PodSpec;

use crate::config::NodeConfig;

/// What the files are written from.
pub(crate) struct Names<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) address: Ipv4Addr,
    pub(crate) spec: &'a PodSpec,
}

/// All files, by name.
pub(crate) fn files(node: &NodeConfig, names: &Names<'_>) -> Vec<(String, String)> {
    let files = [
        ("passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n".to_owned()),
        ("group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n".to_owned()),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n".to_owned()),
        ("hostname", format!("{}\n", names.hostname)),
        ("hosts", hosts(node, names)),
        ("resolv.conf", resolv_conf(node, names)),
    ];
    files.map(|(name, text)| (name.to_owned(), text)).to_vec()
}

/// The kubelet's text.
fn hosts(node: &NodeConfig, names: &Names<'_>) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
        127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\n\
        fe00::0\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\n\
        fe00::2\tip6-allrouters\n"
        .to_owned();
    let (address, hostname) = (names.address, names.hostname);
    match &names.spec.subdomain {
        Some(subdomain) => text.push_str(&format!(
            "{address}\t{hostname}.{subdomain}.{}.svc.{}\t{hostname}\n",
            names.namespace, node.dns_domain
        )),
        None => text.push_str(&format!("{address}\t{hostname}\n")),
    }
    let aliases = names.spec.host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let hostnames = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{hostnames}\n", alias.ip));
    }
    text
}

/// By `dnsPolicy` and `dnsConfig`. `Default` means the node's own resolution, which is the same server here,
/// without the search list.
fn resolv_conf(node: &NodeConfig, names: &Names<'_>) -> String {
    let policy = names.spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let domain = &node.dns_domain;
    let (mut servers, mut searches, mut options) = match policy {
        "None" => (Vec::new(), Vec::new(), Vec::new()),
        "Default" => (vec![node.dns_address.to_string()], Vec::new(), Vec::new()),
        _ => (
            vec![node.dns_address.to_string()],
            vec![format!("{}.svc.{domain}", names.namespace), format!("svc.{domain}"), domain.clone()],
            vec!["ndots:5".to_owned()],
        ),
    };
    if let Some(config) = &names.spec.dns_config {
        servers.extend(config.nameservers.iter().flatten().cloned());
        searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            // The pod's own setting of an option replaces the policy's.
            options.retain(|known| known.split(':').next() != Some(name));
            options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            });
        }
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n")));
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{HostAlias, PodDNSConfig, PodDNSConfigOption};

    fn file(name: &str, spec: &PodSpec) -> String {
        let node = crate::kubelet::tests::config();
        let names = Names { namespace: "shop", hostname: "web-0", address: [10, 244, 1, 2].into(), spec };
        files(&node, &names).into_iter().find(|(file, _)| file == name).expect("file").1
    }

    #[test]
    fn resolv_conf_by_policy() {
        let spec = PodSpec::default();
        assert_eq!(
            file("resolv.conf", &spec),
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
        let config = PodDNSConfig {
            nameservers: Some(vec!["192.0.2.1".to_owned()]),
            searches: Some(vec!["example.org".to_owned()]),
            options: Some(vec![PodDNSConfigOption {
                name: Some("ndots".to_owned()),
                value: Some("2".to_owned()),
            }]),
        };
        let none = PodSpec { dns_policy: Some("None".to_owned()), dns_config: Some(config), ..spec };
        assert_eq!(file("resolv.conf", &none), "search example.org\nnameserver 192.0.2.1\noptions ndots:2\n");
        let merged = PodSpec { dns_policy: None, ..none };
        assert!(file("resolv.conf", &merged).ends_with("nameserver 192.0.2.1\noptions ndots:2\n"));
    }

    #[test]
    fn hosts_with_subdomain_and_aliases() {
        let alias =
            HostAlias { ip: "192.0.2.7".to_owned(), hostnames: Some(vec!["a".to_owned(), "b".to_owned()]) };
        let spec = PodSpec {
            subdomain: Some("web".to_owned()),
            host_aliases: Some(vec![alias]),
            ..PodSpec::default()
        };
        let text = file("hosts", &spec);
        assert!(text.contains("10.244.1.2\tweb-0.web.shop.svc.cluster.local\tweb-0\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n192.0.2.7\ta\tb\n"), "{text}");
    }
}
