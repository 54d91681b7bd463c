//! What the demo shows: colour and a live progress line on a terminal, plain text in a pipe.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::claims::{Claim, Claims};

/// How often the progress line moves.
const PROGRESS_STEP: Duration = Duration::from_millis(80);

/// Where the demo prints.
#[derive(Clone)]
pub(crate) struct Screen {
    terminal: bool,
    interrupted: Arc<AtomicBool>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), interrupted: Arc::default() }
    }

    /// `== text`.
    pub(crate) fn heading(&self, text: &str) {
        say!("\n{}", self.paint("1;36", &format!("== {text}")));
    }

    /// A sentence that explains.
    pub(crate) fn note(&self, text: &str) {
        say!("{}", self.paint("2", text));
    }

    /// `$ command`.
    pub(crate) fn command(&self, text: &str) {
        say!("{}", self.paint("1", &format!("$ {text}")));
    }

    /// What a command printed, indented.
    pub(crate) fn output(&self, text: &str) {
        for line in text.lines() {
            say!("    {line}");
        }
    }

    /// A claim with its verdict.
    pub(crate) fn claim(&self, claim: &Claim) {
        if claim.failure.is_some() && self.is_interrupted() {
            return;
        }
        match &claim.failure {
            None => say!("{} {}", self.paint("32", "ok"), claim.text),
            Some(seen) => say!("{} {}: {seen}", self.paint("1;31", "FAILED"), claim.text),
        }
    }

    /// From now on what fails does so because the demo is being stopped.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
    }

    /// Ctrl-C reaches the command that a claim is about as well as this program, which may be the later to notice.
    fn is_interrupted(&self) -> bool {
        std::thread::sleep(PROGRESS_STEP);
        self.interrupted.load(Ordering::Acquire)
    }

    /// Calls `done` until it says yes or the time is over; shows what is waited for on a terminal.
    pub(crate) fn wait(&self, what: &str, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
        let began = Instant::now();
        let mut shown = false;
        let reached = loop {
            if done() {
                break true;
            }
            if began.elapsed() > limit {
                break false;
            }
            if self.terminal {
                self.progress(&format!("\x1b[2m… {what} {:.1} s\x1b[0m", began.elapsed().as_secs_f32()));
                shown = true;
            }
            std::thread::sleep(PROGRESS_STEP.min(limit));
        };
        if shown {
            self.progress("");
        }
        reached
    }

    /// Writes over the line that stands there. A terminal that went away is no reason to stop.
    fn progress(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
    }

    /// The closing table.
    pub(crate) fn table(&self, claims: &Claims) {
        self.heading("What was checked");
        for (number, claim) in claims.claims.iter().enumerate() {
            let verdict = if claim.failure.is_none() {
                self.paint("32", "ok    ")
            } else {
                self.paint("1;31", "FAILED")
            };
            say!("{:>3}  {verdict}  {}", number + 1, claim.text);
        }
        self.heading("How long it took, from the start of the program");
        for (stage, time) in &claims.times {
            say!("{:>8} ms  {stage}", time.as_millis());
        }
        let failed = claims.claims.iter().filter(|claim| claim.failure.is_some()).count();
        say!();
        match failed {
            0 => say!("{}", self.paint("1;32", &format!("all {} claims hold", claims.claims.len()))),
            _ => say!(
                "{}",
                self.paint("1;31", &format!("{failed} of {} claims do not hold", claims.claims.len()))
            ),
        }
    }

    /// How to use a cluster that is kept.
    pub(crate) fn keep(&self, kubeconfig: &Path, server: &str) {
        self.heading("The cluster stays up");
        say!("The API is at {server}. In another terminal:\n");
        say!("  export KUBECONFIG={}", kubeconfig.display());
        say!("  kubectl get all -A                  # or: sluice get all -A");
        say!("  sluice exec -it nginx -- sh         # then: curl podinfo");
        say!("  sluice node shell worker-1          # then: nft list ruleset; conntrack -L");
        say!("\nCtrl-C stops it.");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.terminal { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
