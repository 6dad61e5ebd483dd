//! `jobctl ack`: it is known that a job does not succeed any more, and need not be told again.

use clap::Args;

use super::Session;
use super::error::{CliError, exit};
use crate::api::client::Client;

#[derive(Debug, Args)]
pub(crate) struct AckArgs {
    /// The job, configured or not
    job: String,
}

pub(crate) async fn ack(session: &mut Session<'_>, args: AckArgs) -> Result<u8, CliError> {
    let client = Client::connect(&session.places.socket).await?;
    let done = client.acknowledge(&args.job).await?;
    if session.json {
        session.terminal.print_json(&done)?;
    } else {
        session.terminal.print(&format!("it is known that {} does not succeed\n", args.job))?;
    }
    Ok(exit::DONE)
}
