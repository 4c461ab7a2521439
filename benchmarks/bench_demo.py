"""The demo from start to end, in a new process with an empty cache."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _machine import print_machine

REPEATS = 3
QUICKSTART = Path(__file__).parent.parent / "examples" / "quickstart.py"


def demo_seconds() -> tuple[float, float]:
    """Return the seconds of the whole demo, and of the fit of its fine-tuned classifier."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"SKCNN_CACHE_DIR": str(Path(scratch, "cache"))}
        command = [sys.executable, str(QUICKSTART), "--output", str(Path(scratch, "output"))]
        start = time.perf_counter()
        said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=300).stdout
        return time.perf_counter() - start, float(re.findall(r"done in ([\d.]+) s", said)[-1])


def main() -> None:
    print("### The demo: 599 digits, features, 25 fits, a fine-tuned network, a picture; empty cache\n")
    print_machine()
    whole, tuned = (
        statistics.median(seconds) for seconds in zip(*(demo_seconds() for _ in range(REPEATS)), strict=True)
    )
    print(f"\n| `make demo`, median of {REPEATS} | asked for |\n| --- | --- |")
    print(f"| {whole:.1f} s, of which fine-tuning takes {tuned:.1f} s | 25 s, and 60 s more for fine-tuning |")


if __name__ == "__main__":
    main()
