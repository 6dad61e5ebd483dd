//! Decisions, without I/O.
//!
//! **Invariant:** nothing here reads a clock, opens a file, waits, or draws a number. Events and the time go in,
//! effects come out as data, so a simulation can run years of it in seconds (`tests/sim`).
//!
//! Reading order: [`time`], [`schedule`], [`job`], [`policy`] and [`run`] are the words; [`ledger`] is what is asked of
//! the store, [`event`] what is heard and wanted; [`scheduler`] joins them, [`recovery`] makes one after a start.

mod agenda;
pub mod event;
mod incident;
pub mod job;
mod journal;
pub mod ledger;
pub mod left;
mod overdue;
pub mod policy;
pub mod record;
pub mod recovery;
mod requests;
pub mod resources;
pub mod run;
pub mod schedule;
pub mod scheduler;
pub mod stop;
pub mod time;
pub mod words;
