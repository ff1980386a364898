"""The data set ``large``: any number of synthetic vectors of 50 components with the cluster structure of embeddings.

- The vectors form clusters in three levels: regions, topics in regions, and groups in topics. The spread
  shrinks from level to level, so a centre is near the other centres of its parent.
- At each level the sizes follow Zipf's law. The largest group has 3 % of the vectors, 70 times those of the
  median group.
- Around its centre, a group spreads in a random subspace of ``INTRINSIC`` directions, which belongs to its
  topic. The variance decays from one direction to the next, and the scale of groups differs.
- All components have a little noise.

``python -m benchmarks.large`` prints a maximum-likelihood estimate of the local dimension (Levina and
Bickel, "Maximum Likelihood Estimation of Intrinsic Dimension", NIPS 2004). It is 16, and that of ``glove-50``
is 18.

Vectors are generated in blocks. Each block has its own random generator, seeded by its number, so the first
vectors do not depend on the total number. Queries are drawn from the same distribution and are not among the
vectors. Generating ten million vectors takes 20 seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.support import arguments
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SEED = 0
COUNT = 400_000
DIMENSION = 50
INTRINSIC = 16
BLOCK_ROWS = 65_536

_REGIONS, _TOPICS, _GROUPS = 16, 8, 8  # children of each parent: 1024 groups
_SKEW = 0.9  # Zipf's exponent at each level
_SPREAD = (0.5, 0.3, 0.2)  # standard deviation of centres around their parent, for each level
_WITHIN = 1.0  # scale of a group around its centre
_DECAY = 0.1  # standard deviations of a group's directions are i ** -_DECAY
_NOISE = 0.1
_VECTORS, _QUERIES, _MODEL = range(3)  # streams of random numbers


class _Model(NamedTuple):
    """The distribution of the vectors.

    Attributes:
        centres: (groups, 50) float32.
        scales: (groups,) float32.
        bases: (topics, INTRINSIC, 50) float32; each topic's groups are consecutive.
        shares: (groups,) float64, cumulative probabilities.
    """

    centres: Floats
    scales: Floats
    bases: Floats
    shares: NDArray[np.float64]


def vectors(count: int = COUNT) -> Floats:
    """Return the first ``count`` vectors, (count, 50) float32."""
    return np.concatenate(list(blocks(count)))


def queries(count: int) -> Floats:
    """Return queries (count, 50) float32."""
    return _draw(count, np.random.default_rng([SEED, _QUERIES]))


def write(path: Path, count: int) -> None:
    """Write the first ``count`` vectors as a .npy file, holding one block in memory."""
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, DIMENSION))
    start = 0
    for block in blocks(count):
        file[start : start + len(block)] = block
        start += len(block)
    file.flush()


def blocks(count: int) -> Iterator[Floats]:
    """Yield the first ``count`` vectors in blocks of at most ``BLOCK_ROWS``."""
    for number, start in enumerate(range(0, count, BLOCK_ROWS)):
        block = _draw(BLOCK_ROWS, np.random.default_rng([SEED, _VECTORS, number]))
        yield block[: count - start]


def _draw(count: int, random: np.random.Generator) -> Floats:
    model = _model()
    groups = np.minimum(np.searchsorted(model.shares, random.random(count)), len(model.centres) - 1)
    # Vectors are generated in group order, so that each topic is one matrix product, and shuffled at the end.
    groups.sort()
    latent = random.standard_normal((count, INTRINSIC), dtype=np.float32)
    latent *= model.scales[groups, None]
    drawn = random.standard_normal((count, DIMENSION), dtype=np.float32)
    drawn *= np.float32(_NOISE)
    drawn += model.centres[groups]
    bounds = np.searchsorted(groups, np.arange(len(model.bases) + 1) * _GROUPS).tolist()
    for basis, begin, end in zip(model.bases, bounds, bounds[1:], strict=False):
        drawn[begin:end] += latent[begin:end] @ basis
    placed = np.empty_like(drawn)
    placed[random.permutation(count)] = drawn
    return placed


@cache
def _model() -> _Model:
    random = np.random.default_rng([SEED, _MODEL])
    centres = np.zeros((1, DIMENSION), dtype=np.float32)
    shares = np.ones(1)
    for children, spread in zip((_REGIONS, _TOPICS, _GROUPS), _SPREAD, strict=True):
        around = random.standard_normal((len(centres), children, DIMENSION), dtype=np.float32)
        centres = (centres[:, None] + np.float32(spread) * around).reshape(-1, DIMENSION)
        shares = (shares[:, None] * _zipf(children, len(shares), random)).reshape(-1)
    directions = random.standard_normal((_REGIONS * _TOPICS, DIMENSION, INTRINSIC))
    bases = np.linalg.qr(directions).Q.transpose(0, 2, 1)
    # A direction's variance is of the order of one, as that of a component of the centres is.
    lengths = np.arange(1, INTRINSIC + 1) ** -_DECAY * np.sqrt(DIMENSION / INTRINSIC)
    scales = _WITHIN * np.exp(0.3 * random.standard_normal(len(centres)))
    return _Model(
        centres=centres,
        scales=scales.astype(np.float32),
        bases=np.ascontiguousarray(bases * lengths[:, None], dtype=np.float32),
        shares=np.cumsum(shares),
    )


def _zipf(children: int, parents: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return (parents, children) probabilities by Zipf's law, in a random order for each parent."""
    weights = np.arange(1, children + 1) ** -_SKEW
    return random.permuted(np.tile(weights / weights.sum(), (parents, 1)), axis=1)


def local_dimension(searched: Floats, asked: Floats, k: int = 20) -> float:
    """Return a maximum-likelihood estimate of the local dimension around the queries."""
    import faiss

    squared, _ = faiss.knn(asked, searched, k)
    ratios = 0.5 * np.log(squared[:, -1:] / squared[:, :-1])
    return float(1 / ratios.mean())


def main() -> None:
    options = arguments(__doc__, vectors=1_000_000)
    started = time.perf_counter()
    rows = sum(len(block) for block in blocks(options.vectors))
    seconds = time.perf_counter() - started
    sample = vectors(min(rows, COUNT))
    dimension = local_dimension(sample, queries(500))
    print(f"large: {rows:,} vectors in {seconds:.1f} s; local dimension {dimension:.1f}")


if __name__ == "__main__":
    main()
