"""OpenMM topology -> fragments of the particles that a potential acts on.

OpenMM itself is not imported: its topologies say all that is needed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.potential import Potential
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import ANGSTROM_PER_NANOMETER

if TYPE_CHECKING:
    from openmm import app


def find_fragments(
    potential: Potential,
    topology: "Fragmentation | Topology | app.Topology",
    *,
    positions_nm: ArrayLike | None = None,
    particles: Sequence[int] | None = None,
    box_nm: ArrayLike | None = None,
) -> Fragmentation:
    """Return fragments, made with the potential's settings, of the particles it acts on.

    Parameters
    ----------
    potential
        The potential.
    topology
        Fragments (checked and returned), a topology of the particles, or an OpenMM ``Topology``
        of the whole system.
    positions_nm
        Reference geometry in nm of the topology's atoms, (n_atoms, 3); not needed with fragments,
        nor where the potential's fragments do not depend on it.
    particles
        Indices of the particles; None: all.
    box_nm
        Periodic box vectors as rows in nm, (3, 3); None: not periodic.

    Raises
    ------
    InputError
        If the arguments do not fit each other, for a virtual site, or for a bond between particles
        inside and outside.
    TopologyError
        If no bonding pattern fits the topology.
    """
    if isinstance(topology, Fragmentation):
        _check_number(topology.topology.n_atoms, particles, "fragmentation")
        if topology.config != potential.config.fragmentation:
            raise InputError(
                f"the fragmentation was made with {topology.config}, the potential was trained "
                f"with {potential.config.fragmentation}; make it with potential.fragment(...)"
            )
        return topology
    n_atoms = topology.n_atoms if isinstance(topology, Topology) else topology.getNumAtoms()
    if positions_nm is None:
        if potential.config.fragmentation.needs_geometry:
            raise InputError(
                "the fragments of this potential depend on a reference geometry, and positions are "
                "missing; pass the positions of the topology's atoms, or fragments from "
                "potential.fragment(...)"
            )
        positions_nm = np.zeros((n_atoms, 3))
    positions = np.asarray(positions_nm, dtype=np.float64) * ANGSTROM_PER_NANOMETER
    if isinstance(topology, Topology):
        _check_number(topology.n_atoms, particles, "topology")
    else:
        if positions.shape != (n_atoms, 3):
            raise InputError(
                f"positions of shape {positions.shape} for an OpenMM topology of {n_atoms} atoms; "
                f"expected ({n_atoms}, 3)"
            )
        if particles is not None:
            topology, positions = _pick(topology, positions, particles)
        topology = Topology.from_openmm(topology)
    if box_nm is None:
        return potential.fragment(topology, positions)
    cell = np.asarray(box_nm, dtype=np.float64) * ANGSTROM_PER_NANOMETER
    return potential.fragment(topology, positions, cell=cell, pbc=(True, True, True))


def _check_number(n_atoms: int, particles: Sequence[int] | None, name: str) -> None:
    """Raise unless there is one particle per atom."""
    if particles is not None and not len(particles) == len(set(particles)) == n_atoms:
        raise InputError(
            f"{len(set(particles))} particles for a {name} of {n_atoms} atoms; give one particle "
            "per atom, in the order of the atoms"
        )


def _pick(
    topology: "app.Topology", positions: NDArray[np.float64], particles: Sequence[int]
) -> "tuple[app.Topology, NDArray[np.float64]]":
    """Return the part of an OpenMM topology that the particles are, in their order."""
    atoms = list(topology.atoms())
    wrong = [index for index in particles if not 0 <= index < len(atoms)]
    if wrong or len(set(particles)) != len(particles):
        raise InputError(
            f"particles {wrong or list(particles)} do not fit a topology of {len(atoms)} atoms; "
            f"give indices from 0 to {len(atoms) - 1}, each once"
        )
    part = type(topology)()
    residue = part.addResidue("ML", part.addChain())
    picked = {
        index: part.addAtom(atoms[index].name, atoms[index].element, residue) for index in particles
    }
    for bond in topology.bonds():
        i, j = bond[0].index, bond[1].index
        if (i in picked) != (j in picked):
            raise InputError(
                f"the bond between atoms {i} and {j} leads out of the particles of the potential; "
                "choose whole molecules"
            )
        if i in picked:
            part.addBond(picked[i], picked[j], type=bond.type, order=bond.order)
    return part, positions[list(particles)]
