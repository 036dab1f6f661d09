"""Reference energies, and the checks that energies and forces are in the stated units."""

import numpy as np
import pytest
from ase import Atoms

from se3set_mlip.errors import ConfigError, DatasetError
from se3set_mlip.training.datasets import Frame, read_frames
from se3set_mlip.training.labels import LabelConfig
from se3set_mlip.training.plausibility import (
    all_electron_energy_ev,
    check_disjoint,
    check_energies,
    check_forces,
)
from se3set_mlip.training.references import (
    check_covered,
    fitted_energies,
    mean_residual_per_atom,
    reference_energies,
    rms_force,
)

LABELS = LabelConfig()
KCAL = 23.060547830619


@pytest.fixture
def frames(acac_folder):
    return read_frames(acac_folder / "train_300K_first_40.xyz", LABELS).frames


@pytest.fixture
def atoms_energies(acac_folder, frames):
    path = str(acac_folder / "isolated_atoms.xyz")
    return reference_energies(path, frames=frames, isolated_atoms=(), labels=LABELS)


def frame(symbols: str, energy: float | None, *, seed: int = 0) -> Frame:
    positions = np.random.default_rng(seed).normal(size=(len(Atoms(symbols)), 3))
    return Frame(symbols, Atoms(symbols, positions), energy, None, None)


def scaled(original: Frame, *, energy: float = 1.0, forces: float = 1.0) -> Frame:
    return Frame(
        original.name, original.atoms, original.energy * energy, original.forces * forces, None
    )


def test_fit_finds_the_energies_that_made_the_data():
    made = {1: -13.5, 6: -1030.25, 8: -2040.125}
    data = []
    for symbols in ("CH4", "H2O", "CO2", "CH2O", "C2H6O"):
        numbers = Atoms(symbols).numbers
        data.append(frame(symbols, sum(made[int(z)] for z in numbers)))
    fitted = fitted_energies(data)
    assert fitted == pytest.approx(made, rel=1e-12)


def test_fit_to_one_composition_has_its_mean(frames):
    fitted = fitted_energies(frames)
    total = 5 * fitted[6] + 8 * fitted[1] + 2 * fitted[8]
    assert total == pytest.approx(np.mean([f.energy for f in frames]), rel=1e-13)
    assert abs(mean_residual_per_atom(frames, fitted)) < 1e-9


def test_isolated_atoms_from_a_file_and_from_the_data(acac_folder, frames, atoms_energies):
    assert atoms_energies[8] == -2037.796869412825
    atoms = read_frames(acac_folder / "isolated_atoms.xyz", LABELS).isolated_atoms
    found = reference_energies("isolated_atoms", frames=frames, isolated_atoms=atoms, labels=LABELS)
    assert found == atoms_energies


def test_mean_residual_is_the_binding_energy_per_atom(frames, atoms_energies):
    shift = mean_residual_per_atom(frames, atoms_energies)
    sums = 5 * atoms_energies[6] + 8 * atoms_energies[1] + 2 * atoms_energies[8]
    assert shift == pytest.approx(np.mean([f.energy - sums for f in frames]) / 15, rel=1e-12)
    assert -6.0 < shift < -4.0


def test_rms_force_by_hand():
    one = Frame("a", Atoms("H2"), None, np.array([[3.0, 0, 0], [-3.0, 0, 0]]), None)
    two = Frame("b", Atoms("H2"), None, np.array([[0, 1.0, 0], [0, -1.0, 0]]), None)
    assert rms_force([one, two]) == pytest.approx(np.sqrt(20.0 / 12.0))
    assert rms_force([frame("H2", 0.0)]) is None


def test_reference_energies_that_cannot_be_had(frames, acac_folder):
    def ask(choice, atoms=()):
        return reference_energies(choice, frames=frames, isolated_atoms=atoms, labels=LABELS)

    with pytest.raises(DatasetError, match="no reference energy for O in the test structures; k"):
        check_covered(frames, ask({"H": -13.5, "C": -1027.0}), part="test")
    with pytest.raises(ConfigError, match="names 'Hx'; expected symbols"):
        ask({"Hx": -13.5})
    with pytest.raises(ConfigError, match=r"\['H'\] = 'low'; expected a number in eV"):
        ask({"H": "low"})
    with pytest.raises(DatasetError, match=r"no isolated atoms .* in the training files"):
        ask("isolated_atoms")
    with pytest.raises(DatasetError, match="neither 'fit', 'isolated_atoms' nor a file"):
        ask("average")
    with pytest.raises(DatasetError, match="isolated atom H has no energy"):
        ask("isolated_atoms", [frame("H", None)])
    with pytest.raises(DatasetError, match=r"two isolated H atoms .* -13\.600000 and -12\.000000"):
        ask("isolated_atoms", [frame("H", -13.6), frame("H", -12.0)])
    with pytest.raises(DatasetError, match="no structure has an energy"):
        fitted_energies([frame("H2", None)])


def test_estimated_energy_of_an_atom():
    # Hartree-Fock and exact nonrelativistic total energies in Hartree (Davidson et al. 1991)
    for number, exact in ((6, -37.8450), (8, -75.0673), (10, -128.9376), (18, -527.540)):
        assert all_electron_energy_ev(number) / 27.211386 == pytest.approx(exact, rel=0.01)


def test_plausible_data_pass(frames, atoms_energies):
    check_energies(frames, atoms_energies)
    check_energies(frames, fitted_energies(frames))
    check_forces(frames)


@pytest.mark.parametrize(("factor", "unit"), [(KCAL, "kcal/mol"), (1 / 27.211386245988, "Hartree")])
def test_mixed_units_are_an_error(frames, atoms_energies, factor, unit):
    mixed = [*frames[:20], scaled(frames[20], energy=factor), *frames[21:]]
    message = (
        rf"energy of train_300K_first_40\.xyz\[20\], .*the energy may be in {unit}; .*energy_unit"
    )
    with pytest.raises(DatasetError, match=message):
        check_energies(mixed, atoms_energies)
    with pytest.raises(DatasetError, match="the units are mixed"):
        check_energies(mixed, fitted_energies(mixed))


def test_references_in_another_unit_are_an_error(frames, atoms_energies):
    in_hartree = {z: energy / 27.211386245988 for z, energy in atoms_energies.items()}
    with pytest.raises(DatasetError, match="the reference energies may be in Hartree"):
        check_energies(frames, in_hartree)


def test_consistent_but_wrong_units_are_an_error(frames):
    in_kcal = [scaled(f, energy=KCAL) for f in frames]
    with pytest.raises(DatasetError, match="exceeds that of all its electrons"):
        check_energies(in_kcal, fitted_energies(in_kcal))
    in_hartree = [scaled(f, energy=1 / 27.211386245988) for f in frames]
    with pytest.raises(DatasetError, match="energy_unit to 'Hartree'"):
        check_energies(in_hartree, fitted_energies(in_hartree))


def test_forces_in_another_unit_are_an_error(frames):
    with pytest.raises(DatasetError, match=r"RMS force is 2\d\.\d eV/Å.*data\.labels\.forces_unit"):
        check_forces([scaled(f, forces=KCAL) for f in frames])


def test_a_structure_in_two_parts_is_an_error(frames):
    check_disjoint({"training": frames[:30], "test": frames[30:]})
    message = r"1 structures occur in two parts.*\[7\] \(test\) is .*\[7\] \(training\)"
    with pytest.raises(DatasetError, match=message):
        check_disjoint({"training": frames[:30], "test": (*frames[30:], frames[7])})
