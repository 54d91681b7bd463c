//! A container's environment: its own variables, references into ConfigMaps, Secrets and the pod itself, `$(NAME)`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret};
use kube::api::Api;

/// Why a container cannot be configured yet; the text is the kubelet's, for the container's state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A referenced object is not there.
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    /// A referenced key is not there.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey { kind: &'static str, namespace: String, name: String, key: String },
    /// The API did not answer.
    #[error("cannot read {kind} \"{name}\"")]
    Api {
        kind: &'static str,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// A reference that is not understood here.
    #[error("unsupported reference {0}")]
    Unsupported(String),
}

/// Key-value data of one object.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// Reads ConfigMaps and Secrets of one namespace.
#[derive(Clone)]
pub(crate) struct Objects {
    client: kube::Client,
    namespace: String,
}

impl Objects {
    pub(crate) fn new(client: kube::Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// A ConfigMap's data, text and binary; none if it is `optional` and missing.
    pub(crate) async fn config_map(&self, name: &str, optional: bool) -> Result<Option<Data>, Error> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        let found = present(api.get_opt(name).await, "configmap", name, optional)?;
        Ok(found.map(|map| {
            let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
            let binary = map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
            text.chain(binary).collect()
        }))
    }

    /// A Secret's data; none if it is `optional` and missing.
    pub(crate) async fn secret(&self, name: &str, optional: bool) -> Result<Option<Data>, Error> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let found = present(api.get_opt(name).await, "secret", name, optional)?;
        Ok(found.map(|secret| secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect()))
    }

    fn no_key(&self, kind: &'static str, name: &str, key: &str) -> Error {
        let namespace = self.namespace.clone();
        Error::NoKey { kind, namespace, name: name.to_owned(), key: key.to_owned() }
    }
}

fn present<T>(
    result: kube::Result<Option<T>>,
    kind: &'static str,
    name: &str,
    optional: bool,
) -> Result<Option<T>, Error> {
    let name = name.to_owned();
    match result {
        Ok(None) if !optional => Err(Error::NotFound { kind, name }),
        Ok(found) => Ok(found),
        Err(source) => Err(Error::Api { kind, name, source: Box::new(source) }),
    }
}

/// A field of the pod by the path that the downward API uses; `address` and `node` are this node's knowledge.
pub(crate) fn field(pod: &Pod, path: &str, address: &str, node: &str) -> Result<String, Error> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let entry = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    if let Some(key) = subscript(path, "metadata.labels") {
        return Ok(entry(&metadata.labels, key));
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Ok(entry(&metadata.annotations, key));
    }
    Ok(match path {
        "metadata.name" => text(&metadata.name),
        "metadata.namespace" => text(&metadata.namespace),
        "metadata.uid" => text(&metadata.uid),
        "metadata.labels" => lines(&metadata.labels),
        "metadata.annotations" => lines(&metadata.annotations),
        "spec.nodeName" => spec.map(|spec| text(&spec.node_name)).unwrap_or_default(),
        "spec.serviceAccountName" => spec.map(|spec| text(&spec.service_account_name)).unwrap_or_default(),
        "status.podIP" | "status.podIPs" => address.to_owned(),
        "status.hostIP" | "status.hostIPs" => node.to_owned(),
        _ => return Err(Error::Unsupported(format!("to field {path:?}"))),
    })
}

fn subscript<'a>(path: &'a str, map: &str) -> Option<&'a str> {
    path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']")
}

fn lines(map: &Option<BTreeMap<String, String>>) -> String {
    let lines: Vec<_> = map.iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// What a container's variables are made from.
pub(crate) struct Sources<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) objects: &'a Objects,
    pub(crate) address: &'a str,
    pub(crate) node: &'a str,
    /// Variables of the cluster's Services, which the container's own may replace and refer to.
    pub(crate) services: Vec<(String, String)>,
}

/// All variables of a container, in the kubelet's order: Services, `envFrom`, `env`.
pub(crate) async fn variables(
    container: &Container,
    sources: &Sources<'_>,
) -> Result<Vec<(String, String)>, Error> {
    let mut variables: BTreeMap<String, String> = sources.services.iter().cloned().collect();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let mut data = None;
        if let Some(map) = &from.config_map_ref {
            data = sources.objects.config_map(&map.name, map.optional == Some(true)).await?;
        } else if let Some(secret) = &from.secret_ref {
            data = sources.objects.secret(&secret.name, secret.optional == Some(true)).await?;
        }
        for (key, value) in data.into_iter().flatten() {
            variables.insert(format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(variable, sources, &variables).await? {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables.into_iter().collect())
}

async fn value(
    variable: &EnvVar,
    sources: &Sources<'_>,
    known: &BTreeMap<String, String>,
) -> Result<Option<String>, Error> {
    let Some(from) = &variable.value_from else {
        let text = variable.value.as_deref().unwrap_or_default();
        return Ok(Some(expand(text, |name| known.get(name).cloned())));
    };
    referenced(from, sources).await
}

async fn referenced(from: &EnvVarSource, sources: &Sources<'_>) -> Result<Option<String>, Error> {
    let objects = sources.objects;
    if let Some(reference) = &from.field_ref {
        return field(sources.pod, &reference.field_path, sources.address, sources.node).map(Some);
    }
    let (kind, name, key, optional, data) = if let Some(reference) = &from.config_map_key_ref {
        let optional = reference.optional == Some(true);
        let data = objects.config_map(&reference.name, optional).await?;
        ("ConfigMap", &reference.name, &reference.key, optional, data)
    } else if let Some(reference) = &from.secret_key_ref {
        let optional = reference.optional == Some(true);
        let data = objects.secret(&reference.name, optional).await?;
        ("Secret", &reference.name, &reference.key, optional, data)
    } else {
        return Err(Error::Unsupported("other than to a field, a ConfigMap or a Secret".to_owned()));
    };
    match data.and_then(|mut data| data.remove(key)) {
        Some(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        None if optional => Ok(None),
        None => Err(objects.no_key(kind, name, key)),
    }
}

/// Replaces `$(NAME)` by its value; `$$` is one `$`, and an unknown name stays as it is written.
pub(crate) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut output = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            output.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        match name {
            Some((name, after)) => {
                output.push_str(&value(name).unwrap_or_else(|| format!("$({name})")));
                rest = after;
            }
            None => output.push('$'),
        }
    }
    output + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion_as_kubernetes_does_it() {
        let cases = [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $ $", "$A $ $"),
            ("$(A", "$(A"),
            ("", ""),
        ];
        for (text, expected) in cases {
            let value = |name: &str| (name == "A").then(|| "1".to_owned());
            assert_eq!(expand(text, value), expected, "{text}");
        }
    }

    #[test]
    fn fields_of_the_pod() {
        let mut pod = Pod::default();
        pod.metadata.name = Some("web".to_owned());
        pod.metadata.labels = Some([("app".to_owned(), "shop".to_owned())].into());
        let field = |path| field(&pod, path, "10.244.1.2", "172.18.0.2");
        assert_eq!(field("metadata.name").ok().as_deref(), Some("web"));
        assert_eq!(field("metadata.labels['app']").ok().as_deref(), Some("shop"));
        assert_eq!(field("metadata.labels['none']").ok().as_deref(), Some(""));
        assert_eq!(field("metadata.labels").ok().as_deref(), Some("app=\"shop\""));
        assert_eq!(field("status.podIP").ok().as_deref(), Some("10.244.1.2"));
        assert!(field("spec.priority").is_err());
    }
}
