//! The file of `--config`: read once, and watched. A program whose configuration was edited ends, as kube-proxy does, and
//! whoever runs it starts it anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tracing::error;

use super::configuration::{self, KubeProxyConfiguration};

/// How soon an edit is seen. A mounted ConfigMap itself takes a minute.
const INTERVAL: Duration = Duration::from_secs(5);

/// A configuration and where it is from.
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
    pub(super) configuration: KubeProxyConfiguration,
}

impl ConfigFile {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("reading the configuration {}", path.display());
        let text = std::fs::read_to_string(path).with_context(context)?;
        let configuration = configuration::read(&text).with_context(context)?;
        Ok(Self { path: path.to_owned(), text, configuration })
    }

    /// Ends the program when the file holds something else. A file that is gone for a moment is not edited yet.
    pub(super) async fn exit_when_changed(self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if std::fs::read_to_string(&self.path).is_ok_and(|text| text != self.text) {
                error!("{} was edited; ending, to be started anew", self.path.display());
                std::process::exit(1);
            }
        }
    }
}
