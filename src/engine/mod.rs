//! Decisions, without I/O.
//!
//! **Invariant:** nothing here reads a clock, opens a file, waits, or draws a number. Events and the time go in,
//! effects come out as data, so a simulation can run years of it in seconds (`tests/sim`).
//!
//! Reading order: [`time`], [`schedule`], [`job`], [`policy`] and [`run`] are the words; [`ledger`] is what is asked of
//! the store, [`event`] what is heard and wanted; [`occurrence`] says which instants a job names, [`inquiry`] why it
//! does not name others. [`scheduler`] joins them, `fires` decides what is due, `accounts` writes down what has no run,
//! `turn` starts what waits in the `queue`, `arming` is there in time for a fire, `runs` follows each run to its end,
//! `follow` sees to what follows that, `concern` to what is late or long meanwhile;
//! [`recovery`] makes an engine after a start.

mod accounts;
pub mod admission;
pub mod after;
mod agenda;
mod arming;
pub mod calendar;
mod concern;
mod deadlines;
pub mod event;
mod fires;
mod follow;
mod incident;
pub mod inquiry;
pub mod job;
mod journal;
pub mod ledger;
pub mod left;
pub mod memory;
mod moving;
pub mod notice;
pub mod occurrence;
mod overdue;
pub mod pause;
pub mod policy;
mod queue;
pub mod reason;
pub mod record;
pub mod recovery;
mod requests;
pub mod resources;
pub mod retry;
pub mod run;
mod runs;
pub mod schedule;
pub mod scheduler;
pub mod spread;
pub mod stop;
mod success;
pub mod time;
mod turn;
pub mod watch;
pub mod words;
