"""Input that cannot be right is an error of ours that says what was given, whoever reads it.

The laws: no raw error of NumPy, torch or RDKit, no warning, no silent reinterpretation.
"""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from rdkit import Chem

import se3set_mlip as s3
from se3set_mlip.errors import InputError, Se3SetError, TopologyError
from se3set_mlip.potential.inputs import make_system
from se3set_mlip.topology.geometry import make_box

NUMBERS = [8, 1, 1]
POSITIONS = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
WATER = s3.Topology.from_smiles("O")
CUBE = np.eye(3)


def ours(call, kind=Se3SetError):
    """Call, and return the message of the error that must come."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(kind) as caught:
            call()
    message = str(caught.value)
    assert len(message) > 30, message
    assert "Traceback" not in message
    return message


BAD_NUMBERS = {
    "none": None,
    "empty": [],
    "ragged": [[1], [2, 3]],
    "one string": "OHH",
    "symbols": ["O", "H", "H"],
    "unknown symbol": ["Xx", "H", "H"],
    "floats": [8.0, 1.0, 1.0],
    "bools": [True, True, True],
    "zero": [0, 1, 1],
    "beyond the table": [119, 1, 1],
    "negative": [-1, 1, 1],
    "a metal": [26, 1, 1],
    "objects": [None, 1, 1],
    "two axes": [[8, 1, 1]],
    "one number": 8,
    "beyond int64": [2**63, 1, 1],
    "beyond every int": [10**30, 1, 1],
    "complex": [8j, 1, 1],
    "mapping": {8: 1},
}
BAD_POSITIONS = {
    "none": None,
    "empty": [],
    "one atom short": POSITIONS[:2],
    "flat": POSITIONS.ravel(),
    "two coordinates": POSITIONS[:, :2],
    "nan": np.where(POSITIONS == 0.12, np.nan, POSITIONS),
    "infinite": POSITIONS + np.inf,
    "text": "a",
    "numbers as text": POSITIONS.astype(str),
    "complex": POSITIONS * 1j,
    "bools": POSITIONS > 0.0,
    "dates": POSITIONS.astype("datetime64[s]"),
    "masked": np.ma.masked_less(POSITIONS, 0.0),
    "huge": POSITIONS * 1e300,
    "far beyond float64's digits": POSITIONS + 1e12,
    "ragged": [[0.0, 0.0, 0.0], [1.0], [2.0, 2.0]],
    "nones": [[None] * 3] * 3,
    "mapping": {"a": 1},
}
BAD_CELLS = {
    "text": "a",
    "two axes": np.eye(2),
    "six numbers": [10, 10, 10, 90, 90, 90],
    "nan": CUBE + np.nan,
    "infinite": CUBE + np.inf,
    "no volume": np.zeros((3, 3)),
    "a plane": np.ones((3, 3)) + np.arange(3.0),
    "too thin": np.diag([10.0, 10.0, 0.01]),
    "huge": CUBE * 1e200,
    "beyond float64's digits": CUBE * 1e12,
    "bools": CUBE > 0.0,
    "complex": CUBE * 10j,
    "numbers as text": CUBE.astype(str),
    "ragged": [[1.0], [2.0, 3.0]],
    "object": object(),
}
BAD_FLAGS = {
    "text": "yes",
    "two": [True, False],
    "nan": np.nan,
    "floats": [0.5, 0.5, 0.5],
    "nones": [None] * 3,
    "texts": ["T", "T", "F"],
    "two and more": [2, 1, 0],
    "ragged": [[1], [1, 2]],
}
BAD_CHARGES = {
    "bool": True,
    "float": 1.0,
    "half": 0.5,
    "text": "1",
    "none": None,
    "nan": np.nan,
    "list": [1],
    "odd": 1,
    "large": 10**30,
}
BAD_SMILES = [
    None, 1, b"CC", ["C"], "", "  ", "C(", "xx", "[Xx]", "*", "C\0C", "\ud800", "Ω", "C>>C",
    "[Na+].[Cl-]", "[U]", "(" * 50_000, "c1cccc1", "C1CC", "[CH3:1]C", "[OH2:1]", "[#0]", "[#119]",
    "[C]$[C]", "C~C", "[He]", "C C", "C\nC", "%%%%",
]  # fmt: skip
BAD_MOLECULES = {
    "none": None,
    "smiles": "C",
    "implicit hydrogens": Chem.MolFromSmiles("CC"),
    "no atoms": Chem.Mol(),
    "a pattern": Chem.MolFromSmarts("[C,N]~[O]"),
    "no Kekulé form": Chem.MolFromSmiles("c1cccc1", sanitize=False),
    "hydrogens and no Kekulé form": Chem.MolFromSmiles("[cH]1[cH][cH][cH][cH]1", sanitize=False),
    "an atom": Chem.Atom(6),
}


def cases(table):
    return pytest.mark.parametrize("value", table.values(), ids=table.keys())


@cases(BAD_NUMBERS)
def test_numbers(value, tiny_potential):
    ours(lambda: s3.Topology.from_coordinates(value, POSITIONS), InputError)
    fragments = tiny_potential.fragment(WATER, POSITIONS)
    ours(lambda: tiny_potential.system(value, POSITIONS, fragments), InputError)


@cases(BAD_POSITIONS)
def test_positions(value, tiny_potential):
    ours(lambda: s3.Topology.from_coordinates(NUMBERS, value), InputError)
    ours(lambda: s3.fragment(WATER, value), InputError)
    ours(lambda: WATER.bonds_hold(value), InputError)
    fragments = tiny_potential.fragment(WATER, POSITIONS)
    ours(lambda: fragments.members(value), InputError)
    ours(lambda: tiny_potential.system(NUMBERS, value, fragments), InputError)


def test_coincident_atoms(tiny_potential):
    on_top = POSITIONS[[0, 0, 1]]
    ours(lambda: s3.Topology.from_coordinates(NUMBERS, on_top), InputError)
    fragments = tiny_potential.fragment(WATER, POSITIONS)
    assert "atoms 0 and 1" in ours(lambda: tiny_potential.system(NUMBERS, on_top, fragments))
    across = POSITIONS + np.array([[0.0], [0.0], [1.0]]) * (POSITIONS[1] - POSITIONS[2] + [9, 0, 0])
    ours(lambda: tiny_potential.system(NUMBERS, across, fragments, cell=9.0 * CUBE), InputError)


@cases(BAD_CELLS)
def test_cells(value, tiny_potential):
    ours(lambda: s3.Topology.from_coordinates(NUMBERS, POSITIONS, cell=value), InputError)
    ours(lambda: s3.fragment(WATER, POSITIONS, cell=value), InputError)
    ours(lambda: WATER.bonds_hold(POSITIONS, cell=value), InputError)
    fragments = tiny_potential.fragment(WATER, POSITIONS)
    ours(lambda: tiny_potential.system(NUMBERS, POSITIONS, fragments, cell=value), InputError)


@cases(BAD_FLAGS)
def test_flags(value):
    ours(lambda: make_box(10.0 * CUBE, value), InputError)
    ours(lambda: s3.Topology.from_coordinates(NUMBERS, POSITIONS, pbc=value), InputError)


@cases(BAD_CHARGES)
def test_charges(value, tiny_potential):
    ours(lambda: s3.Topology.from_coordinates(NUMBERS, POSITIONS, value))
    if value in (None, 1.0):  # ASE's files have whole charges as floats; none is none
        return
    atoms = Atoms("OHH", POSITIONS, info={"charge": value})
    ours(lambda: tiny_potential.evaluate(atoms))


@pytest.mark.parametrize("value", [None, "1", [1], float("nan"), -1, 0])
def test_time_limits(value):
    topology = s3.Topology
    ours(lambda: topology.from_coordinates(NUMBERS, POSITIONS, time_limit_seconds=value))


@pytest.mark.parametrize("value", BAD_SMILES, ids=lambda value: repr(value)[:12])
def test_smiles(value):
    ours(lambda: s3.Topology.from_smiles(value))


@cases(BAD_MOLECULES)
def test_rdkit_molecules(value):
    ours(lambda: s3.Topology.from_rdkit(value))


def openmm_like(atoms, bonds=()):
    return SimpleNamespace(atoms=lambda: atoms, bonds=lambda: bonds)


def atom(number):
    residue = SimpleNamespace(name="MOL", id="1")
    element = SimpleNamespace(atomic_number=number)
    return SimpleNamespace(element=element, name="A", residue=residue)


def test_openmm_topologies():
    oxygen, first, second = atom(8), atom(1), atom(1)
    good = openmm_like([oxygen, first, second], [(oxygen, first), (second, oxygen)])
    assert s3.Topology.from_openmm(good).bonds == ((0, 1), (0, 2))
    atoms = [oxygen, first, second]
    bare = SimpleNamespace(element=None, name="M", residue=oxygen.residue)
    for bad in (
        None,
        "water",
        openmm_like(None),
        openmm_like([]),
        openmm_like([1, 2]),
        openmm_like([bare]),
        openmm_like([SimpleNamespace(element=object(), name="A")]),
        openmm_like([atom("8")]),
        openmm_like([atom(8.5)]),
        openmm_like([atom(119)]),
        openmm_like(atoms, None),
        openmm_like(atoms, [1]),
        openmm_like(atoms, [(oxygen,)]),
        openmm_like(atoms, [(oxygen, oxygen)]),
        openmm_like(atoms, [(oxygen, first), (oxygen, atom(1))]),
        openmm_like(atoms),
    ):
        ours(lambda bad=bad: s3.Topology.from_openmm(bad))


def test_topologies_by_hand():
    make = s3.Topology
    assert make((1, 1), ((0, 1),), (1,), (0, 0)).n_atoms == 2
    for fields in (
        ("HH", ((0, 1),), (1,), (0, 0)),
        (None, (), (), ()),
        ([1, 1], ((0, 1),), (1,), (0, 0)),
        ((1.0, 1.0), ((0, 1),), (1,), (0, 0)),
        ((True, True), ((0, 1),), (1,), (0, 0)),
        ((1, 1), [(0, 1)], (1,), (0, 0)),
        ((1, 1), ((0,),), (1,), (0, 0)),
        ((1, 1), (1,), (1,), (0, 0)),
        ((1, 1), ((0, 1.0),), (1,), (0, 0)),
        ((1, 1), ((0, 1),), ("a",), (0, 0)),
        ((1, 1), ((0, 1),), (1,), ("a", 0)),
        ((1, 1), ((0, 1),), (1,), (0.5, 0)),
    ):
        ours(lambda fields=fields: make(*fields), InputError)
    for order in (None, "abc", [0.0, 1.0, 2.0], [0, 1], [0, 0, 1], [[0, 1, 2]], 3):
        ours(lambda order=order: WATER.permuted(order), InputError)
    for factor in (None, "a", np.nan, [1.6], True):
        ours(lambda factor=factor: WATER.bonds_hold(POSITIONS, factor=factor), InputError)


def test_fragments():
    for preset in (3, "implicit", ["implicit_md22"]):
        ours(lambda preset=preset: s3.fragment(WATER, POSITIONS, preset=preset))
    for config in ({}, "implicit_md22", s3.FragmentationConfig):
        ours(lambda config=config: s3.fragment(WATER, POSITIONS, config=config))
    for topology in (None, "O", WATER.graph):
        ours(lambda topology=topology: s3.fragment(topology, POSITIONS))


def test_systems(tiny_potential):
    for fragments in (None, WATER, [[0, 1, 2]]):
        ours(lambda fragments=fragments: tiny_potential.system(NUMBERS, POSITIONS, fragments))
    peroxide = s3.Topology.from_smiles("OO")
    positions = np.array([[0.0, 0, 0], [1.45, 0, 0], [-0.3, 0.9, 0], [1.7, 0, 0.9]])
    other = tiny_potential.fragment(peroxide, positions)
    ours(lambda: tiny_potential.system(NUMBERS, POSITIONS, other), InputError)
    nitrogen = [7, 1, 1, 1]
    ammonia = s3.Topology.from_smiles("N")
    corners = np.array([[0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    fragments = tiny_potential.fragment(ammonia, corners)
    message = ours(lambda: tiny_potential.system(nitrogen, corners, fragments), InputError)
    assert "atomic number 7 (N)" in message
    fine = tiny_potential.fragment(WATER, POSITIONS)
    arguments = {"elements": (1, 8), "dtype": tiny_potential.dtype, "device": tiny_potential.device}
    assert make_system(NUMBERS, POSITIONS, fine, **arguments).numbers.tolist() == NUMBERS


def broken_atoms():
    atoms = Atoms("OHH", POSITIONS)
    yield Atoms()
    yield Atoms("OHH", POSITIONS * np.nan)
    yield Atoms("OHH", POSITIONS * 0.0)
    yield Atoms("OHH", POSITIONS * 1e200)
    yield Atoms("XHH", POSITIONS)
    yield Atoms("NHH", POSITIONS)
    yield Atoms("OHH", POSITIONS, pbc=True)
    yield Atoms("OHH", POSITIONS, pbc=True, cell=np.ones((3, 3)))
    yield Atoms("OHH", POSITIONS, pbc=True, cell=[10.0, 10.0, np.inf])
    yield Atoms("OHH", POSITIONS, pbc=True, cell=[2.0, 2.0, 0.1])
    for charge in (0.5, "1", True, [0], {}):
        yield Atoms("OHH", POSITIONS, info={"charge": charge})
    yield Atoms("OHH", POSITIONS, charges=[0.1, 0.1, 0.1])
    yield Atoms("OH", POSITIONS[:2])
    plain = {"numbers": atoms.numbers, "cell": atoms.cell, "pbc": atoms.pbc, "info": {"charge": 0}}
    yield SimpleNamespace(**plain, positions=POSITIONS[:2])
    yield SimpleNamespace(**plain, positions=POSITIONS.astype(str))
    yield SimpleNamespace(**(plain | {"pbc": "no"}), positions=POSITIONS)
    yield SimpleNamespace(positions=POSITIONS)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of making the NaNs
def test_structures(tiny_potential):
    good = Atoms("OHH", POSITIONS)
    for number, bad in enumerate(broken_atoms()):
        calls = [lambda bad=bad: tiny_potential.evaluate(bad)]
        calls.append(lambda bad=bad: tiny_potential.evaluate([good, bad]))
        for call in calls:
            assert ours(call), number
    for bad in (None, "water.xyz", 3, [None], [3], {"atoms": good}, WATER):
        ours(lambda bad=bad: tiny_potential.evaluate(bad), InputError)


def test_options_of_evaluate(tiny_potential):
    good = Atoms("OHH", POSITIONS)
    for options in (
        {"batch_size": 0},
        {"batch_size": 1.0},
        {"batch_size": True},
        {"batch_size": "many"},
        {"forces": None},
        {"forces": "yes"},
        {"stress": 1},
        {"stress": True},
        {"topology": "O"},
        {"topology": s3.Topology.from_smiles("OO")},
    ):
        ours(lambda options=options: tiny_potential.evaluate(good, **options), InputError)
    for options in ({"device": "abacus"}, {"device": None, "dtype": "float16"}, {"dtype": 64}):
        ours(lambda options=options: tiny_potential.to(**options), InputError)


@pytest.mark.parametrize("place", [None, 3, b"\xff", "a\0b", "", "/", "none.pt", ["a"], object()])
def test_places_of_models(place):
    ours(lambda: s3.load(place))
    ours(lambda: s3.SE3SetCalculator(place))


def test_devices_and_dtypes_of_models(tiny_model):
    for options in ({"device": "abacus"}, {"device": 1.5}, {"dtype": "float16"}, {"dtype": int}):
        ours(lambda options=options: s3.load(tiny_model, **options))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of making the NaNs
def test_the_calculator(tiny_potential):
    for bad in broken_atoms():
        if isinstance(bad, Atoms):
            bad.calc = s3.SE3SetCalculator(tiny_potential)
            ours(bad.get_potential_energy)
    with pytest.raises(TopologyError):
        Atoms("OH", POSITIONS[:2], calculator=s3.SE3SetCalculator(tiny_potential)).get_forces()
