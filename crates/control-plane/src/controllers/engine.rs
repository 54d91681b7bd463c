//! The loop in the middle: observations in, changed keys to the controllers' queue, plans out to the
//! executor.
//!
//! One task owns the caches and the queue, so controllers need no locks and see one state of the world at a
//! time. It sleeps unless something is observed, a plan has ended, or a planned time has come. No controller
//! runs before every kind has been listed once.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::action::{Plan, Verb};
use super::cluster::{Change, Cluster};
use super::execute::{Executor, Outcome};
use super::object::{Kind, Object, Target};
use super::queue::{Work, WorkQueue};
use super::watch::{Observation, without_contents};

/// Plans that are carried out at the same time.
const PLANS_AT_ONCE: usize = 64;
/// Observations taken in before the queue gets its turn.
const OBSERVATIONS_AT_ONCE: usize = 256;

/// The present.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// As objects tell it. It jumps.
    pub(crate) wall: Timestamp,
    /// For measuring; stands still while the machine sleeps.
    pub(crate) steady: Instant,
}

impl Now {
    fn read() -> Self {
        Self { wall: Timestamp::now(), steady: Instant::now() }
    }
}

/// A controller: two pure functions.
pub(crate) trait Controller: Send {
    /// The name that its Events bear.
    fn component(&self) -> &'static str;
    /// Names the objects that it has to look at because of `change`. The cluster shows the state after it.
    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>);
    /// Decides what to do about `target`, which may be gone.
    fn plan(&self, cluster: &Cluster, target: &Target, now: Now) -> Plan;
}

/// The loop's state.
pub(super) struct Engine {
    controllers: Vec<Box<dyn Controller>>,
    cluster: Cluster,
    queue: WorkQueue,
    unlisted: HashSet<Kind>,
    executor: Executor,
    running: JoinSet<Outcome>,
    /// What each running task works on.
    tasks: HashMap<Id, Work>,
}

impl Engine {
    pub(super) fn new(controllers: Vec<Box<dyn Controller>>, executor: Executor) -> Self {
        Self {
            controllers,
            cluster: Cluster::default(),
            queue: WorkQueue::default(),
            unlisted: Kind::ALL.iter().copied().collect(),
            executor,
            running: JoinSet::new(),
            tasks: HashMap::new(),
        }
    }

    /// Runs until `shutdown` ends or the watches do. Plans that are being carried out are dropped then; every
    /// plan can be taken up again from any point.
    pub(super) async fn run(
        mut self,
        mut seen: mpsc::Receiver<Observation>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut batch = Vec::with_capacity(OBSERVATIONS_AT_ONCE);
        loop {
            let due = self.queue.next_due();
            let timer = async move {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut shutdown => return,
                taken = seen.recv_many(&mut batch, OBSERVATIONS_AT_ONCE) => {
                    if taken == 0 {
                        return;
                    }
                    batch.drain(..).for_each(|observation| self.observe(observation));
                }
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = timer => self.queue.wake_due(Instant::now()),
            }
            self.start_work();
        }
    }

    fn observe(&mut self, observation: Observation) {
        let changes = match observation {
            Observation::Listed(kind, objects) => {
                self.unlisted.remove(&kind);
                self.cluster.relisted(kind, objects)
            }
            Observation::Applied(object) => self.cluster.observe(object).into_iter().collect(),
            Observation::Deleted(object) => self.cluster.gone(&object).into_iter().collect(),
        };
        changes.iter().for_each(|change| self.wake(change));
    }

    fn wake(&mut self, change: &Change) {
        self.cluster.node_life.observe(change, Now::read());
        let mut targets = Vec::new();
        for (controller, rules) in self.controllers.iter().enumerate() {
            rules.wakes(&self.cluster, change, &mut targets);
            for target in targets.drain(..) {
                self.queue.add(Work { controller, target });
            }
        }
    }

    fn start_work(&mut self) {
        if !self.unlisted.is_empty() {
            return;
        }
        while self.running.len() < PLANS_AT_ONCE {
            let Some(work) = self.queue.take() else { return };
            self.start(work);
        }
    }

    fn start(&mut self, work: Work) {
        let controller = &self.controllers[work.controller];
        let plan = controller.plan(&self.cluster, &work.target, Now::read());
        if let Some(delay) = plan.again {
            self.queue.add_at(work.clone(), Instant::now() + delay);
        }
        if plan.actions.is_empty() {
            self.queue.finish(&work, true, Instant::now());
            return;
        }
        for action in &plan.actions {
            if let Verb::Bind { pod, node, .. } = &action.verb {
                self.cluster.assume(&pod.key, node);
            }
        }
        let carried_out = self.executor.clone().run(controller.component(), plan.actions);
        let task = self.running.spawn(carried_out);
        self.tasks.insert(task.id(), work);
    }

    fn ended(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => (error.id(), None),
        };
        let Some(work) = self.tasks.remove(&id) else { return };
        let Some(outcome) = outcome else {
            tracing::error!(?work, "a plan ended in a panic; it will be made anew");
            self.queue.finish(&work, false, Instant::now());
            return;
        };
        for object in outcome.written {
            self.written(object);
        }
        for (pod, confirmed) in outcome.bindings {
            if !confirmed {
                self.cluster.forget_assumed(&pod);
            } else if let Some(change) = self.cluster.bound(&pod) {
                self.wake(&change);
            }
        }
        let component = self.controllers[work.controller].component();
        if let Some(error) = &outcome.error {
            report(component, error);
        }
        self.queue.finish(&work, outcome.error.is_none(), Instant::now());
    }

    fn written(&mut self, object: Object) {
        if let Some(change) = self.cluster.written(without_contents(object)) {
            self.wake(&change);
        }
    }
}

fn report(component: &str, error: &super::execute::RequestError) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if error.is_conflict() {
        tracing::debug!(component, %error, cause, "will be retried");
    } else {
        tracing::warn!(component, %error, cause, "will be retried");
    }
}
