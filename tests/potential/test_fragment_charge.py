"""A network that knows charges of fragments: no effect without charge, the same on every way."""

from functools import cache

import ase
import numpy as np
import pytest
import torch

import se3set_mlip as s3
from se3set_mlip.export.loading import load
from se3set_mlip.export.torchscript import bind, export_generic
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential import chunked, memory
from se3set_mlip.potential.checkpoint import load_checkpoint, save_checkpoint
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.shipped import MODEL_FOLDERS
from se3set_mlip.structures import structure_from_smiles
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

SAME = 1e-10
ZWITTERION = "[NH3+]CC(=O)[O-]"
IONS = (ZWITTERION, "CC(=O)[O-]", "C[NH3+]")


def make_potential(*, fragment_charge: bool) -> Potential:
    """Return a potential with random weights, the same for both but for those of charges."""
    config = PotentialConfig(
        model=ModelConfig(
            elements=(1, 6, 7, 8),
            irreps="6x0e+6x1o",
            irreps_density="6x0e+6x1o+6x2e",
            irreps_final="6x0e",
            fragment_charge=fragment_charge,
            n_radial=6,
            radial_hidden=(8,),
            average_sources=20.0,
            average_incidences=20.0,
        )
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = PotentialModule(config, dtype=torch.float64)
        if fragment_charge:
            torch.nn.init.normal_(module.network.charge_embedding)
    return Potential(module.eval(), config)


@pytest.fixture(scope="module")
def knowing() -> Potential:
    return make_potential(fragment_charge=True)


@pytest.fixture(scope="module")
def plain() -> Potential:
    return make_potential(fragment_charge=False)


@cache
def structure(smiles: str) -> tuple[ase.Atoms, s3.Topology]:
    return structure_from_smiles(smiles)


def system_of(potential: Potential, smiles: str) -> System:
    atoms, topology = structure(smiles)
    fragmentation = potential.fragment(topology, atoms.positions)
    return potential.system(atoms.numbers, atoms.positions, fragmentation)


@pytest.mark.parametrize("smiles", ["C[N+](=O)[O-]", "NCC(=O)O"])
def test_without_a_charge_nothing_changes(knowing, plain, smiles):
    found = knowing.compute(system_of(knowing, smiles))
    expected = plain.compute(system_of(plain, smiles))
    assert torch.equal(found.energy, expected.energy)
    assert torch.equal(found.forces, expected.forces)


@pytest.mark.parametrize("smiles", IONS)
def test_an_ion_has_another_energy(knowing, plain, smiles):
    found = knowing.compute(system_of(knowing, smiles)).energy
    expected = plain.compute(system_of(plain, smiles)).energy
    assert (found - expected).abs() > 1e-3


def test_the_sign_of_a_charge_counts(knowing):
    system = system_of(knowing, "CC(=O)[O-]")
    energies = [
        knowing.compute(system._replace(charge=factor * system.charge)).energy.item()
        for factor in (-1, 0, 1, 2)
    ]
    assert np.diff(np.sort(energies)).min() > 1e-3


def test_a_batch_has_the_energies_of_its_structures(knowing):
    alone = [system_of(knowing, smiles) for smiles in IONS]
    found = knowing.compute(batch_systems(alone))
    expected = [knowing.compute(system) for system in alone]
    assert torch.allclose(found.energy, torch.cat([e.energy for e in expected]), rtol=0, atol=SAME)
    assert torch.allclose(found.forces, torch.cat([e.forces for e in expected]), rtol=0, atol=SAME)


def test_parts_compute_what_the_whole_does(knowing, monkeypatch):
    monkeypatch.setattr(chunked, "ATOMS_AT_ONCE", 0)
    monkeypatch.setattr(memory, "FAST_GRAPH_BYTES", 5e4)
    system = batch_systems([system_of(knowing, smiles) for smiles in IONS])
    found, expected = knowing.compute(system), knowing.module(system, True, False)
    assert knowing._chunked.n_parts > 3
    assert torch.allclose(found.energy, expected.energy, rtol=0, atol=SAME)
    assert torch.allclose(found.forces, expected.forces, rtol=0, atol=SAME)


def test_engines_and_files_compute_the_same(knowing, tmp_path):
    atoms, topology = structure(ZWITTERION)
    fragmentation = knowing.fragment(topology, atoms.positions)
    system = system_of(knowing, ZWITTERION)
    expected = knowing.compute(system)

    save_checkpoint(tmp_path / "model.safetensors", knowing)
    for found in (
        load_checkpoint(tmp_path / "model.safetensors").compute(system),
        load(export_generic(knowing, tmp_path / "generic.pt")).compute(system),
    ):
        assert torch.allclose(found.energy, expected.energy, rtol=0, atol=SAME)
        assert torch.allclose(found.forces, expected.forces, rtol=0, atol=SAME)

    bound = bind(knowing, fragmentation)
    with torch.jit.optimized_execution(False):
        energy = bound(torch.tensor(atoms.positions / ANGSTROM_PER_NANOMETER))
    assert energy.item() / KJ_PER_MOL_PER_EV == pytest.approx(expected.energy.item(), abs=SAME)

    there = atoms.copy()
    there.calc = s3.SE3SetCalculator(knowing, topology=topology)
    assert there.get_potential_energy() == pytest.approx(expected.energy.item(), abs=SAME)
    np.testing.assert_allclose(there.get_forces(), expected.forces.numpy(), atol=SAME)


def test_energies_of_far_apart_ions_add_up(knowing):
    """Ions 40 Å apart, as one structure."""
    one, other = (structure(smiles)[0] for smiles in IONS[1:])
    topology = s3.Topology.from_smiles(".".join(IONS[1:]))
    parts = np.zeros((topology.n_atoms, 3))
    for component, atoms, shift in zip(topology.components, (one, other), (0.0, 40.0), strict=True):
        parts[list(component)] = atoms.positions + np.array([shift, 0.0, 0.0])
    fragmentation = knowing.fragment(topology, parts)
    together = knowing.compute(knowing.system(topology.numbers, parts, fragmentation)).energy
    alone = [knowing.compute(system_of(knowing, smiles)).energy for smiles in IONS[1:]]
    assert together.item() == pytest.approx(sum(alone).item(), abs=SAME)


def test_shipped_models_of_organic_molecules_know_charges_and_others_load_as_ever():
    paths = {path.stem: path for folder in MODEL_FOLDERS for path in folder.glob("*.safetensors")}
    knowing = set()
    for name, path in paths.items():
        potential = load_checkpoint(path)
        stored = "network.charge_embedding" in potential.module.state_dict()
        assert stored == potential.config.model.fragment_charge
        if stored:
            knowing.add(name)
            assert potential.module.network.charge_embedding.abs().max() > 0.0
    assert knowing == {"gfn2-small", "gfn2-medium"}
    assert "acetylacetone" in paths


def test_weights_of_charges_are_neither_missing_nor_too_many(knowing, plain):
    names = set(knowing.module.state_dict()) - set(plain.module.state_dict())
    assert names == {"network.charge_embedding"}
    with pytest.raises(RuntimeError, match="charge_embedding"):
        plain.module.load_state_dict(knowing.module.state_dict())
    with pytest.raises(RuntimeError, match="charge_embedding"):
        knowing.module.load_state_dict(plain.module.state_dict())
