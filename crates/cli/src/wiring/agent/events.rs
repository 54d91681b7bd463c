//! Events on Services that this node cannot serve as they ask (`events.k8s.io/v1`): each reason once for each Service. They
//! are for people; one that the API refuses, or that comes while too many wait, is left out.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use services::ServiceName;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::causes::chain;

/// Reports that wait at most.
const WAITING_MAX: usize = 64;
/// Reports that are remembered, so as not to be made again; then all are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// Something that went wrong with a Service on this node.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The Service.
    pub(crate) service: ServiceName,
    /// In PascalCase, as kube-proxy's where it has one.
    pub(crate) reason: &'static str,
    /// What was tried, in PascalCase.
    pub(crate) action: &'static str,
    /// The sentence.
    pub(crate) note: String,
}

/// Where reports are left. Never waits.
#[derive(Clone, Debug)]
pub(crate) struct Reports(mpsc::Sender<Report>);

impl Reports {
    /// The near and the far end.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Report>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Leaves one.
    pub(crate) fn leave(&self, report: Report) {
        if self.0.try_send(report).is_err() {
            debug!("an Event was left out, too many wait");
        }
    }
}

/// Makes Events of reports, until the near ends are gone.
pub(crate) async fn publish(client: Client, node: String, mut reports: mpsc::Receiver<Report>) {
    let reporter = Reporter { controller: "sluice-proxy".to_owned(), instance: Some(node) };
    let recorder = Recorder::new(client, reporter);
    let (mut made, mut refused) = (HashSet::new(), false);
    while let Some(report) = reports.recv().await {
        if made.len() >= REMEMBERED_MAX {
            made.clear();
        }
        if made.insert((report.service.clone(), report.reason)) {
            let service = report.service.clone();
            let Err(error) = publish_one(&recorder, report).await else { continue };
            if std::mem::replace(&mut refused, true) {
                debug!("an Event on the Service {service} was refused: {}", chain(&error));
            } else {
                warn!(
                    "an Event on the Service {service} was refused, later ones may be too: {}",
                    chain(&error)
                );
            }
        }
    }
}

async fn publish_one(recorder: &Recorder, report: Report) -> kube::Result<()> {
    let regarding = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(report.service.namespace().to_owned()),
        name: Some(report.service.name().to_owned()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: report.reason.to_owned(),
        note: Some(report.note),
        action: report.action.to_owned(),
        secondary: None,
    };
    recorder.publish(&event, &regarding).await
}
