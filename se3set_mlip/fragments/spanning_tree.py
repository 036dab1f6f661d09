"""Spanning trees: how to walk through each fragment, bond by bond, to make it whole."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from se3set_mlip.topology.geometry import Box, minimum_image
from se3set_mlip.topology.molecule import Topology


def spanning_tree(
    topology: Topology,
    fragments: Sequence[Sequence[int]],
    *,
    positions: NDArray[np.float64],
    box: Box | None,
) -> tuple[int, ...]:
    """Return the parent of each atom in a breadth-first tree of its fragment.

    The root is the smallest atom of a fragment and its own parent. Edges are bonds. Parts of a
    fragment that no bond joins are linked through their closest atoms at the reference geometry.

    Parameters
    ----------
    topology
        The molecule or molecules.
    fragments
        A partition of the atoms.
    positions
        Reference geometry, (n_atoms, 3), Å.
    box
        The periodic box, or ``None``.
    """
    neighbors = topology.neighbors
    parents = list(range(topology.n_atoms))
    for fragment in fragments:
        unseen = set(fragment)
        root = min(unseen)
        unseen.discard(root)
        queue = deque([root])
        while unseen:
            while queue:
                atom = queue.popleft()
                for neighbor in neighbors[atom]:
                    if neighbor in unseen:
                        unseen.discard(neighbor)
                        parents[neighbor] = atom
                        queue.append(neighbor)
            if unseen:
                near, far = sorted(set(fragment) - unseen), sorted(unseen)
                vectors = positions[far][None, :] - positions[near][:, None]
                images = minimum_image(vectors.reshape(-1, 3), box)
                closest = int(np.argmin(np.einsum("ij,ij->i", images, images)))
                atom, neighbor = near[closest // len(far)], far[closest % len(far)]
                unseen.discard(neighbor)
                parents[neighbor] = atom
                queue.append(neighbor)
    return tuple(parents)
