//! `KubeProxyConfiguration`, `kubeproxy.config.k8s.io/v1alpha1`: the file of `--config`, read strictly. Every field of
//! version 1.37 has its place, those that mean nothing here too: so that a field that is unknown is a mistake, and a
//! wrong type is told with its path. What the fields mean together is for [`super::settings`].

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::go_duration;

/// The only version there is.
const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
const KIND: &str = "KubeProxyConfiguration";

macro_rules! section {
    ($(#[$docs:meta])* $name:ident { $($(#[$field_docs:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$docs])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(default, rename_all = "camelCase")]
        pub(crate) struct $name { $($(#[$field_docs])* pub(crate) $field: $kind,)* }
    };
}

section! {
    /// The whole file. An empty text, zero and nothing mean the same, as in kube-proxy: the default.
    KubeProxyConfiguration {
        api_version: String,
        kind: String,
        feature_gates: BTreeMap<String, bool>,
        client_connection: ClientConnection,
        logging: Logging,
        hostname_override: String,
        bind_address: String,
        /// Nothing: the default; empty: nowhere, which only a flag can say.
        healthz_bind_address: Option<String>,
        /// Likewise.
        metrics_bind_address: Option<String>,
        bind_address_hard_fail: bool,
        enable_profiling: bool,
        show_hidden_metrics_for_version: String,
        mode: String,
        iptables: Iptables,
        ipvs: Ipvs,
        nftables: Nftables,
        winkernel: Winkernel,
        detect_local_mode: String,
        detect_local: DetectLocal,
        #[serde(rename = "clusterCIDR")]
        cluster_cidr: String,
        node_port_addresses: Vec<String>,
        oom_score_adj: Option<i32>,
        conntrack: Conntrack,
        config_sync_period: GoDuration,
        port_range: String,
        windows_run_as_service: bool,
    }
}

section! {
    /// How the API is reached.
    ClientConnection {
        kubeconfig: String,
        accept_content_types: String,
        content_type: String,
        qps: f32,
        burst: i32,
    }
}

section! {
    /// Only the verbosity means something here.
    Logging {
        format: String,
        flush_frequency: Value,
        verbosity: u32,
        vmodule: Vec<VModule>,
        options: LogOptions,
    }
}

section! {
    /// One entry of `logging.vmodule`.
    VModule { file_pattern: String, verbosity: u32, }
}

section! {
    /// `logging.options`.
    LogOptions { text: LogFormat, json: LogFormat, }
}

section! {
    /// Options of one format of the log.
    LogFormat { split_stream: bool, info_buffer_size: Value, }
}

section! {
    /// The iptables mode: its masquerading and periods count when the file names that mode or none.
    Iptables {
        masquerade_bit: Option<i32>,
        masquerade_all: bool,
        localhost_node_ports: Option<bool>,
        sync_period: GoDuration,
        min_sync_period: GoDuration,
    }
}

section! {
    /// The IPVS mode: its periods count when the file names that mode.
    Ipvs {
        sync_period: GoDuration,
        min_sync_period: GoDuration,
        scheduler: String,
        #[serde(rename = "excludeCIDRs")]
        exclude_cidrs: Vec<String>,
        #[serde(rename = "strictARP")]
        strict_arp: bool,
        tcp_timeout: GoDuration,
        tcp_fin_timeout: GoDuration,
        udp_timeout: GoDuration,
    }
}

section! {
    /// The nftables mode, ours.
    Nftables {
        masquerade_bit: Option<i32>,
        masquerade_all: bool,
        sync_period: GoDuration,
        min_sync_period: GoDuration,
    }
}

section! {
    /// Windows.
    Winkernel {
        network_name: String,
        source_vip: String,
        #[serde(rename = "enableDSR")]
        enable_dsr: bool,
        root_hns_endpoint_name: String,
        forward_health_check_vip: bool,
    }
}

section! {
    /// What `detectLocalMode` needs.
    DetectLocal { bridge_interface: String, interface_name_prefix: String, }
}

section! {
    /// Limits of the kernel's connection tracking.
    Conntrack {
        max_per_core: Option<i32>,
        min: Option<i32>,
        tcp_established_timeout: Option<GoDuration>,
        tcp_close_wait_timeout: Option<GoDuration>,
        tcp_be_liberal: bool,
        udp_timeout: GoDuration,
        udp_stream_timeout: GoDuration,
    }
}

/// A duration as Go writes it, `1m30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct GoDuration(pub(crate) Duration);

impl std::str::FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match go_duration::parse(text) {
            Ok(Some(duration)) => Ok(Self(duration)),
            Ok(None) => Err(format!("{text:?} must be greater than or equal to 0")),
            Err(_) => Err(format!("{text:?} is no duration, such as 30s or 1m30s")),
        }
    }
}

impl TryFrom<String> for GoDuration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        format!("{}s", duration.0.as_secs_f64())
    }
}

