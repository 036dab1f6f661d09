"""Scans: pairs of atoms and bonds of a molecule, pulled apart, have one minimum each.

Diatomics: every pair of elements from 0.5 to 6 Å, two bonded neutral atoms. Bonds: of each kind of
bond in the structure one is stretched from 0.7 to 1.6 of its length, both sides moving as rigid
halves; bonds in rings are left out. A scan ends before atoms across would make another bond: where
a distance across is shorter, in units of the covalent radii, than that of the bond.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple, TypeAlias

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from se3set_mlip.elements import COVALENT_RADII, symbol
from se3set_mlip.engines.bond_policy import bond_name
from se3set_mlip.testing.curves import Curve, Shape, is_sane, shape_of
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import isolated
from se3set_mlip.testing.subject import Array, Specimen, Subject
from se3set_mlip.topology.graph import connected_components, environment_codes
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.topology.valence_states import VALENCE_STATES

FLIPS = 1
MINIMA = 1
NEAREST_ANGSTROM, FARTHEST_ANGSTROM = 0.5, 6.0
SHORTEST, LONGEST = 0.7, 1.6
MANY_ELEMENTS = 10
"""A subject that knows more elements is scanned with those of the structure."""
ROUNDING = 1e-9
_HIGHEST_ORDER = 3

Sides: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The atoms on both sides of a bond."""


class _Scan(NamedTuple):
    """Structures in which two sides move apart."""

    name: str
    distances: Array  # (n_points,), Å
    specimens: list[Specimen]
    sides: Sides
    direction: Array  # (3,), in which the second side moves


def diatomic(first: int, second: int, distance_angstrom: float) -> Specimen:
    """Return two neutral atoms with the bond that their valences allow, a double one in O-O.

    Perceived from coordinates, a pair that is no closed shell (C-H) would have no bonds at all.
    """
    atoms = Atoms([first, second], positions=[[0.0, 0.0, 0.0], [distance_angstrom, 0.0, 0.0]])
    if first not in VALENCE_STATES or second not in VALENCE_STATES:
        return Specimen(atoms)
    order = min(_HIGHEST_ORDER, *(VALENCE_STATES[number][0].valence for number in (first, second)))
    topology = Topology(
        numbers=(first, second), bonds=((0, 1),), orders=(order,), formal_charges=(0, 0)
    )
    return Specimen(atoms, topology)


def _diatomic_scan(first: int, second: int, n_points: int) -> _Scan:
    """Return the scan of a pair of elements."""
    distances = np.linspace(NEAREST_ANGSTROM, FARTHEST_ANGSTROM, n_points)
    return _Scan(
        f"{symbol(first)}-{symbol(second)}",
        distances,
        [diatomic(first, second, float(distance)) for distance in distances],
        (np.array([0]), np.array([1])),
        np.array([1.0, 0.0, 0.0]),
    )


def check_diatomics(
    subject: Subject, specimen: Specimen, *, n_points: int = 200
) -> list[CheckResult]:
    """Pull every pair of elements apart and count flips of the force and minima.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        Its elements are taken if the subject tells none, or more than ten.
    n_points
        Distances of each scan, from 0.5 to 6 Å.

    Returns
    -------
    list of CheckResult
        Force flips and minima; the largest count of all pairs. None is fine: pairs may repel.
    """
    present = sorted({int(number) for number in specimen.atoms.numbers})
    known = sorted(subject.numbers)
    elements = known if 0 < len(known) <= MANY_ELEMENTS else present
    curves = [
        _curve(subject, _diatomic_scan(first, second, n_points))
        for first, second in combinations_with_replacement(elements, 2)
    ]
    which = "of all elements known" if elements == known else "of the structure's elements"
    return _results("diatomics", curves, f"{len(curves)} pairs {which}", at_least=None)


def check_bonds(subject: Subject, specimen: Specimen, *, n_points: int = 40) -> list[CheckResult]:
    """Stretch and compress each kind of bond and count flips of the force and minima.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        A structure with a topology, best near a minimum; a cell is left out.
    n_points
        Lengths of each scan, from 0.7 to 1.6 of that in the structure.

    Returns
    -------
    list of CheckResult
        Force flips and minima; the count of all kinds that is furthest from one: what does not
        pull back is no bond.
    """
    if specimen.topology is None:
        reason = "the bonds of the structure are not known"
        return [CheckResult.skip(f"bond scans, {what}", reason) for what in ("flips", "minima")]
    alone = isolated(specimen)
    curves = [
        _curve(subject, _bond_scan(alone, bond, sides, n_points))
        for bond, sides in bond_kinds(specimen.topology)
    ]
    if not curves:
        reason = "there is no bond outside rings"
        return [CheckResult.skip(f"bond scans, {what}", reason) for what in ("flips", "minima")]
    return _results("bond scans", curves, f"{len(curves)} kinds of bonds", at_least=1)


