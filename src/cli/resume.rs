//! `jobctl resume`: a paused job, or every job, is started again.

use clap::{ArgGroup, Args};

use super::Session;
use super::error::{CliError, exit};
use super::source::Source;
use crate::api::client::Client;
use crate::api::types::ResumeRequest;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["job", "all"]))]
pub(crate) struct ResumeArgs {
    /// The job
    job: Option<String>,
    /// Every job, if all were paused together; what was paused by itself stays so
    #[arg(long)]
    all: bool,
}

pub(crate) async fn resume(session: &mut Session<'_>, args: ResumeArgs) -> Result<u8, CliError> {
    let client = Client::connect(&session.places.socket).await?;
    let job = match &args.job {
        Some(name) => Some(Source::Jobd(client.clone()).name(name).await?),
        None => None,
    };
    let done = client.resume(&ResumeRequest { job }).await?;
    if session.json {
        session.terminal.print_json(&done)?;
        return Ok(exit::DONE);
    }
    let told = match &done.job {
        Some(job) => {
            format!("{job} is resumed; 'jobctl missed {job} --skipped' shows what the pause has cost\n")
        }
        None => "all jobs are resumed; 'jobctl missed --skipped' shows what the pause has cost\n".to_owned(),
    };
    session.terminal.print(&told)?;
    Ok(exit::DONE)
}
