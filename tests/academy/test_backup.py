"""A backup that bears its name can be restored."""

import contextlib
import hashlib
import sqlite3
import subprocess
from pathlib import Path

from support import MORNING, AcademyTest

JOB = "backup"
NAME = "academy-20261123T000000Z.db"


class Backup(AcademyTest):
    """backup.py"""

    def setUp(self) -> None:
        super().setUp()
        self.target = self.folder / "elsewhere"

    def back_up(self, instant: str) -> str:
        """Makes a backup; the success line."""
        return self.succeed(JOB, instant, ACADEMY_BACKUP_DIR=str(self.target))

    def names(self) -> list[str]:
        """The files beside one another."""
        return sorted(path.name for path in self.target.iterdir())

    def test_it_holds_every_row_and_its_sum_is_right(self) -> None:
        self.assertIn(f"백업 완료: {NAME}", self.back_up(MORNING))
        self.assertEqual(self.names(), [NAME, f"{NAME}.sha256"])
        self.assertEqual(dump(self.target / NAME), dump(self.database))
        subprocess.run(["sha256sum", "--check", "--quiet", f"{NAME}.sha256"], cwd=self.target, check=True)

    def test_it_copies_what_is_still_in_the_log_and_leaves_out_what_is_not_committed(self) -> None:
        with contextlib.closing(sqlite3.connect(self.database, isolation_level=None)) as writer:
            writer.execute("INSERT INTO classes VALUES (99, '새 반', '이름', '월', 1)")
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("DELETE FROM attendance")
            self.back_up(MORNING)
            writer.execute("ROLLBACK")
        self.assertEqual(dump(self.target / NAME), dump(self.database))

    def test_a_second_run_keeps_the_backup_that_is_there(self) -> None:
        self.back_up(MORNING)
        before = (self.target / NAME).stat()
        self.assertIn("이미 있음", self.back_up(MORNING))
        after = (self.target / NAME).stat()
        self.assertEqual((before.st_ino, before.st_mtime_ns), (after.st_ino, after.st_mtime_ns))

    def test_a_spoilt_backup_is_made_again(self) -> None:
        self.back_up(MORNING)
        spoilt = bytearray((self.target / NAME).read_bytes())
        spoilt[5000] ^= 1
        (self.target / NAME).write_bytes(spoilt)
        self.assertIn("백업 완료", self.back_up(MORNING))
        self.assertEqual(dump(self.target / NAME), dump(self.database))

    def test_seven_stay_and_the_leftovers_of_a_killed_run_go(self) -> None:
        self.target.mkdir()
        (self.target / ".academy-20260101T000000Z.db.partial").touch()
        (self.target / "notes.txt").touch()
        for day in range(10, 20):
            self.back_up(f"2026-11-{day}T23:00:00+09:00")
        backups = [f"academy-202611{day}T140000Z.db" for day in range(13, 20)]
        self.assertEqual(self.names(), sorted([*backups, *(f"{name}.sha256" for name in backups), "notes.txt"]))

    def test_one_for_an_old_instant_is_not_dropped_at_once(self) -> None:
        for day in range(10, 17):
            self.back_up(f"2026-11-{day}T23:00:00+09:00")
        self.back_up("2026-11-01T23:00:00+09:00")
        self.assertIn("academy-20261101T140000Z.db", self.names())

    def test_a_database_that_is_damaged_is_not_backed_up(self) -> None:
        content = bytearray(self.database.read_bytes())
        # Every page but the first, so that the file is still a database and its content is not.
        content[4096 * 20 : 4096 * 60] = hashlib.sha256(b"noise").digest() * (4096 * 40 // 32)
        self.database.write_bytes(content)
        self.fail_with(JOB, MORNING, ACADEMY_BACKUP_DIR=str(self.target))
        self.assertEqual([name for name in self.names() if not name.startswith(".")], [])

    def test_a_folder_that_cannot_be_made_is_an_error(self) -> None:
        (self.folder / "file").touch()
        self.fail_with(JOB, MORNING, ACADEMY_BACKUP_DIR=str(self.folder / "file" / "backups"))


def dump(path: Path) -> list[str]:
    """The whole content."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())
