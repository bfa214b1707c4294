"""Communities of concepts: which belong together by the company that they keep."""

import networkx as nx
import numpy as np


def communities(
    concept_a: np.ndarray, concept_b: np.ndarray, weight: np.ndarray, n_concepts: int, *, seed: int = 0
) -> np.ndarray:
    """Community of every concept, (n_concepts,) int32: 0 is the largest, -1 where no pair holds the concept.

    Louvain's method (Blondel and others 2008) on the graph of the pairs with weights above 0; the same pairs
    and seed give the same communities. Of equally large ones that with the lowest id comes first.
    """
    graph = nx.Graph()
    linked = weight > 0
    pairs = zip(concept_a[linked].tolist(), concept_b[linked].tolist(), weight[linked].tolist(), strict=True)
    graph.add_weighted_edges_from(pairs)
    found = nx.community.louvain_communities(graph, seed=seed) if len(graph) else []
    community = np.full(n_concepts, -1, np.int32)
    for number, members in enumerate(sorted(found, key=lambda part: (-len(part), min(part)))):
        community[list(members)] = number
    return community
