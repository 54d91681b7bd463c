//! `sluice api-resources`: what the server serves.

use std::process::ExitCode;

use super::{
    api::{Session, resource::Resource},
    connect::ConnectFlags,
    failure::Failure,
    output,
    print::table::Table,
};

/// Arguments of `sluice api-resources`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only types of this API group
    #[arg(long)]
    api_group: Option<String>,
    /// Only types that live in a namespace (or with =false those that do not)
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    namespaced: Option<bool>,
    /// Print no header line
    #[arg(long)]
    no_headers: bool,
    /// Output format: wide or name
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let session = Session::open(connect).await?;
    let wanted = |resource: &&Resource| {
        args.namespaced.is_none_or(|namespaced| resource.namespaced == namespaced)
            && args.api_group.as_ref().is_none_or(|group| resource.group == *group)
            && !resource.verbs.is_empty()
    };
    let mut resources: Vec<&Resource> =
        session.discovery().await?.resources().iter().filter(wanted).collect();
    resources.sort_by_key(|resource| (resource.group.clone(), resource.plural.clone()));
    match args.output.as_deref() {
        None | Some("") => output::write(&table(&resources, !args.no_headers, false))?,
        Some("wide") => output::write(&table(&resources, !args.no_headers, true))?,
        Some("name") => {
            let lines = resources.iter().map(|resource| format!("{}\n", resource.qualified_plural()));
            output::write(&lines.collect::<String>())?;
        }
        Some(other) => return Err(Failure::usage(format!("--output {other} is not available"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(resources: &[&Resource], headers: bool, wide: bool) -> String {
    let mut table = Table::default();
    let mut row = |cells: Vec<String>| {
        let shown = if wide { cells.len() } else { 5 };
        table.row(cells.into_iter().take(shown).collect());
    };
    if headers {
        row(["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS", "CATEGORIES"]
            .map(str::to_owned)
            .into());
    }
    for resource in resources {
        row(vec![
            resource.plural.clone(),
            resource.short_names.join(","),
            resource.api_version(),
            resource.namespaced.to_string(),
            resource.kind.clone(),
            resource.verbs.join(","),
            resource.categories.join(","),
        ]);
    }
    table.flush()
}
