"""Writers that are killed, and the lock that keeps two from meeting."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from rows import layout

from tables import TableError, TableStore

ROOT = Path(__file__).parents[2]

ENDLESS = """
import sys
from itertools import count
from tables import TableStore
from rows import layout
store = TableStore(sys.argv[1])
for i in count():
    write = {"shard": str(i), "stage": "layout", "run_id": "run"}
    store.append("layout", layout("s", 2 * i, 2 * i + 1), **write)
    store.replace("layout", layout("r", 0, 1, x=float(i)), where={"sae": "r"}, **write)
    print(i, flush=True)
"""

HOLDER = """
import os, sys, time
from tables import TableStore
with TableStore(sys.argv[1]).lock():
    child = os.fork() if sys.argv[2] == "fork" else None
    if child != 0 and sys.argv[2] == "fork":
        time.sleep(60)  # the child speaks up itself, once it runs
    print(os.getpid() if child == 0 else 0, flush=True)
    time.sleep(60)
"""


def start(code: str, *args: str) -> subprocess.Popen:
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen([sys.executable, "-c", code, *args], env=env, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("pause", [0.0, 0.013])
def test_kill_9_in_the_middle_of_writing(tmp_path, pause):
    writer = start(ENDLESS, str(tmp_path))
    for _ in range(4):
        last = int(writer.stdout.readline())
    time.sleep(pause)
    writer.kill()
    last = int([last, *writer.communicate()[0].split()][-1])
    store = TableStore(tmp_path)
    rows = pl.read_delta(f"{tmp_path}/tables/layout")
    # A shard is there whole or not at all, and the replacement is one generation, the old or the new.
    concepts = rows.filter(sae="s")["concept_id"].sort().to_list()
    assert concepts in (list(range(2 * last + 2)), list(range(2 * last + 4)))
    generation = rows.filter(sae="r")
    assert generation["concept_id"].sort().to_list() == [0, 1] and generation["x"].n_unique() == 1
    assert generation["x"][0] in (last, last + 1)
    for i in range(last + 3):
        store.append("layout", layout("s", 2 * i, 2 * i + 1), shard=str(i), stage="layout", run_id="again")
    again = pl.read_delta(f"{tmp_path}/tables/layout").filter(sae="s")["concept_id"].sort().to_list()
    assert again == list(range(2 * last + 6))


@pytest.mark.parametrize("kind", ["alone", "fork"])
def test_the_lock_dies_with_its_holder(tmp_path, kind):
    holder = start(HOLDER, str(tmp_path), kind)
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(TableError) as caught, TableStore(tmp_path).lock():
            pass
        assert f"is being written by process {holder.pid} since 20" in str(caught.value)
    finally:
        holder.kill()
        holder.wait()
    try:
        with TableStore(tmp_path).lock():
            assert str(os.getpid()) in (tmp_path / ".writer.lock").read_text()
    finally:
        if child:
            os.kill(child, signal.SIGKILL)


def test_the_lock_is_exclusive_and_given_back(tmp_path):
    mine = TableStore(tmp_path)
    with mine.lock(), pytest.raises(TableError, match=f"process {os.getpid()} "), TableStore(tmp_path).lock():
        pass
    with TableStore(tmp_path).lock():
        pass
