"""What every benchmark says of the machine and the data it ran on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("skcnn", "scikit-learn", "keras", "tensorflow", "openvino", "opencv-python-headless", "pillow",
            "simplejpeg", "numpy", "h5py")  # fmt: skip


def print_machine() -> None:
    """Print date, processor, cores, memory and versions, as lines of Markdown."""
    print(f"- {date.today()}; {processor()}, {len(os.sched_getaffinity(0))} cores, {memory_gib():.0f} GiB; "
          f"{platform.system()}, Python {platform.python_version()}")  # fmt: skip
    print("- " + ", ".join(f"{name} {installed(name)}" for name in PACKAGES if installed(name)))


def processor() -> str:
    """Return the name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def memory_gib() -> float:
    """Return the machine's memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def installed(name: str) -> str | None:
    """Return the version of a package, None when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def data_folder(name: str) -> Path:
    """Return a folder of the shared photographs, or end with the reason why there is none."""
    root = Path(os.environ.get("SKCNN_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / name).is_dir():
        raise SystemExit(f"this benchmark needs {name}; name the folder that holds it by SKCNN_DATA")
    return root / name


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median wall time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
