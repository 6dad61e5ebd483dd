#!/usr/bin/env python3
"""A webhook's receiver: ``webhook.py PORT_FILE LOG``. Every request is one line of JSON in LOG, answered ``ok``.

A line holds ``received_at``, ``method``, ``path``, ``headers`` and ``body``, and is in the file before the answer is
sent: what the sender believes delivered can be read.
"""

import argparse
import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from local_server import LOOPBACK, LocalServer, serve


class Receiver(LocalServer):
    """The server with the file it writes to."""

    def __init__(self, log: Path) -> None:
        super().__init__((LOOPBACK, 0), Handler)
        self.log = log
        self.lock = threading.Lock()

    def note(self, entry: dict[str, object]) -> None:
        """Appends one request."""
        line = json.dumps(entry, ensure_ascii=False)
        with self.lock, self.log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class Handler(BaseHTTPRequestHandler):
    """Notes each request and answers ``ok``."""

    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        """Serves one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.note(
            {
                "received_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "method": self.command,
                "path": self.path,
                "headers": dict(self.headers),
                "body": body.decode("utf-8", "replace"),
            }
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """The file is the log; stderr stays quiet."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A webhook's receiver that writes down every request.")
    parser.add_argument("port_file", type=Path, help="where the port is written once the receiver listens")
    parser.add_argument("log", type=Path, help="the file that requests are appended to, one line of JSON each")
    arguments = parser.parse_args()
    arguments.log.touch()
    serve(Receiver(arguments.log), arguments.port_file)


if __name__ == "__main__":
    main()
