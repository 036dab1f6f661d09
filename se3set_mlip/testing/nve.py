"""Constant energy: what velocity Verlet keeps tells how smooth the potential is.

Drift: the slope of the least-squares line through the total energy per atom. A step or a kink that
a trajectory crosses adds up to one; a smooth potential has none.

Order: velocity Verlet with step dt conserves E + dt^2 E2(x, v) + ..., so that the total energy
fluctuates as dt^2 where the potential has the derivatives that this needs. Copies start in the
same state and run for the same time with three steps; the slope of log(fluctuation) against log(dt)
is 2.

Half the kinetic energy of a relaxed structure goes into potential energy, so velocities are drawn
at twice the temperature.
"""

from collections.abc import Sequence

import numpy as np

from se3set_mlip.simulate.record import line_through
from se3set_mlip.simulate.velocities import degrees_of_freedom, draw_momenta, temperature_kelvin
from se3set_mlip.testing.integrators import (
    State,
    initial_state,
    kinetic_energies,
    relaxed,
    verlet_step,
)
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.subject import Array, Specimen, Subject
from se3set_mlip.units import FEMTOSECONDS_PER_PICOSECOND, MEV_PER_EV

DRIFT_NAME = "NVE drift"
ORDER_NAME = "NVE fluctuation, order in the time step"
DRIFT_MEV_PER_ATOM_PER_PS = 1e-3
ORDER = 2.0
ORDER_TOLERANCE = 0.2
TEMPERATURE_KELVIN = 300.0
TIMESTEPS_FS = (0.25, 0.5, 1.0)
EXPLODED_EV = 1e4
"""A run whose total energy changes by this much has exploded; it ends and fails."""


def _start(
    subject: Subject, specimen: Specimen, n_copies: int, *, temperature: float, seed: int
) -> tuple[Specimen, State]:
    """Return the relaxed specimen and equal copies of it in thermal motion."""
    still = relaxed(subject, specimen)
    masses = still.atoms.get_masses()[:, None]
    velocities = draw_momenta(still.atoms, 2.0 * temperature, seed=seed) / masses
    shape = (n_copies, *velocities.shape)
    state = initial_state(
        subject,
        still,
        positions=np.broadcast_to(still.atoms.positions, shape),
        velocities=np.broadcast_to(velocities, shape),
    )
    return still, state


