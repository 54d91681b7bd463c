//! `sluice version`: of the program and of the server.

use std::process::ExitCode;

use serde_json::json;

use super::{
    api::{JSON, Session},
    connect::ConnectFlags,
    failure::Failure,
    output,
    print::{key_order, output_format::OutputFormat},
};

/// Arguments of `sluice version`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program's version only; no server is asked
    #[arg(long)]
    client: bool,
    /// Output format: yaml or json
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let format = match args.output.as_deref() {
        None | Some("" | "yaml" | "json") => OutputFormat::of_objects(args.output.as_deref())?,
        Some(_) => return Err(Failure::usage("--output must be 'yaml' or 'json'")),
    };
    let mut versions = json!({"clientVersion": {
        "gitVersion": concat!("v", env!("CARGO_PKG_VERSION")),
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }});
    let mut failure = None;
    if !args.client {
        match server(connect).await {
            Ok(server) => versions["serverVersion"] = server,
            Err(error) => failure = Some(error),
        }
    }
    if matches!(format, OutputFormat::Human) {
        output::line(concat!("Client Version: v", env!("CARGO_PKG_VERSION")))?;
        if let Some(version) = versions["serverVersion"]["gitVersion"].as_str() {
            output::line(&format!("Server Version: {version}"))?;
        }
    } else {
        output::write(&format.render(&key_order::sorted(&versions), "")?)?;
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

async fn server(connect: &ConnectFlags) -> Result<serde_json::Value, Failure> {
    Session::open(connect).await?.get("/version", JSON).await
}
