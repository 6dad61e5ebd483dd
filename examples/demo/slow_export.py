#!/usr/bin/env python3
"""A job for the demo: ``slow_export.py MARKS``. It works for some seconds and then fails with exit code 7.

It says in the file MARKS that it was started and that it ended, so that both can be counted without jobd's word.
"""

import os
import sys
import time
from pathlib import Path

PARTS = 9
EXIT_CODE = 7


def main() -> int:
    """Exports all parts but the last."""
    with Path(sys.argv[1]).open("a", encoding="utf-8") as marks:
        print(f"started {os.getpid()}", file=marks, flush=True)
        for part in range(1, PARTS + 1):
            print(f"part {part} of {PARTS} exported", flush=True)
            time.sleep(1)
        print("the export's target is full", file=sys.stderr)
        print(f"ended {os.getpid()}", file=marks, flush=True)
    return EXIT_CODE


if __name__ == "__main__":
    sys.exit(main())
