"""Checks that tell whether a potential is fit for dynamics, on the user's own structure.

Each check returns what was measured and what is allowed; the tolerances are named here and used by
the package's own tests. Energies are in eV, lengths in Å. Smoothness and symmetry are properties of
the architecture, so a network with random weights passes all but the drift.

A crossing is a point on a path where an incidence of the hypergraph appears or vanishes, or becomes
full. It is bisected and looked at under the microscope: with f at four points of equal spacing d
around it,

    step = f2 - f1 - ((f1 - f0) + (f3 - f2)) / 2

is of order d^3 for a smooth function, and the height of a jump between f1 and f2 otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tqdm.auto import tqdm

from se3set_mlip.errors import InputError
from se3set_mlip.hypergraph.hypergraph import System, moved
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.potential.inputs import make_system
from se3set_mlip.potential.potential import Potential, PotentialModule
from se3set_mlip.simulate.ase_engine import ase_samples
from se3set_mlip.simulate.dynamics import DynamicsConfig, run_dynamics
from se3set_mlip.topology.molecule import Topology

SYMMETRY_RELATIVE = {torch.float64: 1e-10, torch.float32: 1e-5}
DERIVATIVE_RELATIVE = 1e-7
CROSSING_ENERGY_EV = 1e-9
CROSSING_FORCE_EV_PER_ANGSTROM = 1e-6
SKIN_ABSOLUTE = 1e-12
DRIFT_MEV_PER_ATOM_PER_PS = 1e-2

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CheckResult:
    """What one check measured.

    Parameters
    ----------
    name
        What was checked, with the unit.
    measured, allowed
        The largest deviation found, and the largest that is allowed.
    """

    name: str
    measured: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the measured value is allowed; a value that is not finite never is."""
        return bool(np.isfinite(self.measured) and self.measured <= self.allowed)


def energy_and_forces(potential: Potential, system: System) -> tuple[float, Array]:
    """Return energy (eV) and forces (n_atoms, 3) in eV/Å of one structure."""
    output = potential.compute(system)
    return float(output.energy[0]), output.forces.cpu().double().numpy()


def _with_positions(system: System, positions: Array) -> System:
    """Return the system at other positions (n_atoms, 3)."""
    return moved(
        system,
        torch.as_tensor(positions, dtype=system.positions.dtype, device=system.positions.device),
        system.cell,
    )


def _relative(difference: float, scale: float) -> float:
    """Return a difference over a scale that is at least 1 eV or eV/Å."""
    return difference / max(1.0, scale)


def check_symmetry(potential: Potential, system: System, *, seed: int = 0) -> CheckResult:
    """Rotate, reflect, translate and relabel a structure; the cell turns with it.

    Parameters
    ----------
    potential
        To be checked.
    system
        One structure.
    seed
        Of the random motions.
    """
    generator = np.random.default_rng(seed)
    energy, forces = energy_and_forces(potential, system)
    # Reference energies do not depend on positions: relative to them any error would be small.
    output = potential.compute(system, forces=False)
    references = potential.reference_energies[system.numbers]
    atomic_scale = float((output.atomic_energies - references).abs().clamp(min=1.0).sum())
    positions = system.positions.cpu().double().numpy()
    cell = system.cell.cpu().double().numpy()
    worst = 0.0
    for reflection in (1.0, -1.0):
        matrix = reflection * Rotation.random(rng=generator).as_matrix()
        translation = generator.normal(size=3)
        order = generator.permutation(len(positions))
        inverse = torch.as_tensor(np.argsort(order), device=system.parent.device)

        def tensor(values: Array) -> torch.Tensor:
            return torch.as_tensor(values).to(system.positions)

        other = System(
            numbers=system.numbers[order],
            positions=tensor((positions @ matrix.T + translation)[order]),
            fragment=system.fragment[order],
            group=system.group[order],
            parent=inverse[system.parent[order]],
            structure=system.structure,
            cell=tensor(cell @ matrix.T),
            pbc=system.pbc,
        )
        other_energy, other_forces = energy_and_forces(potential, other)
        force_error = np.abs(other_forces - (forces @ matrix.T)[order]).max()
        worst = max(
            worst,
            _relative(abs(other_energy - energy), atomic_scale),
            _relative(float(force_error), float(np.abs(forces).max())),
        )
    return CheckResult("symmetry (relative)", worst, SYMMETRY_RELATIVE[potential.dtype])


