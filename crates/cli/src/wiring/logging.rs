//! Diagnostics on standard error. What a command is asked to print goes to standard output and never through here.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging: `SLUICE_LOG` in tracing's filter syntax, else `default`, without the lines in which the API's client
/// tells what our own say with the object's name.
pub(crate) fn start(default: &str) {
    let default = || EnvFilter::new(format!("{default},kube_client=off"));
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| default());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start (tests) is no error: the first stays.
    let _ = builder
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .log_internal_errors(false)
        .try_init();
}

/// The level that corresponds to klog's verbosity, the `-v` of Kubernetes' programs.
pub(crate) fn level(verbosity: u32) -> &'static str {
    match verbosity {
        0..=3 => "info",
        4..=5 => "info,sluice=debug,dataplane=debug,services=debug",
        6..=7 => "debug",
        _ => "trace",
    }
}
