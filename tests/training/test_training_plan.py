"""Batches of a number of structures, and batches filled up to a number of pairs."""

import ase.build
import numpy as np
import pytest
import torch

from se3set_mlip.errors import ConfigError
from se3set_mlip.training import loop, train
from se3set_mlip.training.batches import make_samples
from se3set_mlip.training.parts import load_data
from se3set_mlip.training.plan import BatchPlan, count_pairs, shares
from se3set_mlip.training.setup import build_potential
from se3set_mlip.training.state import read_state

# Molecules of 3 to 60 atoms have some ten to some thousand pairs.
COSTS = (*np.random.default_rng(0).integers(10, 1000, 97).tolist(), 2500)


def quiet(_: str) -> None:
    """Say nothing."""


def plan_with(*, structures=None, pairs=None, seed=3):
    return BatchPlan(costs=COSTS, structures=structures, pairs=pairs, seed=seed)


@pytest.mark.parametrize("limits", [{"structures": 8}, {"pairs": 2000}, {"pairs": 5}])
def test_every_sample_is_taken_once_in_an_epoch(limits):
    for epoch in range(3):
        batches = plan_with(**limits).epoch(epoch)
        assert all(batches)
        assert sorted(index for batch in batches for index in batch) == list(range(len(COSTS)))
        assert batches == plan_with(**limits).epoch(epoch)
        assert batches != plan_with(**limits).epoch(epoch + 1)
        assert batches != plan_with(**limits, seed=4).epoch(epoch)


def test_batches_are_full_and_only_a_single_structure_is_above_the_limit():
    batches = plan_with(pairs=2000).epoch(0)
    pairs = [sum(COSTS[index] for index in batch) for batch in batches]
    above = [batch for batch, number in zip(batches, pairs, strict=True) if number > 2000]
    assert above == [[len(COSTS) - 1]]
    for batch, following, number in zip(batches, batches[1:], pairs, strict=False):
        if batch not in above:
            assert number + COSTS[following[0]] > 2000  # the next one had no room


def test_the_number_of_steps_is_that_of_the_epochs():
    for limits in ({"structures": 8}, {"structures": 98}, {"pairs": 2000}):
        plan = plan_with(**limits)
        lengths = [len(plan.epoch(epoch)) for epoch in range(20)]
        assert plan.n_steps(20) == sum(lengths)
        assert (len(set(lengths)) > 1) == ("pairs" in limits)
    assert plan_with(structures=8).n_steps(1) == 13


@pytest.mark.parametrize("n_shares", [1, 2, 3, 12])
def test_shares_cover_a_batch_and_cost_about_the_same(n_shares):
    batch = plan_with(structures=10).epoch(0)[0]
    parts = shares(batch, COSTS, n_shares=n_shares)
    assert len(parts) == n_shares
    assert sorted(index for part in parts for index in part) == sorted(batch)
    assert all(part == [index for index in batch if index in part] for part in parts)
    if n_shares <= len(batch):
        assert all(parts)
        loads = [sum(COSTS[index] for index in part) for part in parts]
        assert max(loads) - min(loads) <= max(COSTS[index] for index in batch)


@pytest.fixture
def molecules(structures, write_xyz):
    """A file with water, methanol and acetylacetone, labelled."""
    frames = [ase.build.molecule(name) for name in ("H2O", "CH3OH") * 6] + structures[:6]
    random = np.random.default_rng(1)
    for atoms in frames:
        atoms.positions += 0.02 * random.normal(size=atoms.positions.shape)
    return write_xyz(
        "molecules.xyz",
        frames,
        REF_energy=random.normal(size=len(frames)).tolist(),
        REF_forces=[random.normal(size=atoms.positions.shape) for atoms in frames],
    )


@pytest.fixture
def config(make_config, molecules):
    """Make a configuration of a run on these molecules with at most 300 pairs in a batch."""

    def make(**sections):
        data = {"train_files": [str(molecules)], "reference_energies": "fit", "n_train": None}
        optimizer = {"batch_size": None, "batch_pairs": 300, "epochs": 2}
        run = {"checkpoint_every_steps": 1}
        values = {"data": data | {"check_units": False}, "optimizer": optimizer, "run": run}
        for name, section in sections.items():
            values[name] |= section
        return make_config(**values)

    return make


def test_pairs_are_those_of_the_hypergraph(config):
    settings = config()
    data = load_data(settings, echo=quiet)
    potential = build_potential(settings, data, echo=quiet)
    samples = make_samples(potential, data.training)
    counts = count_pairs(potential, samples)
    alone = [len(potential.module.builder(sample.system).pair_source) for sample in samples]
    assert list(counts) == alone
    water = min(range(len(samples)), key=lambda index: len(samples[index].system.numbers))
    assert counts[water] == 6  # one fragment, each of three atoms hears two
    assert max(counts) > 20 * min(counts)


def test_a_run_by_pairs_takes_the_same_batches_when_resumed(config, tmp_path, monkeypatch):
    def batches_of(name, *, stop_after=None):
        run = {"output_dir": str(tmp_path / name)}
        taken = []
        real = loop.training_step

        def noting(module, batch, **options):
            taken.append(batch.names)
            if len(taken) == stop_after:
                raise KeyboardInterrupt
            return real(module, batch, **options)

        monkeypatch.setattr(loop, "training_step", noting)
        resume = (tmp_path / name).exists()
        try:
            result = train(config(run=run), resume=resume, echo=quiet)
        except KeyboardInterrupt:
            return taken[:-1]
        finally:
            monkeypatch.setattr(loop, "training_step", real)
        assert result.n_steps == read_state(tmp_path / name)["progress"]["step"]
        assert read_state(tmp_path / name)["progress"]["epoch"] == 2
        return taken

    whole = batches_of("whole")
    broken = batches_of("broken", stop_after=3)
    assert len(broken) == 2  # in the middle of the first epoch
    assert broken + batches_of("broken") == whole
    names = [name for batch in whole for name in batch]
    assert all(names.count(name) == 2 for name in names)  # once in each of two epochs
    assert len({len(batch) for batch in whole}) > 1
    first, second = (read_state(tmp_path / name)["module"] for name in ("whole", "broken"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_both_limits_at_once_are_refused(make_config):
    with pytest.raises(ConfigError, match=r"batch_pairs = \(4, 100\); expected one of the two"):
        make_config(optimizer={"batch_pairs": 100})
    with pytest.raises(ConfigError, match=r"optimizer\.batch_pairs = 0; expected a positive"):
        make_config(optimizer={"batch_pairs": 0, "batch_size": None})
