//! Ending a container: preStop hook, SIGTERM, and after the grace period SIGKILL.

use std::io;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::events::Kind;
use super::pod::{PodContext, Stop};
use super::record::Running;
use crate::exec::{self, Command};
use crate::runner::launch::Exit;

/// Brings the container to its end within the time of the order, which may be shortened meanwhile.
pub(crate) async fn stop(
    context: &PodContext,
    container: &Container,
    running: &Running,
    order: Stop,
) -> io::Result<Exit> {
    let begun = Instant::now();
    let process = &running.process;
    let mut deadline = Deadline { begun, order };
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let Some(hook) = hook {
        tokio::select! {
            () = pre_stop(context, container, running, hook) => {}
            () = deadline.passed() => {}
            exit = process.wait() => return exit,
        }
    }
    process.signal(signal_of(container))?;
    // The kubelet leaves a container two seconds for its signal even when the hook has used up the time.
    let least = begun.elapsed() + if hook.is_some() { Duration::from_secs(2) } else { Duration::ZERO };
    tokio::select! {
        exit = process.wait() => return exit,
        () = async { deadline.passed().await; tokio::time::sleep_until(begun + least).await; } => {}
    }
    process.signal(Signal::SIGKILL)?;
    process.wait().await
}

/// `lifecycle.stopSignal`, SIGTERM by default.
fn signal_of(container: &Container) -> Signal {
    let name = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    name.and_then(|name| name.parse().ok()).unwrap_or(Signal::SIGTERM)
}

/// A point in time that a later order may bring nearer.
struct Deadline {
    begun: Instant,
    order: Stop,
}

impl Deadline {
    async fn passed(&mut self) {
        loop {
            let grace = self.order.borrow_and_update().unwrap_or(Duration::ZERO);
            tokio::select! {
                () = tokio::time::sleep_until(self.begun + grace) => return,
                // Nobody is left to wait for: the node itself is stopping.
                changed = self.order.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

/// A hook that fails is reported and changes nothing.
async fn pre_stop(context: &PodContext, container: &Container, running: &Running, hook: &LifecycleHandler) {
    let failure = if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
        None
    } else if let Some(action) = &hook.exec {
        let command = Command::new(action.command.clone().unwrap_or_default());
        match exec::output(&context.node.launcher, running, command).await {
            Ok((0, _)) => None,
            Ok((code, output)) => Some(format!("exited with {code}: {output}")),
            Err(error) => Some(super::chain(&error)),
        }
    } else {
        Some("only exec and sleep hooks are supported by this node".to_owned())
    };
    if let Some(failure) = failure {
        let message = format!("PreStopHook failed: {failure}");
        context.event(Some(&container.name), Kind::Warning, "FailedPreStopHook", message);
    }
}
