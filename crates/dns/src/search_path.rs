//! The names that a client asks for, one after the other, when a program looks up a short name: resolver(5)'s search
//! list and `ndots`. Pure: for `sluice trace` and tests; our server itself only ever sees complete names.

use std::net::IpAddr;

/// resolver(5): an `ndots` beyond it counts as this.
const NDOTS_MAX: usize = 15;

/// A client's `resolv.conf`, as far as it decides what is asked and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPath {
    /// Servers in the order in which they are asked.
    pub servers: Vec<IpAddr>,
    /// Domains that are put behind a name.
    pub domains: Vec<String>,
    /// A name with so many dots is asked for as it is first.
    pub ndots: usize,
}

impl SearchPath {
    /// What the kubelet writes for a pod that uses the cluster's DNS (`dnsPolicy: ClusterFirst`).
    #[must_use]
    pub fn of_pod(server: IpAddr, namespace: &str, cluster_domain: &str) -> Self {
        let domain = cluster_domain.trim_end_matches('.');
        Self {
            servers: vec![server],
            domains: vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()],
            ndots: 5,
        }
    }

    /// Reads a `resolv.conf`. Of several `search` lines the last counts; `domain` is an older word for one domain.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut path = Self { servers: Vec::new(), domains: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    path.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
                }
                Some("search" | "domain") => path.domains = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|option| path.set_option(option)),
                _ => {}
            }
        }
        path
    }

    /// Takes one option, such as `ndots:2`; the others do not decide on names.
    pub fn set_option(&mut self, option: &str) {
        if let Some(ndots) = option.strip_prefix("ndots:").and_then(|number| number.parse().ok()) {
            self.ndots = NDOTS_MAX.min(ndots);
        }
    }

    /// The complete names to ask for, in order, until one has an answer. One that ends with a dot is complete already.
    #[must_use]
    pub fn names(&self, name: &str) -> Vec<String> {
        let bare = name.trim_end_matches('.');
        if name.ends_with('.') {
            return vec![format!("{bare}.")];
        }
        let searched = self.domains.iter().map(|domain| format!("{bare}.{}.", domain.trim_end_matches('.')));
        let mut names: Vec<String> = searched.collect();
        let first = bare.matches('.').count() >= self.ndots;
        names.insert(if first { 0 } else { names.len() }, format!("{bare}."));
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_names_in_order() {
        let path = SearchPath::of_pod("10.96.0.10".parse().unwrap(), "shop", "cluster.local");
        let cases: &[(&str, &[&str])] = &[
            ("web", &["web.shop.svc.cluster.local.", "web.svc.cluster.local.", "web.cluster.local.", "web."]),
            ("web.", &["web."]),
            ("a.b.c.d.e.f", &["a.b.c.d.e.f.", "a.b.c.d.e.f.shop.svc.cluster.local."]),
        ];
        for (name, expected) in cases {
            assert_eq!(path.names(name)[..expected.len()], **expected, "{name}");
        }
    }

    #[test]
    fn a_file_is_read_as_the_resolver_does() {
        let text = "search a\nsearch b. c\nnameserver 192.0.2.1\nnameserver x\noptions timeout:1 ndots:99\n";
        let path = SearchPath::parse(text);
        assert_eq!((path.servers.len(), path.ndots), (1, 15));
        assert_eq!(path.names("x.y"), ["x.y.b.", "x.y.c.", "x.y."]);
        assert_eq!(SearchPath::parse("").names("x"), ["x."]);
        assert_eq!(SearchPath::parse("search a\n").names("x.y"), ["x.y.", "x.y.a."]);
    }
}
