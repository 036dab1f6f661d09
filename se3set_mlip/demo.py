"""The demonstration: what a shipped model does for a molecule, in a few minutes.

1. Relax the molecule.
2. NVE dynamics from the same start in ASE and in OpenMM, each in a process of its own.
3. Compare the energies of both engines, at the start and along the way.
4. One picture: energy conservation in both engines, and the molecule with its fragments coloured.
"""

import importlib.util
import json
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import ase
import ase.io
import numpy as np
import torch
from tqdm import tqdm

from se3set_mlip.child_processes import end_with_parent
from se3set_mlip.errors import MissingDependencyError
from se3set_mlip.export.loading import load
from se3set_mlip.fragments.drawing import draw_fragments
from se3set_mlip.fragments.fragmentation import Fragmentation
from se3set_mlip.potential.fragment_cache import FragmentCache
from se3set_mlip.shipped import shipped_model, shipped_structure
from se3set_mlip.simulate.dynamics import DynamicsConfig, run_dynamics
from se3set_mlip.simulate.engines import find_engine
from se3set_mlip.simulate.record import DynamicsRecord, Sample
from se3set_mlip.simulate.relax import relax
from se3set_mlip.structures import general_model, structure_from_smiles
from se3set_mlip.topology.molecule import Topology
from se3set_mlip.units import MEV_PER_EV