def check_drift(
    subject: Subject,
    specimen: Specimen,
    *,
    duration_ps: float = 20.0,
    timestep_fs: float = 0.5,
    temperature: float = TEMPERATURE_KELVIN,
    seed: int = 0,
) -> CheckResult:
    """Run velocity Verlet from a thermal start and measure the drift of the total energy.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        A structure; it is relaxed first.
    duration_ps
        Length of the run in ps; the tolerance is meant for 20.
    timestep_fs
        Time step in fs.
    temperature
        Temperature in K about which the kinetic energy settles.
    seed
        Of the velocities.
    """
    still, state = _start(subject, specimen, 1, temperature=temperature, seed=seed)
    freedom = degrees_of_freedom(still.atoms)
    n_steps = max(3, round(duration_ps * FEMTOSECONDS_PER_PICOSECOND / timestep_fs))
    totals, kinetic = np.full(n_steps + 1, np.nan), np.full(n_steps + 1, np.nan)
    for step in range(n_steps + 1):
        if step:
            state = verlet_step(subject, still, state, timesteps_fs=[timestep_fs])
        kinetic[step] = kinetic_energies(still, state)[0]
        totals[step] = state.energies[0] + kinetic[step]
        if not abs(totals[step] - totals[0]) < EXPLODED_EV:
            totals[step] = np.nan
            break
    times = np.arange(n_steps + 1) * timestep_fs / FEMTOSECONDS_PER_PICOSECOND
    changes = (totals - totals[0]) * MEV_PER_EV / len(still.atoms)
    drift, fluctuation = line_through(times, changes)
    mean = temperature_kelvin(float(np.nanmean(kinetic)), freedom)
    every = max(1, n_steps // 2000)
    return CheckResult(
        DRIFT_NAME,
        abs(drift),
        DRIFT_MEV_PER_ATOM_PER_PS,
        "meV/atom/ps",
        detail=f"{times[-1]:g} ps at {timestep_fs:g} fs, {mean:.0f} K on average, fluctuation "
        f"{fluctuation:.2g} meV/atom",
        data={
            "time_ps": times[::every].tolist(),
            "total_mev_per_atom": changes[::every].tolist(),
            "drift_mev_per_atom_per_ps": drift,
            "mean_temperature_kelvin": mean,
        },
    )


def _totals(
    subject: Subject, still: Specimen, state: State, *, timesteps_fs: Sequence[float], n_long: int
) -> Array:
    """Return total energies (n_copies, n_long + 1) in eV at multiples of the longest time step."""
    steps = np.array(timesteps_fs)
    ratios = np.rint(steps.max() / steps).astype(int)
    totals = np.full((len(steps), n_long + 1), np.nan)
    totals[:, 0] = state.energies + kinetic_energies(still, state)
    active = np.arange(len(steps))
    for step in range(1, int(ratios.max()) * n_long + 1):
        running = step <= ratios[active] * n_long
        active, state = active[running], state.chosen(running)
        state = verlet_step(subject, still, state, timesteps_fs=steps[active])
        energies = state.energies + kinetic_energies(still, state)
        if not np.all(np.abs(energies - totals[active, 0]) < EXPLODED_EV):
            break
        for copy, energy in zip(active, energies, strict=True):
            if step % ratios[copy] == 0:
                totals[copy, step // ratios[copy]] = energy
    return totals


def check_order(
    subject: Subject,
    specimen: Specimen,
    *,
    duration_ps: float = 0.5,
    timesteps_fs: Sequence[float] = TIMESTEPS_FS,
    temperature: float = TEMPERATURE_KELVIN,
    seed: int = 0,
) -> CheckResult:
    """Run velocity Verlet with several time steps and fit the order of the energy fluctuation.

    Parameters
    ----------
    subject
        To be checked.
    specimen
        A structure; it is relaxed first.
    duration_ps
        Length of each run in ps, rounded to the longest time step.
    timesteps_fs
        Time steps in fs, each a whole fraction of the longest.
    temperature
        Temperature in K about which the kinetic energy settles.
    seed
        Of the velocities.
    """
    longest = max(timesteps_fs)
    n_long = max(3, round(duration_ps * FEMTOSECONDS_PER_PICOSECOND / longest))
    still, state = _start(subject, specimen, len(timesteps_fs), temperature=temperature, seed=seed)
    totals = _totals(subject, still, state, timesteps_fs=timesteps_fs, n_long=n_long)
    times = np.arange(n_long + 1) * longest / FEMTOSECONDS_PER_PICOSECOND
    scaled = (totals - totals[:, :1]) * MEV_PER_EV / len(still.atoms)
    fluctuations = np.array([line_through(times, row)[1] for row in scaled])
    slope = float("nan")
    if np.all(fluctuations > 0.0):
        slope = float(np.polyfit(np.log(timesteps_fs), np.log(fluctuations), 1)[0])
    listed = ", ".join(
        f"{value:.2g} at {step:g} fs"
        for step, value in zip(timesteps_fs, fluctuations, strict=True)
    )
    return CheckResult(
        ORDER_NAME,
        slope,
        ORDER + ORDER_TOLERANCE,
        "1",
        at_least=ORDER - ORDER_TOLERANCE,
        detail=f"{times[-1]:g} ps; fluctuation in meV/atom: {listed}",
        data={
            "timestep_fs": list(timesteps_fs),
            "fluctuation_mev_per_atom": fluctuations.tolist(),
            "time_ps": times.tolist(),
            "total_mev_per_atom": scaled.tolist(),
        },
    )
