//! What `jobctl` does: a file a verb.
//!
//! **Invariant:** a verb that only reads works with jobd down, from the state directory, and says so on stderr
//! (`source`). Nothing that others wrote reaches a terminal without its power over it taken away (`text`).

mod ack;
mod args;
mod catchup;
mod changes;
mod coming;
mod cri;
mod differences;
mod error;
pub mod files;
mod history;
mod inspect;
mod instant;
mod kill;
mod list;
mod load;
mod logs;
mod missed;
mod moves;
mod next;
mod offline;
mod pause;
mod plan;
mod planned;
mod pressure;
mod ps;
mod rehearsal;
mod reload;
mod resume;
mod rules;
mod run;
mod show;
mod simulate;
mod source;
pub mod sources;
mod status;
mod stretch;
mod suggest;
mod table;
mod tail;
mod terminal;
#[cfg(test)]
mod testing;
mod text;
mod took;
mod usual;
mod validate;
mod why;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Global, Verb};
use self::error::{CliError, exit};
use self::offline::Offline;
use self::sources::Sources;
use self::terminal::Terminal;
use crate::api::client::ClientError;
use crate::api::places::{Places, SYSTEM_SOCKET};
use crate::clock;
use crate::engine::words::causes;

/// One call of `jobctl`.
struct Session<'a> {
    terminal: Terminal,
    places: &'a Places,
    sources: &'a dyn Sources,
    json: bool,
}

impl<'a> Session<'a> {
    fn offline(&self) -> Offline<'a> {
        let Terminal { now, colour, .. } = self.terminal;
        Offline { sources: self.sources, places: self.places, now, colour }
    }
}

/// Does what the process's arguments say, reading from `sources` where jobd is not needed or not there.
#[must_use]
pub fn run(sources: &dyn Sources) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more is no error.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { exit::DONE.into() };
        }
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let Cli { global: Global { config, state_dir, socket, json, color }, verb } = cli;
    let terminal = Terminal::of_process(color, no_color, clock::now().wall);
    let places = Places::or_defaults(config, state_dir, socket);
    let mut session = Session { terminal, places: &places, sources, json };
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)
        .and_then(|runtime| runtime.block_on(dispatch(&mut session, verb)));
    match done {
        Ok(code) => code.into(),
        Err(error) if error.is_closed_pipe() => exit::DONE.into(),
        Err(error) => {
            explain(&mut session.terminal, &places, &error);
            error.code().into()
        }
    }
}

async fn dispatch(session: &mut Session<'_>, verb: Verb) -> Result<u8, CliError> {
    match verb {
        Verb::List => list::list(session).await,
        Verb::Show(args) => show::show(session, args).await,
        Verb::Next(args) => next::next(session, args).await,
        Verb::Run(args) => run::run(session, args).await,
        Verb::Ps => ps::ps(session).await,
        Verb::History(args) => history::history(session, args).await,
        Verb::Logs(args) => logs::logs(session, args).await,
        Verb::Inspect(args) => inspect::inspect(session, args).await,
        Verb::Kill(args) => kill::kill(session, args).await,
        Verb::Pause(args) => pause::pause(session, args).await,
        Verb::Resume(args) => resume::resume(session, args).await,
        Verb::Missed(args) => missed::missed(session, args).await,
        Verb::Catchup(args) => catchup::catchup(session, args).await,
        Verb::Why(args) => why::why(session, args).await,
        Verb::Ack(args) => ack::ack(session, args).await,
        Verb::Reload => reload::reload(session).await,
        Verb::Status => status::status(session).await,
        Verb::Plan(args) => plan::plan(session, args).await,
        Verb::Pressure(args) => pressure::pressure(session, &args),
        Verb::Suggest(args) => suggest::suggest(session, args).await,
        Verb::Simulate(args) => simulate::simulate(session, args).await,
        Verb::Validate(args) => validate::validate(session, args),
    }
}

/// Says what is wrong, why, and what to do.
fn explain(terminal: &mut Terminal, places: &Places, error: &CliError) {
    terminal.say(&text::inert(&format!("jobctl: {}", causes(error))));
    match error {
        CliError::Expression(mistake, expression) => {
            terminal.say(&next::underlined(expression, &mistake.span));
        }
        CliError::Rejected(report) => terminal.say(report.trim_end()),
        _ => {}
    }
    if let Some(help) = error.help() {
        terminal.say(&format!("  help: {}", text::inert(&help)));
    }
    let missed = matches!(error, CliError::Client(ClientError::NotRunning { .. }));
    if missed && places.is_not_the_system() && Path::new(SYSTEM_SOCKET).exists() {
        terminal.say(&format!(
            "  help: the system's jobd has its socket at {SYSTEM_SOCKET}: name it by --socket"
        ));
    }
}
