"""Frames become samples (tensors, made once), and samples become batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from se3set_mlip.errors import Se3SetError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.potential import Potential
from se3set_mlip.training.datasets import Frame
from se3set_mlip.training.fragmenting import find_fragments


class Labels(NamedTuple):
    """Labels of a batch; rows whose ``has_`` entry is False hold zeros that nobody may read."""

    energy: torch.Tensor
    """eV, (n_structures,) float64."""
    has_energy: torch.Tensor
    """(n_structures,) bool."""
    forces: torch.Tensor
    """eV/Å, (n_atoms, 3), the network's dtype."""
    has_forces: torch.Tensor
    """(n_atoms,) bool."""
    stress: torch.Tensor
    """eV/Å³, (n_structures, 3, 3), the network's dtype."""
    has_stress: torch.Tensor
    """(n_structures,) bool."""
    weight: torch.Tensor
    """(n_structures,) float64: how much the errors of a structure count in the loss."""
    molecule: torch.Tensor
    """Which molecule of a batch an atom is of, (n_atoms,) int64; -1 in structures of only one, on
    which there is no net force."""

    def beside_others(self) -> torch.Tensor:
        """Return which atoms have forces and are of a molecule beside others, (n_atoms,) bool."""
        return self.has_forces & (self.molecule >= 0)


class Sample(NamedTuple):
    """One structure, ready for the network."""

    name: str
    system: System
    labels: Labels


class Batch(NamedTuple):
    """Several structures."""

    names: tuple[str, ...]
    system: System
    labels: Labels
    n_atoms: torch.Tensor
    """Atoms of each structure, (n_structures,) float64."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on ``device``."""
        if self.n_atoms.device == device:
            return self
        return Batch(
            names=self.names,
            system=System(*(tensor.to(device, non_blocking=True) for tensor in self.system)),
            labels=Labels(*(tensor.to(device, non_blocking=True) for tensor in self.labels)),
            n_atoms=self.n_atoms.to(device, non_blocking=True),
        )


class LabelCounts(NamedTuple):
    """Over how many labels the loss of a batch is an average."""

    energy: int
    """Structures with an energy."""
    forces: int
    """Atoms with forces."""
    stress: int
    """Structures with a stress."""
    molecules: int = 0
    """Molecules, in structures of several, whose atoms have forces."""


class Share(NamedTuple):
    """What one process computes of a batch; all of it where there is only one process."""

    batch: Batch | None
    """None where the batch has fewer structures than there are processes."""
    names: tuple[str, ...]
    """Of the whole batch."""
    counts: LabelCounts
    """Of the whole batch."""

    def to(self, device: torch.device) -> "Share":
        """Return the share with its tensors on ``device``."""
        return self if self.batch is None else self._replace(batch=self.batch.to(device))


def make_labels(
    frame: Frame, dtype: torch.dtype, molecules: Sequence[Sequence[int]] = ()
) -> Labels:
    """Return the labels of one structure as tensors on the CPU.

    Parameters
    ----------
    frame
        The structure.
    dtype
        Of forces and stress.
    molecules
        The atoms of each molecule; none if there is only one.
    """
    n_atoms = len(frame.atoms)
    forces = torch.zeros(n_atoms, 3, dtype=dtype)
    stress = torch.zeros(1, 3, 3, dtype=dtype)
    if frame.forces is not None:
        forces = torch.as_tensor(frame.forces, dtype=dtype)
    if frame.stress is not None:
        stress = torch.as_tensor(frame.stress, dtype=dtype).reshape(1, 3, 3)
    molecule = torch.full((n_atoms,), -1, dtype=torch.int64)
    if len(molecules) > 1:
        for index, atoms in enumerate(molecules):
            molecule[list(atoms)] = index
    return Labels(
        energy=torch.tensor([frame.energy or 0.0], dtype=torch.float64),
        has_energy=torch.tensor([frame.energy is not None]),
        forces=forces,
        has_forces=torch.full((n_atoms,), frame.forces is not None),
        stress=stress,
        has_stress=torch.tensor([frame.stress is not None]),
        weight=torch.tensor([frame.weight], dtype=torch.float64),
        molecule=molecule,
    )


