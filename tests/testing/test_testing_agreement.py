"""Every way to compute gives the same numbers, and one that does not is seen."""

import sys

import ase
import numpy as np
import pytest
from ase.calculators.lj import LennardJones

from se3set_mlip.structures import structure_from_smiles
from se3set_mlip.testing import agreement, openmm_values
from se3set_mlip.testing.agreement import check_agreement
from se3set_mlip.testing.specimens import boxed
from se3set_mlip.testing.subject import Specimen
from se3set_mlip.testing.subjects import PotentialSubject, as_subject


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return Specimen(*structure_from_smiles("CO"))


@pytest.mark.parametrize(("dtype", "periodic"), [("float64", True), ("float32", False)])
def test_all_ways_agree(tiny_potential, specimen, dtype, periodic):
    subject = PotentialSubject(tiny_potential.to(dtype=dtype))
    results = check_agreement(subject, boxed(specimen) if periodic else specimen)
    found = {result.name.removeprefix("same numbers in "): result for result in results}
    assert set(found) >= {"TorchScript", "ASE", "OpenMM, Reference", "OpenMM, CPU"}
    for name, result in found.items():
        if name == "OpenMM TorchForce" and result.skipped:
            assert "openmmtorch" in result.skipped
        else:
            assert result.passed, result
            assert result.allowed == (1e-9 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("wrong", ["energy", "forces"])
def test_another_number_is_seen(tiny_potential, specimen, monkeypatch, wrong):
    def shifted(specimens):
        values = agreement._ase(PotentialSubject(tiny_potential), specimens)
        shift = 1e-7 if wrong == "energy" else np.full(values[-1].forces.shape, 1e-7)
        changed = values[-1]._replace(**{wrong: getattr(values[-1], wrong) + shift})
        return [*values[:-1], changed]

    monkeypatch.setattr(agreement, "_ways", lambda _: {"ASE": shifted})
    results = check_agreement(PotentialSubject(tiny_potential), specimen)
    failed = [result.name for result in results if result.passed is False]
    assert failed == ["same numbers in ASE"]
    assert results[0].measured == pytest.approx(1e-7, rel=0.1) or wrong == "energy"


def test_without_openmm_the_others_are_compared(tiny_potential, specimen, monkeypatch):
    monkeypatch.delattr("se3set_mlip.testing.openmm_values")
    monkeypatch.setitem(sys.modules, "se3set_mlip.testing.openmm_values", None)
    monkeypatch.setattr(agreement, "_torchscript", lambda subject, them: subject.values(them))
    results = check_agreement(PotentialSubject(tiny_potential), specimen)
    assert [bool(result.skipped) for result in results] == [False, False, True]


def test_other_calculators_are_skipped():
    (result,) = check_agreement(as_subject(LennardJones()), Specimen(ase.Atoms("Ar")))
    assert result.passed is None


def test_a_slab_is_skipped_by_openmm(tiny_potential, specimen, monkeypatch):
    monkeypatch.setattr(agreement, "_torchscript", lambda subject, them: subject.values(them))
    slab = boxed(specimen)
    slab.atoms.pbc = (True, True, False)
    results = check_agreement(PotentialSubject(tiny_potential), slab)
    skipped = {result.name: result.skipped for result in results if "OpenMM, " in result.name}
    assert all("all directions or none" in reason for reason in skipped.values())
    assert openmm_values.platform_names()[0] == "Reference"
