"""Labels: the programs' own numbers in eV and Å, resumed, failures counted, origin on record."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import ase
import ase.io
import numpy as np
import pytest
from ase.build import molecule
from click.testing import CliRunner

from se3set_mlip.cli import main
from se3set_mlip.errors import ConfigError, DatasetError, InputError, MissingDependencyError
from se3set_mlip.labelling.journal import Journal
from se3set_mlip.labelling.methods import DFT, XTB, Label, LabelError
from se3set_mlip.labelling.run import label_file
from se3set_mlip.labelling.workers import CRASHED, Task, compute_all

NAMES = ("H2O", "CH4", "NH3", "C2H6", "CH3OH", "H2CO")


@dataclass(frozen=True)
class Springs:
    """A method without quantum chemistry: fails at nitrogen, crashes at fluorine."""

    package: ClassVar[str] = "numpy"
    strength: float = 1.0

    @property
    def level_of_theory(self):
        return "springs"

    def start(self):
        def compute(numbers, positions, charge):
            if 7 in numbers:
                raise LabelError("nitrogen is not for springs")
            if 9 in numbers:
                os._exit(1)
            energy = 0.5 * self.strength * float(np.sum(positions**2)) + charge
            return Label(energy, -self.strength * positions)

        return compute


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    frames = [molecule(name) for name in NAMES]
    for frame in frames:
        frame.positions += 0.05 * rng.standard_normal(frame.positions.shape)
        frame.info["smiles"] = "of " + str(frame.symbols)
    path = tmp_path / "structures.xyz"
    ase.io.write(path, frames)
    return path


def test_xtb_gives_the_programs_energy_and_its_derivative(source):
    compute = XTB(accuracy=1e-3).start()
    atoms = ase.io.read(source, index=4)
    label = compute(atoms.numbers, atoms.positions, 0)
    step = 1e-3
    for index, axis in ((0, 0), (3, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.positions.copy()
            moved[index, axis] += sign * step
            energies.append(compute(atoms.numbers, moved, 0).energy)
        slope = (energies[0] - energies[1]) / (2 * step)
        assert -slope == pytest.approx(label.forces[index, axis], abs=1e-4)
    # GFN2-xTB's water by the xtb program: -5.0703 Hartree at its minimum.
    water = molecule("H2O")
    assert compute(water.numbers, water.positions, 0).energy == pytest.approx(-137.97, abs=0.02)


def test_charge_reaches_the_program():
    compute = XTB().start()
    ammonium = ase.Atoms("NH4", positions=np.vstack([molecule("NH3").positions, [0, 0, 1.15]]))
    charged = compute(ammonium.numbers, ammonium.positions, 1).energy
    with pytest.raises(LabelError, match="odd number of electrons"):
        compute(ammonium.numbers, ammonium.positions, 0)
    assert compute(ammonium.numbers, ammonium.positions, -1).energy < charged


def test_dft_gives_pyscfs_energy_and_its_derivative():
    compute = DFT(functional="pbe", basis="sto-3g").start()
    water = molecule("H2O")
    label = compute(water.numbers, water.positions, 0)
    energies = []
    for sign in (1, -1):
        moved = water.positions.copy()
        moved[0, 2] += sign * 1e-3
        energies.append(compute(water.numbers, moved, 0).energy)
    # A grid that moves with the atoms leaves an error of this size in the forces.
    assert -(energies[0] - energies[1]) / 2e-3 == pytest.approx(label.forces[0, 2], abs=5e-3)
    with pytest.raises(ConfigError, match="does not know nonsense/sto-3g"):
        DFT(functional="nonsense", basis="sto-3g").start()


def test_all_structures_come_back_in_order_with_what_they_carried(source, tmp_path):
    output = tmp_path / "labelled.xyz"
    method = XTB()
    found = label_file([source], output, method=method, processes=2, progress=False)
    assert found.n_labelled == len(NAMES)
    assert found.failures == {}
    compute = method.start()
    for before, after in zip(ase.io.read(source, ":"), ase.io.read(output, ":"), strict=True):
        label = compute(before.numbers, before.positions, 0)
        assert after.info["smiles"] == before.info["smiles"]
        np.testing.assert_array_equal(after.numbers, before.numbers)
        assert after.info["REF_energy"] == pytest.approx(label.energy, abs=1e-6)
        np.testing.assert_allclose(after.arrays["REF_forces"], label.forces, atol=1e-5)
    record = json.loads(found.record.read_text())
    assert record["level_of_theory"] == "GFN2-xTB"
    assert record["program"] == "tblite"
    assert record["settings"] == {"level": "GFN2-xTB", "accuracy": 0.1}
    assert record["labelled"] == len(NAMES)
    assert not output.with_suffix(".partial").exists()


def test_failures_are_counted_and_listed_and_do_not_stop_the_rest(source, tmp_path):
    said = []
    found = label_file(
        [source],
        tmp_path / "labelled.xyz",
        method=Springs(),
        processes=2,
        progress=False,
        echo=said.append,
    )
    assert found.failures == {2: "nitrogen is not for springs"}
    assert said == ["structure 2: nitrogen is not for springs"]
    assert found.n_labelled == len(NAMES) - 1
    assert json.loads(found.record.read_text())["failures"] == {"2": "nitrogen is not for springs"}
    symbols = [str(frame.symbols) for frame in ase.io.read(found.path, ":")]
    assert symbols == [str(molecule(name).symbols) for name in NAMES if name != "NH3"]


def test_a_crash_costs_one_structure(tmp_path):
    frames = [molecule(name) for name in ("H2O", "CH4", "HF", "C2H6", "H2CO", "CH3OH")]
    ase.io.write(tmp_path / "structures.xyz", frames)
    found = label_file(
        [tmp_path / "structures.xyz"],
        tmp_path / "labelled.xyz",
        method=Springs(),
        processes=2,
        progress=False,
        echo=lambda _: None,
    )
    assert found.failures == {2: CRASHED}
    assert found.n_labelled == 5


@dataclass(frozen=True)
class Threads:
    """Gives as energy what the environment of its process said of threads when that started."""

    package: ClassVar[str] = "numpy"

    @property
    def level_of_theory(self):
        return "threads"

    def start(self):
        def compute(numbers, positions, charge):
            said = Path("/proc/self/environ").read_bytes().split(b"\0")
            found = [float(line[16:]) for line in said if line.startswith(b"OMP_NUM_THREADS=")]
            return Label(found[0] if found else 0.0, np.zeros_like(positions))

        return compute


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_processes_start_with_one_thread_each(monkeypatch):
    """Libraries that are loaded with the first import must know it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    atoms = molecule("H2O")
    tasks = [Task(k, atoms.numbers, atoms.positions, 0) for k in range(2)]
    found = [label.energy for _, label in compute_all(Threads(), tasks, processes=2)]
    assert found == [1.0, 1.0]
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_run_that_was_cut_off_goes_on(source, tmp_path):
    output = tmp_path / "labelled.xyz"
    settings = {"method": Springs(), "processes": 1, "progress": False}
    whole = label_file([source], tmp_path / "whole.xyz", **settings, echo=lambda _: None)

    class CutError(Exception):
        pass

    def stop(_):
        raise CutError

    with pytest.raises(CutError):
        label_file([source], output, **settings, echo=stop)
    partial = output.with_suffix(".partial")
    lines = partial.read_text().splitlines()
    assert 1 < len(lines) < len(NAMES) + 1
    # Cut the last line as a kill does, and mark the first so that it shows whether it is kept.
    marked = json.loads(lines[1]) | {"energy": 4321.0}
    partial.write_text("\n".join([lines[0], json.dumps(marked), lines[2][:10]]))
    found = label_file([source], output, **settings, echo=lambda _: None)
    energies = [frame.info["REF_energy"] for frame in ase.io.read(output, ":")]
    expected = [frame.info["REF_energy"] for frame in ase.io.read(whole.path, ":")]
    assert energies[0] == 4321.0
    assert energies[1:] == expected[1:]
    assert found.failures == whole.failures
    assert not partial.exists()


