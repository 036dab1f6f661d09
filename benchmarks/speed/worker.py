"""The far end of the pipe: one subject in an environment and a process of its own.

Run in that environment, with the folder ``benchmarks`` as working directory::

    python -m speed.worker mace '{"route": "eager", "size": "96x0e", ...}'

Needs NumPy, torch and what the subject needs there; never this package, unless it is the subject.
Each request is a pickled ``(method of Worker, arguments)``; the answer ``("done", value)`` or
``("failed", traceback)``. Whatever the subject prints goes to stderr. Times are in seconds, memory
in bytes.
"""

import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import pickle
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from speed.structure import Motion, Structure

FAMILIES = {
    "ours": "speed.family_ours",
    "mace": "speed.family_mace",
    "nequip": "speed.family_nequip",
}
TRAINING_COPIES = 4
WARM_UP_CALLS = 5
WARM_UP_SECONDS = 3.0
MANY_ATOMS = 1000


class Worker:
    """A subject, and what may be asked of it.

    Parameters
    ----------
    family
        Key of ``FAMILIES``.
    options
        What the module of the family makes the subject from: ``size``, ``route``, ``device``,
        ``ceiling_gib`` and ``kept`` (a folder for what takes long to make); and for this worker
        ``threads`` and ``memory_bytes``, the most it may allocate.
    """

    def __init__(self, family: str, options: dict[str, Any]) -> None:
        torch.set_num_threads(options["threads"])
        limit = options["memory_bytes"]
        if limit:  # a call too large raises here, instead of taking the machine down
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        self.cuda = str(options["device"]).startswith("cuda")
        self.module = importlib.import_module(FAMILIES[family])
        self.resident = _memory("VmRSS")
        self.options = options
        self.subject: Any = None
        self.structure: Structure | None = None
        self.calls = 0
        self.warm: set[str] = set()

    def versions(self) -> dict[str, str]:
        """Return the versions of what computes."""
        return {name: importlib.metadata.version(name) for name in self.module.PACKAGES}

    def load(self, structure: Structure) -> None:
        """Make the subject if there is none, and ready it for a structure."""
        if self.subject is None:
            self.subject = self.module.make_subject(self.options)
        gc.collect()
        _give_memory_back()
        self.structure = structure
        self.motion = Motion(structure, seed=1)
        self.calls = 0
        self.subject.prepare(structure)

    def warm_up(self, measure: str) -> float:
        """Call the subject a few times and return how long that took.

        After the first call no further one begins when 3 s are spent, and none for many atoms, if
        the subject was called for others before: code is compiled by then.
        """
        if measure == "training-step":
            copies = [Motion(self.structure, seed=k).positions(7) for k in range(TRAINING_COPIES)]
            self.subject.prepare_training(copies)
        first = self._call(measure)
        spent = 0.0
        large = self.structure.n_atoms > MANY_ATOMS and measure in self.warm
        for _ in range(0 if large else WARM_UP_CALLS - 1):
            spent += self._call(measure)
            if spent > WARM_UP_SECONDS:
                break
        self.warm.add(measure)
        return first + spent

    def turn(self, measure: str, seconds: float) -> list[float]:
        """Call the subject until ``seconds`` are spent, at least once; return the times."""
        times: list[float] = []
        while not times or sum(times) < seconds:
            times.append(self._call(measure))
        return times

    def peak_memory(self, measure: str, calls: int) -> int:
        """Return the most memory in use during a few calls, less what imports took.

        It counts the model, not what making it took for a while (scripting, say). On CUDA it is the
        most that torch allocated there. To be asked of a fresh worker.
        """
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts again
        if measure == "training-step":
            self.warm_up(measure)
        for _ in range(calls):
            self._call(measure)
        if self.cuda:
            return torch.cuda.max_memory_allocated()
        return _memory("VmHWM") - self.resident

    def extra(self, name: str, arguments: dict[str, Any]) -> Any:
        """Ask what only some subjects answer: a method ``name`` of the subject."""
        return getattr(self.subject, name)(self.motion, **arguments)

    def _call(self, measure: str) -> float:
        """Call once and return how long it took, geometry in and result out."""
        positions = self.motion.positions(self.calls)
        self.calls += 1
        begin = time.perf_counter()
        if measure == "training-step":
            self.subject.training_step()
            if self.cuda:
                torch.cuda.synchronize()
        else:
            energy, forces = self.subject.energy_forces(positions)
        end = time.perf_counter()
        if measure != "training-step" and not (energy - energy == 0.0 and forces.any()):
            raise FloatingPointError(f"energy {energy} eV and forces make no sense")
        return end - begin


def _memory(field: str) -> int:
    """Return an entry of this process's status, bytes; VmHWM is the highest VmRSS ever."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}: memory can be measured on Linux only")


def _give_memory_back() -> None:
    """Return what is free to the system, so that large structures do not pile up."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def main() -> None:
    """Answer until the pipe is closed."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def reply(state: str, value: Any) -> None:
        pickle.dump((state, value), replies)
        replies.flush()

    try:
        worker = Worker(sys.argv[1], json.loads(sys.argv[2]))
    except Exception:  # noqa: BLE001 - told to the other end, which raises it
        reply("failed", traceback.format_exc())
        return
    reply("done", None)
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            value = getattr(worker, method)(*arguments)
        except Exception:  # noqa: BLE001 - likewise
            reply("failed", traceback.format_exc())
        else:
            reply("done", value)


if __name__ == "__main__":
    main()
