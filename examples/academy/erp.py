"""What the academy's batch jobs share: the ERP database, the instant of a run, and how a job reports its end.

A job is a function that takes the database and the instant of its fire and returns one line saying what it did.
``run_job`` does the rest: ``[START]`` and ``[SUCCESS]`` on stdout, ``[ERROR]`` on stderr with exit code 1. The
success line is the last one on stdout, since that is the line jobd records as the run's message.
"""

import fcntl
import io
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

KST = timezone(timedelta(hours=9), "KST")
DEFAULT_DATABASE = Path(__file__).resolve().parent / "var" / "academy.db"
# How long a job waits for another job's write to the database, in seconds.
BUSY_TIMEOUT_SECONDS = 30.0

Job = Callable[[sqlite3.Connection, datetime], str]


class JobError(Exception):
    """A job cannot do its work. The text follows ``[ERROR]`` on stderr."""


def run_job(title: str, job: Job) -> int:
    """Runs ``job`` for the instant jobd names, reports how it went, and returns the exit code."""
    _speak_utf8()
    try:
        instant = scheduled_instant()
        print(f"[START] {title} ({instant.isoformat(timespec='seconds')})", flush=True)
        path = database_path(instant)
        with _alone(path), closing(open_database(path)) as db:
            done = job(db, instant)
    except (JobError, OSError, sqlite3.Error) as error:
        print(f"[ERROR] {title} 실패: {error}", file=sys.stderr, flush=True)
        return 1
    except Exception as error:
        traceback.print_exc()
        print(f"[ERROR] {title} 실패: {error!r}", file=sys.stderr, flush=True)
        return 1
    print(f"[SUCCESS] {done}", flush=True)
    return 0


def scheduled_instant() -> datetime:
    """The instant of the fire, from ``JOBD_SCHEDULED_AT``; its offset decides which day and month it falls in.

    Without the variable a person has started the job by hand: then it is now, in Korea, and stderr says so.
    """
    text = os.environ.get("JOBD_SCHEDULED_AT")
    if text is None:
        now = datetime.now(KST).replace(microsecond=0)
        print(f"JOBD_SCHEDULED_AT is not set: taking the present instant, {now.isoformat()}", file=sys.stderr)
        return now
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise JobError(f"JOBD_SCHEDULED_AT는 RFC 3339 시각이어야 합니다: {text!r}") from error
    if instant.tzinfo is None:
        raise JobError(f"JOBD_SCHEDULED_AT에 UTC 오프셋이 없습니다: {text!r}")
    return instant


def month_of(instant: datetime) -> str:
    """The month an instant falls in, as the database writes it: ``2026-11``."""
    return instant.strftime("%Y-%m")


def month_before(month: str) -> str:
    """The month before ``month``."""
    return month_of(datetime.fromisoformat(f"{month}-01") - timedelta(days=1))


def database_path(instant: datetime) -> Path:
    """The database named by ``ACADEMY_DB``, or the example's own, which is made when it does not exist yet.

    A database that ``ACADEMY_DB`` names is never made here: a mistyped path must not look like an empty academy.
    """
    named = os.environ.get("ACADEMY_DB")
    path = Path(named) if named else DEFAULT_DATABASE
    if path.exists():
        return path
    if named:
        raise JobError(f"ACADEMY_DB가 가리키는 데이터베이스가 없습니다: {path}")
    # Imported here because make_erp itself imports this module.
    from make_erp import make_database

    # It exists when another job was quicker, and has made the same.
    with suppress(FileExistsError):
        make_database(path, until=instant.date())
    return path


def open_database(path: Path) -> sqlite3.Connection:
    """Opens an existing database. Transactions are explicit: see ``transaction``."""
    db = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None
    )
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA foreign_keys = ON")
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside becomes durable together, or none of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def folder(db: sqlite3.Connection, variable: str, default: str) -> Path:
    """The folder an environment variable names, or ``default`` beside the database; made when missing."""
    named = os.environ.get(variable)
    database_file = db.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0]
    path = Path(named) if named else Path(database_file).parent / default
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that its name never leads to half of it, not even after a power cut."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    """Holds a lock of this job on this database: two runs side by side could both send the same message.

    jobd does not overlap runs unless asked to, but a person may start the job by hand. The kernel frees the lock
    when the process ends, however it ends.
    """
    lock = database.with_name(f"{database.name}.{Path(sys.argv[0]).stem}.lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobError("같은 작업이 이미 실행 중입니다") from error
        yield


def _speak_utf8() -> None:
    """Korean goes out as UTF-8, whatever locale the job was given."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
