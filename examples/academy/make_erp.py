#!/usr/bin/env python3
"""Makes the ERP database of a made-up academy: ``make_erp.py PATH [--until YYYY-MM-DD] [--seed N]``.

The academy prepares students for the university entrance exam; lessons begin at 08:00, so that the day's
attendance is known when guardians are told at 09:00. The same date and seed make the same rows. There is
attendance from the first day of the month before last up to ``--until``, and invoices for the two months before.
"""

import argparse
import os
import random
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from erp import KST, month_before, transaction

STUDENTS = 248
ACTIVE_STUDENTS = 213
GUARDIANS = 226
DEFAULT_SEED = 213
WEEKDAYS = "월화수목금토일"

SCHEMA = """
CREATE TABLE guardians (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, phone TEXT NOT NULL, email TEXT NOT NULL
) STRICT;
CREATE TABLE classes (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, teacher TEXT NOT NULL,
    weekdays TEXT NOT NULL, monthly_fee INTEGER NOT NULL CHECK (monthly_fee > 0)
) STRICT;
CREATE TABLE students (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL,
    guardian_id INTEGER NOT NULL REFERENCES guardians, class_id INTEGER NOT NULL REFERENCES classes,
    status TEXT NOT NULL CHECK (status IN ('active', 'on_leave', 'withdrawn')), enrolled_on TEXT NOT NULL
) STRICT;
CREATE TABLE tuition (
    student_id INTEGER PRIMARY KEY REFERENCES students,
    monthly_fee INTEGER NOT NULL CHECK (monthly_fee > 0),
    discount_percent INTEGER NOT NULL CHECK (discount_percent BETWEEN 0 AND 100)
) STRICT;
CREATE TABLE attendance (
    student_id INTEGER NOT NULL REFERENCES students, day TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('present', 'late', 'absent', 'excused')), arrived_at TEXT,
    PRIMARY KEY (student_id, day), CHECK ((status IN ('present', 'late')) = (arrived_at IS NOT NULL))
) STRICT;
CREATE INDEX attendance_by_day ON attendance (day);
CREATE TABLE invoices (
    id INTEGER PRIMARY KEY, number TEXT NOT NULL UNIQUE,
    student_id INTEGER NOT NULL REFERENCES students, month TEXT NOT NULL, amount INTEGER NOT NULL,
    issued_at TEXT NOT NULL, emailed_at TEXT, paid_on TEXT,
    UNIQUE (student_id, month)
) STRICT;
CREATE TABLE notifications (
    student_id INTEGER NOT NULL REFERENCES students, day TEXT NOT NULL,
    kind TEXT NOT NULL, text TEXT NOT NULL, queued_at TEXT NOT NULL, sent_at TEXT,
    PRIMARY KEY (student_id, day)
) STRICT;
CREATE TABLE statistics (
    month TEXT NOT NULL, class_id INTEGER NOT NULL REFERENCES classes, students INTEGER NOT NULL,
    present INTEGER NOT NULL, late INTEGER NOT NULL, absent INTEGER NOT NULL, excused INTEGER NOT NULL,
    tuition INTEGER NOT NULL, invoices INTEGER NOT NULL, invoiced INTEGER NOT NULL, paid INTEGER NOT NULL,
    aggregated_at TEXT NOT NULL,
    PRIMARY KEY (month, class_id)
) STRICT;
"""


class Class(NamedTuple):
    """A row of ``classes`` without its number."""

    name: str
    teacher: str
    weekdays: str
    monthly_fee: int


CLASSES = (
    Class("인문 1반", "강민서", "월화수목금토", 1_480_000),
    Class("인문 2반", "오세훈", "월화수목금토", 1_480_000),
    Class("자연 1반", "임수빈", "월화수목금토", 1_520_000),
    Class("자연 2반", "한지호", "월화수목금토", 1_520_000),
    Class("자연 3반", "서예린", "월화수목금토", 1_520_000),
    Class("의대 1반", "신동욱", "월화수목금토", 1_750_000),
    Class("예체능 1반", "권나래", "월화수목금토", 1_240_000),
    Class("주말 1반", "황보람", "토일", 620_000),
    Class("주말 2반", "안태경", "토일", 620_000),
)
SURNAMES = "김이박최정강조윤장임한오서신권황안송류홍"
FIRST_SYLLABLES = "민서지하예도수현은준유채태연주시"
SECOND_SYLLABLES = "준윤우아린호빈원진영경민서은솔혁"


