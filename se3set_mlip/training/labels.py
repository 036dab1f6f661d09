"""Labels of structures: energies, forces and stresses, found by name and converted to eV and Å.

A file may hold labels twice: as ``REF_energy``, ``REF_forces``, ``REF_stress`` / ``REF_virials``
(written for training), and under plain names, which ASE moves into a calculator with stored
results. The first kind is preferred. One source is chosen for all structures of a file, because two
sources may be two levels of theory.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from se3set_mlip.errors import ConfigError, DatasetError
from se3set_mlip.units import ANGSTROM_PER_BOHR, EV_PER_HARTREE, KCAL_PER_MOL_PER_EV
from se3set_mlip.units import KJ_PER_MOL_PER_EV as _KJ_PER_MOL_PER_EV

FloatArray = npt.NDArray[np.float64]

EV_PER_ENERGY_UNIT = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": EV_PER_HARTREE,
    "kcal/mol": 1.0 / KCAL_PER_MOL_PER_EV,
    "kJ/mol": 1.0 / _KJ_PER_MOL_PER_EV,
}
EV_PER_ANGSTROM_PER_FORCES_UNIT = {
    "eV/Angstrom": 1.0,
    "Hartree/Bohr": EV_PER_HARTREE / ANGSTROM_PER_BOHR,
    "Hartree/Angstrom": EV_PER_HARTREE,
    "kcal/mol/Angstrom": 1.0 / KCAL_PER_MOL_PER_EV,
    "kJ/mol/Angstrom": 1.0 / _KJ_PER_MOL_PER_EV,
}

_PREFERRED = {
    "energy": ("REF_energy",),
    "forces": ("REF_forces",),
    "stress": ("REF_stress", "REF_virials", "REF_virial"),
}


@dataclass(frozen=True)
class LabelConfig:
    """Names and units of the labels in a file; positions and cells are always in Å."""

    energy_key: str | None = None
    """Name of the energy; by default ``REF_energy``, then the calculator result ``energy``."""
    forces_key: str | None = None
    stress_key: str | None = None
    """Name of the stress in eV/Å³ (3 x 3 or Voigt); a name with ``virial`` is a virial in eV."""
    energy_unit: str = "eV"
    forces_unit: str = "eV/Angstrom"

    def __post_init__(self) -> None:
        """Validate the units."""
        for name, known in (
            ("energy_unit", tuple(EV_PER_ENERGY_UNIT)),
            ("forces_unit", tuple(EV_PER_ANGSTROM_PER_FORCES_UNIT)),
        ):
            value = getattr(self, name)
            if value not in known:
                nearest = difflib.get_close_matches(value, known, n=1, cutoff=0.0)[0]
                raise ConfigError(
                    f"{name} = {value!r}; expected one of {', '.join(known)}; "
                    f"did you mean {nearest!r}?"
                )


def _stored_results(atoms: Any) -> dict[str, Any]:
    """Return the results of the calculator that ASE made of plain label names."""
    return {} if atoms.calc is None else dict(atoms.calc.results)


def _value(atoms: Any, key: str, *, stored: bool) -> Any:
    """Return the label ``key`` of one structure, or None."""
    if stored:
        return _stored_results(atoms).get(key)
    return atoms.info.get(key, atoms.arrays.get(key))


def available_keys(structures: Sequence[Any]) -> tuple[str, ...]:
    """Return all names under which the structures hold numbers, sorted."""
    keys: set[str] = set()
    for atoms in structures:
        keys.update(atoms.info, set(atoms.arrays) - {"numbers", "positions"})
        keys.update(_stored_results(atoms))
    return tuple(sorted(keys))


def find_source(
    structures: Sequence[Any], quantity: str, *, key: str | None
) -> tuple[str, bool] | None:
    """Choose where the label ``quantity`` of all structures comes from.

    Parameters
    ----------
    structures
        ASE ``Atoms``.
    quantity
        ``"energy"``, ``"forces"`` or ``"stress"``.
    key
        A name that overrides the search.

    Returns
    -------
    (name, stored) or None
        The name, and whether it is a stored calculator result; None when no structure has one.

    Raises
    ------
    DatasetError
        When ``key`` is given and no structure has it.
    """
    names = _PREFERRED[quantity] if key is None else (key,)
    for name in names:
        if any(_value(atoms, name, stored=False) is not None for atoms in structures):
            return name, False
    name = quantity if key is None else key
    if any(_value(atoms, name, stored=True) is not None for atoms in structures):
        return name, True
    if key is None:
        return None
    known = available_keys(structures)
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise DatasetError(
        f"no structure has {quantity} under the name {key!r}; {hint}names found: "
        f"{', '.join(known) or 'none'}"
    )


def describe_source(source: tuple[str, bool] | None) -> str:
    """Return the words in which a chosen source is reported."""
    if source is None:
        return "none"
    return f"calculator result {source[0]!r}" if source[1] else source[0]


def label_reader(
    source: tuple[str, bool] | None, quantity: str, *, factor: float
) -> Callable[[Any, str], FloatArray | None]:
    """Return a function (atoms, name of the structure) -> label in eV and Å, or None if missing.

    The function raises DatasetError for labels that are not finite numbers of the right shape.
    """

    def read(atoms: Any, name: str) -> FloatArray | None:
        raw = None if source is None else _value(atoms, source[0], stored=source[1])
        if source is None or raw is None:
            return None
        try:
            value = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"{quantity} {source[0]!r} of {name} is {raw!r}, expected numbers; correct the file"
            ) from error
        if not np.isfinite(value).all():
            raise DatasetError(
                f"{quantity} {source[0]!r} of {name} holds NaN or infinity; remove the structure, "
                "or leave the label out and set data.missing_labels to 'mask'"
            )
        if quantity == "stress":
            return _stress_matrix(value, source[0], atoms, name)
        expected = () if quantity == "energy" else (len(atoms), 3)
        if value.shape != expected and not (quantity == "energy" and value.size == 1):
            raise DatasetError(
                f"{quantity} {source[0]!r} of {name} has shape {value.shape}, expected {expected}; "
                "correct the file"
            )
        return value.reshape(expected) * factor

    return read


def _stress_matrix(value: FloatArray, key: str, atoms: Any, name: str) -> FloatArray:
    """Return the stress (3, 3) in eV/Å³ from 9 numbers, 6 in Voigt order, or a virial -V stress."""
    if value.size == 6:
        xx, yy, zz, yz, xz, xy = value.reshape(6)
        matrix = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    elif value.size == 9:
        matrix = value.reshape(3, 3)
    else:
        raise DatasetError(
            f"stress {key!r} of {name} has shape {value.shape}, expected (3, 3) or (6,); "
            "correct the file"
        )
    if "virial" not in key.lower():
        return matrix
    volume = abs(float(np.linalg.det(np.asarray(atoms.cell))))
    if volume == 0.0:
        raise DatasetError(
            f"virial {key!r} of {name} needs a cell with a volume; remove the label or add a cell"
        )
    return -matrix / volume
