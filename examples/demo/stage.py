"""What the demo plays on: a temporary folder, the processes in it, and ways to wait and to look.

Whatever happens, ``Stage.close`` leaves no process behind. Nothing here sleeps for a fixed time: every wait is for
a condition, has a deadline, and says what did not come about.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent
ACADEMY = HERE.parent / "academy"
BINARIES = ("jobd", "jobctl", "jobd-shim")
# Every process of the demo bears this variable, the jobs included, so that none is overlooked at the end.
MARK = "ACADEMY_DEMO"
POLL_SECONDS = 0.1
STOP_SECONDS = 5.0
# Longer than any command that only asks something can take.
COMMAND_SECONDS = 20.0
LOG_LINES_SHOWN = 25

Run = dict[str, Any]
T = TypeVar("T")


class Failure(Exception):
    """Something was not as told."""


class Stage:
    """The folder, the processes, and the words on the screen."""

    def __init__(self, binaries: Path) -> None:
        self.began = time.monotonic()
        self.binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="jobd-demo-"))
        self.config = self.folder / "jobs.toml"
        self.state = self.folder / "state"
        self.socket = self.folder / "jobd.sock"
        self.requests = self.folder / "requests.jsonl"
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {**os.environ, MARK: str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}

    # Words

    def heading(self, text: str) -> None:
        """Begins a step."""
        print(f"\n── {text}  [{self.elapsed():.0f} s]", flush=True)

    def say(self, text: str) -> None:
        """Explains."""
        print(f"   {text}", flush=True)

    def show(self, text: str) -> None:
        """Shows what a program printed."""
        for line in text.rstrip("\n").splitlines():
            print(f"   │ {line}", flush=True)

    def check(self, good: bool, fact: str) -> None:
        """Says a fact that has been checked, or ends the demo."""
        if not good:
            raise Failure(f"not so: {fact}")
        self.fact(fact)

    def fact(self, text: str) -> None:
        """Says a fact that has been waited for."""
        print(f"   ✓ {text}  [{self.elapsed():.1f} s]", flush=True)

    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.began

    # Processes

    def start(self, name: str, *command: str | Path) -> subprocess.Popen[bytes]:
        """Starts a process of the demo; what it prints is added to NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment,
                # Ctrl-C is for the demo alone, which then ends the others in order.
                start_new_session=True,
            )
        self.children[name] = child
        return child

    def start_server(self, name: str, script: str, *arguments: str | Path) -> int:
        """Starts one of the demo's servers and returns its port."""
        port_file = self.folder / f"{name}.port"
        port_file.unlink(missing_ok=True)
        child = self.start(name, sys.executable, HERE / script, port_file, *arguments)

        def port() -> int | None:
            if child.poll() is not None:
                raise Failure(f"{script} ended at once:\n{self.log_tail(name)}")
            return int(port_file.read_text()) if port_file.exists() else None

        return self.wait(f"{script} to listen", 10, port)

    def start_jobd(self) -> int:
        """Starts jobd in the foreground, waits until it is ready, and returns its process id."""
        child = self.start(
            "jobd",
            self.binaries / "jobd",
            *("--config", self.config, "--state-dir", self.state, "--socket", self.socket),
        )
        self.wait("jobd to be ready", 20, lambda: self.jobctl("status").returncode == 0)
        return child.pid

    def kill_jobd(self) -> None:
        """kill -9, as the kernel does when memory runs out."""
        child = self.children.pop("jobd")
        child.kill()
        child.wait()

    def stop(self, name: str) -> None:
        """Ends a process of the demo: SIGTERM, and SIGKILL when that is not enough."""
        child = self.children.pop(name)
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def processes(self, variable: str = "") -> list[int]:
        """The demo's processes, the jobs' included; only those with ``NAME=value`` in their environment if given."""
        wanted = {f"{MARK}={self.folder}", variable} - {""}
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    environment = set((entry / "environ").read_bytes().decode("utf-8", "replace").split("\0"))
                except OSError:
                    continue  # It has ended, or is not ours.
                if wanted <= environment:
                    found.append(int(entry.name))
        return found

    def close(self, keep_folder: bool) -> None:
        """Ends every process, and removes the folder unless it is of use."""
        # A second Ctrl-C must not leave half of it running.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # jobd goes first, so that it starts nothing while the rest is ended.
        for name in sorted(self.children, key=lambda name: name != "jobd"):
            self.stop(name)
        deadline = time.monotonic() + STOP_SECONDS
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        if left:
            print(f"could not end these processes: {left}", file=sys.stderr)
        if keep_folder:
            print(f"Logs and state are left in {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    # Waiting and looking

    def wait(self, what: str, seconds: float, condition: Callable[[], T | None]) -> T:
        """Waits until the condition answers with something true, and returns that."""
        deadline = time.monotonic() + seconds
        while True:
            if answer := condition():
                return answer
            jobd = self.children.get("jobd")
            if jobd is not None and jobd.poll() is not None:
                raise Failure(f"jobd ended by itself with code {jobd.returncode} while waiting for {what}")
            if time.monotonic() > deadline:
                raise Failure(f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(POLL_SECONDS)

    def jobctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs jobctl against the demo's jobd."""
        environment = {**self.environment, "JOBD_CONFIG": str(self.config), "JOBD_STATE_DIR": str(self.state)}
        try:
            return subprocess.run(
                [self.binaries / "jobctl", "--socket", self.socket, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                cwd=self.folder,
                env=environment,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            raise Failure(f"jobctl {' '.join(arguments)} took more than {COMMAND_SECONDS:.0f} s") from expired

    def show_jobctl(self, *arguments: str) -> None:
        """Shows a jobctl command and what it prints."""
        self.show(f"$ jobctl {' '.join(arguments)}")
        answer = self.jobctl(*arguments)
        self.show(answer.stdout + answer.stderr)
        if answer.returncode != 0:
            raise Failure(f"jobctl {' '.join(arguments)} exited with {answer.returncode}")

    def history(self, job: str) -> list[Run]:
        """The job's rows as ``jobctl history --json`` prints them, oldest first."""
        answer = self.jobctl("history", "--json", "--job", job, "-n", "500")
        if answer.returncode != 0:
            raise Failure(f"jobctl history --json exited with {answer.returncode}: {answer.stderr.strip()}")
        runs: list[Run] = json.loads(answer.stdout)["runs"]
        return sorted(runs, key=lambda run: run["run_id"])

    def wait_for_run(self, job: str, seconds: float, what: str, **facts: object) -> Run:
        """Waits for a row of the job with these values, and returns the first."""

        def match() -> Run | None:
            rows = self.history(job)
            return next((r for r in rows if all(r.get(k) == v for k, v in facts.items())), None)

        return self.wait(f"a run of {job} {what}", seconds, match)

    def posts(self, path: str) -> list[dict[str, Any]]:
        """What was posted to a path of the local webhook, in order."""
        lines = self.requests.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        return [json.loads(entry["body"]) for entry in entries if entry["path"] == path]

    def alerts(self, *words: str) -> list[str]:
        """The alerts delivered so far in which all of these words occur."""
        texts = [post["text"] for post in self.posts("/slack")]
        return [text for text in texts if all(word in text for word in words)]

    def log_tail(self, name: str) -> str:
        """The end of a process's log."""
        path = self.folder / f"{name}.log"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        return "\n".join(lines[-LOG_LINES_SHOWN:])
