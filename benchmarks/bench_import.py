"""`import skcnn` against `import sklearn`, each in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

from _machine import print_machine

REPEATS = 15
CODE = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def import_seconds(module: str) -> float:
    result = subprocess.run([sys.executable, "-c", CODE.format(module)], check=True, capture_output=True, text=True)
    return float(result.stdout)


def main() -> None:
    print("### Time of an import\n")
    print_machine()
    print(f"\n| import | median of {REPEATS} |\n| --- | --- |")
    times: dict[str, list[float]] = {"sklearn": [], "skcnn": []}
    for _ in range(REPEATS):  # alternating, so that a slow moment hits both
        for module, seconds in times.items():
            seconds.append(import_seconds(module))
    medians = {module: statistics.median(seconds) for module, seconds in times.items()}
    for module, median in medians.items():
        print(f"| {module} | {median:.3f} s |")
    assert medians["skcnn"] <= 1.3 * medians["sklearn"]
    print(f"| skcnn / sklearn | {medians['skcnn'] / medians['sklearn']:.2f} |")


if __name__ == "__main__":
    main()
