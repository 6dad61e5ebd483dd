//! The local API: what `jobctl` and `jobd` say to each other over a Unix socket, in HTTP and JSON.
//!
//! [`types`] is the documented shape of every answer, [`server`] gives the answers, [`client`] asks for them. The
//! server decides nothing: facts come from [`records::Records`] and [`supervisor::Facts`], and what changes anything
//! goes to the daemon as a [`supervisor::Command`].
//!
//! **Invariant:** no request changes anything before the peer's credentials were looked at ([`peers`]).

pub mod client;
pub mod detail;
mod follow;
pub mod ledger;
pub mod owed;
pub mod peers;
pub mod places;
mod problem;
pub mod query;
pub mod records;
pub mod rules;
pub mod server;
pub mod socket;
mod steering;
pub mod supervisor;
pub mod types;
pub mod views;
pub mod waiting;
pub mod why;
