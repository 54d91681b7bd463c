//! The objects that every cluster has from the start: four namespaces, and the Services `kubernetes` and
//! `kube-dns`.
//!
//! Idempotent: what is there stays as it is, except for the address of the API in the endpoints of
//! `default/kubernetes`, which is corrected. Works over the API like any client.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Namespace, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{self as discovery, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{GetParams, PostParams};

use super::cluster::SERVICE_NAME_LABEL;
use super::execute::{RequestError, code, collection};
use super::object::{Object, Target};

/// Where the cluster's own Services are and lead.
#[derive(Clone, Debug)]
pub struct BootstrapConfig {
    /// Subnet of the virtual IPs: its first address is `default/kubernetes`, its tenth
    /// `kube-system/kube-dns`.
    pub service_cidr: Ipv4Net,
    /// Address of the API on the cluster's wire.
    pub api_address: Ipv4Addr,
    /// Port of the API there.
    pub api_port: u16,
}

/// A bootstrap object that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The service subnet has no room for the cluster's own addresses.
    #[error("service subnet {0} is too small: it needs ten addresses at least, use a /27 or wider")]
    SubnetTooSmall(Ipv4Net),
    /// The API did not take an object.
    #[error("cannot make {kind} {name}")]
    Write {
        /// Its kind.
        kind: String,
        /// Its namespace and name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Makes the objects that are not there yet.
///
/// # Errors
/// If the subnet is too small or the API refuses an object.
pub async fn bootstrap(client: kube::Client, config: &BootstrapConfig) -> Result<(), BootstrapError> {
    let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"].map(namespace);
    futures::future::try_join_all(namespaces.into_iter().map(|object| ensure(&client, object, false)))
        .await?;
    let services = [kubernetes_service(config)?, dns_service(config)?];
    futures::future::try_join_all(services.into_iter().map(|object| ensure(&client, object, false))).await?;
    ensure(&client, kubernetes_endpoints(config), true).await?;
    ensure(&client, kubernetes_slice(config), true).await
}

/// Creates the object; if it is there and `correct` is set, replaces it (the API makes no revision of an
/// equal object).
///
/// It looks before it creates: a Service whose address is taken, by itself, is refused for that and not as
/// existing.
async fn ensure(client: &kube::Client, object: Object, correct: bool) -> Result<(), BootstrapError> {
    let target = object.target();
    let result = async {
        if !exists(client, &target).await? {
            return write(client, &target, &object, None).await;
        }
        if correct { write(client, &target, &object, Some(&target.key.name)).await } else { Ok(()) }
    };
    result.await.map_err(|source| BootstrapError::Write {
        kind: format!("{:?}", target.kind),
        name: full_name(&target),
        source: Box::new(source),
    })
}

async fn exists(client: &kube::Client, target: &Target) -> Result<bool, RequestError> {
    let get = collection(target).get(&target.key.name, &GetParams::default());
    match send(client, "get", target, get).await {
        Err(RequestError::Call { source, .. }) if code(&source) == Some(404) => Ok(false),
        result => result.map(|()| true),
    }
}

/// A POST, or a PUT of the object `replaced`. Somebody else's POST at the same time is as good as ours.
async fn write(
    client: &kube::Client,
    target: &Target,
    object: &Object,
    replaced: Option<&str>,
) -> Result<(), RequestError> {
    let body = object.encode();
    let body =
        body.map_err(|source| RequestError::Type { kind: target.kind, name: full_name(target), source })?;
    let params = PostParams::default();
    let Some(replaced) = replaced else {
        return match send(client, "create", target, collection(target).create(&params, body)).await {
            Err(error) if error.is_conflict() => Ok(()),
            result => result,
        };
    };
    send(client, "replace", target, collection(target).replace(replaced, &params, body)).await
}

async fn send(
    client: &kube::Client,
    verb: &'static str,
    target: &Target,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<(), RequestError> {
    let (kind, name) = (target.kind, full_name(target));
    let request = request.map_err(|source| RequestError::Build { kind, name: name.clone(), source })?;
    let sent = client.request_text(request).await.map(drop);
    sent.map_err(|source| RequestError::Call { verb, kind, name, source: source.into() })
}

fn full_name(target: &Target) -> String {
    let key = &target.key;
    if key.namespace.is_empty() { key.name.clone() } else { format!("{}/{}", key.namespace, key.name) }
}

fn labels(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

fn namespace(name: &str) -> Object {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    namespace.metadata.labels = labels(&[("kubernetes.io/metadata.name", name)]);
    Object::new(namespace)
}

fn address(config: &BootstrapConfig, index: u32) -> Result<String, BootstrapError> {
    let address = u32::from(config.service_cidr.network()) + index;
    let address = Ipv4Addr::from(address);
    let usable = config.service_cidr.contains(&address) && address != config.service_cidr.broadcast();
    if usable { Ok(address.to_string()) } else { Err(BootstrapError::SubnetTooSmall(config.service_cidr)) }
}

fn service(namespace: &str, name: &str, cluster_ip: String, ports: Vec<ServicePort>) -> Service {
    let mut service = Service::default();
    service.metadata.namespace = Some(namespace.to_owned());
    service.metadata.name = Some(name.to_owned());
    service.spec = Some(ServiceSpec {
        cluster_ip: Some(cluster_ip),
        ports: Some(ports),
        type_: Some("ClusterIP".to_owned()),
        session_affinity: Some("None".to_owned()),
        ..ServiceSpec::default()
    });
    service
}

fn kubernetes_service(config: &BootstrapConfig) -> Result<Object, BootstrapError> {
    let port = ServicePort {
        name: Some("https".to_owned()),
        port: 443,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(config.api_port.into())),
        ..ServicePort::default()
    };
    let mut service = service("default", "kubernetes", address(config, 1)?, vec![port]);
    service.metadata.labels = labels(&[("component", "apiserver"), ("provider", "kubernetes")]);
    Ok(Object::new(service))
}

fn dns_service(config: &BootstrapConfig) -> Result<Object, BootstrapError> {
    let port = |name: &str, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port: 53,
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(53)),
        ..ServicePort::default()
    };
    let ports = vec![port("dns", "UDP"), port("dns-tcp", "TCP")];
    let mut service = service("kube-system", "kube-dns", address(config, 10)?, ports);
    service.metadata.labels = labels(&[
        ("k8s-app", "kube-dns"),
        ("kubernetes.io/cluster-service", "true"),
        ("kubernetes.io/name", "CoreDNS"),
    ]);
    Ok(Object::new(service))
}

