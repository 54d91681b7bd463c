//! `sluice rollout status|restart`: how far a deployment's change has come, and a new set of pods on demand.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    api::{JSON, PatchKind, Session, query::with_query, resource::Resource, watch::Watch},
    connect::ConnectFlags,
    failure::Failure,
    get::name_line,
    go_duration, output, targets,
};

/// Arguments of `sluice rollout`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Follow a rollout until it is complete
    Status {
        /// deployment NAME, or deployment/NAME
        words: Vec<String>,
        /// Follow until it is complete
        #[arg(short, long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
        watch: bool,
        /// How long to follow; 0 for as long as it takes
        #[arg(long, default_value = "0", hide_default_value = true)]
        timeout: String,
    },
    /// Start all pods anew, a few at a time
    Restart {
        /// deployment NAME, or deployment/NAME
        words: Vec<String>,
    },
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let session = Session::open(connect).await?;
    match args.action {
        Action::Status { words, watch, timeout } => {
            let patience = go_duration::parse(&timeout)?.filter(|given| !given.is_zero());
            for (resource, name) in deployments(&session, &words).await? {
                let following = status(&session, &resource, &name, watch);
                match patience {
                    Some(patience) => timeout_at(Instant::now() + patience, following)
                        .await
                        .unwrap_or_else(|_| Err(Failure::usage("timed out waiting for the condition")))?,
                    None => following.await?,
                }
            }
        }
        Action::Restart { words } => {
            for (resource, name) in deployments(&session, &words).await? {
                restart(&session, &resource, &name).await?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn deployments(session: &Session, words: &[String]) -> Result<Vec<(Resource, String)>, Failure> {
    if words.is_empty() {
        return Err(Failure::usage("required resource not specified"));
    }
    let named = targets::resolve_named(session, words).await?;
    match named.iter().find(|(resource, _)| resource.kind != "Deployment") {
        Some((resource, _)) => Err(Failure::usage(format!(
            "no rollout of {}: only deployments are followed",
            resource.qualified_plural()
        ))),
        None => Ok(named),
    }
}

async fn restart(session: &Session, resource: &Resource, name: &str) -> Result<(), Failure> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
    let path = with_query(&resource.object(&session.namespace, name), &[("fieldManager", "kubectl-rollout")]);
    let restarted = session.patch(&path, PatchKind::Strategic, &patch).await?;
    output::line(&format!("{} restarted", name_line(resource, &restarted)))
}

async fn status(session: &Session, resource: &Resource, name: &str, follow: bool) -> Result<(), Failure> {
    let live = session.get(&resource.object(&session.namespace, name), JSON).await?;
    let (text, done) = progress(&live)?;
    output::write(&text)?;
    if done || !follow {
        return Ok(());
    }
    let mut version = live["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let fields = format!("metadata.name={name}");
    let mut told = text;
    loop {
        let query = [("fieldSelector", fields.as_str()), ("resourceVersion", &version), ("watch", "true")];
        let path = with_query(&resource.collection(Some(&session.namespace)), &query);
        let mut watch = Watch::start(session, &path, JSON).await?;
        while let Some((event, live)) = watch.next().await? {
            if event == "DELETED" {
                return Err(Failure::usage("object has been deleted"));
            }
            let (text, done) = progress(&live)?;
            if text != told {
                output::write(&text)?;
                told = text;
            }
            if done {
                return Ok(());
            }
            version = live["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        }
    }
}

/// What to tell about a deployment, and whether its rollout is complete.
fn progress(deployment: &Value) -> Result<(String, bool), Failure> {
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let status = &deployment["status"];
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    if number(&deployment["metadata"]["generation"]) > number(&status["observedGeneration"]) {
        return Ok(("Waiting for deployment spec update to be observed...\n".to_owned(), false));
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let late = |condition: &Value| {
        condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
    };
    if conditions.into_iter().any(late) {
        return Err(Failure::usage(format!("deployment {name:?} exceeded its progress deadline")));
    }
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let (updated, total, available) = (
        number(&status["updatedReplicas"]),
        number(&status["replicas"]),
        number(&status["availableReplicas"]),
    );
    let waiting =
        |what: String| (format!("Waiting for deployment {name:?} rollout to finish: {what}...\n"), false);
    Ok(if updated < wanted {
        waiting(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if total > updated {
        waiting(format!("{} old replicas are pending termination", total - updated))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        (format!("deployment {name:?} successfully rolled out\n"), true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_kubectls_words() {
        let deployment = |observed: i64, status: Value| {
            let mut object = json!({"metadata": {"name": "d", "generation": 2}, "spec": {"replicas": 3}, "status": status});
            object["status"]["observedGeneration"] = observed.into();
            object
        };
        let cases = [
            (1, json!({}), "Waiting for deployment spec update to be observed...\n", false),
            (
                2,
                json!({"updatedReplicas": 1}),
                "Waiting for deployment \"d\" rollout to finish: 1 out of 3 new replicas have been updated...\n",
                false,
            ),
            (
                2,
                json!({"updatedReplicas": 3, "replicas": 4}),
                "Waiting for deployment \"d\" rollout to finish: 1 old replicas are pending termination...\n",
                false,
            ),
            (
                2,
                json!({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
                "Waiting for deployment \"d\" rollout to finish: 2 of 3 updated replicas are available...\n",
                false,
            ),
            (
                2,
                json!({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
                "deployment \"d\" successfully rolled out\n",
                true,
            ),
        ];
        for (observed, status, text, done) in cases {
            assert_eq!(progress(&deployment(observed, status)).unwrap(), (text.to_owned(), done));
        }
    }
}
