"""`se3set relax` and `se3set md`."""

from pathlib import Path
from typing import Any

import ase.io
import click
from tqdm import tqdm

from se3set_mlip.commands.bond_changes import bond_options, printed_changes
from se3set_mlip.commands.committee import committee_options, load_potential
from se3set_mlip.commands.options import (
    NEW_FILE,
    memory_option,
    model_and_atoms,
    model_and_structure_arguments,
    precision_options,
)
from se3set_mlip.errors import ConfigError, InputError
from se3set_mlip.export.loading import load
from se3set_mlip.potential.chunked import COMPILED_ATOMS_AT_ONCE
from se3set_mlip.simulate.dynamics import ENSEMBLES, DynamicsConfig, run_dynamics
from se3set_mlip.simulate.engines import ENGINES, find_engine
from se3set_mlip.simulate.record import DynamicsRecord, Sample
from se3set_mlip.simulate.relax import OPTIMIZERS, relax

_DEFAULTS = DynamicsConfig()


@click.command("relax")
@model_and_structure_arguments
@click.option(
    "--output",
    "-o",
    type=NEW_FILE,
    default=Path("relaxed.xyz"),
    show_default=True,
    help="Where the relaxed structure goes.",
)
@click.option("--trajectory", type=NEW_FILE, help="ASE trajectory of all steps (.traj, .xyz).")
@click.option(
    "--fmax", default=0.01, show_default=True, help="Largest force of the result in eV/Å."
)
@click.option("--steps", default=500, show_default=True, help="Give up after so many steps.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="bfgs", show_default=True)
@click.option("--cell", is_flag=True, help="Relax the cell of a periodic structure too.")
@bond_options
@memory_option
@precision_options
@click.pass_context
def relax_command(
    context: click.Context,
    /,
    *,
    names: tuple[str, ...],
    output: Path,
    trajectory: Path | None,
    fmax: float,
    steps: int,
    optimizer: str,
    cell: bool,
    on_bond_change: str,
    check_interval: int,
    memory_gib: float | None,
    device: str,
    dtype: str,
    **structure: Any,
) -> None:
    """Relax STRUCTURE (a file, or --smiles) with MODEL to the nearest minimum.

    MODEL is a file or the name of a shipped model; without it, a general model for an organic
    molecule or ion, or for several. Exits with 1 if the forces are still too large after the last
    step.
    """
    model, atoms, topology = model_and_atoms(names, **structure)
    potential = load(model, device=device, dtype=dtype)
    click.echo("  step    energy (eV)    largest force (eV/Å)")

    def report(step: int, energy: float, force: float) -> None:
        click.echo(f"{step:6d}  {energy:13.6f}  {force:12.6f}")

    with printed_changes(click.echo) as show_changes:
        found = relax(
            potential,
            atoms,
            max_force=fmax,
            max_steps=steps,
            optimizer=optimizer,
            cell=cell,
            topology=topology,
            on_bond_change=on_bond_change,
            check_interval=check_interval,
            memory_gib=memory_gib,
            trajectory=trajectory,
            on_step=report,
        )
        show_changes(found.topology_changes)
    ase.io.write(output, found.atoms)
    state = "converged" if found.converged else "NOT converged"
    click.echo(f"{state} after {found.n_steps} steps: {found.energy:.6f} eV, written to {output}")
    if not found.converged:
        context.exit(1)


@click.command("md")
@model_and_structure_arguments
@click.option(
    "--engine", type=click.Choice(ENGINES), default="ase", show_default=True, help="Who integrates."
)
@click.option(
    "--ensemble",
    type=click.Choice(ENSEMBLES),
    default=_DEFAULTS.ensemble,
    show_default=True,
    help="Velocity Verlet, or Langevin dynamics.",
)
@click.option(
    "--duration", default=_DEFAULTS.duration_ps, show_default=True, help="Length of the run in ps."
)
@click.option(
    "--timestep", default=_DEFAULTS.timestep_fs, show_default=True, help="Time step in fs."
)
@click.option(
    "--hydrogen-mass",
    type=float,
    help="Mass of hydrogens in u: with 4, a time step of 2 fs does.  [default: their own]",
)
@click.option(
    "--temperature",
    default=_DEFAULTS.temperature_kelvin,
    show_default=True,
    help="Temperature of the first velocities and of the thermostat in K.",
)
@click.option(
    "--friction",
    default=_DEFAULTS.friction_per_ps,
    show_default=True,
    help="Friction of the thermostat in 1/ps.",
)
@click.option(
    "--interval", default=_DEFAULTS.interval, show_default=True, help="Steps between samples."
)
@click.option(
    "--seed", default=_DEFAULTS.seed, show_default=True, help="Of velocities and thermostat."
)
@click.option(
    "--keep-velocities", is_flag=True, help="Start with the velocities in the file; draw none."
)
@click.option(
    "--trajectory",
    "-o",
    type=NEW_FILE,
    default=Path("md.traj"),
    show_default=True,
    help="ASE trajectory of all samples (.traj, .xyz).",
)
@committee_options
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the network first: some minutes, then faster, for up to 1,024 atoms. Needs g++.",
)
@bond_options
@memory_option
@precision_options
@click.pass_context
def md_command(
    context: click.Context,
    /,
    *,
    names: tuple[str, ...],
    committee: tuple[Path, ...],
    warn_above: float | None,
    stop_above: float | None,
    compiled: bool,
    engine: str,
    duration: float,
    timestep: float,
    hydrogen_mass: float | None,
    temperature: float,
    friction: float,
    trajectory: Path,
    device: str,
    dtype: str,
    ensemble: str,
    interval: int,
    seed: int,
    keep_velocities: bool,
    on_bond_change: str,
    check_interval: int,
    memory_gib: float | None,
    **structure: Any,
) -> None:
    """Run molecular dynamics of STRUCTURE (a file, or --smiles) with MODEL.

    MODEL is a file or the name of a shipped model; without it, a general model for organic
    molecules, or for ions.

    The drift is the slope of the total energy so far; it means something in NVE only.

    With --committee the mean of all models drives the run, and the largest spread of the forces on
    an atom is printed. Exits with 3 if --stop-above ended the run, with the geometry as the last
    frame of the trajectory.
    """
    config = DynamicsConfig(
        ensemble=ensemble,
        duration_ps=duration,
        timestep_fs=timestep,
        hydrogen_mass_u=hydrogen_mass,
        temperature_kelvin=temperature,
        friction_per_ps=friction,
        interval=interval,
        seed=seed,
        keep_velocities=keep_velocities,
        on_bond_change=on_bond_change,
        check_interval=check_interval,
        memory_gib=memory_gib,
        warn_above=warn_above,
        stop_above=stop_above,
    )
    model, atoms, topology = model_and_atoms(names, besides=committee, **structure)
    potential = load_potential(model, committee, device=device, dtype=dtype)
    engine_function = find_engine(engine)
    if compiled:
        _check_compilable(len(atoms), memory_gib)
        potential = potential.compiled()
        tqdm.write("compiling the network, which takes some minutes; the run begins then")
    tqdm.write(
        "   time (ps)   potential (eV)       total (eV)   T (K)  drift (meV/atom/ps)  ns/day"
        + ("  spread (eV/Å)" if committee else "")
    )
    with (
        tqdm(total=config.n_steps, unit="step", disable=None) as bar,
        printed_changes(tqdm.write) as show_changes,
    ):

        def report(sample: Sample, record: DynamicsRecord) -> None:
            show_changes(sample.topology_changes)
            tqdm.write(format_sample(sample, record, conserved=ensemble == "nve"))
            bar.update(round(1000.0 * sample.time_ps / timestep) - bar.n)

        record = run_dynamics(
            potential,
            atoms,
            config,
            engine=engine_function,
            topology=topology,
            trajectory=trajectory,
            on_sample=report,
        )
    click.echo(
        f"{record.times_ps[-1]:.3f} ps at {record.nanoseconds_per_day:.3f} ns/day, mean "
        f"temperature {record.temperatures_kelvin.mean():.1f} K, trajectory in {trajectory}"
    )
    if record.stopped is not None:
        click.echo(f"stopped: {record.stopped}", err=True)
        context.exit(3)


def _check_compilable(n_atoms: int, memory_gib: float | None) -> None:
    """Raise unless a compiled network would be used: not for systems computed in parts."""
    if memory_gib is not None:
        raise ConfigError(
            "--compile is for systems that are computed at once, --memory for parts; leave one out"
        )
    if n_atoms > COMPILED_ATOMS_AT_ONCE:
        raise InputError(
            f"--compile is for up to {COMPILED_ATOMS_AT_ONCE:,} atoms, the structure has "
            f"{n_atoms:,} and is computed in parts; leave --compile out"
        )


def format_sample(sample: Sample, record: DynamicsRecord, *, conserved: bool) -> str:
    """Return one line of the table that `md` prints."""
    spread = "" if sample.uncertainty is None else f"  {sample.uncertainty:13.4f}"
    drift = f"{record.drift_mev_per_atom_per_ps:19.5f}" if conserved else f"{'-':>19}"
    return (
        f"{sample.time_ps:12.4f}  {sample.potential_energy:15.6f}  {sample.total_energy:15.6f}  "
        f"{sample.temperature_kelvin:6.1f}  {drift}  {record.nanoseconds_per_day:6.3f}"
        f"{spread}"
    )