def make_samples(
    potential: Potential, frames: Sequence[Frame], *, bond_stretch: float = 0.0
) -> list[Sample]:
    """Find fragments and build tensors, once, on the CPU.

    Parameters
    ----------
    potential
        Gives the fragmentation, the dtype, and the checks of the structures.
    frames
        Labelled structures.
    bond_stretch
        A structure that holds the bonds of several topologies up to this stretch becomes several
        samples; see :func:`.fragmenting.find_fragments`.

    Returns
    -------
    list of Sample
        In the order of the structures; one for each if ``bond_stretch`` is 0.

    Raises
    ------
    TopologyError, InputError
        For structures that the potential cannot take; the message names the structure.
    """
    samples: list[Sample] = []
    found = find_fragments(frames, potential.config.fragmentation, bond_stretch=bond_stretch)
    for frame, fragmentations in zip(frames, found, strict=True):
        for number, fragmentation in enumerate(fragmentations, start=1):
            labels = make_labels(frame, potential.dtype, fragmentation.topology.components)
            system = _make_system(potential, frame, fragmentation)
            name = frame.name if number == 1 else f"{frame.name} with fragments {number}"
            samples.append(Sample(name, system, labels))
    return samples


def _make_system(potential: Potential, frame: Frame, fragmentation: Fragmentation) -> System:
    """Return the tensors of one structure, on the CPU."""
    atoms = frame.atoms
    periodic = bool(np.any(atoms.pbc))
    try:
        system = potential.system(
            atoms.numbers,
            atoms.positions,
            fragmentation,
            cell=np.asarray(atoms.cell) if periodic else None,
            pbc=atoms.pbc if periodic else None,
        )
    except Se3SetError as error:
        raise type(error)(f"{frame.name}: {error}") from error
    return System(*(tensor.cpu() for tensor in system))


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples one after the other."""
    labels = Labels(
        *(torch.cat(column) for column in zip(*(s.labels for s in samples), strict=True))
    )
    return Batch(
        names=tuple(sample.name for sample in samples),
        system=batch_systems([sample.system for sample in samples]),
        labels=labels._replace(molecule=_numbered([s.labels.molecule for s in samples])),
        n_atoms=torch.tensor(
            [sample.system.numbers.shape[0] for sample in samples], dtype=torch.float64
        ),
    )


def _numbered(molecules: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the molecules of several structures (n_atoms,), no two structures with the same."""
    found, first = [], 0
    for molecule in molecules:
        found.append(torch.where(molecule >= 0, molecule + first, molecule))
        first += _n_molecules(molecule)
    return torch.cat(found)


def _n_molecules(molecule: torch.Tensor) -> int:
    """Return how many molecules are numbered (n_atoms,), from 0 on."""
    return 1 + int(molecule.max()) if molecule.numel() else 0


def count_labels(labels: Sequence[Labels]) -> LabelCounts:
    """Return the numbers of labels of several structures or batches."""
    return LabelCounts(
        energy=sum(int(each.has_energy.sum()) for each in labels),
        forces=sum(int(each.has_forces.sum()) for each in labels),
        stress=sum(int(each.has_stress.sum()) for each in labels),
        molecules=sum(len(each.molecule[each.beside_others()].unique()) for each in labels),
    )


def make_share(whole: Sequence[Sample], own: Sequence[Sample]) -> Share:
    """Return the share of a process that computes ``own`` of the batch ``whole``."""
    return Share(
        batch=collate(own) if own else None,
        names=tuple(sample.name for sample in whole),
        counts=count_labels([sample.labels for sample in whole]),
    )


def fixed_batches(samples: Sequence[Sample], batch_size: int) -> list[Batch]:
    """Return all samples in order as batches, for validation."""
    return [
        collate(samples[first : first + batch_size]) for first in range(0, len(samples), batch_size)
    ]
