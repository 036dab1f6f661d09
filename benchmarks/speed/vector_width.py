r"""What wider vectors buy on processors of AMD, for which MKL takes narrower ones than there are.

    python benchmarks/speed/vector_width.py [--rounds 5] [--library FOLDER]

torch's matrix products on a processor are those of Intel's MKL, which asks the processor for its
maker and uses AVX-512 on Intel's only. A library that answers for it, loaded first
(``LD_PRELOAD``), lets it use what the processor has. Two processes take turns, one thread each:
plain, and with that library. Times are the least of a process, ratios the median over rounds.
Linux, with a C compiler.
``--library`` keeps the library for use elsewhere. Writes ``results/vector_width.json``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from provenance import write_result

RESULTS = Path(__file__).parent / "results" / "vector_width.json"
SOURCE = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"
MODELS = ("gfn2-small", "gfn2-medium")
RESIDUES = (4, 16)
REPEATS = 12


def made_library(folder: Path) -> Path:
    """Compile the library into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    source, library = folder / "wide.c", folder / "libwide.so"
    source.write_text(SOURCE, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def measure() -> dict[str, float]:
    """Return seconds by name, and the norms of forces, in this process."""
    import torch  # noqa: PLC0415

    import se3set_mlip as s3  # noqa: PLC0415
    from se3set_mlip.structures import structure_from_smiles  # noqa: PLC0415

    torch.set_num_threads(1)
    left, right = torch.rand(2000, 128), torch.rand(128, 128)
    found = {"matrix product 2000 x 128 x 128": _least(lambda: left @ right)}
    for name in MODELS:
        potential = s3.load(name, dtype="float32")
        for residues in RESIDUES:
            smiles = "CC(=O)" + "N[C@@H](C)C(=O)" * residues + "NC"
            atoms, topology = structure_from_smiles(smiles)
            fragmentation = potential.fragment(topology, atoms.positions)
            system = potential.system(atoms.numbers, atoms.positions, fragmentation)
            label = f"{name}, {len(atoms)} atoms"
            found[label] = _least(lambda p=potential, s=system: p.compute(s))
            forces = potential.compute(system).forces.double()
            found[f"{label}: norm of forces"] = float(forces.norm())
    return found


def _least(call: Callable[[], object]) -> float:
    """Return the least seconds of a call, after two that prepare."""
    times = []
    for turn in range(REPEATS + 2):
        began = time.perf_counter()
        call()
        if turn > 1:
            times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure both in turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--library", type=Path, help="folder that keeps the library")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure()))
        return
    rounds: dict[str, list[dict[str, float]]] = {"plain": [], "wide": []}
    with tempfile.TemporaryDirectory() as scratch:
        library = made_library(options.library or Path(scratch))
        for _ in range(options.rounds):
            for name, preload in (("plain", ""), ("wide", str(library.absolute()))):
                environment = os.environ | {"OMP_NUM_THREADS": "1", "LD_PRELOAD": preload}
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", __file__, "--worker"],
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                rounds[name].append(json.loads(done.stdout.splitlines()[-1]))
    rows = {}
    for name in rounds["plain"][0]:
        pairs = [
            (plain[name], wide[name])
            for plain, wide in zip(rounds["plain"], rounds["wide"], strict=True)
        ]
        if name.endswith("norm of forces"):
            rows[name] = {"relative_difference": max(abs(w / p - 1.0) for p, w in pairs)}
        else:
            ratios = [wide / plain for plain, wide in pairs]
            rows[name] = {
                "plain_ms": 1000.0 * statistics.median(plain for plain, _ in pairs),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
            }
        print(name, rows[name])
    write_result(RESULTS, {"rounds": options.rounds, "rows": rows})


if __name__ == "__main__":
    main()
