//! `sluice proxy`: the service proxy of one node alone, in kube-proxy's place, with its flags and its configuration file.
//!
//! ```text
//! flags (flags) ─┬─► KubeProxyConfiguration (configuration) ─► Settings (settings) ─► the agent's ProxyConfig
//! --config FILE ─┘                                                   └─► limits of connection tracking, this process
//! ```
//!
//! As in kube-proxy, a file replaces the flags, but for those of the program itself.

mod config_file;
mod configuration;
mod conntrack_limits;
mod flags;
mod settings;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use anyhow::Context;
use tracing::{debug, info, warn};

use super::agent::{self, Agent, Config};
use super::logging;
use config_file::ConfigFile;
use configuration::KubeProxyConfiguration;
pub(crate) use flags::ForwardingFlags;
use flags::ProgramFlags;
use settings::Settings;

/// The kube-proxy whose flags and configuration these are.
const KUBE_PROXY: &str = "v1.37";

/// Arguments of `sluice proxy`. Every other flag of kube-proxy is accepted and named in a warning.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: ProgramFlags,
    #[command(flatten)]
    forwarding: ForwardingFlags,
    #[command(flatten)]
    subnets: agent::SubnetFlags,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(form) = &args.program.version {
        return Ok(say_version(form));
    }
    let file = args.program.config.as_deref().map(ConfigFile::read).transpose()?;
    let configuration = args.configuration(file.as_ref());
    if let Some(path) = &args.program.write_config_to {
        return configuration::write(&configuration, path);
    }
    let mut settings = match &args.program.config {
        Some(path) => Settings::new(&configuration).with_context(|| format!("in {}", path.display()))?,
        None => Settings::new(&configuration)?,
    };
    settings.proxy.service_cidrs = args.subnets.chosen();
    logging::start(logging::level(args.program.verbosity.unwrap_or(settings.verbosity)));
    if args.program.cleanup {
        return clean_up();
    }
    args.warn(&settings);
    settings.conntrack.apply();
    if args.program.init_only {
        return Ok(ExitCode::SUCCESS);
    }
    adjust_oom_score(settings.oom_score_adj);
    agent::stay(async move {
        let client = agent::connect(settings.kubeconfig.as_deref(), args.program.master.as_deref()).await?;
        let asked = args.program.hostname_override.as_deref().map(|name| name.trim().to_lowercase());
        let node = agent::node_name(asked.or(settings.node))?;
        agent::warn_without_node(&client, &node, "--hostname-override").await;
        if let Some(file) = file {
            tokio::spawn(file.exit_when_changed());
        }
        Agent::start(client, Config { node, proxy: Some(settings.proxy), dns: None }).await
    })
}

impl ForwardingFlags {
    /// What they mean for an agent.
    ///
    /// # Errors
    /// Names every flag that makes no sense, by the field that it stands for.
    pub(crate) fn resolve(&self) -> anyhow::Result<agent::ProxyConfig> {
        let mut configuration = KubeProxyConfiguration { mode: "nftables".to_owned(), ..Default::default() };
        self.apply(&mut configuration);
        let settings = Settings::new(&configuration)?;
        settings.remarks.iter().for_each(|remark| warn!("{remark}"));
        Ok(settings.proxy)
    }
}

impl Args {
    /// The file, or what the flags say.
    fn configuration(&self, file: Option<&ConfigFile>) -> KubeProxyConfiguration {
        let mut configuration = file.map(|file| file.configuration.clone()).unwrap_or_default();
        if file.is_none() {
            self.program.apply(&mut configuration);
            self.forwarding.apply(&mut configuration);
        }
        configuration
    }

    /// Tells once what was asked for in vain.
    fn warn(&self, settings: &Settings) {
        for remark in &settings.remarks {
            warn!("{remark}");
        }
        let mut ignored = self.program.ignored.0.clone();
        ignored.extend(settings.ignored.iter().map(|&field| field.to_owned()));
        if !ignored.is_empty() {
            warn!("without effect on Sluice: {}", ignored.join(", "));
        }
        let replaced = self.replaced();
        if self.program.config.is_some() && !replaced.is_empty() {
            warn!("the configuration file decides on {}: the flags for it do not count", replaced.join(", "));
        }
    }

    /// The parts of the configuration that flags speak of. A kubeconfig may be the environment's, and is left out.
    fn replaced(&self) -> Vec<String> {
        let mut said = self.configuration(None);
        said.client_connection.kubeconfig.clear();
        configuration::differences(&said, &KubeProxyConfiguration::default())
    }
}

fn say_version(form: &str) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    match form {
        "raw" => say!("sluice v{version} linux/{}, kube-proxy {KUBE_PROXY}", std::env::consts::ARCH),
        _ => say!("sluice v{version}, kube-proxy {KUBE_PROXY}"),
    }
    ExitCode::SUCCESS
}

fn clean_up() -> anyhow::Result<ExitCode> {
    if dataplane::nftables::cleanup().context("removing our tables")? {
        info!("removed Sluice's tables");
    } else {
        info!("there are no tables of Sluice");
    }
    Ok(ExitCode::SUCCESS)
}

/// The kernel kills others first; needs root's rights over resources, which a container may not have.
fn adjust_oom_score(score: i32) {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        debug!("the oom-score-adj stays as it is: {error}");
    }
}