def _richardson(function: Callable[[float], float], step: float) -> float:
    """Return the derivative of a function at 0 by central differences of fourth order."""
    near = function(step) - function(-step)
    far = function(2.0 * step) - function(-2.0 * step)
    return (8.0 * near - far) / (12.0 * step)


def check_forces(
    potential: Potential, system: System, *, n_directions: int = 6, seed: int = 0
) -> CheckResult:
    """Compare forces with central differences of the energy along random directions (float64)."""
    generator = np.random.default_rng(seed)
    positions = system.positions.cpu().double().numpy()
    _, forces = energy_and_forces(potential, system)
    worst = 0.0
    for _ in range(n_directions):
        direction = generator.normal(size=positions.shape)
        direction /= np.linalg.norm(direction)

        def energy(step: float, direction: Array = direction) -> float:
            moved_system = _with_positions(system, positions + step * direction)
            return float(potential.compute(moved_system, forces=False).energy[0])

        expected = -_richardson(energy, 2e-4)
        error = abs(float((forces * direction).sum()) - expected)
        worst = max(worst, _relative(error, float(np.linalg.norm(forces))))
    return CheckResult("forces (relative)", worst, DERIVATIVE_RELATIVE)


def check_stress(potential: Potential, system: System, *, seed: int = 0) -> CheckResult:
    """Compare the stress with central differences of the energy under random strains (float64)."""
    generator = np.random.default_rng(seed)
    stress = potential.compute(system, forces=False, stress=True).stress[0].cpu().double().numpy()
    positions = system.positions.cpu().double().numpy()
    cell = system.cell[0].cpu().double().numpy()
    volume = abs(float(np.linalg.det(cell)))
    worst = 0.0
    for _ in range(3):
        strain = generator.normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)

        def energy(step: float, strain: Array = strain) -> float:
            deform = np.eye(3) + step * strain
            strained = moved(
                system,
                torch.as_tensor(positions @ deform, dtype=system.positions.dtype),
                torch.as_tensor(cell @ deform, dtype=system.cell.dtype).unsqueeze(0),
            )
            return float(potential.compute(strained, forces=False).energy[0])

        expected = _richardson(energy, 2e-4)
        error = abs(float((stress * strain).sum()) * volume - expected)
        worst = max(worst, _relative(error, float(np.linalg.norm(stress)) * volume))
    return CheckResult("stress (relative)", worst, DERIVATIVE_RELATIVE)


def _signature(potential: Potential, system: System) -> tuple[int, int, int]:
    """Return how many incidences have weight above 0, weight 1, and how many pairs there are."""
    if not isinstance(potential.module, PotentialModule):
        raise InputError(
            "crossings need the checkpoint, not a TorchScript model; load that instead"
        )
    with torch.no_grad():
        graph = potential.module.builder(system)
    weight = graph.incidence_weight
    return (
        int((weight > 0).sum()),
        int((weight == 1).sum()),
        int((graph.pair_weight * weight[graph.pair_incidence] > 0).sum()),
    )


def find_crossings(
    potential: Potential, path: Callable[[float], System], *, n_samples: int, width: float
) -> list[tuple[float, float]]:
    """Find where the membership changes along a path, each bisected to an interval.

    Parameters
    ----------
    potential
        To be checked; eager.
    path
        System at a parameter in [0, 1].
    n_samples
        Samples along the path; two crossings between neighbouring samples may count as one.
    width
        Width of the intervals, in the parameter of the path.
    """
    grid = np.linspace(0.0, 1.0, n_samples)
    signatures = [_signature(potential, path(float(t))) for t in grid]
    found = []
    for k in range(n_samples - 1):
        low, high = float(grid[k]), float(grid[k + 1])
        if signatures[k] == signatures[k + 1]:
            continue
        while high - low > width:
            middle = 0.5 * (low + high)
            if _signature(potential, path(middle)) == signatures[k]:
                low = middle
            else:
                high = middle
        found.append((low, high))
    return found


def crossing_steps(
    potential: Potential, path: Callable[[float], System], crossing: tuple[float, float]
) -> tuple[float, float]:
    """Return the steps of energy (eV) and of the largest force component (eV/Å) at a crossing."""
    low, high = crossing
    spacing = high - low
    points = [low - spacing, low, high, high + spacing]
    values = [energy_and_forces(potential, path(t)) for t in points]
    energies = np.array([energy for energy, _ in values])
    forces = np.array([force for _, force in values])

    def step(f: Array) -> Array:
        jump: Array = f[2] - f[1] - 0.5 * ((f[1] - f[0]) + (f[3] - f[2]))
        return jump

    return float(np.abs(step(energies)).max()), float(np.abs(step(forces)).max())


