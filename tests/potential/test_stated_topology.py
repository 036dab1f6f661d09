"""A structure may state its chemistry: needed where none can be perceived from coordinates."""

import ase
import numpy as np
import pytest

import se3set_mlip as s3
from se3set_mlip.errors import TopologyError


def pair(distance: float, smiles: object) -> ase.Atoms:
    """Return a carbon and a hydrogen that state a SMILES string."""
    atoms = ase.Atoms("HC", [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
    if smiles is not None:
        atoms.info["mapped_smiles"] = smiles
    return atoms


def test_a_radical_has_the_bonds_that_it_states(tiny_potential):
    with pytest.raises(TopologyError):
        tiny_potential.evaluate(pair(1.1, None))
    stated = tiny_potential.evaluate(pair(3.0, "[C:2][H:1]"))
    topology = s3.Topology((1, 6), ((0, 1),), (1,), (0, 0))
    given = tiny_potential.evaluate(pair(3.0, None), topology=topology)
    assert stated.energy == given.energy
    apart = s3.Topology((1, 6), (), (), (0, 0))
    assert tiny_potential.evaluate(pair(3.0, None), topology=apart).energy != given.energy


def test_map_numbers_are_places(tiny_potential):
    positions = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]])
    first = ase.Atoms("OHH", positions, info={"mapped_smiles": "[O:1]([H:2])[H:3]"})
    other = ase.Atoms("HOH", positions[[1, 0, 2]], info={"mapped_smiles": "[O:2]([H:1])[H:3]"})
    energies = [tiny_potential.evaluate(atoms).energy for atoms in (first, other)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-12)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C[H]", "has no map numbers"),
        (7, "has no map numbers"),
        ("[C:2][H]", "map every atom"),
        ("[C:2][", "cannot be read|SMILES"),
    ],
)
def test_what_cannot_be_placed_is_refused(tiny_potential, smiles, message):
    with pytest.raises(TopologyError, match=message):
        tiny_potential.evaluate(pair(1.1, smiles))
