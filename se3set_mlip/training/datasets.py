"""Files of labelled structures become frames: ASE ``Atoms`` with checked labels in eV and Å.

This is the only module of the training part that imports ASE. Single atoms without periodic
boundaries are set aside: they give reference energies and are never trained on.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import ase
import ase.io
import numpy as np

from se3set_mlip.errors import DatasetError
from se3set_mlip.training.labels import (
    EV_PER_ANGSTROM_PER_FORCES_UNIT,
    EV_PER_ENERGY_UNIT,
    FloatArray,
    LabelConfig,
    available_keys,
    describe_source,
    find_source,
    label_reader,
)

_EXTENDED_XYZ_SUFFIXES = (".xyz", ".extxyz")
_IDENTITY_DECIMALS = 6  # Å; the precision of most files is 1e-8


@dataclass(frozen=True)
class Frame:
    """One structure and its labels; None where a label is missing."""

    name: str
    """File and index, for messages."""
    atoms: ase.Atoms
    energy: float | None
    """Total energy in eV."""
    forces: FloatArray | None
    """(n_atoms, 3), eV/Å."""
    stress: FloatArray | None
    """(3, 3), eV/Å³, ASE's sign; None also where it is undefined (not periodic in all ways)."""

    @property
    def weight(self) -> float:
        """How much its errors count in the loss: ``info["config_weight"]``, else 1.

        Raises
        ------
        DatasetError
            If it is not a number above zero.
        """
        value = self.atoms.info.get("config_weight", 1.0)
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0.0 < float(value) < math.inf:
            raise DatasetError(
                f"{self.name} has config_weight = {value!r}; give a number above zero, or none"
            )
        return float(value)

    @property
    def identity(self) -> str:
        """A hash of elements, positions and cell: equal for identical structures."""
        digest = hashlib.sha256(np.asarray(self.atoms.numbers, dtype=np.int64).tobytes())
        digest.update(np.asarray(self.atoms.pbc, dtype=np.uint8).tobytes())
        periodic = np.asarray(self.atoms.cell)[np.asarray(self.atoms.pbc)]
        for lengths in (np.asarray(self.atoms.positions), periodic):
            rounded = np.round(lengths, _IDENTITY_DECIMALS) + 0.0  # -0.0 becomes 0.0
            digest.update(rounded.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class FrameFile:
    """What one file holds."""

    path: str
    sha256: str
    frames: tuple[Frame, ...]
    isolated_atoms: tuple[Frame, ...]
    label_sources: dict[str, str]
    """Quantity -> the name from which its labels were taken."""

    def describe(self) -> str:
        """Return one line about the contents, for the user."""
        sources = ", ".join(f"{name} from {text}" for name, text in self.label_sources.items())
        single = f" and {len(self.isolated_atoms)} isolated atoms" if self.isolated_atoms else ""
        return f"{self.path}: {len(self.frames)} structures{single}; {sources}"


def _read_atoms(path: Path) -> list[ase.Atoms]:
    """Return all structures of a file."""
    if not path.is_file():
        raise DatasetError(f"there is no file {path}; correct the path")
    file_format = "extxyz" if path.suffix in _EXTENDED_XYZ_SUFFIXES else None
    try:
        structures = ase.io.read(path, index=":", format=file_format)
    # Each of ASE's many readers raises its own errors on a file that it cannot read.
    except Exception as error:
        raise DatasetError(
            f"cannot read {path}: {type(error).__name__}: {error}; expected extended XYZ or "
            "another format that ASE reads"
        ) from error
    if not structures:
        raise DatasetError(f"{path} holds no structures; expected one or more")
    return list(structures)


def read_frames(path: str | Path, labels: LabelConfig) -> FrameFile:
    """Read all structures of a file with their labels.

    Parameters
    ----------
    path
        Extended XYZ, or another file that ASE reads.
    labels
        Names and units of the labels.

    Returns
    -------
    FrameFile
        The structures, the isolated atoms, and where the labels were found.

    Raises
    ------
    DatasetError
        When the file is missing or broken, when no structure has an energy or forces, when a
        number is NaN, or when all forces of a structure are zero (a placeholder).
    """
    path = Path(path)
    structures = _read_atoms(path)
    sources = {
        quantity: find_source(structures, quantity, key=key)
        for quantity, key in (
            ("energy", labels.energy_key),
            ("forces", labels.forces_key),
            ("stress", labels.stress_key),
        )
    }
    if sources["energy"] is None and sources["forces"] is None:
        raise DatasetError(
            f"{path} holds no labels: zero of {len(structures)} structures have REF_energy, "
            "REF_forces or ASE calculator results; names found: "
            f"{', '.join(available_keys(structures)) or 'none'}; name the labels with "
            "data.labels.energy_key and data.labels.forces_key"
        )
    factors = {
        "energy": EV_PER_ENERGY_UNIT[labels.energy_unit],
        "forces": EV_PER_ANGSTROM_PER_FORCES_UNIT[labels.forces_unit],
        "stress": 1.0,
    }
    readers = {
        quantity: label_reader(source, quantity, factor=factors[quantity])
        for quantity, source in sources.items()
    }
    frames: list[Frame] = []
    isolated: list[Frame] = []
    for index, atoms in enumerate(structures):
        name = f"{path.name}[{index}]"
        _check_geometry(atoms, name)
        energy = readers["energy"](atoms, name)
        frame = Frame(
            name=name,
            atoms=atoms,
            energy=None if energy is None else float(energy),
            forces=readers["forces"](atoms, name),
            stress=readers["stress"](atoms, name) if np.all(atoms.pbc) else None,
        )
        if len(atoms) == 1 and not np.any(atoms.pbc):
            isolated.append(frame)
        else:
            _check_forces_present(frame)
            frames.append(frame)
    return FrameFile(
        path=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        frames=tuple(frames),
        isolated_atoms=tuple(isolated),
        label_sources={name: describe_source(source) for name, source in sources.items()},
    )


def _check_geometry(atoms: ase.Atoms, name: str) -> None:
    """Raise DatasetError for an empty structure, a dummy element or positions that are NaN."""
    if len(atoms) == 0:
        raise DatasetError(f"{name} has no atoms; remove it from the file")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(np.asarray(atoms.cell)).all():
        raise DatasetError(
            f"positions or cell of {name} hold NaN or infinity; remove it from the file"
        )
    if np.any(atoms.numbers < 1):
        raise DatasetError(
            f"{name} holds the dummy element X (number 0); expected chemical elements; remove it"
        )


def _check_forces_present(frame: Frame) -> None:
    """Raise DatasetError when all forces are exactly zero: a placeholder for missing labels."""
    if frame.forces is not None and len(frame.atoms) > 1 and not np.any(frame.forces):
        raise DatasetError(
            f"all forces of {frame.name} are exactly 0, which looks like a placeholder for missing "
            "forces; leave them out and set data.missing_labels to 'mask', or remove the structure"
        )


def check_labels(
    frames: Sequence[Frame], *, energy: bool, forces: bool, stress: bool, missing: str
) -> None:
    """Refuse labels that are wanted and not there.

    Parameters
    ----------
    frames
        The structures of one purpose (training, validation).
    energy, forces, stress
        Which labels the loss needs.
    missing
        ``"error"``: every structure must have all of them; ``"mask"``: at least one structure must.

    Raises
    ------
    DatasetError
        Naming the first structure that lacks a label, and how many do.
    """
    for quantity, wanted in (("energy", energy), ("forces", forces), ("stress", stress)):
        lacking = [frame.name for frame in frames if getattr(frame, quantity) is None]
        if not wanted or not lacking:
            continue
        if len(lacking) == len(frames):
            raise DatasetError(
                f"none of {len(frames)} structures (first: {lacking[0]}) has a label for "
                f"{quantity}; set loss.{quantity}_weight to 0 or name it with "
                f"data.labels.{quantity}_key"
            )
        if missing == "error":
            raise DatasetError(
                f"{len(lacking)} of {len(frames)} structures have no {quantity} (first: "
                f"{lacking[0]}); add the labels, set data.missing_labels to 'mask' to leave them "
                f"out of the loss, or set loss.{quantity}_weight to 0"
            )
