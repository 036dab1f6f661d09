"""ASE: charges are honoured or refused, never ignored; and a client that serves them by socket."""

import os
import threading

import ase
import numpy as np
import pytest
from ase.build import molecule as build_molecule
from ase.calculators.socketio import SocketClient, SocketIOCalculator

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.errors import InputError, TopologyError
from se3set_mlip.topology.molecule import Topology


def acetate() -> ase.Atoms:
    atoms = build_molecule("CH3COOH")
    del atoms[3]
    return atoms


def served(
    atoms: ase.Atoms, calculator: SE3SetCalculator, *, use_stress: bool
) -> dict[str, object]:
    """Return what a client that holds these atoms answers to a server with other positions."""
    name = f"se3set_{os.getpid()}_{threading.get_ident()}_{use_stress}"
    moved = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    moved.rattle(0.02, seed=1)
    failures: list[BaseException] = []

    def serve(atoms, properties=None, port=None, unixsocket=None) -> None:
        def answer() -> None:
            try:
                client = SocketClient(unixsocket=unixsocket, timeout=60)
                client.run(held, use_stress=use_stress)
            except BaseException as error:  # noqa: BLE001 - threads hide theirs
                failures.append(error)

        thread.append(threading.Thread(target=answer))
        thread[0].start()

    held, thread = atoms, list[threading.Thread]()
    held.calc = calculator
    with SocketIOCalculator(unixsocket=name, timeout=60, launch_client=serve) as server:
        moved.calc = server
        results = {"forces": moved.get_forces(), "energy": moved.get_potential_energy()}
        if use_stress:
            results["stress"] = moved.get_stress()
    thread[0].join(timeout=60)
    assert not failures
    return results | {"positions": moved.positions}


def test_a_socket_client_serves_a_charged_molecule(molecule):
    """The protocol sends no charge: what the client's atoms say holds."""
    atoms = acetate()
    atoms.info["charge"] = -1
    found = served(atoms, SE3SetCalculator(molecule.potential), use_stress=False)
    expected = acetate()
    expected.info["charge"] = -1
    expected.positions = found["positions"]
    result = molecule.potential.evaluate(expected)
    assert found["energy"] == pytest.approx(result.energy, rel=1e-10)
    assert np.abs(found["forces"] - result.forces).max() < 1e-8


def test_a_socket_client_serves_stress(wet_cell):
    topology = wet_cell.fragmentation.topology
    atoms = ase.Atoms(wet_cell.numbers, wet_cell.positions, cell=wet_cell.cell, pbc=True)
    atoms.calc = SE3SetCalculator(wet_cell.potential, topology=topology)
    found = served(atoms.copy(), atoms.calc, use_stress=True)
    atoms.positions = found["positions"]
    atoms.calc = SE3SetCalculator(wet_cell.potential, topology=topology)
    assert found["energy"] == pytest.approx(atoms.get_potential_energy(), rel=1e-10)
    assert np.abs(found["stress"] - atoms.get_stress()).max() < 1e-8
    assert np.abs(found["stress"]).max() > 1e-4


def test_every_structure_of_a_batch_has_its_own_charge(molecule):
    ion, acid = acetate(), build_molecule("CH3COOH")
    ion.info["charge"] = -1
    together = molecule.potential.evaluate([acid, ion, acid])
    for atoms, result in zip((acid, ion, acid), together, strict=True):
        alone = molecule.potential.evaluate(atoms)
        assert result.energy == pytest.approx(alone.energy, rel=1e-13)
        assert np.abs(result.forces - alone.forces).max() < 1e-12
    ion.info["charge"] = 0
    with pytest.raises(TopologyError):
        molecule.potential.evaluate([acid, ion])


def test_a_charge_that_contradicts_the_chemistry_given_is_refused(molecule):
    water = build_molecule("H2O")
    water.info["charge"] = -1
    with pytest.raises(InputError, match=r"\['charge'\] = -1, the formal charges .* sum to 0"):
        molecule.potential.evaluate(water, topology=Topology.from_smiles("O"))
    water.info["mapped_smiles"] = "[O:1]([H:2])[H:3]"
    with pytest.raises(InputError, match=r"\['charge'\] = -1, the formal charges .* sum to 0"):
        molecule.potential.evaluate(water)
    water.calc = SE3SetCalculator(molecule.potential)
    with pytest.raises(InputError, match=r"\['charge'\] = -1"):
        water.get_potential_energy()
    water.info["charge"] = 0
    assert np.isfinite(water.get_potential_energy())


@pytest.mark.parametrize("charge", ["-1", 0.5, True, np.nan])
def test_a_charge_that_is_no_whole_number_is_refused(molecule, charge):
    water = build_molecule("H2O")
    water.info["charge"] = charge
    with pytest.raises(InputError, match="not a whole number"):
        molecule.potential.evaluate(water)
    water.calc = SE3SetCalculator(molecule.potential)
    with pytest.raises(InputError, match="not a whole number"):
        water.get_potential_energy()


def test_changed_initial_charges_and_stated_bonds_are_changes(molecule):
    atoms = acetate()
    atoms.set_initial_charges([0, 0, -1, 0, 0, 0, 0])
    atoms.calc = SE3SetCalculator(molecule.potential)
    atoms.get_potential_energy()
    assert atoms.calc.fragmentation(atoms).topology.charge == -1
    atoms.set_initial_charges(np.full(len(atoms), -1.0 / 7.0))
    kept = atoms.calc.fragmentation(atoms)
    assert kept.topology.charge == -1
    atoms.set_initial_charges(None)
    with pytest.raises(TopologyError):
        atoms.get_potential_energy()

    hydrogens = ase.Atoms("H4", [[0, 0, 0], [0, 0, 0.8], [0, 0.8, 0], [0, 0.8, 0.8]])
    hydrogens.calc = SE3SetCalculator(molecule.potential)
    bonds = []
    for smiles in ("[H:1][H:2].[H:3][H:4]", "[H:1][H:3].[H:2][H:4]"):
        hydrogens.info["mapped_smiles"] = smiles
        hydrogens.get_potential_energy()
        bonds.append(hydrogens.calc.fragmentation(hydrogens).topology.bonds)
    assert bonds == [((0, 1), (2, 3)), ((0, 2), (1, 3))]