def make_database(path: Path, until: date, seed: int = DEFAULT_SEED) -> None:
    """Makes the database under a temporary name, and gives it its own only when it is whole.

    Raises ``FileExistsError`` when ``path`` exists: a database is never replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as db:
            # Several jobs use it at once: with a write-ahead log, readers and a writer do not wait for one another.
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(SCHEMA)
            with transaction(db):
                _fill(db, until, random.Random(seed))
        # A link, since a rename would replace a database that another process has made meanwhile.
        path.hardlink_to(partial)
    finally:
        partial.unlink()


def _fill(db: sqlite3.Connection, until: date, dice: random.Random) -> None:
    db.executemany(
        "INSERT INTO guardians VALUES (?, ?, ?, ?)",
        [(n, _name(dice), f"010-0000-{n:04}", f"guardian{n:03}@example.com") for n in range(1, GUARDIANS + 1)],
    )
    db.executemany("INSERT INTO classes VALUES (?, ?, ?, ?, ?)", [(n, *row) for n, row in enumerate(CLASSES, 1)])
    _fill_students(db, until, dice)
    last_month = month_before(until.strftime("%Y-%m"))
    first_month = month_before(last_month)
    _fill_attendance(db, date.fromisoformat(f"{first_month}-01"), until, dice)
    for month in (first_month, last_month):
        _fill_invoices(db, month, dice)


def _fill_students(db: sqlite3.Connection, until: date, dice: random.Random) -> None:
    """Students with their tuition. Some share a guardian; some are on leave or gone."""
    gone = STUDENTS - ACTIVE_STUDENTS
    statuses = ["active"] * ACTIVE_STUDENTS + ["on_leave"] * (gone // 3) + ["withdrawn"] * (gone - gone // 3)
    dice.shuffle(statuses)
    for student, status in enumerate(statuses, 1):
        guardian = student if student <= GUARDIANS else dice.randint(1, GUARDIANS)
        class_id = dice.randint(1, len(CLASSES))
        enrolled_on = until - timedelta(days=dice.randint(100, 300))
        db.execute(
            "INSERT INTO students VALUES (?, ?, ?, ?, ?, ?)",
            (student, _name(dice), guardian, class_id, status, enrolled_on.isoformat()),
        )
        # Siblings pay less.
        discount = 10 if student > GUARDIANS else dice.choice((0, 0, 0, 0, 5, 20))
        db.execute("INSERT INTO tuition VALUES (?, ?, ?)", (student, CLASSES[class_id - 1].monthly_fee, discount))


def _fill_attendance(db: sqlite3.Connection, first: date, last: date, dice: random.Random) -> None:
    students = db.execute(
        "SELECT s.id, c.weekdays FROM students s JOIN classes c ON c.id = s.class_id"
        " WHERE s.status = 'active' ORDER BY s.id"
    ).fetchall()
    rows = []
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        for student, weekdays in students:
            if WEEKDAYS[day.weekday()] in weekdays:
                rows.append((student, day.isoformat(), *_attendance(dice)))
    db.executemany("INSERT INTO attendance VALUES (?, ?, ?, ?)", rows)


def _attendance(dice: random.Random) -> tuple[str, str | None]:
    """How one student's morning went, and the time of arrival if there was one."""
    status = dice.choices(("present", "late", "absent", "excused"), (88, 6, 4, 2))[0]
    if status == "present":
        return status, f"07:{dice.randint(25, 59):02}"
    if status == "late":
        return status, f"08:{dice.randint(1, 50):02}"
    return status, None


def _fill_invoices(db: sqlite3.Connection, month: str, dice: random.Random) -> None:
    """The invoices of a past month: all sent, nearly all paid."""
    rows = db.execute(
        "SELECT t.student_id, t.monthly_fee * (100 - t.discount_percent) / 100 FROM tuition t"
        " JOIN students s ON s.id = t.student_id WHERE s.status = 'active' ORDER BY t.student_id"
    ).fetchall()
    issued_at = f"{month}-01T10:00:00+09:00"
    for student, amount in rows:
        paid_on = f"{month}-{dice.randint(1, 28):02}" if dice.random() < 0.96 else None
        db.execute(
            "INSERT INTO invoices (number, student_id, month, amount, issued_at, emailed_at, paid_on)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (f"{month.replace('-', '')}-{student:04}", student, month, amount, issued_at, issued_at, paid_on),
        )


def _name(dice: random.Random) -> str:
    return dice.choice(SURNAMES) + dice.choice(FIRST_SYLLABLES) + dice.choice(SECOND_SYLLABLES)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Makes the ERP database of a made-up academy.")
    parser.add_argument("path", type=Path, help="where to make it; must not exist")
    parser.add_argument(
        "--until",
        type=date.fromisoformat,
        default=datetime.now(KST).date(),
        help="the last day with attendance, YYYY-MM-DD (default: today in Korea)",
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="another seed, other rows")
    arguments = parser.parse_args()
    try:
        make_database(arguments.path, arguments.until, arguments.seed)
    except (OSError, sqlite3.Error) as error:
        print(f"[ERROR] cannot make {arguments.path}: {error}", file=sys.stderr)
        return 1
    print(f"[SUCCESS] made {arguments.path}: {STUDENTS} students, {ACTIVE_STUDENTS} of them active")
    return 0


if __name__ == "__main__":
    sys.exit(main())
