//! A supervisor that replaces crontab: `jobd` owns the schedule, `jobctl` steers it, and every run is accounted for.

pub mod engine;