fn kubernetes_endpoints(config: &BootstrapConfig) -> Object {
    let mut endpoints = Endpoints::default();
    endpoints.metadata.namespace = Some("default".to_owned());
    endpoints.metadata.name = Some("kubernetes".to_owned());
    endpoints.metadata.labels = labels(&[("endpointslice.kubernetes.io/skip-mirror", "true")]);
    endpoints.subsets = Some(vec![EndpointSubset {
        addresses: Some(vec![EndpointAddress {
            ip: config.api_address.to_string(),
            ..EndpointAddress::default()
        }]),
        ports: Some(vec![EndpointPort {
            name: Some("https".to_owned()),
            port: config.api_port.into(),
            protocol: Some("TCP".to_owned()),
            app_protocol: None,
        }]),
        not_ready_addresses: None,
    }]);
    Object::new(endpoints)
}

fn kubernetes_slice(config: &BootstrapConfig) -> Object {
    let mut slice = EndpointSlice { address_type: "IPv4".to_owned(), ..EndpointSlice::default() };
    slice.metadata.namespace = Some("default".to_owned());
    slice.metadata.name = Some("kubernetes".to_owned());
    slice.metadata.labels = labels(&[(SERVICE_NAME_LABEL, "kubernetes")]);
    slice.endpoints = Some(vec![discovery::Endpoint {
        addresses: vec![config.api_address.to_string()],
        conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
        ..discovery::Endpoint::default()
    }]);
    slice.ports = Some(vec![discovery::EndpointPort {
        name: Some("https".to_owned()),
        port: Some(config.api_port.into()),
        protocol: Some("TCP".to_owned()),
        app_protocol: None,
    }]);
    Object::new(slice)
}
