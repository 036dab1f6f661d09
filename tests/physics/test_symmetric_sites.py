"""At a site of high symmetry features vanish; energies and forces stay smooth there.

The published layer norms magnify what is left of a vanishing feature: the negative control.
"""

import numpy as np
import pytest

import se3set_mlip as s3
from se3set_mlip.testing.sites import STIFFNESS_RATIO, check_symmetric_site
from se3set_mlip.testing.subjects import PotentialSubject

MOLECULES = {
    "methane": (
        "C",
        [6, 1, 1, 1, 1],
        0.629 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float),
    ),
    "carbon dioxide": (
        "O=C=O",
        [8, 6, 8],
        np.array([[0.0, 0.0, -1.16], [0.0, 0.0, 0.0], [0.0, 0.0, 1.16]]),
    ),
}


def largest_force(potential, name, displacement):
    smiles, numbers, positions = MOLECULES[name]
    topology = s3.Topology.from_smiles(smiles)
    if topology.numbers != tuple(numbers):
        order = [topology.numbers.index(z) for z in numbers]
        assert name == "carbon dioxide"
        topology = topology.permuted([order[0], order[1], 3 - order[0] - order[1]])
    fragments = potential.fragment(topology, positions)
    generator = np.random.default_rng(0)
    moved = positions + displacement * generator.normal(size=positions.shape)
    return float(potential.compute(potential.system(numbers, moved, fragments)).forces.abs().max())


@pytest.mark.parametrize("name", list(MOLECULES))
@pytest.mark.parametrize("seed", [0, 1])
def test_forces_stay_finite_on_the_way_to_the_symmetric_site(make_potential, name, seed):
    potential = make_potential(seed=seed, scale=1.0)
    away = largest_force(potential, name, 0.1)
    near = [largest_force(potential, name, 10.0**-k) for k in range(2, 10)]
    assert away > 1e-3
    assert max(near) < 10.0 * away


def test_the_published_norms_blow_up_there(make_potential):
    potential = make_potential(norm="per_irrep", scale=1.0)
    away = largest_force(potential, "methane", 0.1)
    assert largest_force(potential, "methane", 1e-6) > 100.0 * away


@pytest.mark.parametrize("name", list(MOLECULES))
def test_the_symmetric_site_itself(make_potential, name):
    potential = make_potential(scale=1.0)
    assert largest_force(potential, name, 0.0) == pytest.approx(
        largest_force(potential, name, 1e-9), rel=1e-4
    )


def test_the_check_finds_the_published_norms_and_passes_the_joint_one(make_potential, specimen_of):
    def measured(norm):
        subject = PotentialSubject(make_potential(norm=norm, scale=1.0))
        return check_symmetric_site(subject, specimen_of("ethanol"))[0]

    assert measured("joint").passed
    assert not measured("per_irrep").passed
    assert measured("per_irrep").measured > 30.0 * STIFFNESS_RATIO