MODEL = "acetylacetone"
RUNS = {"ASE": "ase", "OpenMM": "openmm"}


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration measured."""

    relaxed_energy_ev: float
    start_energy_difference_mev: float
    """Potential energy in OpenMM minus ASE, at the same positions."""
    largest_energy_difference_mev: float
    """Largest difference of the potential energies in the first tenth of the runs, before chaos
    amplifies rounding."""
    drift_ase_mev_per_atom_per_ps: float
    drift_openmm_mev_per_atom_per_ps: float
    fluctuation_ase_mev_per_atom: float
    fluctuation_openmm_mev_per_atom: float
    ase_ns_per_day: float
    openmm_ns_per_day: float
    mean_temperature_kelvin: float


def demo_dynamics(duration_ps: float = 2.0) -> DynamicsConfig:
    """Return what is run in both engines.

    From a minimum, half of the kinetic energy goes into the potential: velocities drawn at 600 K
    leave about 300 K.
    """
    return DynamicsConfig(duration_ps=duration_ps, temperature_kelvin=600.0, interval=8)


def run_demo(
    folder: Path,
    *,
    model: Path | None = None,
    smiles: str | None = None,
    config: DynamicsConfig | None = None,
    echo: Callable[[str], None] = print,
) -> DemoResult:
    """Run the demonstration.

    Parameters
    ----------
    folder
        Where the trajectories, the picture and ``demo.json`` go; made if it is missing.
    model
        Model file instead of the shipped one; it must know the elements.
    smiles
        A molecule instead of acetylacetone, by the general model where no other is given.
    config
        Dynamics instead of :func:`demo_dynamics`.
    echo
        Called with each line to print.

    Returns
    -------
    DemoResult

    Raises
    ------
    MissingDependencyError
        If OpenMM or Matplotlib is not installed.
    TopologyError, InputError
        If the SMILES cannot be read, or the model cannot compute the molecule.
    """
    _require_packages()
    config = config or demo_dynamics()
    folder.mkdir(parents=True, exist_ok=True)
    name = MODEL if smiles is None else smiles
    if smiles is None:
        start, topology = ase.io.read(shipped_structure(MODEL)), None
        model = model or shipped_model(MODEL)
    else:
        start, topology = structure_from_smiles(smiles)
        model = model or shipped_model(general_model(start, topology)[0])
    potential = load(model, dtype="float64")

    echo(f"1. relaxing {name} with {model.stem}")
    relaxed = relax(potential, start, topology=topology, trajectory=folder / "relaxation.traj")
    state = "converged" if relaxed.converged else "NOT converged"
    echo(f"   {state} after {relaxed.n_steps} steps: {relaxed.energy:.6f} eV")

    echo(f"2. {config.duration_ps:g} ps of NVE dynamics in {' and in '.join(RUNS)}")
    with ProcessPoolExecutor(
        len(RUNS), mp_context=get_context("spawn"), initializer=end_with_parent
    ) as pool:
        runs = {
            engine: pool.submit(_run, engine, model, relaxed.atoms, topology, config, folder)
            for engine in RUNS
        }
        records = {engine: run.result() for engine, run in runs.items()}
    for engine, record in records.items():
        echo(f"   {engine}: {_describe(record)}")

    result = _compare(relaxed.energy, records)
    echo(
        "3. OpenMM minus ASE: potential energy at the start "
        f"{result.start_energy_difference_mev:.2e} meV, largest difference in the first tenth "
        f"{result.largest_energy_difference_mev:.2e} meV"
    )
    content = json.dumps(asdict(result), indent=2)
    (folder / "demo.json").write_text(content + "\n", encoding="utf-8")
    picture = folder / "demo.png"
    fragmentation = FragmentCache(potential.config.fragmentation).find(
        relaxed.atoms, topology=topology
    )
    _draw(name, records, fragmentation, picture)
    echo(f"4. picture in {picture}")
    return result


def _require_packages() -> None:
    """Raise before any work if what the demonstration needs is missing."""
    for package in ("matplotlib", "openmm"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"the demonstration needs {package}, which is not installed; install it with "
                "`pip install 'se3set-mlip[openmm,train]'`"
            )


def _run(
    name: str,
    model: Path,
    atoms: ase.Atoms,
    topology: Topology | None,
    config: DynamicsConfig,
    folder: Path,
) -> DynamicsRecord:
    """Run dynamics in one engine; the main function of a process, which is limited to one core."""
    torch.set_num_threads(1)
    with (
        warnings.catch_warnings(),
        tqdm(
            total=config.n_samples + 1,
            desc=f"{name:>6}",
            position=list(RUNS).index(name),
            unit="sample",
            disable=None,
            leave=False,
        ) as bar,
    ):
        # The proton moves between the oxygen atoms, and the model was trained with it on either.
        warnings.filterwarnings("ignore", message=r"bond O\d+-H\d+ is")

        def count(_sample: Sample, _record: DynamicsRecord) -> None:
            bar.update()

        return run_dynamics(
            load(model, dtype="float64"),
            atoms,
            config,
            engine=find_engine(RUNS[name]),
            topology=topology,
            trajectory=folder / f"nve_{name.lower()}.traj",
            on_sample=count,
        )


def _describe(record: DynamicsRecord) -> str:
    """Return one line on a run."""
    return (
        f"drift {record.drift_mev_per_atom_per_ps:+.5f} meV/atom/ps, fluctuation "
        f"{record.fluctuation_mev_per_atom:.4f} meV/atom, mean temperature "
        f"{record.temperatures_kelvin.mean():.0f} K, {record.nanoseconds_per_day:.3f} ns/day"
    )


def _compare(relaxed_energy: float, records: dict[str, DynamicsRecord]) -> DemoResult:
    """Compare the two runs."""
    in_ase, in_openmm = records["ASE"], records["OpenMM"]
    differences = MEV_PER_EV * (in_openmm.potential_energies - in_ase.potential_energies)
    early = max(1, len(differences) // 10)
    return DemoResult(
        relaxed_energy_ev=relaxed_energy,
        start_energy_difference_mev=float(differences[0]),
        largest_energy_difference_mev=float(np.abs(differences[:early]).max()),
        drift_ase_mev_per_atom_per_ps=in_ase.drift_mev_per_atom_per_ps,
        drift_openmm_mev_per_atom_per_ps=in_openmm.drift_mev_per_atom_per_ps,
        fluctuation_ase_mev_per_atom=in_ase.fluctuation_mev_per_atom,
        fluctuation_openmm_mev_per_atom=in_openmm.fluctuation_mev_per_atom,
        ase_ns_per_day=in_ase.nanoseconds_per_day,
        openmm_ns_per_day=in_openmm.nanoseconds_per_day,
        mean_temperature_kelvin=float(in_ase.temperatures_kelvin.mean()),
    )


def _draw(
    name: str,
    records: dict[str, DynamicsRecord],
    fragmentation: Fragmentation,
    picture: Path,
) -> None:
    """Draw energies of both runs over time, the total energy once more magnified, and fragments."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    from matplotlib.image import imread  # noqa: PLC0415 - optional

    molecule = draw_fragments(fragmentation, picture.with_name("fragments.png"), size=(720, 640))
    figure = Figure(figsize=(12.0, 5.4), layout="constrained")
    axes = figure.subplot_mosaic(
        [["energies", "molecule"], ["total", "molecule"]],
        width_ratios=[1.5, 1.0],
        height_ratios=[2.0, 1.0],
    )
    for (engine, record), style in zip(records.items(), ("-", "--"), strict=True):
        scale = MEV_PER_EV / record.n_atoms
        potential = scale * (record.potential_energies - record.potential_energies[0])
        total = scale * (record.total_energies - record.total_energies[0])
        axes["energies"].plot(
            record.times_ps, potential, style, lw=0.8, label=f"potential, {engine}"
        )
        axes["energies"].plot(record.times_ps, total, style, lw=1.6, label=f"total, {engine}")
        axes["total"].plot(record.times_ps, total, style, lw=1.0, label=engine)
    axes["energies"].set_title(f"{name}, NVE: change of energy (meV/atom)")
    axes["energies"].tick_params(labelbottom=False)
    axes["energies"].legend(loc="upper right", ncols=2, fontsize="small")
    axes["energies"].margins(y=0.25)
    axes["total"].set_title("total energy, magnified (meV/atom)", fontsize="medium")
    axes["total"].set_xlabel("time (ps)")
    axes["total"].margins(y=0.35)
    axes["total"].legend(loc="upper right", ncols=2, fontsize="small")
    axes["molecule"].imshow(imread(molecule))
    axes["molecule"].set_title("fragments")
    axes["molecule"].axis("off")
    figure.savefig(picture, dpi=150)
