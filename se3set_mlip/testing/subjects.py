"""Subjects to check: any ASE calculator, and potentials of this package.

``as_subject`` takes either. What a calculator cannot tell (where memberships change, how large the
terms of its energy are) is None, and checks then look at the energy itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ase.calculators.calculator import BaseCalculator
from ase.neighborlist import neighbor_list

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.errors import InputError
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.hypergraph import Hypergraph, System
from se3set_mlip.hypergraph.neighbors import neighbor_pairs
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.potential.potential import Potential, PotentialModule, split_output
from se3set_mlip.testing.specimens import displaced
from se3set_mlip.testing.subject import Array, Specimen, Subject, Values
from se3set_mlip.topology.molecule import Topology

BATCH_SIZE = 16


class PotentialSubject:
    """A potential of this package under test.

    Parameters
    ----------
    potential
        The potential; in float64 for meaningful derivatives.
    name
        For tables and pictures.
    """

    def __init__(self, potential: Potential, *, name: str = "SE3Set") -> None:
        self.potential = potential
        self.name = name
        self.single_precision = potential.dtype == torch.float32
        self.numbers = potential.elements
        self._cache = FragmentCache(potential.config.fragmentation)

    def values(self, specimens: Sequence[Specimen], *, stress: bool = False) -> list[Values]:
        """Return energies and derivatives of structures, computed in batches.

        Raises
        ------
        InputError, TopologyError
            For structures that cannot be right, or whose bonds cannot be found.
        """
        out: list[Values] = []
        for start in range(0, len(specimens), BATCH_SIZE):
            part = specimens[start : start + BATCH_SIZE]
            output = self.potential.compute(
                batch_systems([self.system(specimen) for specimen in part]), stress=stress
            )
            for found in split_output(output, [len(specimen.atoms) for specimen in part]):
                forces = np.asarray(found.forces, dtype=np.float64)
                tensor = None if found.stress is None else np.asarray(found.stress, np.float64)
                out.append(Values(found.energy, forces, tensor))
        return out

    def atomic_energies(self, specimen: Specimen) -> Array:
        """Return what the network adds to the energy of each atom, (n_atoms,) eV.

        Reference energies do not depend on positions: next to them any error would look small.
        """
        system = self.system(specimen)
        output = self.potential.compute(system, forces=False)
        energies = output.atomic_energies - self.potential.reference_energies[system.numbers]
        return energies.cpu().double().numpy()

    def system(self, specimen: Specimen) -> System:
        """Return the tensors of a structure, with the bonds that it is held to."""
        atoms = specimen.atoms
        periodic = bool(np.any(atoms.pbc))
        return self.potential.system(
            atoms.numbers,
            atoms.positions,
            self._cache.find(atoms, topology=specimen.topology),
            cell=np.asarray(atoms.cell) if periodic else None,
            pbc=atoms.pbc if periodic else None,
        )

    def calculator(self, topology: Topology | None = None) -> SE3SetCalculator:
        """Return an ASE calculator of it, with the bonds given held."""
        potential = self.potential
        return SE3SetCalculator(
            potential, device=potential.device, dtype=potential.dtype, topology=topology
        )

    def boundaries(self, specimen: Specimen) -> tuple[float, ...] | None:
        """Return numbers that change where a membership appears, fills or vanishes.

        They are named by :data:`BOUNDARY_NAMES`. None for a TorchScript model, which keeps its
        hypergraph to itself.
        """
        module = self.potential.module
        if not isinstance(module, PotentialModule):
            return None
        system = self.system(specimen)
        with torch.no_grad():
            graph = module.builder(system)
        return _memberships(graph) + self._bond_orders(system)

    def _bond_orders(self, system: System) -> tuple[float, float]:
        """Return how many pairs have a bond order, and how many an unswitched one."""
        config = self.potential.config
        if config.fragmentation.overlap != "explicit" or config.hypergraph.membership != "smooth":
            return 0.0, 0.0
        reach = config.hypergraph.bond_order_range_angstrom
        i, j, shift = neighbor_pairs(
            system.positions, system.cell, system.pbc, system.structure, reach
        )
        vectors = system.positions[j] - system.positions[i]
        if bool(system.pbc.any()):
            vectors = vectors + shift.to(vectors.dtype) @ system.cell[0]
        full = (vectors.norm(dim=1) <= reach - 1.0).sum()
        return float(i.shape[0]), float(full)


def energy_scale(subject: Subject, specimen: Specimen, *, seed: int = 0) -> float:
    """Return the energy in eV to which errors of a subject are related, at least 1 eV.

    For a potential of this package the sum of what the network adds to the atoms, without signs;
    for others, whose energies contain any constant, how much the energy changes when all atoms
    move by 0.1 Å.
    """
    if isinstance(subject, PotentialSubject):
        return max(1.0, float(np.abs(subject.atomic_energies(specimen)).sum()))
    generator = np.random.default_rng(seed)
    moved = displaced(specimen, 0.1 * generator.normal(size=(len(specimen.atoms), 3)))
    one, other = subject.values([specimen, moved])
    return max(1.0, abs(one.energy - other.energy))


BOUNDARY_NAMES = (
    "a member appears or vanishes",
    "one member leaves as another joins",
    "a membership becomes full",
    "one membership fills as another ceases to be full",
    "a pair appears or vanishes",
    "an atom meets its own image",
    "a bond order appears or vanishes",
    "a bond order becomes full",
)
"""What the numbers of :meth:`PotentialSubject.boundaries` count."""


def _memberships(graph: Hypergraph) -> tuple[float, ...]:
    """Return counts of incidences and pairs of a hypergraph by what their weights are."""
    weight = graph.incidence_weight
    label = (graph.incidence_atom + 1).to(torch.float64)
    active = graph.pair_weight * weight[graph.pair_incidence] > 0
    own_image = active & (graph.pair_source == graph.incidence_atom[graph.pair_incidence])
    counts = (
        (weight > 0).sum(),
        (label * (weight > 0)).sum(),
        (weight == 1).sum(),
        (label * (weight == 1)).sum(),
        active.sum(),
        own_image.sum(),
    )
    return tuple(float(count) for count in counts)


class CalculatorSubject:
    """Any ASE calculator under test.

    Parameters
    ----------
    calculator
        Gives energies and forces, and the stress if it implements it.
    name
        For tables and pictures.
    factory
        Makes a fresh calculator for given bonds (or None), for calculators that keep a state, such
        as the bonds they are held to. None: the one calculator is used for everything.
    range_angstrom
        Distance beyond which atoms do not see each other directly, if known.
    numbers
        Atomic numbers that it knows; empty if unknown.
    single_precision
        Whether it computes in float32.

    Raises
    ------
    InputError
        If the range is not positive.
    """

    def __init__(
        self,
        calculator: Any,
        *,
        name: str = "calculator",
        factory: Callable[[Topology | None], Any] | None = None,
        range_angstrom: float | None = None,
        numbers: tuple[int, ...] = (),
        single_precision: bool = False,
    ) -> None:
        if range_angstrom is not None and not range_angstrom > 0:
            raise InputError(f"range_angstrom = {range_angstrom} must be positive, or None")
        self.name = name
        self.numbers = numbers
        self.single_precision = single_precision
        self.range_angstrom = range_angstrom
        self._calculator = calculator
        self._factory = factory
        self._made: dict[Topology | None, Any] = {}

    def values(self, specimens: Sequence[Specimen], *, stress: bool = False) -> list[Values]:
        """Return energies and derivatives of structures, one by one."""
        out = []
        for specimen in specimens:
            atoms = specimen.atoms.copy()
            if self._factory is not None and specimen.topology not in self._made:
                self._made[specimen.topology] = self._factory(specimen.topology)
            atoms.calc = self._made.get(specimen.topology, self._calculator)
            tensor = None
            if stress and self.has_stress:
                tensor = np.array(
                    atoms.get_stress(voigt=False, apply_constraint=False), dtype=np.float64
                )
            forces = np.array(atoms.get_forces(apply_constraint=False), dtype=np.float64)
            out.append(Values(float(atoms.get_potential_energy()), forces, tensor))
        return out

    @property
    def has_stress(self) -> bool:
        """Whether the calculator implements stress."""
        return "stress" in self._calculator.implemented_properties

    def calculator(self, topology: Topology | None = None) -> Any:
        """Return a calculator, a fresh one if there is a factory."""
        return self._calculator if self._factory is None else self._factory(topology)

    def boundaries(self, specimen: Specimen) -> tuple[float, ...] | None:
        """Return the number of pairs within the range, images included; None if it is unknown."""
        if self.range_angstrom is None:
            return None
        return (float(len(neighbor_list("i", specimen.atoms, self.range_angstrom))) / 2.0,)


def as_subject(thing: Any, *, name: str | None = None) -> Subject:
    """Return a subject of a potential, an ASE calculator, or a subject itself.

    Parameters
    ----------
    thing
        What is to be checked.
    name
        For tables and pictures; by default that of its class. Subjects keep theirs.

    Raises
    ------
    InputError
        For anything else.
    """
    if isinstance(thing, SE3SetCalculator):
        thing = thing.potential
    if isinstance(thing, Potential):
        return PotentialSubject(thing, name=name or "SE3Set")
    if isinstance(thing, BaseCalculator):
        return CalculatorSubject(thing, name=name or type(thing).__name__)
    if callable(getattr(thing, "values", None)) and callable(getattr(thing, "boundaries", None)):
        subject: Subject = thing
        return subject
    raise InputError(
        f"cannot check {thing!r} of type {type(thing).__name__}; give a Potential, an ASE "
        "calculator, or an object with the methods of se3set_mlip.testing.Subject"
    )
