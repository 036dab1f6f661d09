"""torch-sim's model: a state of many systems -> energies, forces and stresses, in one batch.

torch-sim knows no bonds, and its autobatching reorders systems, swaps them in and out and copies
them. So the fragments travel with the systems: the model returns, besides energies and forces, a
number for each atom under the name ``"se3set_fragments"``, the key of its system's fragments (see
:mod:`.fragment_library`). torch-sim's integrators and optimizers keep what a model returns so
(``state.store_model_extras``), take it along wherever a system goes, and hand it back.

- A system with a key gets its fragments by the key: its bonds may stretch, and the energy stays one
  smooth surface.
- A system without one, at its first evaluation, gets the fragments that its bonds call for, found
  from its coordinates and ``state.charge`` (or ``state.total_charge``; without either: neutral).
  torch-sim does not read ``atoms.info["charge"]`` by itself: where atoms are charged, or their
  chemistry is known, begin with :meth:`SE3SetTorchSimModel.initialize_state`.

Positions stay tensors on their device. Units are torch-sim's metal units: eV, Å, eV/Å, eV/Å^3.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from se3set_mlip.engines.fragment_batch import FragmentBatch
from se3set_mlip.engines.fragment_library import FragmentLibrary, Structure
from se3set_mlip.engines.geometry_guard import GeometryGuard
from se3set_mlip.errors import InputError, MissingDependencyError, TopologyError
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.candidate_cache import CandidateCache
from se3set_mlip.potential.checkpoint import load_checkpoint
from se3set_mlip.potential.chunked import check_memory
from se3set_mlip.potential.potential import Potential
from se3set_mlip.topology.molecule import Topology

try:
    import torch_sim
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise MissingDependencyError(
        "the torch-sim engine needs torch-sim 0.6 or newer, and with it Python 3.12: "
        "pip install 'se3set-mlip[torchsim]'"
    ) from error
if not hasattr(torch_sim.SimState, "store_model_extras"):
    raise MissingDependencyError(
        "this torch-sim does not keep what a model says of a system, on which the engine stands; "
        "upgrade to torch-sim 0.6 or newer, which needs Python 3.12"
    )

FRAGMENTS = "se3set_fragments"
"""Under this name a state keeps, for each atom, the key of its system's fragments."""


