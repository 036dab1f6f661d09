"""NequIP with random weights; runs where NequIP is.

NequIP 0.19: 5 Å, four layers, l <= 2, 32 features of each degree, no odd mirror parity (its advice
for speed), radial network of one layer of 128. Called as directly as it can be: its own neighbour
list, a dictionary of tensors, its module; no ASE.

The route ``compiled`` is what its documentation advises for dynamics, AOTInductor. Compiling takes
minutes, so the result is kept for the next run.
"""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict, compute_neighborlist_, from_dict
from nequip.model import NequIPGNNModel
from nequip.nn.compile import DictInputOutputWrapper
from nequip.scripts._compile_utils import AOTI_ASE_TARGET, COMPILE_TARGET_DICT
from nequip.utils.aot import aot_export_model
from nequip.utils.global_state import set_global_state
from numpy.typing import NDArray
from speed.structure import Structure
from torch._inductor import aoti_load_package

PACKAGES = ("nequip", "torch", "e3nn")
ELEMENTS = (1, 6, 7, 8)
RANGE_ANGSTROM = 5.0


class NequIPSubject:
    """A NequIP model in float32.

    Parameters
    ----------
    route
        ``"eager"`` or ``"compiled"``.
    device
        Where to compute.
    kept
        Folder for what was compiled.
    """

    def __init__(self, *, route: str, device: str, kept: Path) -> None:
        set_global_state(allow_tf32=False)
        self._device = device
        self._kept = kept
        self._model = _model().to(device)
        self._run: torch.nn.Module | None = None if route == "compiled" else self._model
        self._batch: AtomicDataDict.Type = {}

    def prepare(self, structure: Structure) -> None:
        """Take another structure; weights are frozen. Compile once, if that is the route."""
        self._model.eval().requires_grad_(False)
        self._structure = structure
        self._types = torch.tensor([ELEMENTS.index(int(n)) for n in structure.numbers])
        if self._run is None:
            self._run = self._compiled(self._inputs(structure.positions))

    def energy_forces(self, positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return energy and forces, the neighbour list made anew."""
        assert self._run is not None, "prepare comes first"
        out = self._run(self._inputs(positions))
        energy = float(out[AtomicDataDict.TOTAL_ENERGY_KEY].detach())
        return energy, out[AtomicDataDict.FORCE_KEY].detach().cpu().numpy()

    def prepare_training(self, copies: Sequence[NDArray[np.float64]]) -> None:
        """Make a batch; neighbour lists are made once, as its training does."""
        self._model.train().requires_grad_(True)
        self._batch = AtomicDataDict.batched_from_list([self._inputs(p) for p in copies])

    def training_step(self) -> None:
        """Compute the loss of energies and forces, and its gradient."""
        self._model.zero_grad(set_to_none=True)
        out = self._model(dict(self._batch))
        per_atom = out[AtomicDataDict.TOTAL_ENERGY_KEY] / self._structure.n_atoms
        loss = per_atom.pow(2).mean() + out[AtomicDataDict.FORCE_KEY].pow(2).mean()
        loss.backward()

    def _inputs(self, positions: NDArray[np.float64]) -> AtomicDataDict.Type:
        """Return what the model takes for one geometry of the structure."""
        cell = self._structure.cell
        data = from_dict(
            {
                AtomicDataDict.POSITIONS_KEY: positions,
                AtomicDataDict.CELL_KEY: np.eye(3) if cell is None else cell,
                AtomicDataDict.PBC_KEY: cell is not None,
                AtomicDataDict.ATOM_TYPE_KEY: self._types,
            }
        )
        data = compute_neighborlist_(data, RANGE_ANGSTROM)
        return AtomicDataDict.to_(data, self._device)

    def _compiled(self, data: AtomicDataDict.Type) -> torch.nn.Module:
        """Return the model compiled ahead of time for one structure of any size."""
        target = COMPILE_TARGET_DICT[AOTI_ASE_TARGET]
        fields = (list(target["input"]), list(target["output"]))
        versions = "-".join(importlib.metadata.version(name) for name in PACKAGES)
        path = self._kept / f"{versions}-{self._device.replace(':', '-')}.nequip.pt2"
        if not path.exists():
            self._kept.mkdir(parents=True, exist_ok=True)
            aot_export_model(
                self._model,
                self._device,
                *fields,
                data={name: data[name] for name in fields[0]},
                batch_map={
                    "graph": torch.export.Dim.STATIC,
                    "node": torch.export.dynamic_shapes.Dim("num_nodes", min=2, max=torch.inf),
                    "edge": torch.export.dynamic_shapes.Dim("num_edges", min=2, max=torch.inf),
                },
                output_path=str(path),
            )
        return DictInputOutputWrapper(aoti_load_package(str(path)), *fields)


def _model() -> torch.nn.Module:
    """Return the model with random weights."""
    return NequIPGNNModel(
        seed=1,
        model_dtype="float32",
        type_names=["H", "C", "N", "O"],
        r_max=RANGE_ANGSTROM,
        num_layers=4,
        l_max=2,
        parity=False,
        num_features=32,
        radial_mlp_depth=1,
        radial_mlp_width=128,
        avg_num_neighbors=16.0,
        compile_mode="eager",
    )


def make_subject(options: dict[str, Any]) -> NequIPSubject:
    """Return a subject; ``route`` is eager or compiled."""
    return NequIPSubject(
        route=options["route"], device=options["device"], kept=Path(options["kept"])
    )
