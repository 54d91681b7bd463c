//! The objects that a changing verb works on: by name, by selector, all of a type, or those of manifests.

use serde_json::Value;

use super::{
    api::{JSON, Session, resource::Resource},
    failure::Failure,
    listing::{self, Selection},
    manifest::{self, FileFlags},
    targets,
};

/// Flags that choose objects.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ChoiceFlags {
    #[command(flatten)]
    files: FileFlags,
    /// Label selector
    #[arg(short = 'l', long, value_name = "QUERY", default_value = "", hide_default_value = true)]
    selector: String,
    /// Field selector
    #[arg(long, value_name = "QUERY", default_value = "", hide_default_value = true)]
    field_selector: String,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    /// Choose from all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// Its type.
    pub(crate) resource: Resource,
    /// Its namespace, empty for cluster-wide objects.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// The object, where it had to be read.
    pub(crate) object: Value,
    /// The manifest that names it, empty if none does.
    pub(crate) source: String,
}

impl Chosen {
    /// Its path.
    pub(crate) fn path(&self) -> String {
        self.resource.object(&self.namespace, &self.name)
    }

    /// Reads the object if that has not happened.
    pub(crate) async fn read(mut self, session: &Session) -> Result<Self, Failure> {
        if self.object.is_null() {
            self.object = session.get(&self.path(), JSON).await?;
        }
        Ok(self)
    }
}

impl ChoiceFlags {
    /// Whether objects are chosen by anything but names.
    pub(crate) fn is_query(&self) -> bool {
        self.all || !self.selector.is_empty() || !self.field_selector.is_empty()
    }

    /// Whether every object of a type is meant, whatever its labels.
    pub(crate) fn means_all(&self) -> bool {
        self.all && self.selector.is_empty()
    }

    /// The objects; those chosen by name or manifest are not read.
    pub(crate) async fn choose(&self, session: &Session, words: &[String]) -> Result<Vec<Chosen>, Failure> {
        if !self.files.is_empty() {
            return self.in_files(session).await;
        }
        if words.is_empty() {
            return Err(Failure::usage(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
            ));
        }
        let mut chosen = Vec::new();
        for target in targets::resolve(session, words).await? {
            match target.name {
                Some(_) if self.is_query() => {
                    return Err(Failure::usage("name cannot be provided when a selector is specified"));
                }
                Some(name) => chosen.push(self.named(session, target.resource, name)),
                None if self.is_query() => chosen.extend(self.queried(session, target.resource).await?),
                None => return Err(Failure::usage("resource(s) were provided, but no name was specified")),
            }
        }
        Ok(chosen)
    }

    async fn in_files(&self, session: &Session) -> Result<Vec<Chosen>, Failure> {
        let mut chosen = Vec::new();
        for object in manifest::read(&self.files)? {
            let resource = manifest::resource_of(session, &object).await?;
            let namespace = if resource.namespaced { object.namespace(session)? } else { String::new() };
            chosen.push(Chosen {
                resource,
                namespace,
                name: object.name().to_owned(),
                object: Value::Null,
                source: object.source,
            });
        }
        Ok(chosen)
    }

    fn named(&self, session: &Session, resource: Resource, name: String) -> Chosen {
        let namespace = if resource.namespaced { session.namespace.clone() } else { String::new() };
        Chosen { resource, namespace, name, object: Value::Null, source: String::new() }
    }

    async fn queried(&self, session: &Session, resource: Resource) -> Result<Vec<Chosen>, Failure> {
        let selection = Selection {
            namespace: (!self.all_namespaces).then(|| session.namespace.clone()),
            labels: self.selector.clone(),
            fields: self.field_selector.clone(),
            include_object: "",
        };
        let list = listing::list(session, &resource, &selection, JSON).await?;
        let text =
            |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let chosen = |object: Value| Chosen {
            resource: resource.clone(),
            namespace: text(&object, "namespace"),
            name: text(&object, "name"),
            object,
            source: String::new(),
        };
        Ok(listing::items(list, &resource).into_iter().map(chosen).collect())
    }
}
