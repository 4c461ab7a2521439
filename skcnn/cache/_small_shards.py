"""Put small shards together: a process that asks for one image at a time would leave a file for each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from skcnn.cache._shard_snapshot import ShardSnapshot
from skcnn.cache._shards import Shard, write_shard

# So many shards that are smaller than this are put together.
MANY_SMALL = 16
SMALL_BYTES = 4 << 20
MERGED_BYTES = 64 << 20


def find_small(shards: Iterable[Shard], *, least: int | None = None) -> list[Shard]:
    """Return small shards, the smallest first, that together make one of the usual size at most; none of too few.

    Parameters
    ----------
    shards : iterable of Shard
    least : int, default=None
        How many are worth the work; None for `MANY_SMALL`.
    """
    small = sorted((shard for shard in shards if shard.nbytes < SMALL_BYTES), key=lambda shard: shard.nbytes)
    sizes = np.cumsum([shard.nbytes for shard in small])
    small = small[: int(np.searchsorted(sizes, MERGED_BYTES, side="right"))]
    return small if len(small) >= (MANY_SMALL if least is None else least) else []


def put_together(directory: Path, snapshot: ShardSnapshot) -> Path:
    """Write features of several shards as one, each digest once; return its path.

    Raises
    ------
    OSError
        Of a full disk; nothing is left behind then.
    """
    _, first = np.unique(snapshot.index.digests, axis=0, return_index=True)
    first.sort()
    return write_shard(directory, snapshot.index.digests[first], snapshot.gather(first))
