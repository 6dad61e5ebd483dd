//! The daemon's own log: what a person reads with `journalctl -u jobd`, or on the terminal.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;

use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::supervision::words;

/// Starts logging to stderr: for the journal with its priorities, otherwise with time and level. `JOBD_LOG` filters
/// (`debug`, `jobctl::store=debug`); the default is `info`.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("JOBD_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,tokio_cron_scheduler=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.event_format(Journal).try_init()
    } else {
        builder.with_target(false).with_ansi(stderr().is_terminal()).try_init()
    };
    // It fails only where somebody logs already, as a test may.
    drop(started);
    std::panic::set_hook(Box::new(tell_panic));
}

/// Tells of a panic where everything else is told, in a line; who deals with it says what becomes of it.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    error!("a fault in jobd itself at {place}: {}", words(panic.payload()));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        error!("{trace}");
    }
}

/// A line as journald takes it: the priority ahead (`sd-daemon(3)`), the time is its own.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
