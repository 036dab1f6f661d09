"""How fast: this package's potentials and peers, side by side, in one command.

    python benchmarks/run.py --threads 2 --json runs/speed.json --plot runs/speed.png

Energies and forces, training steps, peak memory, the share of time of each part, and the latency of
first calls; see benchmarks/speed/README.md for environments, names and what is compared with what.
"""

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from speed.campaign import Campaign
from speed.plot import draw
from speed.rounds import Limits, calibrate
from speed.subjects import REFERENCE, ROUTES, SIZES, SelectionError, select
from speed.systems import SMILES, SYSTEMS
from speed.table import tables
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
MEASURES = ("energy-forces", "training-step", "parts", "memory", "first-calls")
GROUPS = {
    "molecules": tuple(SMILES),
    "water": tuple(name for name in SYSTEMS if name.startswith("water-")),
}
USUAL_SYSTEMS = {
    "energy-forces": tuple(name for name in SYSTEMS if name != "water-648"),
    "training-step": tuple(SMILES),
    "memory": ("aspirin", "water-1536", "water-12000", "water-24000"),
    "parts": (*SMILES, "water-192", "water-1536"),
    "first-calls": ("aspirin", "water-192"),
}
"""Where no systems are asked for."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--subject", nargs="+", default=[], help="names, or how they begin: ours/small, mace")
    add("--size", nargs="+", default=[], choices=SIZES, help="of ours; default: all")
    add("--route", nargs="+", default=[], choices=ROUTES, help="of ours; default: all usual ones")
    add("--system", nargs="+", default=[], choices=[*SYSTEMS, *GROUPS])
    add("--measure", nargs="+", default=list(MEASURES), choices=MEASURES)
    add("--threads", type=int, default=1)
    add("--rounds", type=int, default=Limits.rounds, help="at most this many")
    add("--turn", type=float, default=Limits.turn_seconds, help="seconds of a subject's turn")
    add("--call-limit", type=float, default=Limits.call_seconds, help="seconds, none longer")
    add("--structure-limit", type=float, default=Limits.structure_seconds, help="seconds")
    add("--memory-gb", type=float, help="the most a subject may take; default: 3/4 of the machine")
    add("--ceiling-gib", type=float, default=2.0, help="memory ceiling of ours/SIZE/bounded")
    add("--device", default="cpu", help="cpu or cuda")
    add("--reference", default=REFERENCE, help="subject of ratios")
    add("--environments", type=Path, default=ROOT / ".venvs")
    add("--json", type=Path, help="write everything there")
    add("--plot", type=Path, help="draw a picture there")
    add("--quiet", action="store_true", help="no progress bar")
    chosen = parser.parse_args(arguments)
    if min(chosen.threads, chosen.rounds) < 1:
        parser.error("--threads and --rounds must be at least 1")
    return chosen


def systems_of(measure: str, names: Sequence[str]) -> list[str]:
    """Return the systems of a measure, from small to large."""
    asked = {part for name in names for part in GROUPS.get(name, (name,))}
    wanted = asked or set(USUAL_SYSTEMS[measure])
    return [name for name in SYSTEMS if name in wanted]


def machine() -> dict[str, Any]:
    """Return what the machine is."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {"processor": processor, "cores": os.cpu_count(), "memory_gb": memory / 1e9}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_device_name()
    return found


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure, and return all that was found as JSON holds it."""
    torch.set_num_threads(chosen.threads)
    entries, missing = select(
        chosen.subject, sizes=chosen.size, routes=chosen.route, environments=chosen.environments
    )
    names = [entry.name for entry in entries]
    hardware = machine()
    memory_gb = chosen.memory_gb or 0.75 * hardware["memory_gb"]
    campaign = Campaign(
        entries=entries,
        environments=chosen.environments,
        options={
            "device": chosen.device,
            "threads": chosen.threads,
            "memory_bytes": int(memory_gb * 1e9) if chosen.device == "cpu" else 0,
            "ceiling_gib": chosen.ceiling_gib,
            "kept": str(ROOT / "runs" / "speed"),
        },
        limits=Limits(chosen.rounds, chosen.turn, chosen.call_limit, chosen.structure_limit),
        reference=chosen.reference if chosen.reference in names else None,
    )
    for name, why in missing.items():
        campaign.note(name, "all", "all", why)
    plan = {m: systems_of(m, chosen.system) for m in MEASURES if m in chosen.measure}
    made = {name: SYSTEMS[name]() for name in SYSTEMS if any(name in s for s in plan.values())}
    total = sum(len(systems) for systems in plan.values())
    with campaign, tqdm(total=total, disable=chosen.quiet, file=sys.stderr, unit="system") as bar:
        for measure, systems in plan.items():
            structures = [made[name] for name in systems]
            if measure == "memory":
                campaign.end_processes()
                campaign.measure_memory("energy-forces", structures, bar)
            elif measure in ("parts", "first-calls"):
                campaign.measure_ours(measure, structures, bar)
            else:
                campaign.time_all(measure, structures, bar)
    return {
        "date": dt.datetime.now(tz=dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": hardware,
        "threads": chosen.threads,
        "device": chosen.device,
        "ceiling_gib": chosen.ceiling_gib,
        "versions": campaign.versions,
        "package": importlib.metadata.version("se3set-mlip"),
        "limits": vars(campaign.limits),
        "reference": campaign.reference,
        "calibration": summary(campaign.calibration or [calibrate()]),
        "timings": [timing.to_dict() for timing in campaign.timings],
        "memory": campaign.memory,
        "parts": campaign.parts,
        "first_calls": campaign.first_calls,
        "left_out": campaign.left_out,
    }


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return median and range."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def main() -> None:
    """Measure, print tables, and write what was asked for."""
    chosen = parse()
    try:
        result = run(chosen)
    except SelectionError as error:
        sys.exit(f"run.py: {error}")
    print(tables(result))
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if chosen.plot:
        chosen.plot.parent.mkdir(parents=True, exist_ok=True)
        draw(result, chosen.plot)


if __name__ == "__main__":
    main()