class SE3SetTorchSimModel(ModelInterface):
    """Energies, forces and stress of a SE3Set potential, for torch-sim.

    Parameters
    ----------
    potential
        A potential (see ``se3set_mlip.load``), or the path of a checkpoint.
    device
        Where to compute, such as ``"cpu"`` or ``"cuda"``.
    dtype
        ``"float64"`` or ``"float32"``: that of the states, and of forces and stress. Energies are
        float64 always.
    compute_forces, compute_stress
        What to compute besides energies; both can be changed later. A barostat or a relaxation of
        the cell needs the stress.
    on_bond_change
        ``"keep"`` the fragments and warn, once for each chemistry, when a bond is broken, or raise
        an ``"error"`` then.
    memory_gib
        What one evaluation may take in GiB, besides what the process holds already; large batches
        are computed in parts that fit. None: what makes it fast.

    Raises
    ------
    ConfigError
        For another ``on_bond_change``. New fragments on the way, ``"reperceive"``, would let the
        energies jump that torch-sim's integrators and convergence criteria compare.
    InputError
        For a device, dtype or ceiling that cannot be used.
    ArtifactError
        If the checkpoint cannot be read.
    """

    def __init__(
        self,
        potential: Potential | str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float64",
        compute_forces: bool = True,
        compute_stress: bool = False,
        on_bond_change: str = "keep",
        memory_gib: float | None = None,
    ) -> None:
        super().__init__()
        check_memory(memory_gib)
        self._guard = GeometryGuard(on_bond_change)
        if not isinstance(potential, Potential):
            potential = load_checkpoint(potential)
        self.potential = potential.to(device=device, dtype=dtype)
        self._device = self.potential.device
        self._dtype = self.potential.dtype
        self._compute_forces = compute_forces
        self._compute_stress = compute_stress
        self._memory_gib = memory_gib
        self._library = FragmentLibrary(self.potential)
        self._candidates = CandidateCache()
        self._batch: FragmentBatch | None = None

    @property
    def compute_forces(self) -> bool:
        """Whether forces are computed."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, compute_forces: bool) -> None:
        self._compute_forces = compute_forces

    @property
    def compute_stress(self) -> bool:
        """Whether the stress is computed, of states that are periodic in all directions."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, compute_stress: bool) -> None:
        self._compute_stress = compute_stress

    def initialize_state(
        self, structures: Any, *, topology: Topology | None = None
    ) -> torch_sim.SimState:
        """Return a state of structures whose fragments are found now.

        Parameters
        ----------
        structures
            An ASE ``Atoms`` or a list of them. ``info["charge"]`` and ``info["mapped_smiles"]`` are
            honoured.
        topology
            Who is bonded to whom in every one of them, where it is known.

        Raises
        ------
        InputError
            For structures that cannot be right, or that do not fit the topology.
        TopologyError
            If no bonding pattern fits the coordinates and the charge.
        """
        items = [structures] if hasattr(structures, "positions") else list(structures)
        keys = [self._library.add(atoms, topology=topology) for atoms in items]
        state = torch_sim.initialize_state(items, self._device, self._dtype)
        atom_keys = np.repeat(np.array(keys, dtype=np.int64), [len(atoms) for atoms in items])
        state.store_model_extras({FRAGMENTS: torch.tensor(atom_keys, device=self._device)})
        return state

    def fragmentations(self, state: torch_sim.SimState) -> list[Fragmentation]:
        """Return the fragments of each system of a state, in its order.

        Parameters
        ----------
        state
            The state; fragments are found where it carries none.

        Raises
        ------
        InputError, TopologyError
            As :meth:`forward`.
        """
        return [self._library.fragmentation(key) for key in self._keys_of(state)]

    def forward(self, state: torch_sim.SimState) -> dict[str, torch.Tensor]:
        """Compute all systems of a state.

        Parameters
        ----------
        state
            Of this model's device and dtype; it is not changed.

        Returns
        -------
        dict
            ``"energy"`` (n_systems,), eV, float64; ``"forces"`` (n_atoms, 3), eV/Å, if wanted;
            ``"stress"`` (n_systems, 3, 3), eV/Å^3, positive under tension, if wanted and the state
            is periodic in all directions; ``"se3set_fragments"`` (n_atoms,), int64.

        Raises
        ------
        InputError
            For a state of another device or dtype, positions that are not finite, a cell too small
            for its bonds, elements that the potential does not know, or fragments of other atoms.
        TopologyError
            If a system carries no fragments and no bonding pattern fits it; for a broken bond, with
            ``on_bond_change="error"``.
        """
        if state.dtype != self._dtype or state.device != self._device:
            raise InputError(
                f"the state is {state.dtype} on {state.device}, the model {self._dtype} on "
                f"{self._device}; make it with model.initialize_state(atoms), or convert it with "
                "state.to(model.device, model.dtype)"
            )
        batch = self._batch_of(state)
        system = batch.at(state.positions.detach(), state.row_vector_cell.detach().contiguous())
        self._guard.check(batch, system)
        stress = self._compute_stress and bool(state.pbc.all())
        output = self.potential.compute(
            system,
            forces=self._compute_forces,
            stress=stress,
            cache=self._candidates,
            memory_gib=self._memory_gib,
        )
        found = {"energy": output.energy, FRAGMENTS: batch.atom_keys}
        if self._compute_forces:
            found["forces"] = output.forces
        if stress:
            found["stress"] = output.stress
        return found

    def _batch_of(self, state: torch_sim.SimState) -> FragmentBatch:
        """Return the fragments of a state's systems; those in use if it holds the same systems."""
        batch, keys, charges = self._batch, state.atom_extras.get(FRAGMENTS), _charges(state)
        if (
            batch is None
            or keys is None
            or not batch.fits(keys, state.atomic_numbers, state.system_idx, state.pbc)
            or not (charges is None or bool((charges == batch.charges).all()))
        ):
            self._batch = batch = self._library.batch(self._keys_of(state))
        return batch

    def _keys_of(self, state: torch_sim.SimState) -> list[int]:
        """Return the key of each system; new ones where there are none."""
        charges = _charges(state)
        totals = [None] * state.n_systems if charges is None else charges.tolist()
        carried = state.atom_extras.get(FRAGMENTS)
        numbers = state.atomic_numbers.cpu().numpy().astype(np.int64)
        positions = state.positions.detach().cpu().numpy().astype(np.float64)
        cells = state.row_vector_cell.detach().cpu().numpy().astype(np.float64)
        ends = np.cumsum(state.n_atoms_per_system.cpu().numpy())
        out = []
        for index, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            own = [] if carried is None else carried[start:end].unique().tolist()
            structure = Structure(
                numbers=numbers[start:end],
                positions=positions[start:end],
                cell=cells[index],
                pbc=state.pbc.cpu().numpy(),
                charge=totals[index],
            )
            try:
                if len(own) > 1:
                    raise InputError(
                        f"its atoms carry {len(own)} different fragments; systems cannot be joined "
                        "or cut after their first evaluation, make a new state"
                    )
                out.append(self._library.find(structure, own[0] if own else None))
            except InputError as error:
                raise InputError(f"system {index} of the state: {error}") from error
            except TopologyError as error:
                raise TopologyError(
                    f"system {index} of the state: {error}; what coordinates do not tell, a charge "
                    "or the bonds, goes into model.initialize_state(atoms, topology=...)"
                ) from error
        return out


def _charges(state: torch_sim.SimState) -> torch.Tensor | None:
    """Return the total charge of each system, (n_systems,), if the state says it."""
    stated = [
        getattr(state, name).reshape(-1)
        for name in ("total_charge", "charge")
        if state.has_extras(name)
    ]
    if len(stated) == 2 and not torch.equal(stated[0], stated[1]):
        raise InputError(
            f"state.total_charge is {stated[0].tolist()}, state.charge {stated[1].tolist()}; give "
            "one of them"
        )
    return stated[0] if stated else None
