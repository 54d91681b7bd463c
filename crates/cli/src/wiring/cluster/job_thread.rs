//! A thread that stays where it is and runs what it is handed. Two things need one: sockets and interfaces of the
//! wire's network namespace (a socket belongs to the namespace of the thread that makes it, and an ordinary user's
//! thread cannot come back to the host's), and the start of children (the parent-death signal fires when the thread
//! that spawned them ends, not the process: prctl(2)).

use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Hands jobs to its thread; the thread ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct JobThread {
    jobs: mpsc::Sender<Job>,
}

/// Jobs are small system calls: half of a megabyte of stack is plenty.
const STACK_BYTES: usize = 512 * 1024;

impl JobThread {
    /// Starts the thread; `enter` runs on it first, and its failure is the failure of the start.
    pub(crate) fn start<E: Send + 'static>(
        name: &str,
        enter: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> anyhow::Result<Self>
    where
        anyhow::Error: From<E>,
    {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (entered, result) = mpsc::channel();
        thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let outcome = enter();
            let failed = outcome.is_err();
            // The receiver waits for exactly this message.
            let _ = entered.send(outcome);
            if !failed {
                queue.into_iter().for_each(|job| job());
            }
        })?;
        result.recv()??;
        Ok(Self { jobs })
    }

    /// Runs `job` on the thread and waits for its result, blocking the caller. Not for the async runtime's threads.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (reply, result) = mpsc::channel();
        let job = move || {
            // A caller that no longer waits is no error.
            let _ = reply.send(job());
        };
        self.jobs.send(Box::new(job)).map_err(|_| anyhow::anyhow!("the thread has ended"))?;
        Ok(result.recv()?)
    }

    /// The same for async callers.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (reply, result) = oneshot::channel();
        let job = move || {
            let _ = reply.send(job());
        };
        self.jobs.send(Box::new(job)).map_err(|_| anyhow::anyhow!("the thread has ended"))?;
        Ok(result.await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_run_on_one_thread_in_order() {
        let thread = JobThread::start("test", || Ok::<(), std::io::Error>(())).unwrap();
        let first = thread.run(|| std::thread::current().id()).unwrap();
        let second = thread.run(|| std::thread::current().id()).unwrap();
        assert_eq!(first, second);
        assert_ne!(first, std::thread::current().id());
    }

    #[test]
    fn a_failed_entry_is_the_failure_of_the_start() {
        let refused = JobThread::start("test", || Err(std::io::Error::other("no such place")));
        assert_eq!(refused.err().unwrap().to_string(), "no such place");
    }
}
