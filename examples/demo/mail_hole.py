#!/usr/bin/env python3
"""A mail server that accepts connections and never says a word: ``mail_hole.py PORT_FILE [--port N] [--answer]``.

A client that waits for the greeting without a time limit waits for ever, as the academy's invoice job did. With
``--answer`` it is a healthy server: it speaks just enough SMTP to take mails, and throws them away. One line on
stdout for each connection and each mail.
"""

import argparse
import socketserver
from pathlib import Path

from local_server import LOOPBACK, LocalServer, serve


class Hole(socketserver.StreamRequestHandler):
    """Reads until the client gives up, and answers nothing."""

    def handle(self) -> None:
        """Serves one connection."""
        print("connection accepted", flush=True)
        while self.rfile.read(1):
            pass
        print("connection closed by the client", flush=True)


class Server(socketserver.StreamRequestHandler):
    """Takes every mail."""

    def handle(self) -> None:
        """Serves one connection."""
        print("connection accepted", flush=True)
        self.answer("220 mail.academy.example ready")
        while line := self.rfile.readline():
            verb = line.decode("ascii", "replace").strip().upper()
            if verb == "DATA":
                self.answer("354 go ahead")
                self.take_mail()
            elif verb == "QUIT":
                self.answer("221 bye")
                return
            else:
                self.answer("250 ok")

    def take_mail(self) -> None:
        """Reads a mail up to the line with a single dot."""
        identity = "?"
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            if line.lower().startswith(b"message-id:"):
                identity = line.decode("ascii", "replace").split(":", 1)[1].strip()
        if line:
            print(f"mail accepted {identity}", flush=True)
            self.answer("250 accepted")

    def answer(self, text: str) -> None:
        """Sends one line."""
        self.wfile.write(f"{text}\r\n".encode())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="A mail server that accepts connections and never answers.")
    parser.add_argument("port_file", type=Path, help="where the port is written once the server listens")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (default: any free one)")
    parser.add_argument("--answer", action="store_true", help="be a healthy mail server instead")
    arguments = parser.parse_args()
    handler = Server if arguments.answer else Hole
    serve(LocalServer((LOOPBACK, arguments.port), handler), arguments.port_file)


if __name__ == "__main__":
    main()
