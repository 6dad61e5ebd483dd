"""What the demo's little servers share: a port that the starter can wait for, and an end on SIGTERM."""

import signal
import socketserver
import sys
from pathlib import Path
from types import FrameType

LOOPBACK = "127.0.0.1"


class LocalServer(socketserver.ThreadingTCPServer):
    """A server on the loopback address, a thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    # The threads of open connections do not hold up the end: a mail server that never answers never closes either.
    block_on_close = False
    request_queue_size = 128


def serve(server: LocalServer, port_file: Path) -> None:
    """Serves until SIGTERM. The port is written once the server listens, whole or not at all."""
    signal.signal(signal.SIGTERM, _leave)
    partial = port_file.with_name(f".{port_file.name}.partial")
    partial.write_text(f"{server.server_address[1]}\n")
    partial.rename(port_file)
    with server:
        server.serve_forever()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
