//! Forwarders: they carry finished facts out of the local store, over a network, to where people look.
//!
//! **Invariant:** nothing here decides about a run or delays one. A forwarder reads what is durable already, and its
//! outage costs only a lag that ends by itself when the other side is there again.

pub mod alerts;
