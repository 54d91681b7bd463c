//! The life of one container: started, supervised, stopped, started again as its policy says.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::events::Kind;
use super::pod::{PodContext, Stop};
use super::probes::{self, Unhealthy};
use super::record::{State, Terminated};
use super::{start, stop};
use crate::images::{Image, KNOWN};

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    OnFailure,
    Never,
}

/// One container of a pod that is set up.
pub(crate) struct Actor {
    pub(crate) context: Arc<PodContext>,
    pub(crate) index: usize,
    pub(crate) container: Arc<Container>,
    pub(crate) policy: Policy,
    pub(crate) stop: Stop,
}

/// A reference that cannot be resolved yet is tried again after this time.
const CONFIGURATION_RETRY: Duration = Duration::from_secs(5);

/// How long an image stays `ErrImagePull` before it becomes `ImagePullBackOff`.
const PULL_BACKOFF: Duration = Duration::from_secs(10);

impl Actor {
    /// Until the container is not to run any more; true if its last run ended with success.
    pub(crate) async fn run(mut self) -> bool {
        let mut backoff = Backoff::default();
        let Some(image) = self.image().await else {
            return false;
        };
        loop {
            if self.stopping() {
                return false;
            }
            let begun = Instant::now();
            let Some(end) = self.run_once(image).await else {
                return false;
            };
            let good = end.exit_code == 0;
            let again = match self.policy {
                Policy::Always => true,
                Policy::OnFailure => !good,
                Policy::Never => false,
            };
            self.context.records.update(self.index, |record| record.terminate(end));
            if self.stopping() || !again {
                return good;
            }
            self.wait_to_restart(backoff.after(begun.elapsed())).await;
            if !self.stopping() {
                self.context.records.update(self.index, |record| record.restarts += 1);
            }
        }
    }

    /// Also when nobody is left to give the order: the node itself is stopping.
    fn stopping(&self) -> bool {
        self.stop.borrow().is_some() || self.stop.has_changed().is_err()
    }

    /// Resolves when the order to stop is there.
    async fn ordered_to_stop(&mut self) {
        self.stop.wait_for(Option::is_some).await.ok();
    }

    fn event(&self, kind: Kind, reason: &'static str, message: impl Into<String>) {
        self.context.event(Some(&self.container.name), kind, reason, message);
    }

    fn wait_state(&self, reason: &'static str, message: Option<String>) {
        self.context.records.update(self.index, |record| record.state = State::Waiting { reason, message });
    }

    /// The built-in image; for any other, reports that until the pod is deleted.
    async fn image(&mut self) -> Option<Image> {
        let name = self.container.image.clone().unwrap_or_default();
        if let Some(image) = Image::find(&name) {
            return Some(image);
        }
        let message = format!(
            "Failed to pull image \"{name}\": this node cannot pull images; built in are {KNOWN} (with any tag)"
        );
        self.wait_state("ErrImagePull", Some(message.clone()));
        self.event(Kind::Warning, "Failed", message.clone());
        self.event(Kind::Warning, "Failed", "Error: ErrImagePull");
        tokio::select! {
            () = tokio::time::sleep(PULL_BACKOFF) => {}
            () = self.ordered_to_stop() => return None,
        }
        let back_off = format!("Back-off pulling image \"{name}\"");
        self.wait_state("ImagePullBackOff", Some(format!("{back_off}: ErrImagePull: {message}")));
        self.event(Kind::Normal, "BackOff", back_off);
        self.event(Kind::Warning, "Failed", "Error: ImagePullBackOff");
        self.ordered_to_stop().await;
        None
    }

    /// One run from start to end; `None` if the pod was stopped before it came to that.
    async fn run_once(&mut self, image: Image) -> Option<Terminated> {
        let started = loop {
            match start::start(&self.context, self.index, &self.container, image).await {
                Ok(started) => break started,
                Err(start::Error::Configuration(message)) => {
                    self.wait_state("CreateContainerConfigError", Some(message.clone()));
                    self.event(Kind::Warning, "Failed", format!("Error: {message}"));
                    tokio::select! {
                        () = tokio::time::sleep(CONFIGURATION_RETRY) => {}
                        () = self.ordered_to_stop() => return None,
                    }
                }
                Err(start::Error::Run(message)) => {
                    self.event(
                        Kind::Warning,
                        "Failed",
                        format!("Error: failed to start container: {message}"),
                    );
                    return Some(not_started(message));
                }
            }
        };
        Some(self.supervise(started).await)
    }

    /// Waits for the end of the container, or brings it about.
    async fn supervise(&mut self, started: start::Started) -> Terminated {
        let (unhealthy, mut reports) = mpsc::channel(1);
        let target = probes::Target {
            context: Arc::clone(&self.context),
            index: self.index,
            container: Arc::clone(&self.container),
        };
        let probing = tokio::spawn(probes::run(target, unhealthy));
        let process = Arc::clone(&started.running.process);
        let exit = tokio::select! {
            exit = process.wait() => exit,
            () = self.ordered_to_stop() => {
                self.event(Kind::Normal, "Killing", format!("Stopping container {}", self.container.name));
                stop::stop(&self.context, &self.container, &started.running, self.stop.clone()).await
            }
            Some(report) = reports.recv() => self.kill_unhealthy(&started, &report).await,
        };
        probing.abort();
        started.finish_log().await;
        let exit = exit.unwrap_or(crate::runner::launch::Exit::Code(255));
        let out_of_memory = started.running.cgroups.out_of_memory();
        Terminated::after_run(exit, out_of_memory, started.since, started.id)
    }

    async fn kill_unhealthy(
        &mut self,
        started: &start::Started,
        report: &Unhealthy,
    ) -> std::io::Result<crate::runner::launch::Exit> {
        let name = &self.container.name;
        let consequence = if self.policy == Policy::Never { "" } else { ", will be restarted" };
        let message = format!("Container {name} failed {} probe{consequence}", report.what);
        self.event(Kind::Normal, "Killing", message);
        let grace = report.grace.or(self.context.spec().termination_grace_period_seconds).unwrap_or(30);
        let grace = Duration::from_secs(grace.max(1).unsigned_abs());
        let (_order, own) = tokio::sync::watch::channel(Some(grace));
        stop::stop(&self.context, &self.container, &started.running, own).await
    }

    async fn wait_to_restart(&mut self, wait: Duration) {
        let name = &self.container.name;
        self.context.records.update(self.index, |record| {
            if let State::Terminated(end) = &record.state {
                record.last = Some(end.clone());
            }
        });
        if wait.is_zero() {
            return;
        }
        let pod = self.context.full_name();
        let message = format!("back-off {} restarting failed container={name} pod={pod}", go_duration(wait));
        self.wait_state("CrashLoopBackOff", Some(message));
        self.event(
            Kind::Warning,
            "BackOff",
            format!("Back-off restarting failed container {name} in pod {pod}"),
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.ordered_to_stop() => {}
        }
    }
}

/// Go prints whole seconds as `10s`, `1m20s`, `5m0s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

fn not_started(message: String) -> Terminated {
    Terminated {
        exit_code: 128,
        reason: "StartError",
        message: Some(message),
        started: None,
        finished: Timestamp::now(),
        container_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        for (seconds, text) in [(10, "10s"), (80, "1m20s"), (300, "5m0s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), text);
        }
    }
}
