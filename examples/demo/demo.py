#!/usr/bin/env python3
"""What `make demo` runs: ``demo.py [--bin FOLDER]``, with the folder of jobd, jobctl and jobd-shim (target/debug).

The real daemon runs the academy's four real jobs, with schedules of seconds, in a temporary folder. Things go wrong
on purpose. Everything that is shown is checked as well, and the demo ends with 1 when anything is not as told.
"""

import argparse
import contextlib
import hashlib
import signal
import sqlite3
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from jobs_toml import (
    INVOICE_GRACE_SECONDS,
    INVOICE_TIMEOUT_SECONDS,
    STATISTICS_EVERY_SECONDS,
    entry,
    jobs_toml,
)
from stage import ACADEMY, BINARIES, Failure, Run, Stage

KST = timezone(timedelta(hours=9), "KST")
INVOICES = 213
# A kill later than this comes too late: timeout, grace, and two seconds.
KILLED_BY_SECONDS = INVOICE_TIMEOUT_SECONDS + INVOICE_GRACE_SECONDS + 2
# A fire not older than two seconds is on time for a jobd that comes up. The downtime ends when the last fire is older
# by a little, and so long before the next one that jobd is up by then: what was missed is then plain.
LAST_FIRE_SECONDS_AGO = (2.3, STATISTICS_EVERY_SECONDS - 1.5)
EXPORT_EXIT_CODE = 7


class Downtime(NamedTuple):
    """From the kill of jobd to its next start, in seconds since the epoch."""

    killed_at: float
    back_at: float
    # How many alerts had been delivered when it began.
    alerts_before: int

    def has(self, run: Run) -> bool:
        """Whether a row is of a fire, or of fires, in it."""
        at = datetime.fromisoformat(run["scheduled_at"]).timestamp() if run["scheduled_at"] else 0.0
        return self.killed_at < at <= self.back_at


def main() -> int:
    """Plays the demo; the exit code says whether everything was as told."""
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    # Ctrl-C raises KeyboardInterrupt by itself; these end the demo in the same orderly way.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    parser = argparse.ArgumentParser(description="The real programs at work, hung, killed and recovered.")
    parser.add_argument("--bin", type=Path, default=Path("target/debug"), help="where jobd, jobctl and jobd-shim are")
    binaries: Path = parser.parse_args().bin.resolve()
    missing = [name for name in BINARIES if not (binaries / name).exists()]
    if missing:
        print(f"{binaries} has no {', '.join(missing)}: `make build` makes them", file=sys.stderr)
        return 1
    stage = Stage(binaries)
    code, of_use = 0, True
    try:
        play(stage)
        of_use = False
    except Failure as failure:
        code = 1
        print(f"\n✗ {failure}", file=sys.stderr)
        print(f"\nThe end of jobd's log:\n{stage.log_tail('jobd')}", file=sys.stderr)
    except (KeyboardInterrupt, SystemExit):
        of_use = False
        raise
    finally:
        stage.close(keep_folder=of_use)
    return code


def play(stage: Stage) -> None:
    """The steps."""
    set_up(stage)
    jobs_run_and_are_recorded(stage)
    hang_is_killed_and_alerted(stage)
    mail_server_is_repaired(stage)
    down = run_outlives_jobd(stage)
    missed_fires_are_found(stage, down)
    nothing_was_told_twice(stage, down)


def set_up(stage: Stage) -> None:
    """The database, the servers, the configuration, and jobd."""
    stage.heading("An academy with four batch jobs")
    sys.path.insert(0, str(ACADEMY))
    from make_erp import make_database

    make_database(database(stage), until=datetime.now(KST).date())
    stage.say(f"Made the academy's database, with {INVOICES} students who are to get an invoice.")
    webhook = stage.start_server("webhook", "webhook.py", stage.requests)
    mail = stage.start_server("mail", "mail_hole.py")
    stage.say(f"Started a webhook on port {webhook}, and on port {mail} a mail server that never answers.")
    text = jobs_toml(datetime.now(KST), stage.folder, database(stage), marks(stage), webhook, mail)
    stage.config.write_text(text, encoding="utf-8")
    # Root's jobd refuses a file that others may write, and the umask here may allow that.
    stage.config.chmod(0o600)
    stage.say(f"The invoice job's entry in {stage.config}:")
    stage.show(entry(text, "invoice_generation"))
    pid = stage.start_jobd()
    stage.fact(f"jobd runs as process {pid}")


