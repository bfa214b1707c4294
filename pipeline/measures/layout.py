"""Where atoms lie: nearest neighbours by cosine, and a map that keeps its old points when atoms are added."""

import warnings

import numpy as np

_BLOCK = 512  # rows of the cosine matrix at a time
_NO_UMAP = 4  # atoms up to which the map is their two principal components: UMAP needs more


def nearest_atoms(
    dictionary: np.ndarray, top: int, to: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For every atom the `top` nearest others by cosine: ids and cosines, (n_concepts, top), best first.

    With `to`, another (n_others, d_model) matrix, the nearest of its rows instead. Exact; among equal cosines
    the lower id comes first. An atom of zeros has cosine 0 to all.
    """
    unit = _unit(dictionary)
    others = unit if to is None else _unit(to)
    top = min(top, len(others) - (to is None))
    ids = np.empty((len(unit), top), np.int32)
    cosines = np.empty((len(unit), top), np.float32)
    for start in range(0, len(unit), _BLOCK):
        block = unit[start : start + _BLOCK] @ others.T
        if to is None:
            block[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        rows = slice(start, start + len(block))
        ids[rows], cosines[rows] = _largest(block, top)
    return ids, cosines


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _largest(block: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the `top` largest of every row, best first, equal ones by column."""
    if not top:
        return np.empty((len(block), 0), np.int32), np.empty((len(block), 0), np.float32)
    n_others = block.shape[1]
    best = np.argpartition(block, n_others - top, axis=1)[:, n_others - top :]
    least = np.take_along_axis(block, best, 1).min(1, keepdims=True)
    # Where the last place is tied, the partition may have kept any of the equal columns.
    for row in np.flatnonzero((block >= least).sum(1) > top):
        best[row] = np.argsort(-block[row], kind="stable")[:top]
    best.sort(axis=1)
    values = np.take_along_axis(block, best, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)


def umap_positions(
    dictionary: np.ndarray,
    *,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    n_epochs: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Two coordinates per atom, (n_concepts, 2) float32: UMAP over exact cosine neighbours.

    The same seed gives the same map. Up to four atoms are placed by their principal components.
    """
    if len(dictionary) <= _NO_UMAP:
        return _principal(dictionary)
    from umap import UMAP

    n_neighbors = min(n_neighbors, len(dictionary) - 1)
    ids, cosines = nearest_atoms(dictionary, n_neighbors - 1)
    # UMAP counts a point as its own first neighbour.
    own = np.arange(len(ids), dtype=np.int32)[:, None]
    distances = np.maximum(1 - cosines, 0)
    knn = (np.hstack([own, ids]), np.hstack([np.zeros_like(own, np.float32), distances]))
    mapper = UMAP(
        n_neighbors=n_neighbors,
        min_dist=min_dist,
        n_epochs=n_epochs,
        metric="cosine",
        random_state=seed,
        precomputed_knn=(*knn, None),
    )
    with warnings.catch_warnings():
        # A seed means one thread, and given neighbours mean no later `transform`; UMAP says so every time.
        warnings.filterwarnings("ignore", message="n_jobs value|precomputed_knn|.*transform will be")
        return np.asarray(mapper.fit_transform(_unit(dictionary)), np.float32)


def _principal(dictionary: np.ndarray) -> np.ndarray:
    unit = _unit(dictionary)
    left, scale, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
    positions = np.zeros((len(unit), 2), np.float32)
    axes = (left * scale)[:, :2]
    positions[:, : axes.shape[1]] = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return positions


def place_beside(new: np.ndarray, old: np.ndarray, positions: np.ndarray, n_neighbors: int = 5) -> np.ndarray:
    """Positions of added atoms on a map that stays as it is, (n_new, 2) float32.

    Each lies at the mean of its nearest old atoms' positions, weighted by one over the cosine distance: a
    copy of an old atom lies on it. `new` (n_new, d_model), `old` (n_old, d_model), `positions` (n_old, 2).
    """
    ids, cosines = nearest_atoms(new, n_neighbors, to=old)
    weights = 1 / np.maximum(1 - cosines.astype(np.float64), 1e-6)
    weights /= weights.sum(1, keepdims=True)
    return np.einsum("ij,ijk->ik", weights, positions[ids].astype(np.float64)).astype(np.float32)
