//! The schedule against the vectors, against a naive reading of the same rule, and against hostile texts.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

#[path = "schedule/expressions.rs"]
mod expressions;
#[path = "schedule/hostile.rs"]
mod hostile;
#[path = "schedule/oracle.rs"]
mod oracle;
#[path = "schedule/sequence.rs"]
mod sequence;
#[path = "schedule/vectors.rs"]
mod vectors;