def test_other_settings_do_not_continue_a_run(source, tmp_path):
    with Journal(tmp_path / "labelled.partial", {"method": "another"}):
        pass
    with pytest.raises(DatasetError, match="begun with other settings"):
        label_file([source], tmp_path / "labelled.xyz", method=Springs(), progress=False)


def test_labels_of_another_level_are_replaced_and_said(source, tmp_path):
    frames = ase.io.read(source, ":2")
    for frame in frames:
        frame.info["REF_energy"] = 1.0
        frame.arrays["REF_forces"] = np.ones((len(frame), 3))
    ase.io.write(tmp_path / "old.xyz", frames)
    said = []
    found = label_file(
        [tmp_path / "old.xyz"],
        tmp_path / "new.xyz",
        method=Springs(),
        processes=1,
        progress=False,
        echo=said.append,
    )
    assert said == ["the structures are labelled already; these labels are replaced"]
    for before, after in zip(frames, ase.io.read(found.path, ":"), strict=True):
        np.testing.assert_allclose(after.arrays["REF_forces"], -before.positions, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.set_pbc(True), "is periodic"),
        (lambda frame: frame.positions.__setitem__((0, 0), np.nan), "structure 0"),
        (lambda frame: frame.positions.__setitem__(1, frame.positions[0] + 0.01), "0.017 Å apart"),
        (lambda frame: frame.info.__setitem__("charge", 0.5), "give a whole number"),
    ],
)
def test_bad_structures_are_refused_before_any_work(tmp_path, change, said):
    frame = molecule("CH4")
    frame.center(vacuum=5.0)
    frame.pbc = False
    change(frame)
    path = tmp_path / "structures.traj"
    ase.io.write(path, [frame])
    with pytest.raises(InputError, match=said):
        label_file([path], tmp_path / "labelled.xyz", method=Springs(), progress=False)
    assert not (tmp_path / "labelled.partial").exists()


