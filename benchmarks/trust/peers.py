"""The trust kit on this potential, on the published hard rule, and on other people's potentials.

    python benchmarks/trust/peers.py random hard shipped mace nequip xtb

runs `se3set_mlip.testing` on acetylacetone for each subject named, and writes a report, without the
large arrays, and a page of pictures to ``results/``. Peers live in environments of their own, see
README.md, and are asked through a pipe (remote.py). `table.py` makes the tables of docs/trust.md.
"""

import argparse
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase.io
import torch
from remote import RemoteCalculator, RemoteError

from se3set_mlip.engines.ase_calculator import SE3SetCalculator
from se3set_mlip.errors import InputError
from se3set_mlip.fragments.fragmentation import PRESETS
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential import Potential
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.testing.plots import draw_report
from se3set_mlip.testing.report import Report, versions
from se3set_mlip.testing.results import CheckResult
from se3set_mlip.testing.run import run_report
from se3set_mlip.testing.subject import Specimen, Subject, Values
from se3set_mlip.testing.subjects import CalculatorSubject, PotentialSubject

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")
STRUCTURE = ROOT / "models" / "acetylacetone.xyz"
ELEMENTS = (1, 6, 8)
KEPT_DATA = ("microscope", "worst")
UNTRAINED = ("random", "hard")
LEARNED = ("diatomics", "bond scans", "NVE", "failures in NVT", "stability")
"""How the names of those checks begin that ask what was learned, not how it is computed."""


@dataclass(frozen=True)
class Peer:
    """A potential of another environment.

    Parameters
    ----------
    name
        For tables.
    environment
        Folder of its environment.
    target, arguments
        What makes its ASE calculator, and with what.
    range_angstrom
        Its cutoff; None if it has none.
    packages
        Whose versions are reported.
    """

    name: str
    environment: str
    target: str
    arguments: Mapping[str, Any]
    range_angstrom: float | None
    packages: Sequence[str]


PEERS = {
    "mace": Peer(
        "MACE",
        "mace",
        "mace.calculators:MACECalculator",
        {
            "model_paths": str(ROOT / "runs/trust/mace/mace.model"),
            "device": "cpu",
            "default_dtype": "float64",
        },
        4.5,
        ("mace-torch", "torch", "e3nn"),
    ),
    "nequip": Peer(
        "NequIP",
        "nequip",
        "nequip.integrations.ase:NequIPCalculator.from_compiled_model",
        {"compile_path": str(ROOT / "runs/trust/nequip/nequip.nequip.pt2"), "device": "cpu"},
        4.5,
        ("nequip", "torch", "e3nn"),
    ),
    "xtb": Peer(
        "GFN2-xTB",
        "xtb",
        "tblite.ase:TBLite",
        {"method": "GFN2-xTB", "accuracy": 1e-3, "verbosity": 0},
        None,
        ("tblite",),
    ),
}


class RemoteSubject(CalculatorSubject):
    """A remote calculator under test; all structures of a question travel in one message."""

    def __init__(self, calculator: RemoteCalculator, peer: Peer) -> None:
        super().__init__(
            calculator, name=peer.name, range_angstrom=peer.range_angstrom, numbers=ELEMENTS
        )
        self._remote = calculator

    def values(self, specimens: Sequence[Specimen], *, stress: bool = False) -> list[Values]:
        """Return energies and derivatives of structures.

        Raises
        ------
        InputError
            If the calculator fails on one of them.
        """
        atoms = [specimen.atoms for specimen in specimens]
        try:
            found = self._remote.evaluate(atoms, stress=stress and self.has_stress)
        except RemoteError as error:
            raise InputError(f"{self.name} failed: {str(error).splitlines()[-1]}") from error
        return [Values(*answer) for answer in found]


