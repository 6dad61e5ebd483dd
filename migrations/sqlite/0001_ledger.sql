-- The embedded store. Times are RFC 3339 UTC text with milliseconds (2026-11-22T01:00:00.000Z), so that the order
-- of the text is the order of time. A migration that has been released is never edited: the next one changes it.

-- The run table. Its first seven columns are the users' own, and rows without a run_id are theirs too: nothing but
-- the types is asked of those. A row with a run_id is jobd's.
CREATE TABLE cron_job_logs (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    task_name       TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    started_at      TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    completed_at    TEXT,
    message         TEXT,
    error_message   TEXT,

    host            TEXT,
    run_id          INTEGER,
    scheduled_at    TEXT,
    scheduled_until TEXT,
    fires           INTEGER NOT NULL DEFAULT 1,
    triggered_by    TEXT,
    attempt         INTEGER NOT NULL DEFAULT 1,
    reason          TEXT,
    exit_code       INTEGER,
    term_signal     INTEGER,
    pid             INTEGER,
    duration_ms     INTEGER,
    cpu_ms          INTEGER,
    max_rss_kib     INTEGER,
    output_bytes    INTEGER,
    config_hash     TEXT,

    CONSTRAINT run_has_origin CHECK (run_id IS NULL OR (
        run_id > 0 AND host IS NOT NULL AND triggered_by IS NOT NULL
        AND triggered_by IN ('schedule', 'catch-up', 'manual', 'retry', 'after'))),
    CONSTRAINT run_has_job_name CHECK (run_id IS NULL OR (
        length(task_name) BETWEEN 1 AND 64
        AND task_name GLOB '[a-z0-9]*' AND task_name NOT GLOB '*[^a-z0-9._-]*')),
    CONSTRAINT run_status_is_known CHECK (run_id IS NULL OR status IN (
        'QUEUED', 'RUNNING', 'SUCCESS', 'FAILED', 'TIMEOUT', 'KILLED', 'MISSED', 'SKIPPED', 'LOST')),
    CONSTRAINT run_is_over_when_final CHECK (run_id IS NULL OR
        (completed_at IS NULL) = (status IN ('QUEUED', 'RUNNING'))),
    CONSTRAINT run_counts_from_one CHECK (run_id IS NULL OR (attempt >= 1 AND fires >= 1)),
    CONSTRAINT run_times_are_text_in_order CHECK (run_id IS NULL OR (
        started_at GLOB '????-??-??T??:??:??.???Z'
        AND ifnull(completed_at    GLOB '????-??-??T??:??:??.???Z', 1)
        AND ifnull(scheduled_at    GLOB '????-??-??T??:??:??.???Z', 1)
        AND ifnull(scheduled_until GLOB '????-??-??T??:??:??.???Z', 1)))
) STRICT;

CREATE UNIQUE INDEX run_number ON cron_job_logs (host, run_id) WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX run_of_fire ON cron_job_logs (host, task_name, scheduled_at, attempt) WHERE run_id IS NOT NULL;
-- The users' monitoring asks for the latest row of a task by its start; ours asks by number, by job and by status.
CREATE INDEX run_by_start ON cron_job_logs (task_name, started_at);
CREATE INDEX run_by_job ON cron_job_logs (task_name, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX run_by_status ON cron_job_logs (status, run_id) WHERE run_id IS NOT NULL;

-- One row: what the store knows of itself and of the last jobd.
CREATE TABLE meta (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    host       TEXT    NOT NULL,
    last_batch INTEGER NOT NULL DEFAULT 0,
    last_run   INTEGER NOT NULL DEFAULT 0,
    last_seen  TEXT,
    boot_id    TEXT
) STRICT;

-- Every job ever known; each fire up to its cursor is accounted for.
CREATE TABLE jobs (
    name          TEXT PRIMARY KEY,
    schedule_hash TEXT NOT NULL,
    cursor        TEXT NOT NULL,
    known_since   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Promises not yet settled, with all that a jobd that was not there when they were given must know.
CREATE TABLE claims (
    run_id        INTEGER PRIMARY KEY,
    job           TEXT    NOT NULL,
    scheduled_at  TEXT,
    triggered_by  TEXT    NOT NULL,
    attempt       INTEGER NOT NULL CHECK (attempt >= 1),
    claimed_at    TEXT    NOT NULL,
    timeout_ms    INTEGER,
    kill_grace_ms INTEGER NOT NULL,
    alert         TEXT    NOT NULL CHECK (json_valid(alert)),
    config_hash   TEXT    NOT NULL,
    queued        INTEGER NOT NULL CHECK (queued IN (0, 1))
) STRICT;

CREATE TABLE incidents (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    job        TEXT    NOT NULL,
    opened_at  TEXT    NOT NULL,
    opened_run INTEGER NOT NULL,
    kinds      TEXT    NOT NULL CHECK (json_valid(kinds)),
    bad_runs   INTEGER NOT NULL DEFAULT 1,
    closed_at  TEXT,
    closed_run INTEGER,
    CHECK ((closed_at IS NULL) = (closed_run IS NULL))
) STRICT;

CREATE UNIQUE INDEX incident_open ON incidents (job) WHERE closed_at IS NULL;

-- Messages to be delivered at least once: written with the facts they tell, marked after delivery.
CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    channel      TEXT    NOT NULL,
    facts        TEXT    NOT NULL CHECK (json_valid(facts)),
    created_at   TEXT    NOT NULL,
    next_try_at  TEXT    NOT NULL,
    tries        INTEGER NOT NULL DEFAULT 0,
    last_error   TEXT,
    delivered_at TEXT
) STRICT;

CREATE INDEX outbox_waiting ON outbox (next_try_at, id) WHERE delivered_at IS NULL;
