//! What a verb works on: `TYPE`, `TYPE NAME…`, `TYPE/NAME…`, with several types joined by commas.

use super::{
    api::{Session, resource::Resource},
    failure::Failure,
};

/// A resource type, and one object of it if a name was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The type.
    pub(crate) resource: Resource,
    /// The name.
    pub(crate) name: Option<String>,
}

/// The targets in the order in which they were typed.
pub(crate) async fn resolve(session: &Session, words: &[String]) -> Result<Vec<Target>, Failure> {
    let discovery = session.discovery().await?;
    if words.iter().any(|word| word.contains('/')) {
        return with_slashes(words, |word| discovery.lookup(word));
    }
    let Some((types, names)) = words.split_first() else { return Ok(Vec::new()) };
    let mut targets = Vec::new();
    for word in types.split(',') {
        for resource in discovery.lookup(word)? {
            if names.is_empty() {
                targets.push(Target { resource: resource.clone(), name: None });
            }
            let named = |name: &String| Target { resource: resource.clone(), name: Some(name.clone()) };
            targets.extend(names.iter().map(named));
        }
    }
    Ok(targets)
}

fn with_slashes(
    words: &[String],
    lookup: impl Fn(&str) -> Result<Vec<Resource>, Failure>,
) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    for word in words {
        let Some((kind, name)) = word.split_once('/') else {
            return Err(Failure::usage(
                "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'sluice get resource/<resource_name>' instead of 'sluice get resource resource/<resource_name>'",
            ));
        };
        if kind.is_empty() || name.is_empty() || name.contains('/') {
            return Err(Failure::usage(
                "arguments in resource/name form must have a single resource and name",
            ));
        }
        let Some(resource) = lookup(kind)?.into_iter().next() else { continue };
        targets.push(Target { resource, name: Some(name.to_owned()) });
    }
    Ok(targets)
}

/// Exactly one named object, as `scale` or `expose` want it.
pub(crate) async fn resolve_named(
    session: &Session,
    words: &[String],
) -> Result<Vec<(Resource, String)>, Failure> {
    let targets = resolve(session, words).await?;
    if targets.is_empty() || targets.iter().any(|target| target.name.is_none()) {
        return Err(Failure::usage("resource(s) were provided, but no name was specified"));
    }
    Ok(targets.into_iter().filter_map(|target| Some((target.resource, target.name?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(word: &str) -> Result<Vec<Resource>, Failure> {
        Ok(vec![Resource::fixed("", "Pod", word, true)])
    }

    #[test]
    fn slashes_name_type_and_object() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let targets = with_slashes(&words(&["pods/a", "services/b"]), lookup).unwrap();
        let names: Vec<_> = targets.iter().map(|t| (t.resource.plural.as_str(), t.name.as_deref())).collect();
        assert_eq!(names, [("pods", Some("a")), ("services", Some("b"))]);
        for bad in [&["pods/a", "b"][..], &["pods/"], &["/a"], &["pods/a/b"]] {
            assert!(with_slashes(&words(bad), lookup).is_err(), "{bad:?}");
        }
    }
}
