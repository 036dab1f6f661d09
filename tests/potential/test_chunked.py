"""Large systems in parts: the same energies, forces and stress, within the memory given."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

import se3set_mlip as s3
from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential import chunked, memory
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule

MOLECULES = json.loads((Path(__file__).parents[1] / "data" / "fragments.json").read_text())
CELL = np.array([[9.5, 0.0, 0.0], [1.0, 9.0, 0.0], [-1.5, 0.5, 9.2]])


def make_potential(interaction: str, preset: str, *, repulsion: str = "zbl") -> Potential:
    config = PotentialConfig(
        model=ModelConfig(
            elements=(1, 6, 7, 8),
            interaction=interaction,
            irreps="8x0e+4x1o+2x2e",
            irreps_density="6x0e+6x1o+6x2e",
            irreps_final="8x0e",
            irreps_head="4x0e+2x1o+1x2e",
            irreps_hidden="12x0e+6x1o+3x2e",
            n_layers=3,
            n_heads=2,
            n_radial=8,
            radial_hidden=(8,),
            average_sources=20.0,
            average_incidences=20.0,
        ),
        fragmentation=PRESETS[preset],
        repulsion=repulsion,
        repulsion_fraction=1.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        module = PotentialModule(config, dtype=torch.float64)
    module.set_energies(reference={1: -13.6, 6: -1027.5, 7: -1484.0, 8: -2040.0}, scale=0.7)
    return Potential(module.eval(), config)


@pytest.fixture(scope="module", params=["attention", "density"])
def interaction(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=["implicit_md22", "explicit_md17"])
def potential(request, interaction) -> Potential:
    return make_potential(interaction, request.param)


def systems(potential):
    """Return an open molecule, the same in a tight cell, and both with others in a batch."""

    def system(name, cell):
        molecule = MOLECULES[name]
        topology = s3.Topology.from_rdkit(
            Chem.MolFromMolBlock(molecule["molblock"], removeHs=False)
        )
        positions = np.array(molecule["positions_angstrom"])
        fragmentation = potential.fragment(topology, positions)
        return potential.system(topology.numbers, positions, fragmentation, cell=cell)

    isolated, periodic = system("ac_ala3_nhme", None), system("ac_ala3_nhme", CELL)
    others = [system("aspirin", 1.2 * CELL), system("ethanol", None)]
    return {
        "isolated": isolated,
        "periodic": periodic,
        "batch": batch_systems([isolated, periodic, *others]),
    }


@pytest.fixture
def tiny_parts(monkeypatch) -> None:
    """Make even molecules worth computing in parts, of a few atoms."""
    monkeypatch.setattr(chunked, "ATOMS_AT_ONCE", 0)
    monkeypatch.setattr(memory, "FAST_GRAPH_BYTES", 3e5)


@pytest.mark.parametrize("kind", ["isolated", "periodic", "batch"])
@pytest.mark.usefixtures("tiny_parts")
def test_parts_compute_what_the_whole_does(potential, kind):
    system = systems(potential)[kind]
    stress = kind == "periodic"
    found = potential.compute(system, stress=stress)
    assert potential._chunked.n_parts > 3
    expected = potential.module(system, True, stress)
    assert torch.allclose(found.energy, expected.energy, rtol=1e-13, atol=1e-10)
    assert torch.allclose(found.atomic_energies, expected.atomic_energies, rtol=1e-13, atol=1e-10)
    assert torch.allclose(found.forces, expected.forces, rtol=0.0, atol=1e-10)
    assert torch.allclose(found.stress, expected.stress, rtol=0.0, atol=1e-10)
    assert expected.forces.abs().max() > 1e-3
    assert found.stress.shape == expected.stress.shape
    assert not found.energy.requires_grad

    only_energy = potential.compute(system, forces=False)
    assert potential._chunked.n_parts > 3
    assert torch.allclose(only_energy.energy, expected.energy, rtol=1e-13, atol=1e-10)
    assert only_energy.forces.shape == (0, 3)
    assert only_energy.stress.shape == (0, 3, 3)


@pytest.mark.usefixtures("tiny_parts")
def test_parts_of_kept_candidates(potential):
    system = systems(potential)["periodic"]
    cache = CandidateCache(0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        noise = torch.rand(system.positions.shape, generator=generator, dtype=torch.float64)
        there = system._replace(positions=system.positions + 0.2 * noise)
        found = potential.compute(there, stress=True, cache=cache)
        expected = potential.module(there, True, True)
        assert torch.allclose(found.forces, expected.forces, rtol=0.0, atol=1e-10)
        assert torch.allclose(found.stress, expected.stress, rtol=0.0, atol=1e-10)
    assert cache.n_searches == 1


@pytest.mark.usefixtures("tiny_parts")
def test_stress_alone(interaction):
    potential = make_potential(interaction, "implicit_md22", repulsion="none")
    system = systems(potential)["periodic"]
    found = potential.compute(system, forces=False, stress=True)
    assert potential._chunked.n_parts > 3
    assert found.forces.shape == (0, 3)
    expected = potential.module(system, False, True).stress
    assert torch.allclose(found.stress, expected, rtol=0.0, atol=1e-10)


@pytest.mark.usefixtures("tiny_parts")
@pytest.mark.parametrize("interaction", ["density", "attention"])
def test_parts_without_pairs(monkeypatch, interaction):
    """Lone ions far from each other and from a water: most parts have nothing to gather."""
    monkeypatch.setattr(memory, "FAST_GRAPH_BYTES", 2e4)
    potential = make_potential(interaction, "implicit_md22")
    topology = s3.Topology((8,) * 21 + (1, 1), ((20, 21), (20, 22)), (1, 1), (-2,) * 20 + (0,) * 3)
    ions = np.arange(20)[:, None] * np.array([[20.0, 0.0, 0.0]])
    water = np.array([[-20.0, 0.0, 0.0], [-20.9, 0.3, 0.0], [-19.2, 0.3, 0.4]])
    positions = np.concatenate([ions, water])
    fragmentation = potential.fragment(topology, positions)
    system = potential.system(topology.numbers, positions, fragmentation)
    found, expected = potential.compute(system), potential.module(system, True, False)
    assert potential._chunked.n_parts > 10
    assert torch.allclose(found.energy, expected.energy, rtol=1e-13, atol=1e-10)
    assert torch.allclose(found.forces, expected.forces, rtol=0.0, atol=1e-10)
    assert expected.forces[20:].abs().max() > 1e-3


def test_a_ceiling_makes_parts(potential):
    system = systems(potential)["batch"]
    expected = potential.compute(system)
    assert potential._chunked.n_parts == 1
    n_parts = []
    for memory_gib in (1.0, 0.02, 0.005):
        found = potential.compute(system, memory_gib=memory_gib)
        n_parts.append(potential._chunked.n_parts)
        assert torch.allclose(found.forces, expected.forces, rtol=0.0, atol=1e-10)
    assert n_parts[0] == 1
    assert n_parts == sorted(n_parts)
    assert n_parts[-1] > 3


def test_a_ceiling_that_is_too_low_is_an_error(potential):
    system = systems(potential)["isolated"]
    with pytest.raises(InputError, match="is too little for this system and this network"):
        potential.compute(system, memory_gib=1e-5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), True, "1"])
def test_a_ceiling_is_a_positive_number(tiny_potential, value):
    system = systems(make_potential("density", "implicit_md22"))["isolated"]
    with pytest.raises(InputError, match="give a positive number of GiB"):
        tiny_potential.compute(system, memory_gib=value)


def test_training_mode_keeps_its_graph(interaction):
    """Second derivatives, for training, come from the module itself, never in parts."""
    potential = make_potential(interaction, "implicit_md22")
    system = systems(potential)["isolated"]
    potential.module.train()
    output = potential.module(system, True, False)
    assert output.forces.requires_grad
    potential.compute(system, memory_gib=1.0)
    assert potential.module.training


PROGRAM = """
import ctypes, resource, sys, threading, time
import numpy as np, torch
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.topology.molecule import Topology

