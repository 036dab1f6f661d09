"""Scripted equals eager, in both shapes of file, from the first call on."""

import statistics
import threading
import time
import warnings

import pytest
import torch

from se3set_mlip.errors import ArtifactError, InputError
from se3set_mlip.export.loading import load, load_bound
from se3set_mlip.export.torchscript import bind, export_bound, export_generic
from se3set_mlip.fragments.fragmentation import fragment
from se3set_mlip.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_PER_EV

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


@pytest.fixture(scope="module")
def generic(isolated, tmp_path_factory):
    return export_generic(isolated.potential, tmp_path_factory.mktemp("files") / "generic.pt")


@pytest.fixture(scope="module")
def bound(isolated):
    return bind(isolated.potential, isolated.fragmentation)


def assert_same(found, expected, tolerance):
    for name, value, reference in zip(found._fields, found, expected, strict=True):
        assert value.shape == reference.shape, name
        if reference.numel():
            error = (value.double() - reference.double()).abs().max()
            assert error <= tolerance * reference.abs().max(), name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_generic_file_computes_the_potential(example, dtype, tmp_path):
    path = export_generic(example.potential, tmp_path / "generic.pt", dtype=dtype)
    loaded = load(path)
    assert str(loaded.dtype) == f"torch.{dtype}"
    assert loaded.elements == example.potential.elements
    eager = example.potential.to(dtype=dtype)
    for system in example.systems(4, eager):
        expected = eager.compute(system, stress=example.periodic)
        found = loaded.compute(system, stress=example.periodic)
        assert found.energy.dtype == torch.float64
        assert_same(found, expected, TOLERANCE[dtype])
        assert loaded.compute(system, forces=False).forces.shape == (0, 3)

    module = torch.jit.load(path)  # what a C++ program does
    with torch.jit.optimized_execution(False):
        found = module(
            system.numbers,
            system.positions,
            system.cell[0],
            system.pbc[0],
            system.fragment,
            system.group,
            system.parent,
            system.charge,
        )
    assert_same(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_bound_file_is_the_energy_and_its_gradient(example, dtype, tmp_path):
    """All particles of the isolated example, every second one in the periodic one."""
    n_atoms = len(example.numbers)
    particles = [2 * index + 1 for index in range(n_atoms)] if example.periodic else None
    path = export_bound(
        example.potential,
        tmp_path / "bound.pt",
        example.fragmentation,
        particles=particles,
        periodic=example.periodic,
        dtype=dtype,
    )
    module = load_bound(path)
    assert module.periodic == example.periodic
    rows = torch.arange(n_atoms) if particles is None else torch.tensor(particles)
    eager = example.potential.to(dtype=dtype)
    tolerance = TOLERANCE[dtype]
    for system, own in zip(example.systems(3), example.systems(3, eager), strict=True):
        positions = torch.full((int(rows.max()) + 1, 3), 0.7, dtype=torch.float64)
        positions[rows] = system.positions / ANGSTROM_PER_NANOMETER
        positions.requires_grad_(True)
        boxes = [system.cell[0] / ANGSTROM_PER_NANOMETER] if example.periodic else []
        with torch.jit.optimized_execution(False):
            energy = module(positions, *boxes)
        assert (energy.dtype, energy.shape) == (torch.float64, ())
        energy.backward()
        expected = eager.compute(own)
        error = abs(energy.item() / KJ_PER_MOL_PER_EV - expected.energy.item())
        assert error < tolerance * abs(expected.energy.item())
        forces = -positions.grad / (KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER)
        reference = torch.zeros_like(forces).index_copy(0, rows, expected.forces.double())
        # Where explicit memberships are steep, short floats round worse than the tolerance: there
        # the file must round as well as the potential does.
        rounding = (expected.forces - example.potential.compute(system).forces).abs().max()
        allowed = max(tolerance * reference.abs().max(), 3.0 * rounding)
        assert (forces - reference).abs().max() < allowed


def test_float32_far_from_the_origin_keeps_its_digits(isolated):
    module = bind(isolated.potential, isolated.fragmentation, dtype="float32")
    system = isolated.systems(1)[0]
    shift = torch.tensor([500.0, -800.0, 300.0], dtype=torch.float64)  # nm
    near = (system.positions / ANGSTROM_PER_NANOMETER).requires_grad_(True)
    far = (near.detach() + shift).requires_grad_(True)
    with torch.jit.optimized_execution(False):
        module(near).backward()
        module(far).backward()
    assert (near.grad - far.grad).abs().max() < TOLERANCE["float32"] * near.grad.abs().max()


def test_a_periodic_module_wants_its_box(isolated):
    module = bind(isolated.potential, isolated.fragmentation, periodic=True)
    with pytest.raises(torch.jit.Error, match="pass the box vectors"):
        module(isolated.systems(1)[0].positions / ANGSTROM_PER_NANOMETER)


def test_the_optimising_executor_computes_the_same(isolated, bound):
    """TorchForce runs it: it profiles the first call, compiles in the next two."""
    for system in isolated.systems(4):
        positions = (system.positions / ANGSTROM_PER_NANOMETER).requires_grad_(True)
        bound(positions).backward()
        forces = -positions.grad / (KJ_PER_MOL_PER_EV * ANGSTROM_PER_NANOMETER)
        expected = isolated.potential.compute(system).forces
        assert (forces - expected).abs().max() < TOLERANCE["float64"] * expected.abs().max()


def test_atoms_may_have_left_the_periodic_box_one_by_one(example):
    if not example.periodic:
        return
    module = bind(example.potential, example.fragmentation, periodic=True, dtype="float32")
    system = example.systems(1)[0]
    box = system.cell[0] / ANGSTROM_PER_NANOMETER
    inside = (system.positions / ANGSTROM_PER_NANOMETER).requires_grad_(True)
    shifts = torch.randint(-90, 90, inside.shape, generator=torch.Generator().manual_seed(1))
    outside = (inside.detach() + shifts.double() @ box).requires_grad_(True)
    with torch.jit.optimized_execution(False):
        module(inside, box).backward()
        module(outside, box).backward()
    error = (inside.grad - outside.grad).abs().max()
    assert error < TOLERANCE["float32"] * inside.grad.abs().max()


def test_weights_take_no_gradient(isolated, bound):
    assert not any(weight.requires_grad for weight in bound.parameters())
    assert all(weight.requires_grad for weight in isolated.potential.module.parameters())


def test_no_call_is_slow_and_no_switch_is_left_behind(isolated, generic):
    loaded = load(generic)
    seconds = []
    for system in isolated.systems(50):
        start = time.perf_counter()
        loaded.compute(system)
        seconds.append(time.perf_counter() - start)
    # The optimising executor needs seconds for calls 1 and 2, which is 100 times the median.
    assert max(seconds) < 20 * statistics.median(seconds) + 0.5
    assert torch._C._get_graph_executor_optimize(), "other people's TorchScript runs as before"


def test_another_thread_computes_the_same(isolated, generic):
    loaded = load(generic)
    system = isolated.systems(1)[0]
    expected = isolated.potential.compute(system)
    found = []
    thread = threading.Thread(target=lambda: found.append(loaded.compute(system)))
    thread.start()
    thread.join()
    assert_same(found[0], expected, TOLERANCE["float64"])


def test_no_warning_of_deprecation_reaches_the_user(isolated, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(export_generic(isolated.potential, tmp_path / "generic.pt"))
        load_bound(export_bound(isolated.potential, tmp_path / "bound.pt", isolated.fragmentation))


def test_a_loaded_script_cannot_be_exported_or_change_precision(generic, tmp_path):
    with pytest.raises(ArtifactError, match="load the checkpoint that it was exported from"):
        export_generic(load(generic), tmp_path / "again.pt")
    with pytest.raises(ArtifactError, match="exported in float64 and cannot compute in float32"):
        load(generic, dtype="float32")
    assert load(generic, dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize(
    ("particles", "message"),
    [
        ([0, 1], r"particles = \[0, 1\]\.\.\. \(2 of them\) for a fragmentation of 12 atoms"),
        ([0] * 12, "each once"),
        ([-1, *range(11)], "0 or more"),
    ],
)
def test_particles_that_do_not_fit_are_an_error(isolated, particles, message):
    with pytest.raises(InputError, match=message):
        bind(isolated.potential, isolated.fragmentation, particles=particles)


def test_a_system_that_the_potential_does_not_know_is_an_error(isolated):
    topology = isolated.fragmentation.topology
    positions = isolated.systems(1)[0].positions
    other = fragment(topology, positions, preset="explicit_qm9")
    with pytest.raises(InputError, match=r"make it with potential.fragment"):
        bind(isolated.potential, other)
    sulfur = type(topology).from_smiles("S")
    fragmentation = isolated.potential.fragment(sulfur, torch.eye(3).numpy())
    with pytest.raises(InputError, match=r"numbers \[16\], only \[1, 6, 8\]"):
        bind(isolated.potential, fragmentation)
