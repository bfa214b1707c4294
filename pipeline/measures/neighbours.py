"""Nearest real images, by the direction of their vectors."""

import numpy as np
from scipy import sparse

_BLOCK = 256  # rows at a time where pairs of rows are multiplied
_PROJECTED = 256  # dimensions that wide vectors are searched in
_NARROW = 1024  # concepts up to which sparse energies are searched as they are
_FEW = 4096  # rows up to which dense vectors of any width are
_WIDER = 4  # times as many candidates as are asked for are ranked exactly


def unit_rows(rows: np.ndarray | sparse.csr_array) -> np.ndarray | sparse.csr_array:
    """Rows of length 1, float32, dense or sparse as they came; a row of zeros stays one."""
    if not sparse.issparse(rows):
        rows = np.asarray(rows, np.float32)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    rows = sparse.csr_array(rows, dtype=np.float64)
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    rows = rows.copy()
    rows.data /= np.repeat(np.where(norms > 0, norms, 1), np.diff(rows.indptr))
    return rows.astype(np.float32)


def nearest(queries, rows, k: int, seed: int = 0) -> np.ndarray:
    """The k rows with the largest cosine to every query, best first: (n_queries, k) int64.

    Both are rows of length 1, both dense or both sparse. Few or narrow ones are searched exactly by
    scikit-learn; at 10,000 rows that takes less time than building an index does. Many wide ones are searched
    in 256 random directions (Johnson and Lindenstrauss), whose error of a cosine is about 0.06, and four
    times k of them are then ranked exactly; near-duplicates, with cosines near 1, are not missed that way.
    Where there are fewer than k rows, all of them.
    """
    from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

    k, width = min(k, rows.shape[0]), rows.shape[1]
    if sparse.issparse(rows):
        if width <= _NARROW:
            return nearest(queries.toarray(), rows.toarray(), k, seed)
        project = SparseRandomProjection(_PROJECTED, random_state=seed, dense_output=True)
    elif len(rows) <= _FEW or width <= _PROJECTED:
        return _exactly(queries, rows, k)
    else:
        project = GaussianRandomProjection(_PROJECTED, random_state=seed)
    project.fit(rows)
    near_queries, near_rows = (unit_rows(project.transform(side)) for side in (queries, rows))
    wide = _exactly(near_queries, near_rows, min(_WIDER * k, rows.shape[0]))
    order = np.argsort(-cosines(queries, rows, wide), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(wide, order, axis=1)


def _exactly(queries: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
    return search.kneighbors(queries, return_distance=False)


def cosines(queries, rows, chosen: np.ndarray) -> np.ndarray:
    """Product of query i with row `chosen[i, j]`, (n_queries, n_chosen) float32; of unit rows, the cosine."""
    out = np.empty(chosen.shape, np.float32)
    for start in range(0, len(chosen), _BLOCK):
        block = slice(start, start + _BLOCK)
        mine, places = queries[block], chosen[block]
        if sparse.issparse(rows):
            for column in range(chosen.shape[1]):
                out[block, column] = mine.multiply(rows[places[:, column]]).sum(1)
        else:
            out[block] = np.einsum("id,ijd->ij", mine, rows[places])
    return out
