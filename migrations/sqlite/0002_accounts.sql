-- An account of every fire, and of the time around it.

-- A row of many fires is no try of any of them: its attempt is 0. The rule alone changes and no row, so it is changed
-- where it is written (https://sqlite.org/lang_altertable.html, section 7): a table of this size is not copied, and
-- what the users have hung on it (columns, indexes, triggers, views) stays. What is made below tells everyone else
-- who has the database open that the schema is another.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, '(attempt >= 1 AND fires >= 1)', '(attempt >= (scheduled_until IS NULL) AND fires >= 1)')
WHERE type = 'table' AND name = 'cron_job_logs';
PRAGMA writable_schema = RESET;
UPDATE cron_job_logs SET attempt = 0 WHERE run_id IS NOT NULL AND scheduled_until IS NOT NULL;

-- Which rows of many cover an instant, and how a job has ended lately.
CREATE INDEX run_of_many ON cron_job_logs (task_name, scheduled_until) WHERE scheduled_until IS NOT NULL;
CREATE INDEX run_by_end ON cron_job_logs (task_name, status, run_id)
    WHERE run_id IS NOT NULL AND status IN ('SUCCESS', 'FAILED', 'TIMEOUT', 'KILLED', 'LOST');

-- Nothing here is renamed: that would look into every view of the users.
CREATE TABLE former_claims AS SELECT * FROM claims;
DROP TABLE claims;
CREATE TABLE claims (
    run_id        INTEGER PRIMARY KEY,
    job           TEXT    NOT NULL,
    scheduled_at  TEXT,
    triggered_by  TEXT    NOT NULL,
    attempt       INTEGER NOT NULL CHECK (attempt >= 1),
    not_before    TEXT,
    holds         TEXT    NOT NULL CHECK (json_valid(holds)),
    claimed_at    TEXT    NOT NULL,
    timeout_ms    INTEGER,
    kill_grace_ms INTEGER NOT NULL,
    alert         TEXT    NOT NULL CHECK (json_valid(alert)),
    config_hash   TEXT    NOT NULL,
    -- ahead: of its instant, without a row. queued: the row says QUEUED. due: it says RUNNING.
    state         TEXT    NOT NULL CHECK (state IN ('ahead', 'queued', 'due')),
    -- How many fires it has kept from starting, and which concerns about it have been told.
    skips         INTEGER NOT NULL DEFAULT 0 CHECK (skips >= 0),
    told          TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(told))
) STRICT;
INSERT INTO claims (run_id, job, scheduled_at, triggered_by, attempt, holds, claimed_at, timeout_ms, kill_grace_ms,
                    alert, config_hash, state)
SELECT run_id, job, scheduled_at, triggered_by, attempt, '{}', claimed_at, timeout_ms, kill_grace_ms,
       alert, config_hash, iif(queued, 'queued', 'due')
FROM former_claims;
DROP TABLE former_claims;

CREATE INDEX claim_of_fire ON claims (job, scheduled_at);

-- A job owes the fires of its schedule from schedule_since on: what it was before is not kept.
CREATE TABLE former_jobs AS SELECT * FROM jobs;
DROP TABLE jobs;
CREATE TABLE jobs (
    name           TEXT PRIMARY KEY,
    schedule_hash  TEXT NOT NULL,
    cursor         TEXT NOT NULL,
    known_since    TEXT NOT NULL,
    schedule_since TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO jobs (name, schedule_hash, cursor, known_since, schedule_since)
SELECT name, schedule_hash, cursor, known_since, cursor FROM former_jobs;
DROP TABLE former_jobs;

-- Times in which nobody was there or could act, the last ten thousand.
CREATE TABLE gaps (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    from_at  TEXT NOT NULL,
    until_at TEXT NOT NULL,
    reason   TEXT NOT NULL CHECK (json_valid(reason))
) STRICT;

CREATE INDEX gap_by_end ON gaps (until_at);

-- Pauses of a job, or of every job where there is none: those in force, and of those that are over the last ten
-- thousand. One whose time is over stays in force until jobd has seen it.
CREATE TABLE pauses (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    job       TEXT,
    paused_by TEXT NOT NULL,
    since     TEXT NOT NULL,
    until     TEXT,
    why       TEXT,
    ended_at  TEXT,
    ended_by  TEXT,
    CHECK (ended_by IS NULL OR ended_at IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX pause_in_force ON pauses (ifnull(job, '')) WHERE ended_at IS NULL;

-- Jobs that must succeed every so often, configured or not.
CREATE TABLE watches (
    job          TEXT PRIMARY KEY,
    limit_ms     INTEGER NOT NULL,
    last_success TEXT    NOT NULL,
    told         INTEGER NOT NULL CHECK (told IN (0, 1)),
    alert        TEXT    NOT NULL CHECK (json_valid(alert))
) STRICT, WITHOUT ROWID;
