"""Potential -> TorchScript: one file with weights, reference energies, hypergraph and forces.

Two shapes. A *generic* artefact computes any system of known elements and speaks Å and eV; a
*bound* one computes one system and speaks OpenMM's nm and kJ/mol:

=======  =========================================================  ===============================
generic  ``forward(numbers, positions, cell, pbc, fragment, group,  energy, atomic energies, forces,
         parent, charge)``                                          stress
bound    ``forward(positions)`` or                                  energy
         ``forward(positions, boxvectors)``
=======  =========================================================  ===============================

A bound artefact returns the energy alone, differentiable: OpenMM's ``TorchForce`` takes its
gradient where it wants forces.
"""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from se3set_mlip.errors import ArtifactError, InputError
from se3set_mlip.export.artifact import (
    RECORD_NAME,
    ArtifactRecord,
    BoundSystem,
    record_to_dict,
    write_sealed,
)
from se3set_mlip.export.interpreter import expect_torchscript, limit_specialisation
from se3set_mlip.export.modules import BoundPotential, GenericPotential
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.checkpoint import package_version, weights_checksum
from se3set_mlip.potential.inputs import check_electrons_known
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule

GENERIC_UNITS = {
    "positions": "angstrom",
    "cell": "angstrom",
    "energy": "eV",
    "atomic_energies": "eV",
    "forces": "eV/angstrom",
    "stress": "eV/angstrom^3",
}
BOUND_UNITS = {"positions": "nm", "boxvectors": "nm", "energy": "kJ/mol"}


def bind(
    potential: Potential,
    fragmentation: Fragmentation,
    *,
    particles: Sequence[int] | None = None,
    periodic: bool = False,
    dtype: torch.dtype | str | None = None,
) -> torch.jit.ScriptModule:
    """Compile a potential for one system, in OpenMM's units.

    Parameters
    ----------
    potential
        The potential.
    fragmentation
        Fragments of the system.
    particles
        Indices of its atoms among the particles whose positions will be passed, in the order of
        the fragmentation's atoms; None: all particles, in order.
    periodic
        Whether box vectors will be passed; the system is then periodic in all directions.
    dtype
        Precision of the network; None: the potential's.

    Returns
    -------
    torch.jit.ScriptModule
        ``forward(positions)`` or ``forward(positions, boxvectors)``, see :class:`BoundPotential`.

    Raises
    ------
    InputError
        If the particles do not fit the fragmentation, or an element is unknown.
    """
    _check_bound(potential, fragmentation, particles)
    module, potential = _inference_copy(potential, dtype)
    bound = BoundPotential(
        module,
        dtype=potential.dtype,
        numbers=torch.tensor(fragmentation.topology.numbers),
        fragment=torch.tensor(fragmentation.fragment_index),
        group=torch.tensor(fragmentation.group_index),
        parent=torch.tensor(fragmentation.parents),
        charge=torch.tensor(fragmentation.fragment_charges),
        particles=None if particles is None else torch.tensor([int(i) for i in particles]),
        periodic=periodic,
    )
    limit_specialisation()
    return _script(bound)


def export_bound(
    potential: Potential,
    path: str | Path,
    fragmentation: Fragmentation,
    *,
    particles: Sequence[int] | None = None,
    periodic: bool = False,
    dtype: torch.dtype | str | None = None,
) -> Path:
    """Write a potential bound to one system, for ``TorchForce`` and C++ programs.

    The arguments are those of :func:`bind`; the file is read with
    :func:`~se3set_mlip.export.loading.load_bound`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        As :func:`bind`.
    ArtifactError
        If the file cannot be written.
    """
    potential = potential.to(dtype=dtype)
    module = bind(potential, fragmentation, particles=particles, periodic=periodic)
    bound = BoundSystem(
        numbers=tuple(fragmentation.topology.numbers),
        particles=None if particles is None else tuple(int(i) for i in particles),
        periodic=periodic,
    )
    return _write(module, path, potential, units=BOUND_UNITS, bound=bound)


def export_generic(
    potential: Potential, path: str | Path, *, dtype: torch.dtype | str | None = None
) -> Path:
    """Write a potential for any system of its elements, for ``load`` and C++ programs.

    Parameters
    ----------
    potential
        The potential.
    path
        The file to write.
    dtype
        Precision of the network; None: the potential's.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ArtifactError
        If the file cannot be written.
    """
    module, potential = _inference_copy(potential, dtype)
    return _write(
        _script(GenericPotential(module)), path, potential, units=GENERIC_UNITS, bound=None
    )


def _check_bound(
    potential: Potential, fragmentation: Fragmentation, particles: Sequence[int] | None
) -> None:
    """Raise unless a potential can be bound to a fragmentation and particles."""
    if fragmentation.config != potential.config.fragmentation:
        raise InputError(
            f"the fragmentation was made with {fragmentation.config}, the potential was trained "
            f"with {potential.config.fragmentation}; make it with potential.fragment(...)"
        )
    unknown = sorted(set(fragmentation.topology.numbers) - set(potential.elements))
    if unknown:
        raise InputError(
            f"the potential does not know the elements with numbers {unknown}, only "
            f"{list(potential.elements)}; use a potential trained on them"
        )
    check_electrons_known(fragmentation.topology, potential.metadata)
    n_atoms = fragmentation.topology.n_atoms
    if particles is None:
        return
    if len(particles) != n_atoms or len(set(particles)) != n_atoms or min(particles) < 0:
        raise InputError(
            f"particles = {list(particles)[:8]}... ({len(particles)} of them) for a fragmentation "
            f"of {n_atoms} atoms; give one index per atom, 0 or more, each once"
        )


def _inference_copy(
    potential: Potential, dtype: torch.dtype | str | None
) -> tuple[PotentialModule, Potential]:
    """Return a copy of the module on the CPU without gradients of weights, alone and in hand."""
    if not isinstance(potential.module, PotentialModule):
        raise ArtifactError(
            "this potential was loaded from TorchScript and cannot be exported again; load the "
            "checkpoint that it was exported from"
        )
    potential = potential.to(dtype=dtype)
    module = PotentialModule(potential.config, dtype=potential.dtype)
    module.load_state_dict(potential.module.state_dict())
    module.eval().requires_grad_(False)
    return module, Potential(module, potential.config, potential.metadata)


def _script(module: nn.Module) -> torch.jit.ScriptModule:
    """Compile a module."""
    with expect_torchscript():
        script: torch.jit.ScriptModule = torch.jit.script(module.eval())
    return script


def _write(
    module: torch.jit.ScriptModule,
    path: str | Path,
    potential: Potential,
    *,
    units: dict[str, str],
    bound: BoundSystem | None,
) -> Path:
    """Write a compiled module with its record and seal."""
    record = ArtifactRecord(
        kind="generic" if bound is None else "bound",
        dtype=str(potential.dtype).removeprefix("torch."),
        elements=potential.elements,
        range_angstrom=potential.config.range_angstrom,
        units=units,
        weights_sha256=weights_checksum(potential.module.state_dict()),
        config=potential.config,
        metadata=dataclasses.replace(potential.metadata, package_version=package_version()),
        bound=bound,
    )
    text = json.dumps(record_to_dict(record), indent=1, allow_nan=False)
    buffer = io.BytesIO()
    with expect_torchscript():
        torch.jit.save(module, buffer, _extra_files={RECORD_NAME: text})
    return write_sealed(path, buffer.getvalue())