def jobs_run_and_are_recorded(stage: Stage) -> None:
    """Three of the jobs, on schedule, and what they have done."""
    stage.heading("Jobs run on schedule, and every run is recorded")
    for job in ("attendance_notification", "statistics_aggregation", "backup"):
        run = stage.wait_for_run(job, 30, "on schedule", status="SUCCESS", triggered_by="schedule")
        stage.check(run["exit_code"] == 0, f"{job}: SUCCESS, “{run['message']}”")
    told = [(post["student_id"], post["day"]) for post in stage.posts("/guardians")]
    stage.check(len(told) > 0, f"the webhook received {len(told)} messages to guardians")
    stage.check(len(told) == len(set(told)), "no guardian was told twice")
    rows = query(stage, "SELECT count(*) FROM statistics")
    stage.check(rows > 0, f"the statistics table holds {rows} rows")
    backup = next(iter(sorted((stage.folder / "backups").glob("academy-*.db"))))
    expected = backup.with_name(f"{backup.name}.sha256").read_text().split()[0]
    stage.check(hashlib.sha256(backup.read_bytes()).hexdigest() == expected, f"{backup.name} is what its sum says")


def hang_is_killed_and_alerted(stage: Stage) -> None:
    """The invoice job waits for a mail server that says nothing."""
    stage.heading("A job hangs: it is killed at its timeout, and someone is told")
    stage.say("The mail server accepts the invoice job's connection and never answers: without a limit, the job")
    stage.say(f'would wait for ever. Its entry says timeout = "{INVOICE_TIMEOUT_SECONDS}s".')
    job = "invoice_generation"
    stage.wait("the job to reach the mail server", 90, lambda: "connection accepted" in mail_log(stage))
    stage.fact("the job is connected to the mail server, and waits")
    run = stage.wait_for_run(job, 30, "killed at its timeout", status="TIMEOUT")
    seconds = run["duration_ms"] / 1000
    stage.check(
        INVOICE_TIMEOUT_SECONDS <= seconds <= KILLED_BY_SECONDS, f"run {run['run_id']}: TIMEOUT after {seconds:.1f} s"
    )
    stage.check(stage.processes(f"JOBD_JOB={job}") == [], "none of its processes is left")
    stage.wait("the connection to end", 5, lambda: "connection closed by the client" in mail_log(stage))
    alert = stage.wait("the alert", 20, lambda: stage.alerts(f"⚠️ {job} 타임아웃"))[0]
    stage.say("The alert, as the webhook received it:")
    stage.show(alert)
    beginnings = [line.strip() for line in alert.splitlines()]
    for word in ("시작: ", "경과: "):
        stage.check(any(line.startswith(word) for line in beginnings), f"the alert has a line “{word}…”")


def mail_server_is_repaired(stage: Stage) -> None:
    """The same job, run again by hand, completes what the killed run left undone."""
    stage.heading("The mail server is repaired, and the job run again by hand")
    port = (stage.folder / "mail.port").read_text().strip()
    stage.stop("mail")
    stage.start_server("mail", "mail_hole.py", "--port", port, "--answer")
    answer = stage.jobctl("run", "invoice_generation", "--wait")
    stage.check(answer.returncode == 0, "jobctl run invoice_generation --wait exits with the job's own code, 0")
    run = stage.wait_for_run("invoice_generation", 10, "that succeeded", status="SUCCESS")
    stage.check(f"{INVOICES}건 청구서 발행 완료" in run["message"], f"run {run['run_id']}: “{run['message']}”")
    issued = query(stage, "SELECT count(*) FROM invoices WHERE month = ?", this_month())
    files = len(list((stage.folder / "invoices" / this_month()).glob("*.html")))
    stage.check(issued == files == INVOICES, f"{issued} invoices and {files} files: none missing, none twice")
    mails = [line for line in mail_log(stage) if line.startswith("mail accepted")]
    stage.check(len(mails) == len(set(mails)) == INVOICES, f"{len(mails)} mails: none missing, none twice")
    recovery = stage.wait("the message of recovery", 20, lambda: stage.alerts("invoice_generation", "복구"))
    stage.say("And the trouble is over, which is told as well:")
    stage.show(recovery[0])


def run_outlives_jobd(stage: Stage) -> Downtime:
    """kill -9 of jobd while a job runs, and its next start."""
    stage.heading("jobd is killed with -9 while a job runs")
    stage.check(stage.jobctl("run", "slow_export").returncode == 0, "jobctl run slow_export: started by hand")
    before = stage.wait_for_run("slow_export", 20, "that is running", status="RUNNING")
    stage.wait("the job's own mark", 10, lambda: "started" in mark_words(stage))
    alerts_before = len(stage.alerts())
    stage.kill_jobd()
    killed_at = time.time()
    stage.check(stage.processes("JOBD_JOB=slow_export") != [], "jobd is dead, and the job goes on")
    stage.wait("the job to end without jobd", 30, lambda: "ended" in mark_words(stage))
    stage.wait("more fires to pass unseen", 30, lambda: has_missed_fires(killed_at, time.time()))
    stage.fact(f"the job has ended; for {time.time() - killed_at:.0f} s there has been no jobd")
    down = Downtime(killed_at, time.time(), alerts_before)
    stage.start_jobd()
    after = stage.wait_for_run("slow_export", 20, "with its result", run_id=before["run_id"], status="FAILED")
    stage.check(after["exit_code"] == EXPORT_EXIT_CODE, "the next jobd knows its true end: FAILED, exit code 7")
    stage.check(mark_words(stage) == ["started", "ended"], "it was started once, and not again")
    stage.check(len(stage.history("slow_export")) == 1, "it has one row")
    said = after["error_message"] or ""
    stage.check("the export's target is full" in said, "the row has what it wrote to stderr while jobd was dead:")
    stage.show(said)
    stage.wait("the alert", 20, lambda: stage.alerts("❌ slow_export 실패"))
    return down


