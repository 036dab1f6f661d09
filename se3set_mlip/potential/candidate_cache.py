"""Candidates kept from step to step: a search only when an atom has moved by half the skin.

A pair that is closer than the range now was closer than the range plus the skin when the candidates
were found, if neither atom has moved by more than half the skin since. What a structure moves as a
whole does not count, nor do whole lattice vectors by which atoms were wrapped in between.
"""

from typing import Any

import torch

from se3set_mlip.hypergraph.candidates import in_lattice
from se3set_mlip.hypergraph.hypergraph import System, moved
from se3set_mlip.hypergraph.neighbors import usable_cell
from se3set_mlip.potential.potential_module import PotentialCandidates, PotentialModule

SKIN_ANGSTROM = 0.5
"""What engines take: tens of steps of molecular dynamics go by between two searches."""

_FIXED = ("numbers", "fragment", "group", "parent", "structure", "cell", "pbc")


class CandidateCache:
    """Holds the candidates of one system, which moves a little from call to call.

    Parameters
    ----------
    skin_angstrom
        How much further than the range to search, in Å: a wider skin means fewer searches, and more
        candidates to be weighed at each step. 0: search every time.

    Attributes
    ----------
    n_searches
        How many searches there were so far.
    """

    def __init__(self, skin_angstrom: float = SKIN_ANGSTROM) -> None:
        self.skin_angstrom = skin_angstrom
        self.n_searches = 0
        self._module: PotentialModule | None = None
        self._system: System | None = None
        self._candidates: PotentialCandidates | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return settings and counts: what is held can be found again."""
        return self.__dict__ | {"_module": None, "_system": None, "_candidates": None}

    def find(self, module: PotentialModule, system: System) -> tuple[System, PotentialCandidates]:
        """Return candidates of a system, and the system with atoms in the images they refer to.

        Parameters
        ----------
        module
            Does the search.
        system
            The system, at its present geometry.

        Returns
        -------
        System
            The same geometry; positions may differ from those given by whole lattice vectors.
        PotentialCandidates
            What may be in range.
        """
        held, candidates = self._system, self._candidates
        if held is not None and candidates is not None and self._module is module:
            unwrapped = self._near(held, system)
            if unwrapped is not None:
                return moved(system, unwrapped, system.cell), candidates
        self.n_searches += 1
        candidates = module.candidates(system, self.skin_angstrom)
        self._module, self._system, self._candidates = module, system, candidates
        return system, candidates

    def _near(self, held: System, system: System) -> torch.Tensor | None:
        """Return positions (n_atoms, 3) as a continuation of those held, or None if far away."""
        for name in _FIXED:
            before, now = getattr(held, name), getattr(system, name)
            if before is not now and not torch.equal(before, now):
                return None
        positions = system.positions
        steps = positions - held.positions
        if bool(system.pbc.any()):
            inverse = torch.linalg.inv(usable_cell(system.cell, system.pbc))
            images = torch.round(in_lattice(steps, inverse, system.structure))
            images = images * system.pbc[system.structure].to(images.dtype)
            lattice = in_lattice(images, system.cell, system.structure)
            positions, steps = positions - lattice, steps - lattice
        drift = torch.zeros_like(system.cell[:, 0]).index_add(0, system.structure, steps)
        n_atoms = torch.bincount(system.structure, minlength=drift.shape[0]).unsqueeze(1)
        steps = steps - (drift / n_atoms)[system.structure]
        farthest = float(steps.pow(2).sum(dim=1).max())
        return positions if farthest <= (0.5 * self.skin_angstrom) ** 2 else None