/// Reads a configuration, YAML or JSON.
pub(crate) fn read(text: &str) -> anyhow::Result<KubeProxyConfiguration> {
    let mut documents = objects::manifest::parse(text)?.into_iter();
    let (Some(mut object), None) = (documents.next(), documents.next()) else {
        bail!("there must be exactly one document, a {KIND}")
    };
    let of = |field: &str| object[field].as_str().unwrap_or_default();
    ensure!(
        of("apiVersion") == API_VERSION && of("kind") == KIND,
        "this is apiVersion {:?}, kind {:?}, not {API_VERSION}, {KIND}",
        of("apiVersion"),
        of("kind")
    );
    remove_nulls(&mut object);
    let mut configuration: KubeProxyConfiguration = serde_path_to_error::deserialize(&object)?;
    let known = serde_json::to_value(&configuration).context("comparing the fields")?;
    let mut unknown = Vec::new();
    find_unknown("", &object, &known, &mut unknown);
    for address in [&mut configuration.healthz_bind_address, &mut configuration.metrics_bind_address] {
        *address = address.take().filter(|text| !text.is_empty());
    }
    if unknown.is_empty() {
        return Ok(configuration);
    }
    bail!("strict decoding error: {}", unknown.join(", "))
}

/// Writes a configuration as YAML, for `--write-config-to`.
pub(crate) fn write(configuration: &KubeProxyConfiguration, path: &Path) -> anyhow::Result<ExitCode> {
    let mut named = configuration.clone();
    (named.api_version, named.kind) = (API_VERSION.to_owned(), KIND.to_owned());
    let text = serde_saphyr::to_string(&named).context("rendering the configuration")?;
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The names of the outermost fields in which two configurations differ.
pub(crate) fn differences(one: &KubeProxyConfiguration, other: &KubeProxyConfiguration) -> Vec<String> {
    // What was read or made here can be written.
    let object = |configuration| serde_json::to_value(configuration).unwrap_or_default();
    let (one, other) = (object(one), object(other));
    let fields = one.as_object().into_iter().flatten();
    fields.filter(|(name, value)| other[name.as_str()] != **value).map(|(name, _)| name.clone()).collect()
}

/// kube-proxy takes `null` for nothing.
fn remove_nulls(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.retain(|_, field| !field.is_null());
    fields.values_mut().for_each(remove_nulls);
}

/// Fields of `given` that did not come back in `known`, by path.
fn find_unknown(path: &str, given: &Value, known: &Value, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, field) in given {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match known.get(name) {
                    Some(counterpart) => find_unknown(&path, field, counterpart, unknown),
                    None => unknown.push(format!("unknown field {path:?}")),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (element, counterpart)) in given.iter().zip(known).enumerate() {
                find_unknown(&format!("{path}[{index}]"), element, counterpart, unknown);
            }
        }
        _ => {}
    }
}
