"""What holds for every job: the instant, the database, the lock, and the way a failure is told."""

import fcntl
import os
import unittest
from datetime import datetime
from unittest import mock

from support import MORNING, AcademyTest

import erp

JOBS = ("attendance_notification", "invoice_generation", "statistics_aggregation", "backup")


class EveryJob(AcademyTest):
    """Each of the four jobs."""

    def test_a_second_run_for_the_same_instant_leaves_the_same_rows(self) -> None:
        for job in JOBS:
            with self.subTest(job):
                self.succeed(job, MORNING)
                before = self.whole()
                self.succeed(job, MORNING)
                self.assertEqual(self.whole(), before)

    def test_a_missing_database_is_an_error_and_not_made(self) -> None:
        self.database.unlink()
        for job in JOBS:
            with self.subTest(job):
                self.assertIn(str(self.database), self.fail_with(job, MORNING))
                self.assertFalse(self.database.exists())

    def test_a_file_that_is_no_database_is_an_error(self) -> None:
        self.database.write_text("청구서" * 1000)
        for job in JOBS:
            with self.subTest(job):
                self.fail_with(job, MORNING)

    def test_an_instant_without_an_offset_is_an_error(self) -> None:
        for instant in ("2026-11-23T09:00:00", "yesterday", ""):
            with self.subTest(instant):
                self.assertIn("JOBD_SCHEDULED_AT", self.fail_with("backup", instant))

    def test_without_an_instant_it_is_now_and_stderr_says_so(self) -> None:
        done = self.run_job("statistics_aggregation", None)
        self.assertEqual(done.returncode, 0)
        self.assertIn("JOBD_SCHEDULED_AT is not set", done.stderr)

    def test_a_job_that_is_running_already_is_an_error(self) -> None:
        for job in JOBS:
            lock = self.database.with_name(f"academy.db.{job}.lock")
            with self.subTest(job), lock.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self.fail_with(job, MORNING)
            self.succeed(job, MORNING)

    def test_output_is_utf8_in_any_locale(self) -> None:
        self.succeed("backup", MORNING, PYTHONIOENCODING="ascii")

    def whole(self) -> list[tuple[object, ...]]:
        """Every row the jobs write."""
        tables = ("invoices", "statistics")
        rows = [row for table in tables for row in self.query(f"SELECT * FROM {table} ORDER BY 1, 2")]
        return rows + self.query("SELECT student_id, day, kind, text, sent_at FROM notifications ORDER BY 1, 2")


class FirstUse(AcademyTest):
    """The example's own database."""

    def test_it_is_made_when_missing_and_then_kept(self) -> None:
        own = self.folder / "var" / "academy.db"
        instant = datetime.fromisoformat(MORNING)
        with mock.patch.object(erp, "DEFAULT_DATABASE", own), mock.patch.dict(os.environ):
            os.environ.pop("ACADEMY_DB", None)
            self.assertEqual(erp.database_path(instant), own)
            made = own.stat().st_ino
            self.assertEqual(erp.database_path(instant), own)
        self.assertEqual(own.stat().st_ino, made)


class Months(unittest.TestCase):
    """The instant's own offset decides."""

    def test_the_month_is_that_of_the_instants_own_offset(self) -> None:
        for text, month in (
            ("2026-12-01T00:30:00+09:00", "2026-12"),
            ("2026-11-30T15:30:00Z", "2026-11"),
            ("2026-11-30T15:30:00.123456789+00:00", "2026-11"),
        ):
            with self.subTest(text), mock.patch.dict(os.environ, JOBD_SCHEDULED_AT=text):
                self.assertEqual(erp.month_of(erp.scheduled_instant()), month)

    def test_the_month_before_january_is_december(self) -> None:
        self.assertEqual(erp.month_before("2027-01"), "2026-12")


if __name__ == "__main__":
    unittest.main()
