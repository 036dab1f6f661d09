"""Runs in the environment of mlipaudit: its benchmarks' code on our calculator, with our molecule.

Started by outside.py. Every benchmark of mlipaudit downloads its structures. Those that a model of
one molecule can be asked are given acetylacetone in mlipaudit's own file formats instead; what is
run, measured and scored is mlipaudit's own. Where a benchmark insists on elements of the structures
that it would download, or lists further ones, these lists are shortened; minimisations keep every
step; dynamics can be shortened. Nothing else is changed.
"""

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

from remote import RemoteCalculator

SMALL = "Small_molecule_HCNO"


def module(name: str) -> Any:
    """Return the module of a benchmark."""
    return importlib.import_module(f"mlipaudit.benchmarks.{name}.{name}")


def run(kind: Any, calculator: RemoteCalculator, data: str, config: dict[str, Any] | None) -> Any:
    """Run a benchmark in standard mode, with other simulation settings if given."""
    kind.required_elements = {"H", "C", "O"}
    benchmark = kind(calculator, data, "standard")
    if config is not None:
        benchmark.__dict__["_md_kwargs"] = config
    benchmark.run_model()
    return benchmark.analyze()


def conservation(calculator: RemoteCalculator, data: str, n_steps: int) -> dict[str, Any]:
    """Run constant-energy dynamics at 1 fs."""
    nve = module("nve_energy_conservation")
    nve.SYSTEMS = [spec for spec in nve.SYSTEMS if spec.name == SMALL]
    config = {**nve.SIMULATION_CONFIG, "num_steps": n_steps}
    result = run(nve.NVEEnergyConservationBenchmark, calculator, data, config)
    (found,) = result.structure_results
    return {
        "score": found.score,
        "measured": found.energy_drift_ratio,
        "what": "fitted drift over the run, in standard deviations of the kinetic energy",
        "limit": nve.ENERGY_DRIFT_RATIO_THRESHOLD,
        "looked_at": f"{n_steps / 1000:g} ps of its "
        f"{nve.SIMULATION_CONFIG['num_steps'] / 1000:g} ps at 1 fs; "
        f"{(found.drift_slope_ev_per_ps or 0.0) * 1000:+.3g} meV/ps",
    }


def stability(calculator: RemoteCalculator, data: str, n_steps: int) -> dict[str, Any]:
    """Run thermostatted dynamics and look for an explosion and for hydrogen that leaves."""
    bench = module("stability")
    bench.STRUCTURE_NAMES = [SMALL]
    config = {**bench.SIMULATION_CONFIG, "num_steps": n_steps}
    result = run(bench.StabilityBenchmark, calculator, data, config)
    (found,) = result.structure_results
    return {
        "score": found.score,
        "measured": float(found.exploded_frame != -1) + float(found.drift_frame != -1),
        "what": "explosions and drifting hydrogens",
        "limit": 0.0,
        "looked_at": f"{n_steps / 1000:g} ps of its "
        f"{bench.SIMULATION_CONFIG['num_steps'] / 1000:g} ps at 300 K",
    }


def geometry(calculator: RemoteCalculator, data: str) -> dict[str, Any]:
    """Minimise from the reference geometry, and compare the heavy atoms with it."""
    bench = module("reference_geometry_stability")
    # Its ASE engine keeps what it reaches at every log_interval only: from so near a minimum, all
    # that it would compare is the geometry it started from.
    bench.SIMULATION_CONFIG = {
        **bench.SIMULATION_CONFIG,
        "snapshot_interval": 1,
        "log_interval": 1,
    }
    result = run(bench.ReferenceGeometryStabilityBenchmark, calculator, data, None)
    return {
        "score": result.score,
        "measured": result.avg_rmsd,
        "what": "RMSD of heavy atoms from the reference geometry after minimisation (Å)",
        "limit": bench.RMSD_SCORE_THRESHOLD,
        "looked_at": "both ends of the proton transfer's nudged elastic band",
    }


def dihedral(calculator: RemoteCalculator, data: str) -> dict[str, Any]:
    """Follow the energy along the dihedral scan."""
    bench = module("dihedral_scan")
    result = run(bench.DihedralScanBenchmark, calculator, data, None)
    return {
        "score": result.score,
        "measured": result.mae_barrier_height,
        "what": "error of the barrier's height (kcal/mol)",
        "limit": bench.BARRIER_HEIGHT_SCORE_THRESHOLD,
        "looked_at": f"45 angles; MAE {result.avg_mae:.3g} kcal/mol, Pearson r "
        f"{result.avg_pearson_r:.4f}",
    }


def main() -> None:
    """Run everything and write what was found as JSON."""
    request, out = sys.argv[1:]
    asked = json.loads(Path(request).read_text())
    calculator = RemoteCalculator(**asked["calculator"])
    data = asked["data"]
    found = {
        "reference_geometry_stability": geometry(calculator, data),
        "dihedral_scan": dihedral(calculator, data),
        "nve_energy_conservation": conservation(calculator, data, asked["nve_steps"]),
        "stability": stability(calculator, data, asked["stability_steps"]),
    }
    result = {"version": importlib.metadata.version("mlipaudit"), "tests": found}
    Path(out).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
