"""Exported archives, which are programs: nothing reaches libtorch unless the seal holds.

A crash of the process would end the tests, so the loaders run in a process of their own.
"""

import io
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from se3set_mlip.errors import ArtifactError
from se3set_mlip.export import artifact
from se3set_mlip.export.loading import load, load_bound
from se3set_mlip.export.torchscript import export_generic

CHILD = """
import sys
import numpy as np
import se3set_mlip.export.loading as loading
from se3set_mlip.errors import ArtifactError

path, place, seed, n = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def reached(*_, **__):
    raise SystemExit("a damaged archive reached libtorch")
loading._load_module = reached
content = open(path, "rb").read()
rng = np.random.default_rng(seed)
ends = [*range(40), *range(len(content) - 40, len(content))]
for position in [*ends, *rng.integers(0, len(content), n).tolist()]:
    damaged = bytearray(content)
    damaged[position] ^= 1 << int(rng.integers(8))
    for piece in (damaged, content[:position]):
        open(place, "wb").write(piece)
        try:
            loading.load(place)
        except ArtifactError as error:
            assert len(str(error)) > 30
        else:
            raise SystemExit(f"byte {position}: no error")
print("all refused")
"""


@pytest.fixture(scope="module")
def exported(tiny_potential, tmp_path_factory):
    return export_generic(tiny_potential, tmp_path_factory.mktemp("archive") / "model.pt")


def fuzz(exported, tmp_path, seed, n):
    arguments = [str(exported), str(tmp_path / "damaged.pt"), str(seed), str(n)]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr[-2000:]
    assert child.stdout.strip() == "all refused"


def test_flipped_and_truncated(exported, tmp_path):
    fuzz(exported, tmp_path, seed=5, n=250)


@pytest.mark.heavy
def test_flipped_and_truncated_by_the_thousand(exported, tmp_path):
    fuzz(exported, tmp_path, seed=6, n=4000)


def sealed(members, path, compression=zipfile.ZIP_STORED):
    """An archive of these members, with the seal that belongs to it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return artifact.write_sealed(path, buffer.getvalue())


def test_records_that_unpack_without_end_or_nest_without_end(tmp_path):
    name = f"model/extra/{artifact.RECORD_NAME}"
    bomb = b" " * (artifact.MOST_RECORD_BYTES + 1)
    for record in (bomb, b"[" * 200_000, b'{"a":' * 50_000, b'{"format_version": 1e999}', b"{}"):
        path = sealed({name: record}, tmp_path / "bomb.pt", zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 100_000
        for reader in (load, load_bound, artifact.read_record):
            with pytest.raises(ArtifactError, match=r"bomb\.pt"):
                reader(path)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_in_a_sealed_archive_are_not_run(exported, tmp_path):
    """Even with a seal of its own making: libtorch's unpickler calls no Python."""
    place = tmp_path / "made"
    with zipfile.ZipFile(exported) as source:
        members = {name: source.read(name) for name in source.namelist()}
    changed = 0
    for name in members:
        if name.endswith(".pkl"):
            members[name] = pickle.dumps(Trap(place), protocol=2)
            changed += 1
    assert changed
    path = sealed(members, tmp_path / "trap.pt")
    script = (
        "import sys, se3set_mlip as s3\n"
        "try:\n    s3.load(sys.argv[1])\n"
        "except s3.errors.ArtifactError:\n    print('refused')\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.stdout.strip() == "refused", child.stderr[-2000:]
    assert not place.exists()


def test_archives_of_others(tmp_path):
    path = tmp_path / "foreign.pt"
    rng = np.random.default_rng(1)
    buffer = io.BytesIO()
    torch.save({"weights": torch.ones(4)}, buffer)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    for content in (buffer.getvalue(), empty.getvalue(), b"PK\x03\x04" + rng.bytes(5000)):
        path.write_bytes(content)
        for reader in (load, load_bound, artifact.read_record):
            with pytest.raises(ArtifactError, match=r"foreign\.pt"):
                reader(path)
