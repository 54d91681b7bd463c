//! Types commands of the lab: this very program as a child process, with the cluster's kubeconfig.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::Context;

use super::screen::Screen;

/// What a command printed and how it ended.
pub(crate) struct Typed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) success: bool,
}

/// A user at a prompt, standing in a folder of their own.
pub(crate) struct Shell {
    screen: Screen,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

impl Shell {
    pub(crate) fn new(screen: Screen, kubeconfig: &Path) -> anyhow::Result<Self> {
        let folder = kubeconfig.parent().context("the kubeconfig has no folder")?.join("lab");
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { screen, kubeconfig: kubeconfig.to_owned(), folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Shows the command, runs it, shows what it prints.
    pub(crate) fn typed(&self, args: &[&str]) -> anyhow::Result<Typed> {
        self.screen.command(&shown(args));
        let typed = self.quiet(args)?;
        self.screen.output(&typed.stdout);
        self.screen.output(&typed.stderr);
        Ok(typed)
    }

    /// Runs a command without showing it.
    pub(crate) fn quiet(&self, args: &[&str]) -> anyhow::Result<Typed> {
        let output = self.program(args).stdin(Stdio::null()).output();
        Ok(read(output.with_context(|| format!("running {}", shown(args)))?))
    }

    /// Runs a script in the nginx pod through `exec -i … -- sh`, as somebody at its prompt would type it.
    pub(crate) fn in_pod(&self, script: &str) -> anyhow::Result<Typed> {
        let mut child = self.pod_shell()?;
        let mut input = child.stdin.take().context("the shell has no input")?;
        input.write_all(script.as_bytes()).context("typing into the pod's shell")?;
        drop(input);
        Ok(read(child.wait_with_output().context("waiting for the pod's shell")?))
    }

    /// A shell in the nginx pod that reads its standard input.
    pub(crate) fn pod_shell(&self) -> anyhow::Result<Child> {
        let mut command = self.program(&["exec", "-i", "nginx", "--", "sh"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("opening a shell in the nginx pod")
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(args).env("KUBECONFIG", &self.kubeconfig).current_dir(&self.folder);
        command
    }
}

fn read(output: Output) -> Typed {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Typed { stdout: text(output.stdout), stderr: text(output.stderr), success: output.status.success() }
}

/// The command as a user would write it.
fn shown(args: &[&str]) -> String {
    format!("sluice {}", args.join(" "))
}
