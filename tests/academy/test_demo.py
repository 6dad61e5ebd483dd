"""The demo's own parts, without jobd: the configuration, the arithmetic of its checks, and the cleaning up."""

import signal
import subprocess
import sys
import tomllib
import unittest
from datetime import datetime
from pathlib import Path

from support import DEMO

import jobs_toml
from demo import KST, Downtime, accounted
from stage import Failure, Run, Stage

NOW = datetime(2026, 11, 23, 8, 59, 55, tzinfo=KST)


class Configuration(unittest.TestCase):
    """jobs_toml.py"""

    def setUp(self) -> None:
        folder = Path('/tmp/a "folder" of 학원')
        self.text = jobs_toml.jobs_toml(NOW, folder, folder / "db", folder / "marks", webhook=1, mail=2)
        self.file = tomllib.loads(self.text)

    def test_it_registers_the_four_jobs_and_one_for_the_demo(self) -> None:
        jobs = self.file["jobs"]
        self.assertEqual(
            sorted(jobs),
            ["attendance_notification", "backup", "invoice_generation", "slow_export", "statistics_aggregation"],
        )
        for job in jobs.values():
            self.assertEqual(len(job["schedule"].split()), 6)
            self.assertTrue(Path(job["command"][1]).exists(), job["command"])

    def test_paths_are_quoted_and_the_minute_may_turn(self) -> None:
        self.assertEqual(self.file["defaults"]["env"]["ACADEMY_DB"], '/tmp/a "folder" of 학원/db')
        self.assertEqual(self.file["jobs"]["invoice_generation"]["schedule"], "3 * * * * *")
        self.assertEqual(self.file["jobs"]["slow_export"]["schedule"], "0 0 0 1 5 *")

    def test_an_entry_is_shown_as_it_is_in_the_file(self) -> None:
        shown = tomllib.loads(jobs_toml.entry(self.text, "invoice_generation"))
        self.assertEqual(shown["jobs"], {"invoice_generation": self.file["jobs"]["invoice_generation"]})


class Checks(unittest.TestCase):
    """demo.py"""

    def test_every_fire_of_a_row_counts_and_a_manual_run_is_none(self) -> None:
        rows: list[Run] = [
            {"scheduled_at": "1970-01-01T00:00:20.000Z", "fires": 1},
            {"scheduled_at": None, "fires": 1},
            {"scheduled_at": "1970-01-01T00:00:05Z", "fires": 3},
        ]
        self.assertEqual(accounted(rows), [5, 10, 15, 20])

    def test_a_downtime_has_the_fires_after_its_beginning_up_to_its_end(self) -> None:
        down = Downtime(killed_at=3.0, back_at=9.0, alerts_before=0)
        seconds = [t for t in range(12) if down.has({"scheduled_at": f"1970-01-01T00:00:{t:02}Z"})]
        self.assertEqual(seconds, [4, 5, 6, 7, 8, 9])

    def test_without_binaries_it_says_what_makes_them(self) -> None:
        command = [sys.executable, "-B", str(DEMO / "demo.py"), "--bin", "/nowhere"]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("jobd, jobctl, jobd-shim", done.stderr)


class Cleaning(unittest.TestCase):
    """stage.py"""

    def test_no_process_is_left_not_even_one_that_left_the_session(self) -> None:
        stage = Stage(Path("/nowhere"))
        stage.start("shell", "/bin/sh", "-c", "trap '' TERM; setsid sleep 600 & echo ready; wait; exec sleep 600")
        stage.wait("the shell", 20, lambda: "ready" in stage.log_tail("shell") and len(stage.processes()) == 2)
        bystander = subprocess.Popen(["/bin/sleep", "600"])
        self.addCleanup(bystander.wait)
        self.addCleanup(bystander.kill)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        stage.close(keep_folder=False)
        self.assertEqual(stage.processes(), [])
        self.assertFalse(stage.folder.exists())
        self.assertIsNone(bystander.poll(), "a process that is not the demo's was ended")

    def test_a_wait_in_vain_says_for_what(self) -> None:
        stage = Stage(Path("/nowhere"))
        self.addCleanup(stage.folder.rmdir)
        with self.assertRaisesRegex(Failure, "in vain for the bus"):
            stage.wait("the bus", 0, lambda: None)


if __name__ == "__main__":
    unittest.main()
