"""Processes of a pool end with the one that started them, even if that was killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

STARTS = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from se3set_mlip.child_processes import end_with_parent
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")  # one that ended and nobody has asked after is a Z
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    script = tmp_path / "starts.py"
    script.write_text(STARTS)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as started:
        child = int(started.stdout.readline())
        assert is_running(child)
        started.kill()
    patience = time.monotonic() + 20.0
    while is_running(child) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not is_running(child)
