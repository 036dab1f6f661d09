"""The command `se3set` with every atom a fragment of its own: the hypergraph becomes a graph.

    python benchmarks/equal_compute/single_atoms.py train CONFIG
    python benchmarks/equal_compute/single_atoms.py evaluate MODEL STRUCTURES

No setting of the package cuts the groups that chemistry holds together (groups.py), so this puts
single atoms in their place. A checkpoint does not know: evaluate it by this command too.
"""

from se3set_mlip.cli import main
from se3set_mlip.fragments import fragmentation
from se3set_mlip.topology.molecule import Topology


def single_atoms(topology: Topology) -> tuple[tuple[int, ...], ...]:
    """Return each atom as a group."""
    return tuple((atom,) for atom in range(topology.n_atoms))


if __name__ == "__main__":
    fragmentation.find_groups = single_atoms
    main()
