//! The images that are built into the program, and the small tools for hosts that lack them.
//!
//! Nothing is pulled. An image name maps to a stand-in ([`Image::find`]) that runs inside the pod as this very
//! program under another name ([`dispatch`]); every container has the same root, so a command given in the pod's
//! spec (`sh -c …`) runs there too. A name that is not known stays unknown: the caller reports it.

use std::path::Path;
use std::process::ExitCode;

mod arguments;
mod curl;
mod http;
mod nginx;
mod nslookup;
mod podcli;
mod podinfo;
mod ready;

/// A built-in image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// A web server that describes itself, after stefanprodan/podinfo.
    Podinfo,
    /// A web server with a welcome page.
    Nginx,
}

/// What a container of a built-in image runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Command and arguments.
    pub args: Vec<String>,
    /// It is one of our programs, and announces when it listens.
    pub announces_ready: bool,
}

impl Image {
    /// The image behind a reference such as `podinfo`, `docker.io/library/nginx:1.27` or `podinfo@sha256:…`;
    /// any tag is accepted, any other repository is not.
    pub fn find(reference: &str) -> Option<Self> {
        let repository = repository(reference);
        match repository.strip_prefix("docker.io/").unwrap_or(repository) {
            "podinfo" | "stefanprodan/podinfo" | "ghcr.io/stefanprodan/podinfo" => Some(Self::Podinfo),
            "nginx" | "library/nginx" => Some(Self::Nginx),
            _ => None,
        }
    }

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Podinfo => "podinfo",
            Self::Nginx => "nginx",
        }
    }

    /// Combines the image's own command with the container's `command` and `args`, as Kubernetes does: `command`
    /// replaces all, `args` only the arguments.
    pub fn start(self, command: &[String], args: &[String]) -> Start {
        let own = format!("{}/{}", crate::runner::PROGRAMS, self.name());
        let Some((first, rest)) = command.split_first() else {
            let mut all = vec![own];
            all.extend_from_slice(args);
            return Start { args: all, announces_ready: true };
        };
        // Podinfo's own manifests say `./podinfo`.
        let is_own = first.trim_start_matches("./") == self.name() || *first == own;
        let mut all = vec![if is_own { own } else { first.clone() }];
        all.extend_from_slice(rest);
        all.extend_from_slice(args);
        Start { args: all, announces_ready: is_own }
    }
}

/// For messages: the references that work.
pub const KNOWN: &str = "podinfo, stefanprodan/podinfo, ghcr.io/stefanprodan/podinfo and nginx";

/// Without tag and digest. A colon before the last slash belongs to a registry's port.
fn repository(reference: &str) -> &str {
    let reference = reference.split('@').next().unwrap_or_default();
    let name = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference[name..].find(':') {
        Some(colon) => &reference[..name + colon],
        None => reference,
    }
}

/// If this process was started under the name of a built-in program, runs it to its end.
pub fn dispatch() -> Option<ExitCode> {
    let mut args = std::env::args();
    let name = args.next()?;
    let name = Path::new(&name).file_name()?.to_str()?;
    let program: fn(Vec<String>) -> ExitCode = match name {
        "podinfo" => podinfo::main,
        "podcli" => podcli::main,
        "nginx" => nginx::main,
        "curl" => curl::main,
        "nslookup" => nslookup::main,
        _ => return None,
    };
    Some(program(args.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_built_in_images() {
        let cases = [
            ("podinfo", Some(Image::Podinfo)),
            ("podinfo:6.7.1", Some(Image::Podinfo)),
            ("stefanprodan/podinfo", Some(Image::Podinfo)),
            ("docker.io/stefanprodan/podinfo:latest", Some(Image::Podinfo)),
            ("ghcr.io/stefanprodan/podinfo:6.9.2", Some(Image::Podinfo)),
            ("ghcr.io/stefanprodan/podinfo@sha256:abc", Some(Image::Podinfo)),
            ("nginx:1.27-alpine", Some(Image::Nginx)),
            ("docker.io/library/nginx", Some(Image::Nginx)),
            ("registry.example:5000/nginx", None),
            ("nginxinc/nginx-unprivileged", None),
            ("busybox", None),
            ("", None),
        ];
        for (reference, expected) in cases {
            assert_eq!(Image::find(reference), expected, "{reference}");
        }
    }

    #[test]
    fn command_and_args_as_kubernetes_combines_them() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], bool);
        let cases: [Case<'_>; 5] = [
            (&[], &[], &["/opt/sluice/bin/podinfo"], true),
            (&[], &["--port=80"], &["/opt/sluice/bin/podinfo", "--port=80"], true),
            (
                &["./podinfo", "--port=1"],
                &["--level=info"],
                &["/opt/sluice/bin/podinfo", "--port=1", "--level=info"],
                true,
            ),
            (&["sh", "-c"], &["sleep 1"], &["sh", "-c", "sleep 1"], false),
            (&["sleep", "1"], &[], &["sleep", "1"], false),
        ];
        for (command, args, expected, ready) in cases {
            let start = Image::Podinfo.start(&texts(command), &texts(args));
            assert_eq!(start, Start { args: texts(expected), announces_ready: ready });
        }
    }
}
