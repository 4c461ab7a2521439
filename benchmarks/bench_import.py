"""`from skcnn import CNNFeatureExtractor` against imports of scikit-learn, each in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

from _machine import print_machine

REPEATS = 15
# The time of an import depends on how deep in calls it stands, so each repetition stands at another depth.
CODE = """
import sys, time
def run(depth):
    if depth:
        return run(depth - 1)
    start = time.perf_counter()
    exec(sys.argv[1])
    print(time.perf_counter() - start)
run(int(sys.argv[2]))
"""
STATEMENTS = {
    "import sklearn": "import sklearn",
    "from sklearn.linear_model import LogisticRegression": "from sklearn.linear_model import LogisticRegression",
    "from skcnn import CNNFeatureExtractor": "from skcnn import CNNFeatureExtractor",
    "both of the last two": (
        "from sklearn.linear_model import LogisticRegression; from skcnn import CNNFeatureExtractor"
    ),
}


def import_seconds(statement: str, depth: int) -> float:
    command = [sys.executable, "-c", CODE, statement, str(depth)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    print("### Time of an import\n")
    print_machine()
    print(f"\n| statement | median of {REPEATS} | range |\n| --- | --- | --- |")
    times: dict[str, list[float]] = {title: [] for title in STATEMENTS}
    for depth in range(REPEATS):  # in turn, so that a slow moment hits all
        for title, statement in STATEMENTS.items():
            times[title].append(import_seconds(statement, depth))
    medians = {title: statistics.median(seconds) for title, seconds in times.items()}
    for title, seconds in times.items():
        shown = f"`{title}`" if "import" in title else title
        print(f"| {shown} | {medians[title]:.3f} s | {min(seconds):.2f} to {max(seconds):.2f} s |")
    sklearn, _, skcnn, _ = medians.values()
    print(f"| CNNFeatureExtractor / sklearn | {skcnn / sklearn:.2f} | |")


if __name__ == "__main__":
    main()
