"""Labels: which name wins, units, and the errors for what is missing or broken."""

import numpy as np
import pytest

from se3set_mlip.errors import DatasetError
from se3set_mlip.training.datasets import check_labels, read_frames
from se3set_mlip.training.labels import LabelConfig


def energies(atoms_list):
    return [atoms.info["E"] for atoms in atoms_list]


def forces(atoms_list):
    return [atoms.info["F"] for atoms in atoms_list]


def test_reference_labels_win_over_calculator_results(structures, write_xyz):
    frames = structures[:3]
    path = write_xyz(
        "both.xyz",
        frames,
        REF_energy=energies(frames),
        REF_forces=forces(frames),
        energy=[1.0, 2.0, 3.0],
        forces=[np.ones((15, 3))] * 3,
    )
    file = read_frames(path, LabelConfig())
    assert [frame.energy for frame in file.frames] == energies(frames)
    np.testing.assert_allclose(file.frames[2].forces, frames[2].info["F"], atol=1e-8)
    assert file.label_sources == {"energy": "REF_energy", "forces": "REF_forces", "stress": "none"}
    assert "energy from REF_energy" in file.describe()


def test_calculator_results_are_used_where_there_is_nothing_else(acac_folder):
    file = read_frames(acac_folder / "test_300K_first_10.xyz", LabelConfig())
    assert len(file.frames) == 10
    assert file.frames[0].energy == -9391.254099941396
    assert file.label_sources["energy"] == "calculator result 'energy'"
    assert file.label_sources["forces"] == "calculator result 'forces'"


def test_one_source_for_all_structures_of_a_file(structures, write_xyz):
    frames = structures[:3]
    path = write_xyz("mixed.xyz", frames, REF_energy=[-1.0, None, -3.0], energy=energies(frames))
    file = read_frames(path, LabelConfig())
    assert [frame.energy for frame in file.frames] == [-1.0, None, -3.0]


def test_names_and_units_can_be_given(structures, write_xyz):
    frames = structures[:2]
    path = write_xyz(
        "named.xyz",
        frames,
        dft_energy=[-10.0, -20.0],
        dft_forces=[np.full((15, 3), 2.0)] * 2,
        REF_energy=[0.0, 0.0],
    )
    labels = LabelConfig(
        energy_key="dft_energy",
        forces_key="dft_forces",
        energy_unit="Hartree",
        forces_unit="kcal/mol/Angstrom",
    )
    file = read_frames(path, labels)
    assert file.frames[1].energy == pytest.approx(-544.22772491976, rel=1e-12)
    assert file.frames[0].forces[3, 1] == pytest.approx(2.0 / 23.060547830619, rel=1e-9)
    with pytest.raises(DatasetError, match="'dft_enrgy'; did you mean 'dft_energy'"):
        read_frames(path, LabelConfig(energy_key="dft_enrgy"))


def test_stress_in_three_forms(structures, write_xyz):
    atoms = structures[0].copy()
    atoms.cell, atoms.pbc = [10.0, 10.0, 20.0], True
    matrix = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    full = write_xyz("full.xyz", [atoms], energy=[-1.0], REF_stress=[matrix.ravel()])
    voigt = write_xyz("voigt.xyz", [atoms], energy=[-1.0], REF_stress=[np.arange(1.0, 7.0)])
    virial = write_xyz("virial.xyz", [atoms], energy=[-1.0], REF_virials=[-2000.0 * matrix.ravel()])
    for path in (full, voigt, virial):
        frame = read_frames(path, LabelConfig()).frames[0]
        np.testing.assert_allclose(frame.stress, matrix, rtol=1e-12, err_msg=path.name)


def test_stress_of_a_molecule_is_no_label(structures, write_xyz):
    path = write_xyz("free.xyz", structures[:1], energy=[-1.0], REF_stress=[np.ones(9)])
    assert read_frames(path, LabelConfig()).frames[0].stress is None


def test_no_labels_at_all_is_an_error(structures, write_xyz):
    path = write_xyz("none.xyz", structures[:4], my_energy=[1.0] * 4)
    message = "zero of 4 structures have REF_energy.*names found: my_energy.*data.labels.energy_key"
    with pytest.raises(DatasetError, match=message):
        read_frames(path, LabelConfig())


def test_a_label_that_is_not_finite_is_an_error(structures, write_xyz):
    broken = [np.array(atoms.info["F"]) for atoms in structures[:2]]
    broken[1][4, 2] = np.nan
    path = write_xyz("nan.xyz", structures[:2], energy=[-1.0, -2.0], REF_forces=broken)
    with pytest.raises(DatasetError, match=r"forces 'REF_forces' of nan\.xyz\[1\] holds NaN"):
        read_frames(path, LabelConfig())
    path = write_xyz("inf.xyz", structures[:2], REF_energy=[-1.0, float("inf")])
    with pytest.raises(DatasetError, match=r"energy 'REF_energy' of inf\.xyz\[1\] holds NaN"):
        read_frames(path, LabelConfig())