def random_path(system: System, *, length: float, seed: int) -> Callable[[float], System]:
    """Return a straight path through a structure along a random direction.

    Parameters
    ----------
    system
        One structure; the path has it in its middle.
    length
        How far the atom that moves most moves, in Å.
    seed
        Of the direction.
    """
    generator = np.random.default_rng(seed)
    positions = system.positions.cpu().double().numpy()
    direction = generator.normal(size=positions.shape)
    direction *= length / np.linalg.norm(direction, axis=1).max()

    def path(t: float) -> System:
        return _with_positions(system, positions + (t - 0.5) * direction)

    return path


def check_crossings(
    potential: Potential,
    system: System,
    *,
    n_paths: int = 2,
    length: float = 0.6,
    max_crossings: int = 40,
    width_angstrom: float = 1e-7,
) -> list[CheckResult]:
    """Cross the boundaries of membership along random paths and look for steps (float64)."""
    largest_energy, largest_force, count = 0.0, 0.0, 0
    for seed in range(n_paths):
        path = random_path(system, length=length, seed=seed)
        crossings = find_crossings(potential, path, n_samples=200, width=width_angstrom / length)
        for crossing in crossings[: max_crossings - count]:
            energy_step, force_step = crossing_steps(potential, path, crossing)
            largest_energy = max(largest_energy, energy_step)
            largest_force = max(largest_force, force_step)
            count += 1
    return [
        CheckResult(f"energy step at {count} crossings (eV)", largest_energy, CROSSING_ENERGY_EV),
        CheckResult(
            f"force step at {count} crossings (eV/Å)",
            largest_force,
            CROSSING_FORCE_EV_PER_ANGSTROM,
        ),
    ]


def check_drift(
    potential: Potential,
    atoms: Any,
    *,
    topology: Topology | None = None,
    duration_ps: float = 1.0,
    timestep_fs: float = 0.5,
    temperature_kelvin: float = 300.0,
) -> CheckResult:
    """Run constant-energy dynamics and measure the drift of the total energy per atom."""
    config = DynamicsConfig(
        ensemble="nve",
        duration_ps=duration_ps,
        timestep_fs=timestep_fs,
        temperature_kelvin=temperature_kelvin,
    )
    record = run_dynamics(potential, atoms, config, engine=ase_samples, topology=topology)
    return CheckResult(
        f"NVE drift over {duration_ps:g} ps (meV/atom/ps)",
        abs(record.drift_mev_per_atom_per_ps),
        DRIFT_MEV_PER_ATOM_PER_PS,
    )


def run_checks(
    potential: Potential,
    atoms: Any,
    *,
    topology: Topology | None = None,
    quick: bool = True,
    progress: bool = True,
) -> list[CheckResult]:
    """Run all checks on one structure.

    Parameters
    ----------
    potential
        To be checked; in float64 for meaningful derivatives.
    atoms
        An ASE ``Atoms``, best near a minimum.
    topology
        Chemistry, if known.
    quick
        Fewer paths and no drift, which over a few picoseconds would say nothing; else 20 ps.
    progress
        Whether to show a progress bar.

    Raises
    ------
    InputError, TopologyError
        For a structure that cannot be right.
    """
    fragmentation = FragmentCache(potential.config.fragmentation).find(atoms, topology=topology)
    periodic = bool(np.any(atoms.pbc))
    system = make_system(
        atoms.numbers,
        atoms.positions,
        fragmentation,
        elements=potential.elements,
        cell=np.asarray(atoms.cell) if periodic else None,
        pbc=atoms.pbc if periodic else None,
        dtype=potential.dtype,
        device=potential.device,
    )
    checks: list[Callable[[], list[CheckResult]]] = [
        lambda: [check_symmetry(potential, system)],
        lambda: [check_forces(potential, system)],
        lambda: check_crossings(potential, system, n_paths=2 if quick else 10),
    ]
    if bool(np.all(atoms.pbc)):
        checks.append(lambda: [check_stress(potential, system)])
    if not quick:
        checks.append(lambda: [check_drift(potential, atoms, topology=topology, duration_ps=20.0)])
    results: list[CheckResult] = []
    for check in tqdm(checks, disable=not progress, unit="check", leave=False):
        results += check()
    return results
