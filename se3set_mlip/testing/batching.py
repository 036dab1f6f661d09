"""A batch is its structures: the same numbers, and no gradient from one to another."""

import numpy as np
import torch

from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import boxed, displaced, held
from se3set_mlip.testing.subject import Specimen, Subject
from se3set_mlip.testing.subjects import PotentialSubject, energy_scale

BATCH_RELATIVE = 1e-10
BATCH_RELATIVE_FLOAT32 = 1e-5
"""As for symmetries: sums are rounded differently."""
CROSS_GRADIENT = 0.0


def check_batching(subject: Subject, specimen: Specimen, *, seed: int = 0) -> list[CheckResult]:
    """Evaluate structures in a batch and one by one, and differentiate one by the others.

    Parameters
    ----------
    subject
        To be checked; skipped unless it is a potential of this package.
    specimen
        The structure; the batch has it as it is, displaced, and in a box.
    seed
        Of the displacement.

    Returns
    -------
    list of CheckResult
        The largest errors of energies and forces, relative as for symmetries, and the largest
        gradient of a structure's energy by another's positions in eV/Å, of which only 0 is allowed.
    """
    names = ("batch against single", "gradient across structures")
    if not isinstance(subject, PotentialSubject):
        reason = "only a potential of this package is evaluated in batches"
        return [CheckResult.skip(name, reason) for name in names]
    specimen = held(specimen)
    generator = np.random.default_rng(seed)
    n_atoms = len(specimen.atoms)
    batch = [
        specimen,
        displaced(specimen, 0.1 * generator.normal(size=(n_atoms, 3))),
        boxed(specimen),
    ]
    together = subject.values(batch)
    alone = [subject.values([one])[0] for one in batch]
    energy_unit = energy_scale(subject, specimen)
    errors = []
    for one, other in zip(together, alone, strict=True):
        force_unit = max(1.0, float(np.abs(other.forces).max()))
        errors.append(abs(one.energy - other.energy) / energy_unit)
        errors.append(float(np.abs(one.forces - other.forces).max()) / force_unit)

    across, own = _gradients(subject, batch)
    allowed = BATCH_RELATIVE_FLOAT32 if subject.single_precision else BATCH_RELATIVE
    results = [CheckResult(names[0], max(errors), allowed, "relative", detail="3 structures")]
    if own == 0.0:
        reason = "the energy depends on no position at all"
        return [*results, CheckResult.skip(names[1], reason)]
    detail = f"by its own positions {own:.2g} eV/Å"
    return [*results, CheckResult(names[1], across, CROSS_GRADIENT, "eV/Å", detail=detail)]


def _gradients(subject: PotentialSubject, batch: list[Specimen]) -> tuple[float, float]:
    """Return the largest gradients of an energy by others' positions, and by its own."""
    systems = batch_systems([subject.system(one) for one in batch])
    leaf = systems.positions.detach().clone().requires_grad_(True)
    module = subject.potential.module
    across, own = 0.0, 0.0
    energy = module(systems._replace(positions=leaf), False, False).energy
    for k in range(len(batch)):
        (gradient,) = torch.autograd.grad(energy[k], leaf, retain_graph=True)
        mine = systems.structure == k
        across = max(across, float(gradient[~mine].abs().max()))
        own = max(own, float(gradient[mine].abs().max()))
    return across, own
