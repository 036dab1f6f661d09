"""From an OpenMM ``Topology`` to the molecular graph, without importing OpenMM.

OpenMM knows elements and bonds, seldom orders or charges. What it states is kept; the rest is
filled in from the valence of each atom, which its hydrogens decide: four neighbours make an
ammonium nitrogen, one makes a carboxylate oxygen.
"""

import operator
from collections import defaultdict
from typing import Any

from se3set_mlip.elements import SYMBOLS, check_elements, format_charge
from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.graph import MolecularGraph
from se3set_mlip.topology.valence import assign_orders

CARBON = 6
HYDROGEN = 1
KEKULE_ORDERS = (1, 2, 3)
_AMINO_ACIDS = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE"),
    *("LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL"),
)
_NUCLEOTIDES = ("A", "C", "G", "U", "DA", "DC", "DG", "DT")
HYDROGEN_RICH_RESIDUES = frozenset((*_AMINO_ACIDS, *_NUCLEOTIDES, "ACE", "NME", "HOH"))
"""Standard residues that cannot be without hydrogens."""


def graph_from_openmm(topology: Any) -> MolecularGraph:
    """Read an OpenMM ``Topology``; see ``Topology.from_openmm``.

    Parameters
    ----------
    topology
        Anything with ``atoms()`` and ``bonds()`` as OpenMM has them. A bond may have ``order``,
        an atom ``formalCharge``; an order of 1.5 or None leaves it open.

    Raises
    ------
    InputError
        For an object of another kind, or an atom without an element.
    TopologyError
        For standard residues without hydrogens, or if no closed-shell pattern fits.
    """
    if not all(callable(getattr(topology, name, None)) for name in ("atoms", "bonds")):
        raise InputError(
            f"expected an openmm.app.Topology, got {type(topology).__name__}; "
            "pass for instance PDBFile(...).topology"
        )
    try:
        atoms, numbers, stated = _read(topology)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InputError(
            f"{type(topology).__name__} cannot be read as an OpenMM topology ({error!r}); its "
            "atoms need an element, a name and a residue, its bonds two of these atoms"
        ) from error
    check_elements(numbers)
    _check_hydrogens(atoms, numbers)
    bonds = tuple(sorted(stated))
    found = assign_orders(
        numbers,
        bonds,
        charge=None,
        stated_orders=[stated[bond] for bond in bonds],
        stated_charges=[getattr(atom, "formalCharge", None) for atom in atoms],
    )
    _check_carbon(atoms, numbers, found.formal_charges)
    return MolecularGraph(numbers, bonds, found.orders, found.formal_charges)


def _read(
    topology: Any,
) -> tuple[list[Any], tuple[int, ...], dict[tuple[int, int], int | None]]:
    """Return the atoms, their numbers, and the stated order of each bond, None where open."""
    atoms = list(topology.atoms())
    for index, atom in enumerate(atoms):
        if atom.element is None:
            raise InputError(
                f"atom {index} ({atom.name!r}) has no element: virtual sites and dummy atoms have "
                "no chemistry; remove them, or choose a water model without them"
            )
    numbers = tuple(operator.index(atom.element.atomic_number) for atom in atoms)
    index_of = {id(atom): index for index, atom in enumerate(atoms)}
    stated: dict[tuple[int, int], int | None] = {}
    for bond in topology.bonds():
        first, second = sorted((index_of[id(bond[0])], index_of[id(bond[1])]))
        order = getattr(bond, "order", None)
        stated[first, second] = int(order) if order in KEKULE_ORDERS else None
    return atoms, numbers, stated


def _check_hydrogens(atoms: list[Any], numbers: tuple[int, ...]) -> None:
    """Raise for a standard residue that has none of its hydrogens."""
    elements_of: dict[int, set[int]] = defaultdict(set)
    residues: dict[int, Any] = {}
    for atom, number in zip(atoms, numbers, strict=True):
        residues[id(atom.residue)] = atom.residue
        elements_of[id(atom.residue)].add(number)
    for key, residue in residues.items():
        if residue.name in HYDROGEN_RICH_RESIDUES and HYDROGEN not in elements_of[key]:
            raise TopologyError(
                f"residue {residue.name} {residue.id} has no hydrogens; add them first, for "
                "instance with openmm.app.Modeller.addHydrogens"
            )


def _check_carbon(
    atoms: list[Any], numbers: tuple[int, ...], formal_charges: tuple[int, ...]
) -> None:
    """Raise for a carbon ion that nobody stated: a hydrogen or a bond is missing."""
    for index, (atom, number, charge) in enumerate(
        zip(atoms, numbers, formal_charges, strict=True)
    ):
        if number == CARBON and charge and getattr(atom, "formalCharge", None) is None:
            raise TopologyError(
                f"atom {index} ({atom.name!r}, {SYMBOLS[number]}) would need a formal charge of "
                f"{format_charge(charge)}; add the missing hydrogen or bond, or state formalCharge"
            )
