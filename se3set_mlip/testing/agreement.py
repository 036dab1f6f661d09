"""The same numbers everywhere: TorchScript, ASE and OpenMM compute what the potential computes.

Energies are compared relative to what the network adds to them, forces relative to the largest,
each at least 1 eV and 1 eV/Å. Ways that this machine does not have are skipped with the reason.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from se3set_mlip.errors import ArtifactError, InputError, MissingDependencyError
from se3set_mlip.export.loading import load
from se3set_mlip.export.torchscript import export_generic
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.testing.integrators import specimens_at
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.specimens import held
from se3set_mlip.testing.subject import Specimen, Subject, Values
from se3set_mlip.testing.subjects import PotentialSubject, energy_scale

AGREEMENT_RELATIVE = 1e-9
AGREEMENT_RELATIVE_FLOAT32 = 1e-5
DISPLACEMENT_ANGSTROM = 0.05
_NAME = "same numbers in {}"


def check_agreement(
    subject: Subject, specimen: Specimen, *, n_geometries: int = 3, seed: int = 0
) -> list[CheckResult]:
    """Compute geometries in every way that this machine has and compare.

    Parameters
    ----------
    subject
        To be checked; ways other than its own exist for potentials of this package only.
    specimen
        A structure; geometries are random displacements of it.
    n_geometries
        How many.
    seed
        Of the displacements.
    """
    if not isinstance(subject, PotentialSubject):
        reason = "the calculator is the only way to compute it that is known here"
        return [CheckResult.skip(_NAME.format("TorchScript, ASE, OpenMM"), reason)]
    specimen = held(specimen)
    start = specimen.atoms.positions
    noise = np.random.default_rng(seed).normal(size=(n_geometries, *start.shape))
    specimens = specimens_at(specimen, start + DISPLACEMENT_ANGSTROM * noise)
    expected = subject.values(specimens)
    allowed = AGREEMENT_RELATIVE_FLOAT32 if subject.single_precision else AGREEMENT_RELATIVE
    scale = energy_scale(subject, specimen)
    results = []
    for name, way in _ways(subject).items():
        full_name = _NAME.format(name)
        try:
            found = way(specimens)
        except (ArtifactError, InputError, MissingDependencyError) as error:
            results.append(CheckResult.skip(full_name, str(error)))
            continue
        results.append(
            CheckResult(
                full_name,
                _difference(found, expected, scale),
                allowed,
                "relative",
                detail=f"{n_geometries} geometries",
            )
        )
    return results


Way = Callable[[Sequence[Specimen]], list[Values]]


def _ways(subject: PotentialSubject) -> dict[str, Way]:
    """Return the ways to compute by their names."""
    ways: dict[str, Way] = {
        "TorchScript": lambda specimens: _torchscript(subject, specimens),
        "ASE": lambda specimens: _ase(subject, specimens),
    }
    try:
        from se3set_mlip.testing import openmm_values  # noqa: PLC0415 - optional
    except ImportError as error:
        missing = MissingDependencyError(f"{error}")

        def no_openmm(_specimens: Sequence[Specimen]) -> list[Values]:
            raise missing

        return ways | {"OpenMM": no_openmm}
    cache = FragmentCache(subject.potential.config.fragmentation)

    def in_openmm(force: Callable[..., list[Values]], platform: str) -> Way:
        return lambda specimens: force(
            subject.potential,
            cache.find(specimens[0].atoms, topology=specimens[0].topology),
            specimens,
            platform,
        )

    for platform in openmm_values.platform_names():
        ways[f"OpenMM, {platform}"] = in_openmm(openmm_values.python_force_values, platform)
    ways["OpenMM TorchForce"] = in_openmm(openmm_values.torch_force_values, "Reference")
    return ways


def _torchscript(subject: PotentialSubject, specimens: Sequence[Specimen]) -> list[Values]:
    """Return what an exported file computes after it is read again."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "exported.pt"
        export_generic(subject.potential, path)
        loaded = load(path, device=str(subject.potential.device))
    return PotentialSubject(loaded).values(specimens)


def _ase(subject: PotentialSubject, specimens: Sequence[Specimen]) -> list[Values]:
    """Return what the ASE calculator computes."""
    calculator = subject.calculator(specimens[0].topology)
    found = []
    for specimen in specimens:
        atoms = specimen.atoms.copy()
        atoms.calc = calculator
        forces = np.array(atoms.get_forces(), dtype=np.float64)
        found.append(Values(float(atoms.get_potential_energy()), forces))
    return found


def _difference(found: Sequence[Values], expected: Sequence[Values], scale: float) -> float:
    """Return the largest relative difference of energies and forces."""
    worst = 0.0
    for here, there in zip(found, expected, strict=True):
        largest = max(1.0, float(np.abs(there.forces).max()))
        energy = abs(here.energy - there.energy) / scale
        forces = float(np.abs(here.forces - there.forces).max()) / largest
        worst = float(np.max([worst, energy, forces]))  # NaN stays NaN
    return worst
