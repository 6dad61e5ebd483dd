//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::ack::AckArgs;
use super::catchup::CatchupArgs;
use super::missed::MissedArgs;
use super::next::NextArgs;
use super::pause::PauseArgs;
use super::plan::PlanArgs;
use super::pressure::PressureArgs;
use super::resume::ResumeArgs;
use super::simulate::SimulateArgs;
use super::suggest::SuggestArgs;
use super::why::WhyArgs;
use crate::engine::run::{RunId, Status};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage, or a configuration or expression with mistakes
  3  jobd is not reachable, or not ready
  4  no such job or run
'run --wait' and 'run --follow' exit with the job's own code; 124: killed at its timeout; 128+n: ended
by signal n; 125: never started; 1: lost, or killed without a signal being seen.";

/// Not a doc comment, where the variable's name would need marks that a terminal shows as they are.
const COLOR_HELP: &str = "Whether to colour; auto: on a terminal, unless NO_COLOR is set";

/// See and steer the jobs of jobd.
#[derive(Debug, Parser)]
#[command(name = "jobctl", version, after_help = EXIT_CODES, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The configuration [default: /etc/jobd/jobs.toml for root, else in the user's configuration folder]
    #[arg(long, global = true, env = "JOBD_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// The state directory [default: /var/lib/jobd for root, else in the user's state folder]
    #[arg(long, global = true, env = "JOBD_STATE_DIR", value_name = "DIR", hide_env_values = true)]
    pub(crate) state_dir: Option<PathBuf>,
    /// jobd's socket [default: /run/jobd/jobd.sock for root, else in the user's runtime folder]
    #[arg(long, global = true, env = "JOBD_SOCKET", value_name = "PATH", hide_env_values = true)]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON: stable names, times in RFC 3339
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[arg(long, help = COLOR_HELP, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Every job: its schedule, its next fire, its last run
    List,
    /// A job with every default filled in, or a run with all that is known of it
    Show(ShowArgs),
    /// The next fires of a job, or of any cron expression
    Next(NextArgs),
    /// Start a run of a job now
    Run(RunArgs),
    /// The runs that are active
    Ps,
    /// Past and present runs, newest first
    History(HistoryArgs),
    /// The output of a run, or of a job's last run
    Logs(LogsArgs),
    /// What the processes of an active run wait for and have open
    Inspect(InspectArgs),
    /// End a run: SIGTERM, the job's kill grace, SIGKILL
    Kill(KillArgs),
    /// Start a job, or any job, no more until it is resumed; runs that are active go on
    Pause(PauseArgs),
    /// Start a paused job again
    Resume(ResumeArgs),
    /// Fires without a run, newest first, and why
    Missed(MissedArgs),
    /// Make up for fires that were missed or skipped
    Catchup(CatchupArgs),
    /// What became of an instant of a job, or will, and why
    Why(WhyArgs),
    /// Say that it is known that a job does not succeed any more
    Ack(AckArgs),
    /// Let jobd take over its configuration, and its own program, as they are now; runs go on
    Reload,
    /// How jobd is
    Status,
    /// Check a configuration and report every mistake in it
    Validate(ValidateArgs),
    /// Every fire to come, and what would become of it
    Simulate(SimulateArgs),
    /// What starts together, and where there is room
    Pressure(PressureArgs),
    /// What a new configuration would change: jobs, fields, and the fires of the next days
    Plan(PlanArgs),
    /// Time limits of two to three times what jobs usually take
    Suggest(SuggestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A job's name or a run's number
    #[arg(value_name = "JOB|RUN")]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The job
    pub(crate) job: String,
    /// Wait until the run is over, and exit with the job's own code
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait, and meanwhile print what the job writes
    #[arg(long, conflicts_with = "json")]
    pub(crate) follow: bool,
    #[arg(long, value_name = "TIME", help = "The instant the run stands for: the job's JOBD_SCHEDULED_AT")]
    pub(crate) at: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Of this job only
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// Of these statuses only: FAILED,TIMEOUT
    #[arg(long, value_delimiter = ',', value_parser = status)]
    pub(crate) status: Vec<Status>,
    /// Started at this time or later: 2026-11-01, '2026-11-01 10:00', RFC 3339, or so long ago: 2h, 7d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Started before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) n: u32,
    /// With a number below this run's
    #[arg(long, value_name = "RUN")]
    pub(crate) before: Option<u64>,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line, and they combine freely"
)]
pub(crate) struct LogsArgs {
    /// A run's number, or a job's name for its last run
    #[arg(value_name = "RUN|JOB")]
    pub(crate) target: Target,
    /// Go on until the run is over
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines
    #[arg(short, value_name = "LINES")]
    pub(crate) n: Option<usize>,
    /// Only what went to stdout
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) stdout: bool,
    /// Only what went to stderr
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Each line with the time it was written
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// The bytes as the job wrote them, on a terminal too: they can steer it
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A run's number
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub(crate) run: RunId,
}

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// A run's number, or a job's name for each of its active runs
    #[arg(value_name = "RUN|JOB")]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The file [default: the configuration]
    pub(crate) file: Option<PathBuf>,
}

/// What a person points at: digits are a run, anything else is a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Run(RunId),
    Job(String),
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        match text.parse() {
            Ok(number) => Self::Run(RunId(number)),
            Err(_) => Self::Job(text.to_owned()),
        }
    }
}

fn run_id(word: &str) -> Result<RunId, String> {
    word.parse().map(RunId).map_err(|_| "a run's number, as 'jobctl ps' shows it".to_owned())
}

fn status(word: &str) -> Result<Status, String> {
    let words = || Status::ALL.map(Status::as_str).join(" ");
    Status::parse(word).ok_or_else(|| format!("no such status; it is one of {}", words()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn digits_are_a_run_and_the_rest_a_job() {
        assert_eq!(Target::from("12"), Target::Run(RunId(12)));
        assert_eq!(Target::from("backup"), Target::Job("backup".to_owned()));
        assert_eq!(Target::from("2nd"), Target::Job("2nd".to_owned()));
    }
}
