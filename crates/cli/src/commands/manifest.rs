//! Manifests: the files of `-f`, their documents, and the types of the objects in them.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    api::{Session, resource::Resource},
    failure::Failure,
};

/// `-f` and `-R`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct FileFlags {
    /// File, directory, or `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", value_delimiter = ',')]
    files: Vec<String>,
    /// Read directories below the given one too
    #[arg(short = 'R', long)]
    recursive: bool,
}

impl FileFlags {
    /// Whether no file was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// One object of a manifest.
#[derive(Clone, Debug)]
pub(crate) struct ManifestObject {
    /// The object as written.
    pub(crate) value: Value,
    /// The file, for messages.
    pub(crate) source: String,
}

impl ManifestObject {
    /// `metadata.name`, empty if there is none.
    pub(crate) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The namespace to use: the object's own, else that of the session. An explicit `-n` must agree.
    pub(crate) fn namespace(&self, session: &Session) -> Result<String, Failure> {
        match self.value["metadata"]["namespace"].as_str().filter(|own| !own.is_empty()) {
            Some(own) if session.namespace_given && own != session.namespace => Err(Failure::usage(format!(
                "the namespace from the provided object {own:?} does not match the namespace {:?}. You must pass '--namespace={own}' to perform this operation.",
                session.namespace
            ))),
            Some(own) => Ok(own.to_owned()),
            None => Ok(session.namespace.clone()),
        }
    }
}

/// Reads all objects of all files, lists taken apart.
pub(crate) fn read(flags: &FileFlags) -> Result<Vec<ManifestObject>, Failure> {
    if flags.is_empty() {
        return Err(Failure::usage("must specify one of -f and -k"));
    }
    let mut objects = Vec::new();
    for file in &flags.files {
        for (text, source) in texts(file, flags.recursive)? {
            objects.extend(parse(&text, &source)?);
        }
    }
    Ok(objects)
}

/// The type of an object on this server.
pub(crate) async fn resource_of(session: &Session, object: &ManifestObject) -> Result<Resource, Failure> {
    let text = |key: &str| object.value[key].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let found = session.discovery().await?.of_kind(api_version, kind).cloned();
    found.ok_or_else(|| {
        Failure::usage(format!(
            "resource mapping not found for name: {:?} namespace: {:?} from {:?}: no matches for kind {kind:?} in version {api_version:?}\nensure CRDs are installed first",
            object.name(),
            object.value["metadata"]["namespace"].as_str().unwrap_or_default(),
            object.source,
        ))
    })
}

fn texts(file: &str, recursive: bool) -> Result<Vec<(String, String)>, Failure> {
    if file == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Failure::usage(format!("reading standard input: {error}")))?;
        return Ok(vec![(text, "STDIN".to_owned())]);
    }
    if file.starts_with("http://") || file.starts_with("https://") {
        return Err(Failure::usage(format!(
            "manifests from a URL are not read yet: use `curl -L {file} | sluice apply -f -`"
        )));
    }
    let path = Path::new(file);
    if !path.exists() {
        return Err(Failure::usage(format!("the path {file:?} does not exist")));
    }
    let mut files = Vec::new();
    collect(path, recursive, true, &mut files).map_err(|error| unreadable(path, &error))?;
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        Ok((text, path.display().to_string()))
    };
    files.iter().map(read).collect()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("reading {}: {error}", path.display()))
}

/// The manifests at a path: the file itself, or those of a directory in the order of their names.
fn collect(path: &Path, recursive: bool, top: bool, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        if top || recursive {
            let mut entries: Vec<PathBuf> =
                std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
            entries.sort();
            entries.iter().try_for_each(|entry| collect(entry, recursive, false, files))?;
        }
        return Ok(());
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if top || matches!(extension, "yaml" | "yml" | "json") {
        files.push(path.to_owned());
    }
    Ok(())
}

fn parse(text: &str, source: &str) -> Result<Vec<ManifestObject>, Failure> {
    let objects = objects::manifest::parse(text).map_err(|error| {
        Failure::usage(format!("error parsing {source}: error converting YAML to JSON: yaml: {error}"))
    })?;
    let checked = objects.into_iter().map(|value| {
        check_type(&value, source)?;
        Ok(ManifestObject { value, source: source.to_owned() })
    });
    checked.collect()
}

/// The parser's first line, which says where and what, as `yaml: line 5 column 2: what`.
pub(crate) fn yaml_error(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    format!("yaml: {}", first.strip_prefix("error: ").unwrap_or(first))
}

fn check_type(document: &Value, source: &str) -> Result<(), Failure> {
    let missing = |key: &str| document[key].as_str().is_none_or(str::is_empty);
    let lacking: Vec<&str> = [("apiVersion", "apiVersion not set"), ("kind", "kind not set")]
        .iter()
        .filter_map(|(key, complaint)| missing(key).then_some(*complaint))
        .collect();
    let complaint = match lacking.as_slice() {
        [] => return Ok(()),
        [one] => (*one).to_owned(),
        several => format!("[{}]", several.join(", ")),
    };
    Err(Failure::usage(format!(
        "error validating {source:?}: error validating data: {complaint}; if you choose to ignore these errors, turn validation off with --validate=false"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Result<Vec<String>, String> {
        let objects = parse(text, "f.yaml").map_err(|error| error.to_string())?;
        Ok(objects.iter().map(|object| object.name().to_owned()).collect())
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let two = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: b\n";
        assert_eq!(objects(two), Ok(vec!["a".to_owned(), "b".to_owned()]));
        let list = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"}}]}"#;
        assert_eq!(objects(list), Ok(vec!["c".to_owned()]));
        assert_eq!(objects(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let error = objects("a: b").unwrap_err();
        assert!(error.contains("[apiVersion not set, kind not set]"), "{error}");
        let error = objects("kind: Pod\nmetadata: [").unwrap_err();
        assert!(error.starts_with("error: error parsing f.yaml: error converting YAML to JSON: "), "{error}");
    }
}
