//! What the demo claims, and whether it held; and how long each stage took.

use std::time::Duration;

/// One claim.
pub(crate) struct Claim {
    pub(crate) text: String,
    /// `None` when it held, else what was seen instead.
    pub(crate) failure: Option<String>,
}

/// All claims and stage times, in order.
#[derive(Default)]
pub(crate) struct Claims {
    pub(crate) claims: Vec<Claim>,
    /// Stage, and the time since the program's start when it was reached.
    pub(crate) times: Vec<(&'static str, Duration)>,
}

impl Claims {
    pub(crate) fn all_hold(&self) -> bool {
        self.claims.iter().all(|claim| claim.failure.is_none())
    }
}
