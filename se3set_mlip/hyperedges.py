"""Hyperedges of one geometry in words: each fragment with the atoms that it reaches.

Explicit overlap: the atoms of the groups that a fragment takes in. Implicit overlap: the atoms
within range of a core atom (each, and each of its images, is one incidence). Both by the hard rule;
the smooth weights of a potential fade across it.
"""

import ase

from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.topology.geometry import close_pairs, make_box


def describe_hyperedges(
    fragmentation: Fragmentation, atoms: ase.Atoms, *, cutoff_angstrom: float
) -> str:
    """Return a table of hyperedges.

    Parameters
    ----------
    fragmentation
        The fragments.
    atoms
        The geometry.
    cutoff_angstrom
        Range of implicit overlap in Å; without effect on explicit overlap.

    Raises
    ------
    InputError
        For a range that is not positive, and for explicit overlap of a periodic structure.
    """
    if not cutoff_angstrom > 0.0:
        raise InputError(f"cutoff = {cutoff_angstrom} Å; give a positive range")
    implicit = fragmentation.config.overlap == "implicit"
    if implicit:
        reached = _atoms_within(fragmentation, atoms, cutoff_angstrom)
        title = f"other atoms within {cutoff_angstrom:g} Å of one"
    else:
        if atoms.pbc.any():
            raise InputError(
                "explicit overlap is listed for structures without periodic boundaries only; take "
                "one molecule out of the cell, or an implicit preset"
            )
        members = fragmentation.members(atoms.positions)
        reached = [
            set(atoms_of) - set(core)
            for atoms_of, core in zip(members, fragmentation.fragments, strict=True)
        ]
        title = "overlap"
    lines = [f"hyperedge  size  core atoms [{title}]"]
    for label, (core, others) in enumerate(zip(fragmentation.fragments, reached, strict=True)):
        inner = " ".join(str(atom) for atom in core)
        outer = " ".join(str(atom) for atom in sorted(others))
        lines.append(f"{label:>9}  {len(core) + len(others):>4}  {inner} [{outer}]")
    return "\n".join(lines)


def _atoms_within(
    fragmentation: Fragmentation, atoms: ase.Atoms, cutoff_angstrom: float
) -> list[set[int]]:
    """Return, for each fragment, the atoms outside it that a core atom has within range."""
    box = make_box(atoms.cell.array, atoms.pbc) if atoms.pbc.any() else None
    pairs = close_pairs(atoms.positions, cutoff_angstrom, box)
    index = fragmentation.fragment_index
    reached: list[set[int]] = [set() for _ in fragmentation.fragments]
    for u, v in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        for core, atom in ((u, v), (v, u)):
            if index[core] != index[atom]:
                reached[index[core]].add(atom)
    return reached
