//! A supervisor that replaces crontab: `jobd` owns the schedule, `jobctl` steers it, and every run is accounted for.
//!
//! ```text
//! jobs.toml ──► config ──► engine ──► daemon ──► jobd-shim ──► the job
//!                            ▲          │            │
//!                          clock      store      run folder (spec, output, result)
//!                                       └─────┬──────┘
//!                                             ▼
//!                       jobctl ──► api     forward (alerts)
//! ```
//!
//! Five ideas carry it:
//!
//! 1. **A pure engine, a thin daemon.** Events and the time go in, effects come out as data. The engine decides, the
//!    edges act, the daemon carries mail between them; a simulation runs the same engine for years in seconds.
//! 2. **The intent is durable before the act.** A run is claimed in the store before its process is started, if it can
//!    be ahead of its instant, so that it starts on time. A claim is unique by job, scheduled instant and attempt, and
//!    every write may be sent twice.
//! 3. **A run outlives the daemon.** Each job has a parent of its own, `jobd-shim`, that keeps its output and its time
//!    limit and writes down how it ended. jobd may be stopped, upgraded or killed meanwhile.
//! 4. **Local first.** The truth is one `SQLite` file and a folder a run. What crosses a network is a forwarder, whose
//!    outage delays no job and loses no message.
//! 5. **Silence is a finding.** What did not start, did not end, said nothing or ended too soon is noticed by a timer,
//!    and a timer that fails by an auditor that shares nothing with it.
//!
//! # The map
//!
//! In reading order; each module's own page has its invariant.
//!
//! | module | is |
//! |---|---|
//! | [`engine`] | every decision, without I/O: schedules, policies, claims, incidents, recovery |
//! | [`config`] | `jobs.toml` → jobs and channels, or every mistake at once with its place |
//! | [`clock`] | the only file that reads a clock or arms a timer |
//! | [`failpoint`] | where a test lets a process die between two durable steps |
//! | [`store`] | the embedded database, the only module with SQL for it: batches in, a snapshot and rows out |
//! | [`run`] | the run folder: `spec.json`, `result.json`, the words a shim leaves meanwhile, the lock and its mark |
//! | [`output`] | the run's output file: its format, writer and reader |
//! | [`os`] | what the kernel offers, wrapped: processes, control groups, locks; all `unsafe` code |
//! | [`shim`] | what `jobd-shim` does: starts one job, ends it in time, tells how it ended |
//! | [`process`] | jobd's side of it: launches shims, finds them again, waits for them, stops them |
//! | [`forward`] | carries finished facts out: alerts to their channels |
//! | [`api`] | what `jobd` and `jobctl` say to each other over the Unix socket |
//! | [`daemon`] | `jobd`: one loop around the engine, and the tasks that do what it wants |
//! | [`cli`] | `jobctl`: a file a verb |
//!
//! # Who knows whom
//!
//! ```text
//! daemon  ─► config clock process store forward api run output os engine
//! cli     ─► api config store run output clock engine
//! api     ─► store run output clock engine
//! forward ─► store run output clock engine
//! shim    ─► run output os clock engine
//! process ─► run os engine
//! run, clock ─► os engine
//! daemon, process, shim, forward, clock ─► failpoint ─► nothing
//! config, store, output, os ─► engine ─► nothing
//! ```
//!
//! What is not drawn does not know each other, and nothing uses `daemon`; `tests/tidy` holds these arrows. `cli` opens
//! the store and the run folders to read only, when jobd is down.
//!
//! # What must always hold
//!
//! The simulation (`tests/sim`) and the tests with real processes check each of these.
//!
//! 1. A fire is accounted for exactly once: by its run, or by a MISSED or SKIPPED row that says why. Whatever stops,
//!    crashes and clock changes there were, the rows are the schedule's own instants.
//! 2. No two processes are started for the same job, scheduled instant and attempt.
//! 3. No process is started before its claim is durable; a claim may be made ahead of its instant, and withdrawn.
//! 4. A row says RUNNING only while a shim holds the run; a jobd that starts settles all others before it is ready.
//! 5. A finished run never changes.
//! 6. No process of a run outlives its timeout, its kill grace and two seconds more, whether or not jobd is there. If
//!    the kernel does not let one go, the run is not over, and the row and an alert say so.
//! 7. Every byte that a job wrote is in its output file, also what it wrote while jobd was down. What was over the
//!    job's limit, or what a failing disk refused, is counted, in the file and in the row.
//! 8. FAILED, TIMEOUT and LOST belong to an incident of the job. Its beginning and each new kind in it are told at
//!    least once, and one recovery follows. A downtime is one message about everything missed in it.
//! 9. A wall clock that goes back repeats no fire; one that goes ahead is a downtime.
//! 10. A configuration with a mistake is refused whole, and no configuration disturbs a run that is under way.
//! 11. A failing disk or channel is visible in `jobctl status`, and its end ends the trouble without anybody's help.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod failpoint;
pub mod forward;
pub mod os;
pub mod output;
pub mod process;
pub mod run;
pub mod shim;
pub mod store;