def missed_fires_are_found(stage: Stage, down: Downtime) -> None:
    """What the downtime has cost."""
    stage.heading("The fires that were missed are found and made up for")
    job = "statistics_aggregation"

    def of_downtime() -> list[Run]:
        return [run for run in stage.history(job) if down.has(run)]

    def caught_up() -> list[Run]:
        return [r for r in of_downtime() if r["triggered_by"] == "catch-up" and r["status"] == "SUCCESS"]

    latest = stage.wait(f"a fire of {job} to be caught up", 30, caught_up)
    stands_for = f"made up for by run {latest[0]['run_id']}, for a later fire"
    older = [run for run in of_downtime() if run["status"] == "SKIPPED" and run["reason"] == stands_for]
    stage.check(older != [], f"{job}: {sum(run['fires'] for run in older)} fires are recorded as SKIPPED, {stands_for}")
    stage.check(len(latest) == 1, f"the latest, of {local_time(latest[0]['scheduled_at'])}, was caught up: SUCCESS")
    instants = accounted(stage.history(job))
    every = list(range(instants[0], instants[-1] + 1, STATISTICS_EVERY_SECONDS))
    stage.check(instants == every, f"each of its {len(every)} fires since jobd first began is in exactly one row")
    told = stage.wait("the message about the downtime", 20, lambda: stage.alerts("실행 기록 없음"))
    stage.say("The downtime, as the webhook received it:")
    stage.show(told[0])
    stage.check(job in told[0], "it names the job")


def nothing_was_told_twice(stage: Stage, down: Downtime) -> None:
    """The whole story, as a person would look it up, and the alerts counted."""
    stage.heading("The history")
    stage.show_jobctl("history", "-n", "40")
    for words in (("⚠️ invoice_generation 타임아웃",), ("invoice_generation", "복구"), ("❌ slow_export 실패",)):
        stage.check(len(stage.alerts(*words)) == 1, f"told once: {' … '.join(words)}")
    since = stage.alerts()[down.alerts_before :]
    stage.check(sum("실행 기록 없음" in text for text in since) == 1, "told once: the downtime")
    stage.heading("Everything was as told")


# Small helpers


def database(stage: Stage) -> Path:
    """The academy's database."""
    return stage.folder / "academy.db"


def query(stage: Stage, sql: str, *values: str) -> int:
    """The one number a query answers with."""
    with contextlib.closing(sqlite3.connect(database(stage))) as db:
        number: int = db.execute(sql, values).fetchone()[0]
        return number


def this_month() -> str:
    """The month in which the invoices are issued."""
    return datetime.now(KST).strftime("%Y-%m")


def marks(stage: Stage) -> Path:
    """The file in which slow_export says that it was started and that it ended."""
    return stage.folder / "slow_export.marks"


def mark_words(stage: Stage) -> list[str]:
    """The first word of each mark."""
    path = marks(stage)
    return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def mail_log(stage: Stage) -> list[str]:
    """What the mail server has said."""
    return (stage.folder / "mail.log").read_text(encoding="utf-8").splitlines()


def has_missed_fires(since: float, until: float) -> bool:
    """Whether fires of the statistics were missed between two instants, and none of them is on time yet."""
    fires = int(until // STATISTICS_EVERY_SECONDS) - int(since // STATISTICS_EVERY_SECONDS)
    earliest, latest = LAST_FIRE_SECONDS_AGO
    return fires > 1 and earliest <= until % STATISTICS_EVERY_SECONDS <= latest


def accounted(runs: list[Run]) -> list[int]:
    """Every fire that the rows stand for, as seconds since the epoch, in order."""
    instants = []
    for run in runs:
        if run["scheduled_at"] is not None:
            first = int(datetime.fromisoformat(run["scheduled_at"]).timestamp())
            instants += [first + n * STATISTICS_EVERY_SECONDS for n in range(run["fires"])]
    return sorted(instants)


def local_time(instant: str) -> str:
    """An instant as the academy's clock shows it."""
    return datetime.fromisoformat(instant).astimezone(KST).strftime("%H:%M:%S")


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted; every process of the demo has been ended", file=sys.stderr)
        sys.exit(130)
