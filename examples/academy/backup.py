#!/usr/bin/env python3
"""Backs up the ERP database into ``ACADEMY_BACKUP_DIR`` while other jobs go on using it, and verifies the copy.

A backup is named by the instant of its fire, and bears its name only once it has been verified: SQLite's own check,
the same number of rows in every table, and a SHA-256 in a file beside it (``sha256sum -c`` reads it). A second run
for the same instant verifies the backup that is there. The newest ``KEEP`` stay.
"""

import hashlib
import os
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from erp import JobError, folder, run_job, sync_folder, write_atomically

KEEP = 7
PATTERN = "academy-*.db"


def back_up(db: sqlite3.Connection, instant: datetime) -> str:
    """Makes the instant's backup, unless it is there and sound, and drops the oldest."""
    target = folder(db, "ACADEMY_BACKUP_DIR", "backups")
    # In UTC, so that names sort by time in every zone.
    path = target / f"academy-{instant.astimezone(UTC):%Y%m%dT%H%M%SZ}.db"
    existed = is_sound(path)
    if not existed:
        make(db, path)
    dropped = rotate(target, path)
    size_kib = path.stat().st_size // 1024
    return f"백업 {'이미 있음' if existed else '완료'}: {path.name} ({size_kib:,} KiB, 오래된 백업 {dropped}개 삭제)"


def make(db: sqlite3.Connection, path: Path) -> None:
    """Copies, verifies, and only then names the backup."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        # Inside one read transaction, so that the rows counted are the rows copied.
        db.execute("BEGIN")
        try:
            expected = row_counts(db)
            db.backup(copy)
        finally:
            db.execute("ROLLBACK")
        # The copy has inherited the write-ahead log's mode; a backup is to be a single file.
        copy.execute("PRAGMA journal_mode = DELETE")
        verify(copy, expected)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    # The sum goes first: a backup without its sum would be one that nobody can check.
    write_atomically(sum_path(path), f"{sha256(partial)}  {path.name}\n".encode())
    partial.rename(path)
    sync_folder(path.parent)


def verify(copy: sqlite3.Connection, expected: dict[str, int]) -> None:
    """Raises ``JobError`` unless the copy is sound and holds every row."""
    answer = [row[0] for row in copy.execute("PRAGMA integrity_check")]
    if answer != ["ok"]:
        raise JobError(f"백업 무결성 검사 실패: {'; '.join(answer[:3])}")
    found = row_counts(copy)
    if found != expected:
        differing = sorted(table for table in expected if found.get(table) != expected[table])
        raise JobError(f"백업의 행 수가 원본과 다름: {', '.join(differing)}")


def row_counts(db: sqlite3.Connection) -> dict[str, int]:
    """The number of rows in each table."""
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {table: db.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables}


def is_sound(path: Path) -> bool:
    """Whether a backup is there and is what its sum says."""
    try:
        return sum_path(path).read_text().split()[:1] == [sha256(path)]
    except FileNotFoundError:
        return False


def rotate(target: Path, made: Path) -> int:
    """Drops all but the newest backups, and what interrupted runs have left; how many backups were dropped.

    The one just made stays, old as its instant may be: a fire caught up late is still someone's backup.
    """
    old = [path for path in sorted(target.glob(PATTERN))[:-KEEP] if path != made]
    for path in old:
        path.unlink()
        sum_path(path).unlink(missing_ok=True)
    for partial in target.glob(f".{PATTERN}*.partial"):
        partial.unlink()
    return len(old)


def sum_path(path: Path) -> Path:
    """Where the SHA-256 of a backup is written."""
    return path.with_name(f"{path.name}.sha256")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(run_job("ERP 백업", back_up))
