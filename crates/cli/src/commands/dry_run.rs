//! `--dry-run`, and how verbs tell what they did (or would have done).

use serde_json::Value;

use super::{
    api::resource::Resource, failure::Failure, get::name_line, output, print::output_format::OutputFormat,
};

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DryRun {
    /// For real.
    #[default]
    None,
    /// Nothing is sent.
    Client,
    /// The server does everything but store.
    Server,
}

impl std::str::FromStr for DryRun {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "none" => Ok(Self::None),
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            other => Err(Failure::usage(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }
}

impl DryRun {
    /// The value of the query parameter `dryRun`; empty if it is not sent.
    pub(crate) fn query(self) -> &'static str {
        if self == Self::Server { "All" } else { "" }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// `--dry-run` and `-o` of verbs that change objects.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ResultFlags {
    /// Do not change anything: client (send nothing) or server (store nothing)
    #[arg(long, value_name = "HOW", default_value = "none", num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: String,
    /// Output format: yaml, json, name, jsonpath=…
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

/// How a verb tells its results.
#[derive(Clone, Debug)]
pub(crate) struct Telling {
    /// Whether anything is changed.
    pub(crate) dry_run: DryRun,
    /// The format.
    pub(crate) format: OutputFormat,
}

impl ResultFlags {
    /// Checks the flags.
    pub(crate) fn telling(&self) -> Result<Telling, Failure> {
        Ok(Telling {
            dry_run: self.dry_run.parse()?,
            format: OutputFormat::of_objects(self.output.as_deref())?,
        })
    }
}

impl Telling {
    /// Prints `service/podinfo created`, or the object in the format asked for.
    pub(crate) fn tell(&self, resource: &Resource, object: &Value, done: &str) -> Result<(), Failure> {
        let name = name_line(resource, object);
        match self.format {
            OutputFormat::Human | OutputFormat::Wide => {
                output::line(&format!("{name} {done}{}", self.dry_run.suffix()))
            }
            _ => output::write(&self.format.render(object, &name)?),
        }
    }

    /// The same for several objects of a manifest: documents are separated, JSON and paths are printed one by one.
    pub(crate) fn tell_next(
        &self,
        resource: &Resource,
        object: &Value,
        done: &str,
        first: bool,
    ) -> Result<(), Failure> {
        if !first && matches!(self.format, OutputFormat::Yaml) {
            output::write("---\n")?;
        }
        self.tell(resource, object, done)
    }
}