def test_a_file_without_structures_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "structures.xyz"
    path.write_text("")
    with pytest.raises(DatasetError, match=r"structures\.xyz"):
        label_file([path], tmp_path / "labelled.xyz", method=Springs(), progress=False)
    monkeypatch.setattr(ase.io, "read", lambda *_: [])  # what some readers make of it
    with pytest.raises(DatasetError, match="holds no structure"):
        label_file([path], tmp_path / "labelled.xyz", method=Springs(), progress=False)


def test_sources_of_one_name_are_told_apart(tmp_path):
    sources = [tmp_path / folder / "structures.xyz" for folder in ("a", "b")]
    for source, name in zip(sources, ("H2O", "CH4"), strict=True):
        source.parent.mkdir()
        ase.io.write(source, molecule(name))
    found = label_file(
        sources, tmp_path / "labelled.xyz", method=Springs(), processes=1, progress=False
    )
    hashes = json.loads(found.record.read_text())["sources_sha256"]
    assert [name for name, _ in hashes] == ["structures.xyz"] * 2
    assert hashes[0][1] != hashes[1][1]


def test_nothing_is_overwritten(source, tmp_path):
    (tmp_path / "labelled.json").write_text("mine")
    with pytest.raises(DatasetError, match="is there already"):
        label_file([source], tmp_path / "labelled.xyz", method=Springs(), progress=False)


def test_a_run_without_a_single_label_is_an_error(tmp_path):
    ase.io.write(tmp_path / "structures.xyz", [molecule("NH3")] * 2)
    with pytest.raises(DatasetError, match="2 of 2: nitrogen"):
        label_file(
            [tmp_path / "structures.xyz"],
            tmp_path / "labelled.xyz",
            method=Springs(),
            processes=1,
            progress=False,
            echo=lambda _: None,
        )


def test_a_missing_program_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setattr(Springs, "package", "no-such-program")
    with pytest.raises(MissingDependencyError, match=r"pip install 'se3set-mlip\[label\]'"):
        label_file([source], tmp_path / "labelled.xyz", method=Springs(), progress=False)


def test_the_command_says_what_it_did(source, tmp_path):
    output = tmp_path / "labelled.xyz"
    found = CliRunner().invoke(
        main, ["label", str(source), "-o", str(output), "--processes", "1", "--accuracy", "1"]
    )
    assert found.exit_code == 0, found.output
    assert f"6 structures with GFN2-xTB: {output}" in found.output
    assert json.loads(output.with_suffix(".json").read_text())["settings"]["accuracy"] == 1.0
    wrong = CliRunner().invoke(main, ["label", str(source), "-o", "x.xyz", "--method", "GFN3"])
    assert wrong.exit_code == 2
    assert "expected one of GFN2-xTB" in wrong.output
