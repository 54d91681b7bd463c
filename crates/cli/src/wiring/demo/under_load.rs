//! A client in the nginx pod that asks podinfo again and again, each time with a new connection, while pods come and go.

use std::io::Write;
use std::process::Child;

use anyhow::{Context, ensure};

use super::shell::Shell;

/// Asks until the file `/tmp/stop` appears; at most 3,000 times, so that a lost demo leaves no client behind.
const LOOP: &str = "\
i=0; failed=0
while [ ! -e /tmp/stop ] && [ $i -lt 3000 ]; do
  i=$((i+1))
  curl -sS --max-time 2 http://podinfo/healthz >/dev/null || failed=$((failed+1))
  sleep 0.01
done
echo $i $failed
";

/// The client, on its way.
pub(crate) struct Client {
    child: Child,
}

impl Client {
    /// Starts asking.
    pub(crate) fn start(shell: &Shell) -> anyhow::Result<Self> {
        let mut child = shell.pod_shell()?;
        let mut input = child.stdin.take().context("the client's shell has no input")?;
        input.write_all(LOOP.as_bytes()).context("typing into the client's shell")?;
        Ok(Self { child })
    }

    /// Stops asking and says how it went.
    pub(crate) fn finish(self, shell: &Shell) -> anyhow::Result<String> {
        shell.in_pod("touch /tmp/stop\n")?;
        let output = self.child.wait_with_output().context("waiting for the client")?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let (asked, failed) =
            text.split_once(' ').with_context(|| format!("the client broke off: {text} {errors}"))?;
        ensure!(
            failed == "0",
            "{failed} of {asked} requests failed: {}",
            errors.lines().next().unwrap_or_default()
        );
        ensure!(asked.parse::<u32>().is_ok_and(|asked| asked > 0), "the client never asked");
        Ok(format!("{asked} requests, each a connection of its own, none failed"))
    }
}
