"""Potential bound to one system -> a metatomic model, one file for every engine that reads those.

metatomic (https://docs.metatensor.org/metatomic) hands over types, positions, cell and periodicity,
and takes back

    "energy" in eV, of each system or of each atom (of all atoms, or of those selected),

which the engine differentiates for forces and virial. ASE, LAMMPS, i-PI, GROMACS, PLUMED and
torch-sim read such files.

Bonds are not handed over, and no fragments can be found inside of an engine. So a file is bound to
the atoms of one system in their order, and every call is checked: the number of atoms, their
elements one by one, the periodicity, and that each bond is shorter than 1.6 times the sum of
covalent radii. Atoms in another order that passes as the same elements have bonds across the
system, and are refused by their lengths; so is a bond that breaks.

What that means:

- One domain. An atom's energy depends on whole fragments; the interaction range is declared
  infinite, with which LAMMPS stops by itself on more than one MPI process. A part of the atoms, or
  ghost atoms besides them, would be refused by their number.
- Atoms stay in order. LAMMPS sorts atoms in space unless ``atom_modify sort 0 0.0`` forbids it.
- i-PI always has a cell: export with ``periodic=True``, and give a molecule a large one.
- Atoms may be wrapped into the cell one by one.
"""

from pathlib import Path

import numpy as np
import torch

from se3set_mlip.elements import COVALENT_RADII
from se3set_mlip.errors import ArtifactError
from se3set_mlip.export.interpreter import expect_torchscript
from se3set_mlip.export.metatomic_module import MetatomicPotential
from se3set_mlip.export.metatomic_package import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
)
from se3set_mlip.export.torchscript import bind
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.checkpoint import package_version, weights_checksum
from se3set_mlip.potential.potential import Potential
from se3set_mlip.topology.molecule import BROKEN_FACTOR


def metatomic_model(
    potential: Potential,
    fragmentation: Fragmentation,
    *,
    periodic: bool = False,
    dtype: torch.dtype | str | None = None,
) -> AtomisticModel:
    """Return a potential of one system as a metatomic model.

    Parameters
    ----------
    potential
        The potential.
    fragmentation
        Fragments of the system.
    periodic
        Whether the system is periodic, in all directions.
    dtype
        Precision of the network, and of positions and energies; None: the potential's.

    Returns
    -------
    metatomic.torch.AtomisticModel
        For engines in Python; others read what :func:`export_metatomic` writes.

    Raises
    ------
    InputError
        If the fragments do not fit the potential, or an element is unknown.
    """
    potential = potential.to(dtype=dtype)
    topology = fragmentation.topology
    bonds = np.array(topology.bonds, dtype=np.int64).reshape(-1, 2)
    parents = np.array(fragmentation.parents, dtype=np.int64)
    links = np.stack([parents, np.arange(len(parents))], axis=1)
    links = links[parents != links[:, 1]]
    radii = np.array([COVALENT_RADII[number] for number in topology.numbers])
    limits = np.append(BROKEN_FACTOR * radii[bonds].sum(axis=1), np.full(len(links), np.inf))
    module = MetatomicPotential(
        bind(potential, fragmentation, periodic=periodic),
        pairs=torch.tensor(np.concatenate([bonds, links])),
        limits=torch.tensor(limits),
    )
    capabilities = ModelCapabilities(
        outputs={"energy": ModelOutput(unit="eV", sample_kind="atom", explicit_gradients=[])},
        atomic_types=sorted(set(topology.numbers)),
        interaction_range=torch.inf,
        length_unit="angstrom",
        supported_devices=["cuda", "cpu"],
        dtype=str(potential.dtype).removeprefix("torch."),
    )
    return AtomisticModel(module.eval(), _metadata(potential, fragmentation), capabilities)


def export_metatomic(
    potential: Potential,
    path: str | Path,
    fragmentation: Fragmentation,
    *,
    periodic: bool = False,
    dtype: torch.dtype | str | None = None,
) -> Path:
    """Write a potential of one system for the engines that read metatomic models.

    The arguments besides ``path`` are those of :func:`metatomic_model`.

    Returns
    -------
    pathlib.Path
        The file; metatomic wants a name that ends in ``.pt``.

    Raises
    ------
    InputError
        As :func:`metatomic_model`.
    ArtifactError
        If the file cannot be written.
    """
    path = Path(path)
    model = metatomic_model(potential, fragmentation, periodic=periodic, dtype=dtype)
    if not path.parent.is_dir():
        raise ArtifactError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    try:
        with expect_torchscript():
            model.save(path)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror}; give a path that can be written to"
        ) from error
    return path


def _metadata(potential: Potential, fragmentation: Fragmentation) -> ModelMetadata:
    """Return what the file says about itself."""
    metadata = potential.metadata
    extra = {
        "level_of_theory": metadata.level_of_theory,
        "training_data": metadata.training_data,
        "license": metadata.license,
        "weights_sha256": weights_checksum(potential.module.state_dict()),
        "se3set_mlip_version": package_version(),
        "bound_system": fragmentation.describe(),
    }
    extra |= {f"metric {name}": f"{value:.6g}" for name, value in metadata.metrics.items()}
    return ModelMetadata(
        name="SE3Set",
        description=metadata.description,
        authors=[metadata.authors] if metadata.authors else [],
        references={"architecture": ["SE3Set, hypergraph neural network for molecules"]},
        extra=extra,
    )
