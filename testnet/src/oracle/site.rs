//! What a node is made of, and how a kube-proxy on it is configured.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

/// A node to ask.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its Node object.
    pub node: Value,
    /// Its addresses, with the wire's prefixes.
    pub addresses: Vec<IpNet>,
    /// Its pods' networks.
    pub pods: Vec<IpNet>,
    /// The interface that leads to its pods.
    pub pods_device: String,
    /// The subnets of service addresses.
    pub service_cidrs: Vec<IpNet>,
    /// Fields of kube-proxy's configuration file.
    pub proxy: Value,
}

impl Site {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// True for an address of the node.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.addr() == address)
    }

    /// True for an address of its pods.
    #[must_use]
    pub fn has_pod(&self, address: IpAddr) -> bool {
        self.pods.iter().any(|network| network.contains(&address))
    }

    /// Commands for `ip -batch`. Both families have a default route, whichever addresses there are.
    pub(super) fn network(&self) -> String {
        let pods = &self.pods_device;
        let mut commands = format!("link set lo up\nlink set {pods} up\nlink set wire0 up\n");
        for address in &self.addresses {
            let nodad = if address.addr().is_ipv6() { " nodad" } else { "" };
            commands += &format!("addr add {address} dev wire0{nodad}\n");
        }
        for network in &self.pods {
            commands += &format!("route add {} dev {pods}\n", network.trunc());
        }
        commands + "route add default dev wire0\nroute add ::/0 dev wire0\n"
    }

    /// The Node object and the service addresses, as an API holds them.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let cidrs: Vec<String> = self.service_cidrs.iter().map(ToString::to_string).collect();
        let cidrs = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": cidrs},
        });
        vec![self.node.clone(), cidrs]
    }

    /// kube-proxy's configuration file. JSON is YAML.
    pub(super) fn configuration(&self, kubeconfig: &str) -> Value {
        let mut configuration = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "mode": "nftables", "hostnameOverride": self.name(),
            "clientConnection": {
                "kubeconfig": kubeconfig,
                "contentType": "application/json", "acceptContentTypes": "application/json",
            },
            // Limits are the whole machine's.
            "conntrack": {
                "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            },
            "oomScoreAdj": 0,
            "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
        });
        for (field, value) in self.proxy.as_object().into_iter().flatten() {
            configuration[field] = value.clone();
        }
        // Changes are written at once.
        configuration["nftables"]["minSyncPeriod"] = json!("1ms");
        configuration
    }
}
