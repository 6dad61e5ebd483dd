//! A supervisor that replaces crontab: `jobd` owns the schedule, `jobctl` steers it, and every run is accounted for.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod forward;
pub mod os;
pub mod output;
pub mod process;
pub mod run;
pub mod shim;
pub mod store;
