"""The plugin of openmm-ml: ``MLPotential("se3set", modelPath="model.safetensors")``.

openmm-ml imports this module whenever it is imported itself, wanted or not: nothing but openmm-ml
is imported here before a system is made.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from se3set_mlip.errors import ConfigError

if TYPE_CHECKING:
    import openmm
    from openmm import app

PRECISIONS = {None: None, "single": "float32", "double": "float64"}
OF_OPENMM_ML = ("linkAtomDistances", "mlLongRange")
"""What openmm-ml's own embeddings take and pass on."""


class SE3SetPotentialImpl(MLPotentialImpl):
    """Puts the force of a SE3Set potential into OpenMM systems.

    Parameters
    ----------
    model_path
        The path of a checkpoint.
    """

    def __init__(self, model_path: str | Path) -> None:
        self.model_path = Path(model_path)

    def addForces(  # noqa: N802 - openmm-ml's name
        self,
        topology: "app.Topology",
        system: "openmm.System",
        atoms: Iterable[int] | None,
        forceGroup: int,
        *,
        positions: Any = None,
        precision: str | None = None,
        device: Any = None,
        on_bond_change: str = "keep",
        check_interval: int | None = None,
        memory_gib: float | None = None,
        **args: Any,
    ) -> None:
        """Add a force; openmm-ml calls this with the keywords of ``createSystem``.

        Parameters
        ----------
        topology
            Of the system, with bonds and all hydrogens.
        system
            The system.
        atoms
            Indices of the atoms that the potential acts on, whole molecules; None: all.
        forceGroup
            The group of the force.
        positions
            Reference geometry of the topology's atoms, a quantity or an array in nm. Only models
            whose fragments depend on it need it: those with explicit overlap.
        precision
            ``"single"`` or ``"double"``; None: the checkpoint's.
        device
            Where to compute, such as ``"cpu"``; None: a GPU if there is one.
        on_bond_change, check_interval, memory_gib
            As in :func:`~se3set_mlip.engines.openmm_force.create_force`.

        Raises
        ------
        ConfigError
            For a keyword or a precision that is not known.
        InputError
            For bonds that lead out of the atoms, virtual sites, elements that the potential does
            not know, or positions that are missing.
        TopologyError
            If no bonding pattern fits the topology.
        ArtifactError
            If the checkpoint cannot be read.

        Notes
        -----
        The box is periodic if that of the topology or the system is. A barostat moves the
        molecules of the potential as wholes.
        """
        from se3set_mlip.engines.bond_policy import CHECK_INTERVAL  # noqa: PLC0415
        from se3set_mlip.engines.openmm_force import (  # noqa: PLC0415
            create_force,
            declare_molecules,
        )

        _check_keywords(args)
        if precision not in PRECISIONS:
            raise ConfigError(f"precision = {precision!r}, expected 'single' or 'double'")
        box = topology.getPeriodicBoxVectors()
        particles = None if atoms is None else [int(index) for index in atoms]
        force = create_force(
            self.model_path,
            topology,
            positions=positions,
            particles=particles,
            periodic=box is not None or system.usesPeriodicBoundaryConditions(),
            device=str(self._getTorchDevice({} if device is None else {"device": device})),
            dtype=PRECISIONS[precision],
            on_bond_change=on_bond_change,
            check_interval=CHECK_INTERVAL if check_interval is None else check_interval,
            memory_gib=memory_gib,
        )
        force.setForceGroup(forceGroup)
        system.addForce(force)
        declare_molecules(system, topology, particles=particles)

    def getMLLongRange(self) -> bool:  # noqa: N802 - openmm-ml's name
        """Return False: the potential ends at its cutoff."""
        return False


class SE3SetPotentialImplFactory(MLPotentialImplFactory):
    """What openmm-ml makes an object of, at import, and asks for potentials."""

    def createImpl(  # noqa: N802 - openmm-ml's name
        self, name: str, *, modelPath: str | Path | None = None, **args: Any
    ) -> SE3SetPotentialImpl:
        """Return the potential of a checkpoint.

        Parameters
        ----------
        name
            ``"se3set"``.
        modelPath
            The path of a checkpoint.

        Raises
        ------
        ConfigError
            If there is no path, or for another keyword.
        """
        if modelPath is None or args:
            wrong = f"does not take {', '.join(args)}" if args else "needs a model"
            raise ConfigError(
                f"MLPotential({name!r}) {wrong}; write MLPotential({name!r}, "
                "modelPath='model.safetensors')"
            )
        return SE3SetPotentialImpl(modelPath)


def _check_keywords(args: dict[str, Any]) -> None:
    """Refuse keywords that neither this potential nor openmm-ml knows."""
    known = (
        "positions", "precision", "device", "on_bond_change", "check_interval", "memory_gib",
        *OF_OPENMM_ML,
    )  # fmt: skip
    for key in args:
        if key in OF_OPENMM_ML:
            continue
        near = get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"SE3Set does not know {key!r}; {hint}Known are {', '.join(known)}")
