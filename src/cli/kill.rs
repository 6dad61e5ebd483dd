//! `jobctl kill`: end a run.

use serde::Serialize;

use super::Session;
use super::args::{KillArgs, Target};
use super::error::{CliError, exit};
use super::source::Source;
use crate::api::client::Client;
use crate::engine::run::RunId;

/// What `kill --json` prints.
#[derive(Serialize)]
struct Stopping {
    stopping: Vec<RunId>,
}

pub(crate) async fn kill(session: &mut Session<'_>, args: KillArgs) -> Result<u8, CliError> {
    let client = Client::connect(&session.places.socket).await?;
    let stopping = match args.target {
        Target::Run(run) => vec![run],
        Target::Job(name) => active(client.clone(), &name).await?,
    };
    for &run in &stopping {
        client.stop(run).await?;
        if !session.json {
            session.terminal.print(&format!("run {run} is being ended\n"))?;
        }
    }
    if session.json {
        session.terminal.print_json(&Stopping { stopping })?;
    }
    Ok(exit::DONE)
}

/// The active runs of a job; a job without any is an error, since nothing was ended.
async fn active(client: Client, name: &str) -> Result<Vec<RunId>, CliError> {
    let source = Source::Jobd(client);
    let job = source.job(name).await?.name;
    let open = source.open_runs().await?;
    let runs: Vec<RunId> = open.iter().filter(|run| run.task_name == job).map(|run| run.run_id).collect();
    if runs.is_empty() { Err(CliError::NotActive(job)) } else { Ok(runs) }
}