def bond_kinds(topology: Topology) -> Iterator[tuple[tuple[int, int], Sides]]:
    """Yield one bond of each kind that is in no ring, and the atoms on both of its sides."""
    codes = environment_codes(topology.numbers, topology.bonds)
    seen = set()
    for bond, order in zip(topology.bonds, topology.orders, strict=True):
        kind = (*sorted(codes[k] for k in bond), order)
        others = [other for other in topology.bonds if other != bond]
        side = {
            k: component
            for component in connected_components(topology.n_atoms, others)
            for k in component
        }
        if kind in seen or side[bond[0]] == side[bond[1]]:
            continue
        seen.add(kind)
        yield bond, (np.array(side[bond[0]]), np.array(side[bond[1]]))


def _bond_scan(specimen: Specimen, bond: tuple[int, int], sides: Sides, n_points: int) -> _Scan:
    """Return the scan of a bond, as far as no other bond would form."""
    start = specimen.atoms.positions
    radii = np.array([COVALENT_RADII[int(number)] for number in specimen.atoms.numbers])
    vector = start[bond[1]] - start[bond[0]]
    length = float(np.linalg.norm(vector))
    first, second = sides
    lengths, scan = [], []
    for scaled in np.linspace(SHORTEST, LONGEST, n_points) * length:
        shift = 0.5 * (scaled - length) * vector / length
        atoms = specimen.atoms.copy()
        atoms.positions[first] -= shift
        atoms.positions[second] += shift
        across = atoms.positions[second][None] - atoms.positions[first][:, None]
        ratios = np.linalg.norm(across, axis=2) / (radii[first][:, None] + radii[second][None])
        if scaled > length and ratios.min() < scaled / radii[list(bond)].sum() - ROUNDING:
            break
        lengths.append(scaled)
        scan.append(Specimen(atoms, specimen.topology))
    name = bond_name(specimen.atoms.numbers, bond)
    return _Scan(name, np.array(lengths), scan, sides, vector / length)


def _curve(subject: Subject, scan: _Scan) -> Curve:
    """Compute a scan: the force of each side, along the bond, acts on half of the way."""
    values = subject.values(scan.specimens)
    first, second = scan.sides
    forces = [
        0.5 * (value.forces[second].sum(axis=0) - value.forces[first].sum(axis=0))
        for value in values
    ]
    energies = np.array([value.energy for value in values])
    return Curve(scan.name, scan.distances, energies, np.array(forces) @ scan.direction)


def _results(
    name: str, curves: Sequence[Curve], looked_at: str, *, at_least: int | None
) -> list[CheckResult]:
    """Return the worst counts over curves; curves that are not finite fail."""
    broken = [curve.name for curve in curves if not is_sane(curve)]
    shapes = {curve.name: shape_of(curve) for curve in curves if is_sane(curve)}
    data = {
        curve.name: {
            "distance_angstrom": curve.distances.tolist(),
            "energy_ev": curve.energies.tolist(),
            "force_ev_per_angstrom": curve.forces.tolist(),
        }
        | shapes.get(curve.name, Shape(-1, -1, -1))._asdict()
        for curve in curves
    }
    found = []
    for what, allowed in (("flips", FLIPS), ("minima", MINIMA)):
        counts = {key: getattr(shape, what) for key, shape in shapes.items()}
        detail = looked_at
        off = [
            f"{key} {count}"
            for key, count in counts.items()
            if count > allowed or (at_least is not None and count < at_least)
        ]
        if broken:
            detail += f"; not finite: {', '.join(broken)}"
        if off:
            detail += f"; other than one: {', '.join(off)}"
        if what == "flips" and shapes:
            bends = max(shapes, key=lambda key: shapes[key].inflections)
            detail += f"; most inflections: {shapes[bends].inflections} ({bends})"
        found.append(
            CheckResult(
                f"{name}, {what}",
                float("nan") if broken else float(_worst(list(counts.values()), at_least)),
                allowed,
                "1",
                at_least=at_least,
                detail=detail,
                data={"curves": data} if what == "flips" else {},
            )
        )
    return found


def _worst(counts: Sequence[int], at_least: int | None) -> int:
    """Return the largest count, or the smallest where that is too small and none too large."""
    largest, smallest = max(counts), min(counts)
    too_small = at_least is not None and smallest < at_least
    return smallest if too_small and largest <= 1 else largest
