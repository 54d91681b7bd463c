//! Which API server the verbs speak to, and as whom.
//!
//! The order is `--kubeconfig`, `KUBECONFIG`, the file that a running `sluice up` writes, `~/.kube/config`. Nothing is
//! contacted from here except by credential plugins that a kubeconfig may name.

use std::path::PathBuf;

use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use super::failure::Failure;
use crate::causes::chain;
use crate::wiring;

/// kubectl's flags for choosing a cluster; they may stand before or after the verb.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ConnectFlags {
    /// Path of the kubeconfig file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace of the request
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

impl ConnectFlags {
    /// The client configuration that the flags and the environment name.
    pub(crate) async fn config(&self) -> Result<Config, Failure> {
        let kubeconfig = self.read()?;
        if let Some(context) =
            self.context.as_ref().filter(|name| kubeconfig.contexts.iter().all(|own| own.name != **name))
        {
            return Err(Failure::Plain(format!(
                "Error in configuration: context was not found for specified context: {context}"
            )));
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| Failure::usage(chain(&error)))?;
        // Watches, logs and exec are quiet for as long as nothing happens.
        config.read_timeout = None;
        config.write_timeout = None;
        Ok(config)
    }

    fn read(&self) -> Result<Kubeconfig, Failure> {
        let failed = |error: kube::config::KubeconfigError| Failure::usage(chain(&error));
        if let Some(path) = &self.kubeconfig {
            if !path.exists() {
                return Err(Failure::usage(format!("stat {}: no such file or directory", path.display())));
            }
            return Kubeconfig::read_from(path).map_err(failed);
        }
        if let Some(merged) = from_environment()? {
            return Ok(merged);
        }
        let candidates = [wiring::default_kubeconfig(), home_kubeconfig()];
        let found = candidates.iter().flatten().find(|path| path.exists()).ok_or_else(|| {
            Failure::usage(
                "no cluster to speak to: start one with `sluice up`, or name a kubeconfig with --kubeconfig or KUBECONFIG",
            )
        })?;
        Kubeconfig::read_from(found).map_err(failed)
    }
}

/// The files that `KUBECONFIG` names, merged; those that are not there are passed over if there is another.
fn from_environment() -> Result<Option<Kubeconfig>, Failure> {
    let value = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> =
        std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect();
    let Some(first) = named.first() else {
        return Ok(None);
    };
    let present: Vec<&PathBuf> = named.iter().filter(|path| path.exists()).collect();
    if present.is_empty() {
        return Err(Failure::usage(format!("stat {}: no such file or directory", first.display())));
    }
    let merged = present
        .into_iter()
        .try_fold(Kubeconfig::default(), |merged, path| merged.merge(Kubeconfig::read_from(path)?));
    merged.map(Some).map_err(|error| Failure::usage(chain(&error)))
}

fn home_kubeconfig() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube").join("config"))
}
