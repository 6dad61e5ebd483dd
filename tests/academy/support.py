"""What the tests share: an academy in a temporary folder, the jobs as processes, and the demo's servers."""

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ACADEMY = EXAMPLES / "academy"
DEMO = EXAMPLES / "demo"
sys.path[:0] = [str(ACADEMY), str(DEMO)]
sys.dont_write_bytecode = True

from make_erp import make_database  # noqa: E402

DEADLINE_SECONDS = 60.0
# A Monday, and the last day with attendance.
DAY = date(2026, 11, 23)
MORNING = "2026-11-23T09:00:00+09:00"
Row = tuple[Any, ...]


@functools.cache
def academy() -> Path:
    """A database that the tests copy, since making one takes longer."""
    folder = Path(tempfile.mkdtemp(prefix="academy-test-"))
    atexit.register(shutil.rmtree, folder)
    make_database(folder / "academy.db", until=DAY)
    return folder / "academy.db"


class AcademyTest(unittest.TestCase):
    """A test with an academy of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="academy-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.database = self.folder / "academy.db"
        shutil.copyfile(academy(), self.database)

    def environment(self, instant: str | None, **variables: str) -> dict[str, str]:
        """What a job sees, and nothing that the tests happened to be started with."""
        environment = {"PATH": os.environ["PATH"], "ACADEMY_DB": str(self.database), "PYTHONDONTWRITEBYTECODE": "1"}
        if instant is not None:
            environment["JOBD_SCHEDULED_AT"] = instant
        return environment | variables

    def run_job(self, job: str, instant: str | None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a job as jobd does."""
        return subprocess.run(
            [sys.executable, ACADEMY / f"{job}.py"],
            env=self.environment(instant, **variables),
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def succeed(self, job: str, instant: str, **variables: str) -> str:
        """Runs a job that must succeed; its last line."""
        done = self.run_job(job, instant, **variables)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertTrue(lines[0].startswith("[START] "), lines)
        self.assertTrue(lines[-1].startswith("[SUCCESS] "), lines)
        return lines[-1]

    def fail_with(self, job: str, instant: str, **variables: str) -> str:
        """Runs a job that must fail; its last line on stderr."""
        done = self.run_job(job, instant, **variables)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertNotIn("[SUCCESS]", done.stdout)
        self.assertNotIn("Traceback", done.stderr)
        last = done.stderr.splitlines()[-1]
        self.assertTrue(last.startswith("[ERROR] "), done.stderr)
        return last

    def query(self, sql: str, *values: object) -> list[Row]:
        """What a query on the academy's database answers."""
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            return db.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> None:
        """Changes the academy's database."""
        with contextlib.closing(sqlite3.connect(self.database)) as db, db:
            db.execute(sql, values)

    def start(self, script: Path, *arguments: str | Path, **variables: str) -> "subprocess.Popen[str]":
        """Starts a process that does not outlive the test."""
        process = subprocess.Popen(
            [sys.executable, script, *arguments],
            env=self.environment(MORNING, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.addCleanup(end, process)
        return process

    def server(self, script: str, *arguments: str | Path) -> "tuple[subprocess.Popen[str], int]":
        """Starts one of the demo's servers; the process and its port."""
        port_file = self.folder / f"{script}.port"
        port_file.unlink(missing_ok=True)
        process = self.start(DEMO / script, port_file, *arguments)
        self.wait(f"{script} to listen", port_file.exists)
        return process, int(port_file.read_text())

    def webhook(self) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
        """Starts the webhook: its address, and what it has received so far."""
        log = self.folder / "requests.jsonl"
        _, port = self.server("webhook.py", log)

        def received() -> list[dict[str, Any]]:
            return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]

        return f"http://127.0.0.1:{port}/guardians", received

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        """Waits until the condition holds."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"waited in vain for {what}")
            time.sleep(0.02)


def end(process: "subprocess.Popen[str]", number: int = signal.SIGKILL) -> str:
    """Ends a process; what it has printed."""
    if process.poll() is None:
        process.send_signal(number)
    if process.stdout is None or process.stdout.closed:
        return ""
    return process.communicate(timeout=DEADLINE_SECONDS)[0]
