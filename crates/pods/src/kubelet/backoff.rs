//! When to start a container again: at once after its first failure, then after 10 s, doubling to 5 min, and from
//! the beginning once it has run for 10 min (the kubelet's CrashLoopBackOff).

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The memory of one container's restarts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The container ended after it had run for `run`; how long to wait before it is started again.
    pub(crate) fn after(&mut self, run: Duration) -> Duration {
        if run >= FORGET_AFTER {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = if wait.is_zero() { FIRST } else { (wait * 2).min(LONGEST) };
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_limit_and_forgets() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.after(Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.after(FORGET_AFTER), Duration::ZERO);
        assert_eq!(backoff.after(Duration::from_secs(1)), FIRST);
    }
}
