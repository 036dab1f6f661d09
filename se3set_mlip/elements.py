"""Elements: symbols of all, covalent radii of those that the package can fragment.

The radii are the single-bond covalent radii of B. Cordero et al., Dalton Trans. 2008, 2832
(doi:10.1039/b801115j), for the sixteen elements that the published model supports
(arXiv 2405.16511). They decide which atoms count as bonded and how strongly, so they are part of
the model: changing one changes energies.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from se3set_mlip.errors import InputError

SYMBOLS: tuple[str, ...] = (
    "X",
    *("H", "He"),
    *("Li", "Be", "B", "C", "N", "O", "F", "Ne"),
    *("Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar"),
    *("K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co"),
    *("Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr"),
    *("Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh"),
    *("Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe"),
    *("Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu"),
    *("Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"),
    *("Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn"),
    *("Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am"),
    *("Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr"),
    *("Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"),
)
"""Symbol of each element; the index is the atomic number, ``"X"`` stands at 0."""

COVALENT_RADII: Mapping[int, float] = MappingProxyType(
    {
        1: 0.31,
        3: 1.28,
        5: 0.84,
        6: 0.76,
        7: 0.71,
        8: 0.66,
        9: 0.57,
        14: 1.11,
        15: 1.07,
        16: 1.05,
        17: 1.02,
        33: 1.19,
        34: 1.20,
        35: 1.20,
        52: 1.38,
        53: 1.39,
    }
)
"""Covalent radius in Å by atomic number (Cordero et al. 2008)."""


def symbol(number: int) -> str:
    """Return the symbol of an element.

    Parameters
    ----------
    number
        Atomic number, 1 to 118.

    Raises
    ------
    InputError
        If there is no such element.
    """
    if not 1 <= number < len(SYMBOLS):
        raise InputError(
            f"atomic number {number} is no element; expected 1 to {len(SYMBOLS) - 1}: "
            "check the list of atomic numbers"
        )
    return SYMBOLS[number]


def formula(numbers: Iterable[int]) -> str:
    """Return the molecular formula in Hill order: carbon, hydrogen, then by symbol.

    Without carbon, all symbols are in alphabetical order.

    Parameters
    ----------
    numbers
        Atomic numbers of the atoms.
    """
    counts = Counter(symbol(number) for number in numbers)
    first = [name for name in ("C", "H") if "C" in counts and name in counts]
    rest = sorted(name for name in counts if name not in first)
    return "".join(f"{name}{counts[name] if counts[name] > 1 else ''}" for name in first + rest)


def format_charge(charge: int) -> str:
    """Return a charge with its sign, zero without: ``"+1"``, ``"0"``, ``"-2"``."""
    return f"{charge:+d}" if charge else "0"


def check_elements(numbers: Iterable[int]) -> None:
    """Raise unless every element has a covalent radius here.

    Parameters
    ----------
    numbers
        Atomic numbers of the atoms.

    Raises
    ------
    InputError
        Naming the unknown elements, the first atom of each, and the known elements.
    """
    first: dict[int, int] = {}
    for atom, number in enumerate(numbers):
        if number not in COVALENT_RADII:
            first.setdefault(number, atom)
    if not first:
        return
    unknown = ", ".join(
        f"{SYMBOLS[number] if 1 <= number < len(SYMBOLS) else '?'} "
        f"(atomic number {number}, first at atom {atom})"
        for number, atom in sorted(first.items())
    )
    known = " ".join(SYMBOLS[number] for number in sorted(COVALENT_RADII))
    raise InputError(
        f"unknown element: {unknown}; known are {known}: remove these atoms or check the numbers"
    )
