"""The demo from start to end, in a new process with an empty cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _machine import print_machine

REPEATS = 3
QUICKSTART = Path(__file__).parent.parent / "examples" / "quickstart.py"


def demo_seconds() -> float:
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"SKCNN_CACHE_DIR": str(Path(scratch, "cache"))}
        command = [sys.executable, str(QUICKSTART), "--output", str(Path(scratch, "output"))]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300)
        return time.perf_counter() - start


def main() -> None:
    print("### The demo: 599 digits, features, 25 fits, a picture; empty cache\n")
    print_machine()
    seconds = sorted(demo_seconds() for _ in range(REPEATS))
    print(f"\n| `make demo`, median of {REPEATS} | asked for |\n| --- | --- |")
    print(f"| {seconds[REPEATS // 2]:.1f} s | 25 s |")


if __name__ == "__main__":
    main()
