"""Comparison of quantized codes: the size of each, and the number of candidates that it needs, on real embeddings.

Scalar codes of a rotated residual (RaBitQ with the best levels for a normal distribution, 1, 2 and 4 bits per
component) are compared with product quantization (faiss, 4 bits per code). Each query is compared with all vectors by
estimates. The fewer candidates are needed to include the exact neighbours, the better the code. For scalar codes, the
error of an estimate is known and determines the candidates: those whose lower bound does not exceed the k-th exact
distance. The table lists their number for bounds wide enough for a recall of 0.999.
"""

from __future__ import annotations

from typing import NamedTuple

import faiss
import numpy as np
from benchmarks.data import NAMES, load
from benchmarks.support import arguments, at_most, report
from numpy.typing import NDArray

Floats = NDArray[np.float32]

K = 10
SEED = 0
CELLS_PER_ROOT = 3
# The levels that represent a normal distribution of variance 1 with the least square error (Max, 1960).
LEVELS = {
    1: np.array([0.7979]),
    2: np.array([0.4528, 1.5104]),
    4: np.array([0.1284, 0.3881, 0.6568, 0.9424, 1.2562, 1.6181, 2.0690, 2.7326]),
}


class Coded(NamedTuple):
    """Rows as codes: (n, d) float32 levels, and the values per row that estimates need."""

    levels: Floats
    norms: Floats
    """(n,): norms of the residuals."""
    scales: Floats
    """(n,): factors that convert an inner product with the levels to one with the residual."""
    errors: Floats
    """(n,): standard error of that inner product, for a query at distance 1 from the centroid."""


def quantize(residuals: Floats, bits: int) -> Coded:
    """Return codes of rotated residuals (n, d)."""
    d = residuals.shape[1]
    norms = np.linalg.norm(residuals, axis=1)
    units = residuals / np.maximum(norms, 1e-30)[:, None]
    positive = LEVELS[bits]
    steps = np.searchsorted((positive[1:] + positive[:-1]) / 2, np.abs(units) * np.sqrt(d))
    levels = (np.copysign(positive[steps], units)).astype(np.float32)
    along = np.maximum(
        np.einsum("nd,nd->n", units, levels), 1e-6
    )  # zero for a vector that equals its centroid
    cosine = along / np.linalg.norm(levels, axis=1)
    errors = norms * np.sqrt(np.maximum(0.0, 1 / cosine**2 - 1) / (d - 1))
    return Coded(levels, norms, norms / along, errors)


def scalar(vectors: Floats, queries: Floats, bits: int) -> tuple[Floats, Floats]:
    """Return estimates (b, n) of squared distances, and their standard errors."""
    n, d = vectors.shape
    means = faiss.Kmeans(d, int(CELLS_PER_ROOT * n**0.5), niter=6, seed=SEED, max_points_per_centroid=64)
    means.train(vectors)
    _, cell = means.index.search(vectors, 1)
    cell = cell[:, 0]
    rotation = np.linalg.qr(np.random.default_rng(SEED).standard_normal((d, d)))[0].astype(np.float32)
    coded = quantize((vectors - means.centroids[cell]) @ rotation, bits)
    turned, centres = queries @ rotation, means.centroids @ rotation
    to_centre = _squares(turned, centres)
    products = (turned @ coded.levels.T - np.einsum("nd,nd->n", centres[cell], coded.levels)) * coded.scales
    gaps = to_centre[:, cell]
    return coded.norms**2 + gaps - 2 * products, 2 * coded.errors * np.sqrt(np.maximum(gaps, 0))


def product(vectors: Floats, queries: Floats, components: int) -> Floats:
    """Return squared distances (b, n) estimated from codes of 4 bits per group of components."""
    d = vectors.shape[1]
    quantizer = faiss.ProductQuantizer(d, d // components, 4)
    quantizer.train(vectors[:: max(1, len(vectors) // 20_000)])
    decoded = quantizer.decode(quantizer.compute_codes(vectors))
    return _squares(queries, decoded)


def _squares(queries: Floats, vectors: Floats) -> Floats:
    products = queries @ vectors.T
    return (queries**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1) - 2 * products


def candidates_needed(estimates: Floats, neighbours: NDArray[np.int64], recall: float) -> int:
    """Return the mean number of smallest estimates that contain the given share of the exact neighbours."""
    ranks = [
        np.searchsorted(np.sort(row), row[wanted], side="right")
        for row, wanted in zip(estimates, neighbours, strict=True)
    ]
    return int(np.quantile(np.concatenate(ranks), recall, method="higher"))


def proved(
    estimates: Floats, errors: Floats, neighbours: NDArray[np.int64], exact: Floats, recall: float
) -> tuple[float, float]:
    """Return the width of the bound, in standard errors, that this recall needs, and the mean number of candidates."""
    # A neighbour is lost where its lower bound lies beyond the k-th exact distance.
    take = np.take_along_axis
    kth = exact[:, -1:]
    needed = (take(estimates, neighbours, axis=1) - kth) / np.maximum(take(errors, neighbours, axis=1), 1e-30)
    width = max(0.0, float(np.quantile(needed, recall)))
    return width, float(((estimates - width * errors) <= kth).sum(axis=1).mean())


def measure(name: str, vectors: Floats, queries: Floats) -> None:
    exact, neighbours = faiss.knn(queries, vectors, K)
    figures: dict[str, object] = {}
    needed: dict[str, int] = {}
    d = vectors.shape[1]
    for bits in LEVELS:
        estimates, errors = scalar(vectors, queries, bits)
        needed[f"{bits} bits"] = candidates_needed(estimates, neighbours, 0.999)
        width, count = proved(estimates, errors, neighbours, exact, 0.999)
        figures[f"{bits} bits: bytes per vector"] = d * bits // 8 + 12
        figures[f"{bits} bits: candidates for a recall of 0.99"] = candidates_needed(
            estimates, neighbours, 0.99
        )
        figures[f"{bits} bits: candidates for a recall of 0.999"] = needed[f"{bits} bits"]
        figures[f"{bits} bits: mean candidates by the bound, its width"] = f"{count:.0f}, {width:.2f}"
    for components in (2, 4 if d % 4 == 0 else 5):
        estimates = product(vectors, queries, components)
        label = f"product, {components} components per code"
        needed[label] = candidates_needed(estimates, neighbours, 0.999)
        figures[f"{label}: bytes per vector"] = d // components // 2
        figures[f"{label}: candidates for 0.99"] = candidates_needed(estimates, neighbours, 0.99)
        figures[f"{label}: candidates for 0.999"] = needed[label]
    report(
        f"codes-{name}",
        figures,
        [
            at_most(
                "candidates at equal bytes: 2 bits / product of 2 components",
                needed["2 bits"] / needed["product, 2 components per code"],
                1.0,
            )
        ],
    )


def main() -> None:
    options = arguments(__doc__, queries=100, vectors=50_000)
    for name in NAMES:
        data = load(name, options.vectors)
        measure(name, data.vectors, data.queries[: options.queries])


if __name__ == "__main__":
    main()
