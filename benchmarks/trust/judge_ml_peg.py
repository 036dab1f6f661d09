"""Runs in the environment of ml-peg: its physicality benchmarks on our calculator, its own numbers.

Started by outside.py. The calculations go through ml-peg's own command; what they found is read by
the functions of its own analysis. Where ml-peg would leave a score blank because one structure of a
set has an element that the model does not know, the structures that could be computed are used, and
counted. Diatomics are limited to the elements of the model: ml-peg would scan 7,021 pairs.
"""

import importlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_peg.models
import numpy as np
from ml_peg.calcs import CALCS_ROOT
from ml_peg.models.get_models import load_models

MODEL = "se3set"
TESTS = (
    "extensivity",
    "locality",
    "rotational_symmetry",
    "translational_symmetry",
    "jacobian_symmetry",
)


def analysis(test: str) -> Any:
    """Return ml-peg's module that analyses a test."""
    return importlib.import_module(f"ml_peg.analysis.physicality.{test}.analyse_{test}")


def known(found: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that could be computed."""
    return {name: value for name, value in found.items() if np.all(np.isfinite(value))}


def row(metric: str, value: float, bad: float, unit: str, looked_at: str) -> dict[str, Any]:
    """Return one line; ml-peg's score is 1 at ``good`` = 0 and 0 at ``bad``."""
    finite = bool(np.isfinite(value))
    return {
        "metric": metric,
        "value": float(value) if finite else None,
        "bad": bad,
        "unit": unit,
        "looked_at": looked_at,
    }


def each(found: dict[str, float], names: Sequence[str]) -> str:
    """Return how many structures could be computed, and the value of each."""
    values = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    return f"{len(found)} of {len(names)} structures: {values}"


def symmetry(test: str) -> list[dict[str, Any]]:
    """Return the largest change of energy and forces under rotations or translations."""
    module = analysis(test)
    names = sorted(path.stem for path in (module.CALC_PATH / MODEL).glob("*.xyz"))
    worst: dict[str, Any] = {}
    for name in names:
        deltas = module.struct_deltas(MODEL, name)
        values = [d[-2:] for d in (deltas.values() if isinstance(deltas, dict) else deltas)]
        worst[name] = np.max(np.array(values), axis=0)
    found = known(worst)
    rows = []
    for k, (metric, unit) in enumerate((("Max ΔE", "meV/atom"), ("Max ΔF", "meV/Å"))):
        values = {name: float(value[k]) for name, value in found.items()}
        rows.append(
            row(metric, max(values.values(), default=np.nan), 1.0, unit, each(values, names))
        )
    return rows


def jacobian() -> list[dict[str, Any]]:
    """Return the largest antisymmetric share of the force Jacobian."""
    module = analysis("jacobian_symmetry")
    names = sorted(path.stem for path in (module.CALC_PATH / MODEL).glob("*.xyz"))
    shares = {n: module.compute_lambda(module.build_jacobian(MODEL, n)) for n in names}
    found = known(shares)
    largest = max(found.values(), default=np.nan)
    return [row("max lambda", largest, 0.004, "", each(found, names))]


def locality() -> list[dict[str, Any]]:
    """Return how forces on acetone change by far neon and hydrogen atoms."""
    module = analysis("locality")
    module.MODELS = [MODEL]
    rows = []
    for metric, fixture, what in (
        ("Ghost atoms max ΔF", module.ghost_force, "acetone, 20 Ne beyond 40 Å"),
        ("Random hydrogen mean ΔF", module.hydrogen_force, "acetone, a lone H at 20 to 50 Å"),
    ):
        try:
            value = fixture._get_wrapped_function()()[MODEL]  # noqa: SLF001 - a pytest fixture
        except Exception as error:  # noqa: BLE001 - forces missing: nothing could be computed
            print(f"{metric}: not computed ({type(error).__name__})")
            value = np.nan
        rows.append(row(metric, float(np.atleast_1d(value)[0]), 5.0, "meV/Å", what))
    return rows


def extensivity() -> list[dict[str, Any]]:
    """Return the line of the test, which is made of aluminium and nickel."""
    return [row("ΔE", np.nan, 10.0, "meV", "slabs of Al and Ni: elements that it does not know")]


def diatomics(elements: Sequence[str]) -> list[dict[str, Any]]:
    """Scan the pairs of the model's elements, and count as ml-peg does."""
    calculation = importlib.import_module("ml_peg.calcs.physicality.diatomics.calc_diatomics")
    module = analysis("diatomics")
    calculation.ELEMENTS = list(elements)
    calculation.run_diatomics(MODEL, load_models(MODEL)[MODEL])
    data = module.load_model_data(MODEL)
    data = data[np.isfinite(data["energy"])]
    rows = []
    pairs = {pair: module.compute_pair_metrics(part) for pair, part in data.groupby("pair")}
    points = {pair: len(part) for pair, part in data.groupby("pair")}
    for metric in ("Force flips", "Energy minima", "Energy inflections"):
        values = {p: m[metric] for p, m in pairs.items() if m is not None}
        text = ", ".join(f"{p} {v:.0f}" for p, v in values.items())
        mean = float(np.mean(list(values.values()))) if values else np.nan
        counted = ", ".join(f"{p} {n}" for p, n in points.items())
        rows.append(row(metric, mean, 5.0, "", f"{text} (of 100 distances computed: {counted})"))
    return rows


def main() -> None:
    """Run everything and write the lines as JSON."""
    models_file, out, *elements = sys.argv[1:]
    ml_peg.models.models_file = Path(models_file)
    ml_peg.models.current_models = MODEL
    command = [str(Path(sys.executable).with_name("ml_peg")), "calc", "--models", MODEL]
    command += ["--models-file", models_file, "--category", "physicality"]
    for test in (*TESTS, "diatomics"):
        shutil.rmtree(CALCS_ROOT / "physicality" / test / "outputs" / MODEL, ignore_errors=True)
    for test in TESTS:
        subprocess.run([*command, "--test", test], check=True)
    found = {
        "extensivity": extensivity(),
        "locality": locality(),
        "rotational_symmetry": symmetry("rotational_symmetry"),
        "translational_symmetry": symmetry("translational_symmetry"),
        "jacobian_symmetry": jacobian(),
        "diatomics": diatomics(elements),
    }
    result = {"version": importlib.metadata.version("ml-peg"), "tests": found}
    Path(out).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