torch.set_num_threads(1)
config = PotentialConfig(model=ModelConfig(
    elements=(1, 8), interaction=sys.argv[1], radial_range_angstrom=6.0, radial_hidden=(16,)))
potential = Potential(PotentialModule(config, dtype=torch.float32).eval(), config)

def water(n):
    cell = 3.104 * n * np.eye(3)
    corners = 3.104 * np.stack(np.meshgrid(*[np.arange(n)] * 3), -1).reshape(-1, 1, 3)
    shape = np.array([[0.0, 0.0, 0.0], [0.757, 0.586, 0.0], [-0.757, 0.586, 0.0]])
    m = n**3
    bonds = tuple((3 * k, 3 * k + j) for k in range(m) for j in (1, 2))
    topology = Topology((8, 1, 1) * m, bonds, (1,) * (2 * m), (0,) * (3 * m))
    positions = (corners + shape).reshape(-1, 3)
    fragmentation = potential.fragment(topology, positions, cell=cell)
    return potential.system(topology.numbers, positions, fragmentation, cell=cell)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**30

def watch():
    global peak
    while running:
        peak = max(peak, resident())
        time.sleep(0.001)

potential.compute(water(2))
system = water(int(sys.argv[2]))
ctypes.CDLL("libc.so.6").malloc_trim(0)  # else what was freed before would not count
before = peak = resident()
running = True
thread = threading.Thread(target=watch)
thread.start()
potential.compute(system, memory_gib=float(sys.argv[3]) if len(sys.argv) > 3 else None)
running = False
thread.join()
print(peak - before, potential._chunked.n_parts)
"""


def gib_taken(*arguments: str) -> tuple[float, int]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    taken, n_parts = run.stdout.split()
    return float(taken), int(n_parts)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="reads /proc, calls malloc_trim")
def test_the_ceiling_holds(interaction):
    """375 atoms of water."""
    taken, n_parts = gib_taken(interaction, "5", "0.05")
    assert n_parts > 4
    assert taken < 0.05
    if interaction == "density":  # what there would be to take
        at_once, n_parts = gib_taken(interaction, "5")
        assert n_parts == 1
        assert at_once > 3 * 0.05
