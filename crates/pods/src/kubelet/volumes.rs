//! Volumes of a pod, as folders below the pod's own: emptyDir, configMap, secret, downwardAPI and projected.
//!
//! Written once, before the first container; later changes of a ConfigMap are not followed. A projected service
//! account token is left out (pods of this cluster have none). Every other kind is refused by name.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Volume as PodVolume,
};

use super::environment::{self, Data, Objects};
use crate::runner::protocol::Volume;

/// Why a volume cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Not a kind that this node has.
    #[error(
        "volume \"{0}\": only emptyDir, configMap, secret, downwardAPI and projected volumes are supported"
    )]
    Unsupported(String),
    /// What it refers to.
    #[error("MountVolume.SetUp failed for volume \"{name}\"")]
    Reference {
        name: String,
        #[source]
        source: environment::Error,
    },
    /// The node's disk.
    #[error("cannot write volume \"{name}\"")]
    Write {
        name: String,
        #[source]
        source: io::Error,
    },
    /// A mount names a volume that the pod does not have, or a sub path that leads out of it.
    #[error("volumeMount \"{0}\" of the container leads nowhere")]
    Mount(String),
    /// Refused for safety.
    #[error("volumeMount \"{0}\": a subPath into an emptyDir is not supported; mount the whole volume")]
    SubPath(String),
}

/// Makes all volumes of a pod below `folder`; where each lies, by name.
pub(crate) async fn set_up(
    pod: &Pod,
    objects: &Objects,
    folder: &Path,
    address: &str,
    node: &str,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut places = BTreeMap::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let place = folder.join(&volume.name);
        let name = &volume.name;
        let source = |source| Error::Reference { name: name.clone(), source };
        let files = files(volume, pod, objects, [address, node]).await.map_err(source)?;
        let files = files.ok_or_else(|| Error::Unsupported(name.clone()))?;
        write(&place, &files).map_err(|source| Error::Write { name: name.clone(), source })?;
        places.insert(name.clone(), place);
    }
    Ok(places)
}

type Files = Vec<(String, Vec<u8>)>;

/// The files of a volume; `None` for an unsupported kind.
async fn files(
    volume: &PodVolume,
    pod: &Pod,
    objects: &Objects,
    addresses: [&str; 2],
) -> Result<Option<Files>, environment::Error> {
    if volume.empty_dir.is_some() {
        return Ok(Some(Files::new()));
    }
    if let Some(map) = &volume.config_map {
        let data = objects.config_map(&map.name, map.optional == Some(true)).await?;
        return Ok(Some(select(data.unwrap_or_default(), map.items.as_deref())));
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let data = objects.secret(name, secret.optional == Some(true)).await?;
        return Ok(Some(select(data.unwrap_or_default(), secret.items.as_deref())));
    }
    if let Some(downward) = &volume.downward_api {
        return downward_files(downward.items.as_deref().unwrap_or_default(), pod, addresses).map(Some);
    }
    match &volume.projected {
        Some(projected) => projected_files(projected, pod, objects, addresses).await.map(Some),
        None => Ok(None),
    }
}

async fn projected_files(
    projected: &ProjectedVolumeSource,
    pod: &Pod,
    objects: &Objects,
    addresses: [&str; 2],
) -> Result<Files, environment::Error> {
    let mut files = Files::new();
    for source in projected.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let data = objects.config_map(&map.name, map.optional == Some(true)).await?;
            files.extend(select(data.unwrap_or_default(), map.items.as_deref()));
        }
        if let Some(secret) = &source.secret {
            let data = objects.secret(&secret.name, secret.optional == Some(true)).await?;
            files.extend(select(data.unwrap_or_default(), secret.items.as_deref()));
        }
        if let Some(downward) = &source.downward_api {
            files.extend(downward_files(downward.items.as_deref().unwrap_or_default(), pod, addresses)?);
        }
    }
    Ok(files)
}

fn downward_files(
    items: &[DownwardAPIVolumeFile],
    pod: &Pod,
    [address, node]: [&str; 2],
) -> Result<Files, environment::Error> {
    let file = |item: &DownwardAPIVolumeFile| {
        let path = item.field_ref.as_ref().map(|reference| reference.field_path.as_str());
        let path = path.ok_or_else(|| environment::Error::Unsupported("to a resource".to_owned()))?;
        Ok((item.path.clone(), environment::field(pod, path, address, node)?.into_bytes()))
    };
    items.iter().map(file).collect()
}

/// All keys, or the listed ones at their paths.
fn select(data: Data, items: Option<&[KeyToPath]>) -> Files {
    match items {
        None => data.into_iter().collect(),
        Some(items) => items
            .iter()
            .filter_map(|item| data.get(&item.key).map(|value| (item.path.clone(), value.clone())))
            .collect(),
    }
}

fn write(place: &Path, files: &[(String, Vec<u8>)]) -> io::Result<()> {
    fs::create_dir_all(place)?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o777))?;
    for (name, content) in files {
        let path = place.join(relative(name).ok_or(io::ErrorKind::InvalidInput)?);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}

/// A path that stays below where it starts.
fn relative(path: &str) -> Option<&Path> {
    let path = Path::new(path);
    let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    inside.then_some(path)
}

/// The mounts of one container. Everything but emptyDir is read-only.
pub(crate) fn mounts(
    container: &Container,
    pod: &Pod,
    places: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Volume>, Error> {
    let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let writable = |name: &str| volumes().any(|volume| volume.name == name && volume.empty_dir.is_some());
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let nowhere = || Error::Mount(mount.name.clone());
        let place = places.get(&mount.name).ok_or_else(nowhere)?;
        let sub_path = mount.sub_path.as_deref().unwrap_or_default();
        // A container could put a symbolic link to anywhere into a volume that it may write.
        if !sub_path.is_empty() && writable(&mount.name) {
            return Err(Error::SubPath(mount.name.clone()));
        }
        let source = place.join(relative(sub_path).ok_or_else(nowhere)?);
        if !source.exists() {
            return Err(nowhere());
        }
        mounts.push(Volume {
            source,
            target: mount.mount_path.clone(),
            read_only: mount.read_only == Some(true) || !writable(&mount.name),
        });
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, inside) in
            [("a", true), ("a/b", true), ("", true), ("..", false), ("a/../b", false), ("/a", false)]
        {
            assert_eq!(relative(path).is_some(), inside, "{path}");
        }
    }

    #[test]
    fn items_choose_keys_and_paths() {
        let data: Data = [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())].into();
        let item = KeyToPath { key: "b".to_owned(), path: "x/b.txt".to_owned(), ..KeyToPath::default() };
        assert_eq!(select(data.clone(), Some(&[item])), [("x/b.txt".to_owned(), b"2".to_vec())]);
        assert_eq!(select(data, None).len(), 2);
    }
}
