"""The ERP database is what the jobs and the demo take it for."""

import contextlib
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path

from support import ACADEMY, DAY, AcademyTest

from make_erp import make_database


def dump(path: Path) -> list[str]:
    """The whole content."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


class MakeErp(AcademyTest):
    """make_erp.py"""

    def test_the_same_date_and_seed_make_the_same_rows(self) -> None:
        again, other = self.folder / "again.db", self.folder / "other.db"
        make_database(again, until=DAY)
        make_database(other, until=DAY, seed=1)
        self.assertEqual(dump(self.database), dump(again))
        self.assertNotEqual(dump(self.database), dump(other))

    def test_it_has_213_active_students_and_three_months_of_attendance(self) -> None:
        self.assertEqual(self.query("SELECT count(*) FROM students WHERE status = 'active'"), [(213,)])
        days = self.query("SELECT min(day), max(day), count(DISTINCT day) FROM attendance")
        self.assertEqual(days, [("2026-09-01", "2026-11-23", 84)])
        months = self.query("SELECT month, count(*) FROM invoices GROUP BY month ORDER BY month")
        self.assertEqual(months, [("2026-09", 213), ("2026-10", 213)])
        self.assertEqual(self.query("PRAGMA foreign_key_check"), [])

    def test_every_day_has_attendance_whatever_the_weekday(self) -> None:
        for day in range(1, 8):
            path = self.folder / f"{day}.db"
            make_database(path, until=date(2026, 2, day))
            with contextlib.closing(sqlite3.connect(path)) as db:
                last = db.execute("SELECT max(day) FROM attendance").fetchone()[0]
            self.assertEqual(last, f"2026-02-0{day}")

    def test_a_database_that_exists_is_not_replaced(self) -> None:
        before = self.database.read_bytes()
        command = [sys.executable, "-B", str(ACADEMY / "make_erp.py"), str(self.database)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("[ERROR]", done.stderr)
        self.assertEqual(self.database.read_bytes(), before)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["academy.db"])
