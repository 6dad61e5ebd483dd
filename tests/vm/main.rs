//! What can't be done to the machine that the tests run on: its clock is set, it sleeps, runs out of memory, reboots,
//! loses its power. `make vm` does it to a virtual one, with a real kernel, systemd and the unit as it is installed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod clock;
mod hung;
mod limits;
mod machine;
mod power;
mod rows;