def random_potential(*, published: bool, seed: int = 0) -> Potential:
    """Return a small network with random weights, scaled up so that small steps show.

    Parameters
    ----------
    published
        Whether to take the published choices: hard membership, a cosine envelope, and norms of each
        irrep; else this package's.
    seed
        Of the weights.
    """
    config = PotentialConfig(
        model=ModelConfig(
            elements=ELEMENTS,
            interaction="attention",
            irreps="8x0e+4x1o+2x2e",
            irreps_final="8x0e",
            irreps_head="4x0e+2x1o+1x2e",
            irreps_hidden="12x0e+6x1o+3x2e",
            n_heads=2,
            n_radial=8,
            radial_hidden=(8,),
            norm="per_irrep" if published else "joint",
            radial_envelope="cosine" if published else "none",
        ),
        fragmentation=PRESETS["implicit_md22"],
        hypergraph=HypergraphConfig(membership="hard" if published else "smooth"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = PotentialModule(config, dtype=torch.float64)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.3)
    return Potential(module.eval(), config)


def peer_versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages in another environment."""
    code = (
        "import sys, json, importlib.metadata as m;"
        "print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    )
    found = subprocess.run(
        [str(python), "-c", code, *packages], check=True, capture_output=True, text=True
    )
    return dict(json.loads(found.stdout))


def make_subject(key: str, model: Path, environments: Path) -> tuple[Subject, dict[str, str]]:
    """Return a subject by its name, and the versions of what computes it."""
    if key in ("random", "hard"):
        name = "random weights" if key == "random" else "published hard rule"
        potential = random_potential(published=key == "hard")
        return PotentialSubject(potential, name=name), versions()
    if key == "shipped":
        potential = SE3SetCalculator(model, dtype="float64").potential
        return PotentialSubject(potential, name="shipped model"), versions()
    peer = PEERS[key]
    python = environments / peer.environment / "bin" / "python"
    remote = RemoteCalculator(python, peer.target, peer.arguments)
    return RemoteSubject(remote, peer), peer_versions(python, peer.packages)


def without_learned(report: Report) -> Report:
    """Return the report with the checks skipped that random weights cannot be asked."""
    results = [
        CheckResult.skip(result.name, "random weights have learned nothing")
        if result.name.startswith(LEARNED)
        else result
        for result in report.results
    ]
    return replace(report, results=results)


def shrink(path: Path) -> None:
    """Rewrite a picture with half the points and few colours."""
    from PIL import Image  # noqa: PLC0415 - comes with matplotlib

    with Image.open(path) as image:
        small = image.convert("RGB").resize(
            (image.width // 2, image.height // 2), Image.Resampling.LANCZOS
        )
    small.quantize(64).save(path, optimize=True)


def main() -> None:
    """Run the kit on the subjects named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=["random", "hard", "shipped", *PEERS])
    parser.add_argument("--full", action="store_true", help="everything, with 20 ps of NVE")
    parser.add_argument("--stability-ps", type=float, help="length of the thermostatted runs")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "acetylacetone.safetensors")
    parser.add_argument("--environments", type=Path, default=ROOT / ".venvs")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    RESULTS.mkdir(exist_ok=True)
    atoms = ase.io.read(STRUCTURE)
    for key in chosen.names:
        subject, found_versions = make_subject(key, chosen.model, chosen.environments)
        if key in UNTRAINED:
            report = without_learned(run_report(subject, atoms, stability_ps=0.01))
        else:
            report = run_report(
                subject, atoms, quick=not chosen.full, stability_ps=chosen.stability_ps
            )
        picture = RESULTS / f"{key}.png"
        draw_report(report, picture)
        shrink(picture)
        entry = report.to_dict()
        entry["versions"] = found_versions
        for result in entry["results"]:
            result["data"] = {k: v for k, v in result["data"].items() if k in KEPT_DATA}
        (RESULTS / f"{key}.json").write_text(json.dumps(entry, indent=1) + "\n")
        failed = [r.name for r in report.results if r.passed is False]
        print(f"{subject.name}: {'passed' if not failed else 'FAILED: ' + ', '.join(failed)}")


if __name__ == "__main__":
    main()
