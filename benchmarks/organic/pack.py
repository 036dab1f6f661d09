"""Labelled geometries in small files, so that what was made once need not be made again.

    python benchmarks/organic/pack.py                        # runs/organic -> data/gfn2_*.npz
    python benchmarks/organic/pack.py --unpack               # and back, into an empty runs/organic

Positions are kept to 1e-4 Å (forces at the rounded positions differ by about 1 meV/Å), forces as
half floats (to 5e-4 of their size), energies as they are. Files keep their names; the list of
molecules goes along, so that parts and scaffolds stay what they were.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from molecules import FILE, HERE

PACKED = HERE / "data" / "gfn2_organic.npz"
PAIRS = HERE / "data" / "gfn2_pairs.npz"
IN_PAIRS = ("train_pairs_gfn2.xyz", "train_decorated_gfn2.xyz")
"""What goes into the second file; all else, and the list of molecules, goes into the first."""
ANGSTROM = 1e-4
"""Resolution of positions."""
TEXTS = ("smiles", "mapped_smiles", "source", "kind")
"""What frames say in words; each text is written once."""
LABELLED = "*_gfn2.xyz"


def packed(frames: list[ase.Atoms], files: list[str]) -> dict[str, Any]:
    """Return the arrays of frames, and of the names of the files that they are of."""
    table = sorted({str(frame.info.get(key, "")) for frame in frames for key in TEXTS})
    place = {text: k for k, text in enumerate(table)}
    names = sorted(set(files))
    return {
        "ptr": np.cumsum([0] + [len(frame) for frame in frames]),
        "numbers": np.concatenate([frame.numbers for frame in frames]).astype(np.uint8),
        "positions": np.rint(
            np.concatenate([frame.positions for frame in frames]) / ANGSTROM
        ).astype(np.int32),
        "forces": np.concatenate([frame.arrays["REF_forces"] for frame in frames]).astype(
            np.float16
        ),
        "energy": np.array([frame.info["REF_energy"] for frame in frames]),
        "charge": np.array([frame.info["charge"] for frame in frames], dtype=np.int8),
        "texts": np.array(table),
        "text_index": np.array(
            [[place[str(frame.info.get(key, ""))] for key in TEXTS] for frame in frames],
            dtype=np.int32,
        ),
        "files": np.array(names),
        "file_index": np.array([names.index(name) for name in files], dtype=np.int16),
    }


def unpacked(data: Any) -> dict[str, list[ase.Atoms]]:
    """Return the frames of each file."""
    found: dict[str, list[ase.Atoms]] = {}
    ptr, positions = data["ptr"], data["positions"] * ANGSTROM
    numbers, forces = data["numbers"], data["forces"].astype(float)
    texts, names = data["texts"].tolist(), data["files"].tolist()
    text_index, file_index = data["text_index"], data["file_index"]
    energy, charge = data["energy"], data["charge"]
    for k in range(len(energy)):
        rows = slice(ptr[k], ptr[k + 1])
        atoms = ase.Atoms(numbers[rows], positions[rows])
        atoms.arrays["REF_forces"] = forces[rows]
        atoms.info = {"REF_energy": float(energy[k]), "charge": int(charge[k])}
        for key, index in zip(TEXTS, text_index[k], strict=True):
            if texts[index]:
                atoms.info[key] = texts[index]
        found.setdefault(names[file_index[k]], []).append(atoms)
    return found


def unpack(file: Path, folder: Path) -> None:
    """Write the labelled files of a packed one, and the list of molecules if it is there."""
    with np.load(file) as data:
        for name, frames in unpacked(data).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            ase.io.write(path, frames, format="extxyz")
            print(f"{path}: {len(frames)} geometries")
        if "molecules" in data:
            (folder / FILE.name).write_text(str(data["molecules"]), encoding="utf-8")


def main() -> None:
    """Pack, or unpack."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--unpack", action="store_true")
    parser.add_argument("--folder", type=Path, default=FILE.parent)
    parser.add_argument("--to", type=Path, default=PACKED.parent, help="folder of packed files")
    options = parser.parse_args()
    files = {options.to / PACKED.name: [], options.to / PAIRS.name: []}
    if options.unpack:
        if options.folder.exists() and any(options.folder.rglob(LABELLED)):
            parser.error(f"{options.folder} has labelled files already; name another --folder")
        for file in files:
            unpack(file, options.folder)
        return
    for path in sorted(options.folder.rglob(LABELLED)):
        added = path.name in IN_PAIRS and path.parent == options.folder
        files[options.to / (PAIRS if added else PACKED).name].append(path)
    for file, paths in files.items():
        if not paths:
            parser.error(f"nothing for {file.name} is in {options.folder}; run se3set label first")
        read = {str(path.relative_to(options.folder)): ase.io.read(path, ":") for path in paths}
        frames = [frame for found in read.values() for frame in found]
        arrays = packed(frames, [name for name, found in read.items() for _ in found])
        if file.name == PACKED.name:
            known = json.loads((options.folder / FILE.name).read_text(encoding="utf-8"))
            arrays["molecules"] = np.array(json.dumps(known))
        np.savez_compressed(file, **arrays)
        print(f"{file}: {len(frames)} geometries, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
