"""Atoms enter and leave hyperedges without a step; by the hard rule energies and forces jump."""

import numpy as np
import pytest
import torch

from se3set_mlip.testing import (
    CROSSING_ENERGY_EV,
    CROSSING_FORCE_EV_PER_ANGSTROM,
    check_crossings,
    crossing_steps,
    find_crossings,
)


@pytest.fixture
def approach(make_system, topology_of):
    """Return paths on which the water of ethanol + water comes ``length`` Å closer."""

    def make(potential, start, length):
        return _approach(
            make_system(potential, "ethanol_water"),
            topology_of("ethanol_water").components[1],
            start,
            length,
        )

    return make


def _approach(system, atoms, start, length):
    positions = system.positions
    chosen = torch.zeros(len(positions), dtype=torch.bool)
    chosen[list(atoms)] = True
    direction = positions[chosen].mean(dim=0) - positions[~chosen].mean(dim=0)
    direction = direction / direction.norm()

    def path(t):
        shift = (start - t * length) * direction
        return system._replace(positions=positions + chosen.unsqueeze(1) * shift)

    return path


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("lmax", [1, 2])
def test_implicit_overlap_is_smooth_inside_a_molecule(make_potential, make_system, seed, lmax):
    potential = make_potential("implicit_md22", seed=seed, lmax=lmax)
    system = make_system(potential, "aspirin")
    results = check_crossings(potential, system, n_paths=1, max_crossings=8)
    assert "at 8 crossings" in results[0].name
    for result in results:
        assert result.passed, result


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_md17", "explicit_qm9"])
@pytest.mark.parametrize("seed", [0, 1])
def test_molecules_meet_smoothly(make_potential, approach, preset, seed):
    """Every kind of boundary: incidences appear, become full, groups join."""
    potential = make_potential(preset, seed=seed)
    path = approach(potential, 2.0, 4.0)
    crossings = find_crossings(potential, path, n_samples=150, width=1e-7 / 4.0)
    assert len(crossings) >= 2
    for crossing in crossings[:12]:
        energy_step, force_step = crossing_steps(potential, path, crossing)
        assert energy_step < CROSSING_ENERGY_EV
        assert force_step < CROSSING_FORCE_EV_PER_ANGSTROM


def test_own_image_appears_smoothly(make_potential, make_system):
    """The cell shrinks until atoms meet their own fragments' images."""
    potential = make_potential("implicit_md22", seed=1)
    system = make_system(potential, "ethanol", cell=np.diag([7.0, 7.0, 7.0]))

    def path(t):
        return system._replace(cell=system.cell * (1.0 - 0.35 * t))

    crossings = find_crossings(potential, path, n_samples=60, width=1e-8)
    assert len(crossings) >= 4
    for crossing in crossings[:8]:
        energy_step, force_step = crossing_steps(potential, path, crossing)
        assert energy_step < CROSSING_ENERGY_EV
        assert force_step < CROSSING_FORCE_EV_PER_ANGSTROM


@pytest.mark.parametrize("preset", ["implicit_md22", "explicit_qm9"])
def test_the_hard_rule_jumps_and_the_check_sees_it(make_potential, approach, preset):
    """Negative control: the published steps must fail by orders of magnitude."""
    potential = make_potential(preset, membership="hard")
    path = approach(potential, 2.0, 4.0)
    crossings = find_crossings(potential, path, n_samples=150, width=1e-7 / 4.0)
    assert crossings
    steps = [crossing_steps(potential, path, crossing) for crossing in crossings]
    assert max(energy for energy, _ in steps) > 1e-3
    assert max(force for _, force in steps) > 1e-2


def test_energy_along_a_path_is_the_integral_of_the_force(make_potential, approach):
    """Halving the step divides the error of a fourth-order rule by 16: no hidden steps."""
    potential = make_potential("implicit_md22", seed=1, scale=1.0)
    path = approach(potential, 1.0, 1.5)

    def error(n_intervals):
        grid = np.linspace(0.0, 1.0, 2 * n_intervals + 1)
        energies, slopes = [], []
        for t in grid:
            here, there = path(t), path(t + 0.5)
            output = potential.compute(here)
            velocity = 2.0 * (there.positions - here.positions)
            energies.append(float(output.energy))
            slopes.append(-float((output.forces * velocity).sum()))
        energies, slopes = np.array(energies), np.array(slopes)
        width = 1.0 / n_intervals
        simpson = width / 6.0 * (slopes[:-2:2] + 4.0 * slopes[1:-1:2] + slopes[2::2])
        return np.abs(np.diff(energies[::2]) - simpson).sum()

    coarse, fine = error(80), error(160)
    assert coarse > 1e-9
    assert 14.0 < coarse / fine < 18.0