def test_zero_forces_are_a_placeholder(structures, write_xyz):
    some = [structures[0].info["F"], np.zeros((15, 3))]
    path = write_xyz("zero.xyz", structures[:2], REF_energy=[-1.0, -2.0], REF_forces=some)
    with pytest.raises(DatasetError, match=r"all forces of zero\.xyz\[1\] are exactly 0"):
        read_frames(path, LabelConfig())


def test_wrong_shapes_and_broken_files_are_errors(structures, write_xyz, tmp_path):
    path = write_xyz("shape.xyz", structures[:1], REF_energy=[np.array([1.0, 2.0])])
    with pytest.raises(DatasetError, match=r"has shape \(2,\), expected \(\)"):
        read_frames(path, LabelConfig())
    path = write_xyz("text.xyz", structures[:1], REF_energy=["low"])
    with pytest.raises(DatasetError, match="is 'low', expected numbers"):
        read_frames(path, LabelConfig())
    flat = structures[0].copy()
    flat.cell, flat.pbc = np.diag([9.0, 9.0, 0.0]), True
    path = write_xyz("virial.xyz", [flat], energy=[-1.0], REF_virial=[np.ones(9)])
    with pytest.raises(DatasetError, match="needs a cell with a volume"):
        read_frames(path, LabelConfig())
    truncated = tmp_path / "truncated.xyz"
    truncated.write_text("5\nProperties=species:S:1:pos:R:3\nH 0 0 0\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"cannot read .*truncated\.xyz"):
        read_frames(truncated, LabelConfig())
    with pytest.raises(DatasetError, match=r"there is no file .*absent\.xyz"):
        read_frames(tmp_path / "absent.xyz", LabelConfig())


def test_bad_geometries_are_errors(structures, write_xyz):
    frames = [atoms.copy() for atoms in structures[:2]]
    frames[1].positions[3, 0] = np.nan
    path = write_xyz("nan.xyz", frames, energy=[-1.0, -1.0])
    with pytest.raises(DatasetError, match=r"positions or cell of nan\.xyz\[1\] hold NaN"):
        read_frames(path, LabelConfig())
    frames = [atoms.copy() for atoms in structures[:1]]
    frames[0].numbers[2] = 0
    path = write_xyz("dummy.xyz", frames, energy=[-1.0])
    with pytest.raises(DatasetError, match=r"dummy\.xyz\[0\] holds the dummy element X"):
        read_frames(path, LabelConfig())


def test_missing_labels_are_an_error_or_masked(structures, write_xyz):
    frames = structures[:3]
    some = [frames[0].info["F"], None, frames[2].info["F"]]
    path = write_xyz("some.xyz", frames, REF_energy=energies(frames), REF_forces=some)
    read = read_frames(path, LabelConfig()).frames
    assert read[1].forces is None
    wanted = {"energy": True, "forces": True, "stress": False}
    message = r"1 of 3 structures have no forces \(first: some\.xyz\[1\]\).*'mask'"
    with pytest.raises(DatasetError, match=message):
        check_labels(read, **wanted, missing="error")
    check_labels(read, **wanted, missing="mask")
    check_labels(read, energy=True, forces=False, stress=False, missing="error")
    with pytest.raises(DatasetError, match=r"none of 1 structures .* has a label for forces"):
        check_labels(read[1:2], **wanted, missing="mask")


def test_isolated_atoms_are_set_aside(acac_folder):
    file = read_frames(acac_folder / "isolated_atoms.xyz", LabelConfig())
    assert file.frames == ()
    assert [int(frame.atoms.numbers[0]) for frame in file.isolated_atoms] == [1, 6, 8]


def test_the_weight_of_a_structure(structures, write_xyz):
    atoms = structures[0]
    path = write_xyz(
        "weights.xyz",
        [atoms, atoms],
        REF_energy=[atoms.info["E"]] * 2,
        config_weight=[0.25, None],
    )
    assert [frame.weight for frame in read_frames(path, LabelConfig()).frames] == [0.25, 1.0]
    for bad in (0.0, -1.0, float("nan"), "heavy"):
        broken = write_xyz("bad.xyz", [atoms], REF_energy=[atoms.info["E"]], config_weight=[bad])
        with pytest.raises(DatasetError, match="give a number above zero"):
            _ = read_frames(broken, LabelConfig()).frames[0].weight
