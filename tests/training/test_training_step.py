"""One optimisation step on real structures."""

import ase
import ase.build
import numpy as np
import pytest
import torch

from se3set_mlip.errors import DatasetError, TopologyError
from se3set_mlip.fragments.fragmentation import FragmentationConfig
from se3set_mlip.training.batches import (
    Share,
    collate,
    count_labels,
    fixed_batches,
    make_samples,
    make_share,
)
from se3set_mlip.training.config import LossConfig
from se3set_mlip.training.datasets import Frame, read_frames
from se3set_mlip.training.fragmenting import find_fragments
from se3set_mlip.training.labels import LabelConfig
from se3set_mlip.training.loss import LossWeights, compute_loss
from se3set_mlip.training.parts import load_data
from se3set_mlip.training.processes import Processes
from se3set_mlip.training.setup import build_potential
from se3set_mlip.training.step import training_step

WEIGHTS = LossWeights(1.0, 100.0, 0.0)


@pytest.fixture
def potential(make_config):
    config = make_config()
    torch.manual_seed(0)
    return build_potential(config, load_data(config, echo=lambda _: None), echo=lambda _: None)


@pytest.fixture
def batch(potential, acac_folder):
    frames = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames
    return collate(make_samples(potential, frames[:4]))


def step(potential, batch, optimizer, **changes):
    arguments = {"loss": LossConfig(), "weights": WEIGHTS, "gradient_clip_norm": 10.0, "step": 12}
    arguments |= {"optimizer": optimizer, "processes": Processes()}
    share = Share(batch, batch.names, count_labels([batch.labels]))
    return training_step(potential.module, share, **(arguments | changes))


def test_steps_reduce_the_loss(potential, batch):
    potential.module.train()
    optimizer = torch.optim.AdamW(potential.module.parameters(), lr=5e-3, weight_decay=0.0)
    losses = [step(potential, batch, optimizer).loss for _ in range(40)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_step_reports_the_loss_before_it_and_follows_the_gradient(potential, batch):
    module = potential.module.train()
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    expected = compute_loss(module(batch.system, True, False), batch, LossConfig(), WEIGHTS)
    gradients = torch.autograd.grad(expected, list(module.parameters()), allow_unused=True)
    norm = torch.sqrt(sum(g.double().pow(2).sum() for g in gradients if g is not None))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    result = step(potential, batch, optimizer, gradient_clip_norm=0.5)
    assert result.loss == pytest.approx(expected.item(), rel=1e-6)
    assert result.gradient_norm == pytest.approx(norm.item(), rel=1e-5)
    assert norm > 0.5  # so that clipping acts
    for (name, value), gradient in zip(module.named_parameters(), gradients, strict=True):
        if gradient is not None:
            moved = before[name] - 1e-3 * gradient * (0.5 / norm)
            torch.testing.assert_close(value.detach(), moved.float(), rtol=1e-4, atol=1e-7)


def waters(*, apart: float = 3.0) -> Frame:
    """Two molecules of water that attract each other."""
    one = ase.build.molecule("H2O")
    other = one.copy()
    other.positions += [0.0, 0.0, apart]
    forces = np.random.default_rng(0).standard_normal((6, 3))
    forces -= np.repeat(forces.reshape(2, 3, 3).mean(axis=1), 3, axis=0)
    forces[:, 2] += [0.1] * 3 + [-0.1] * 3
    return Frame("waters", one + other, -1.0, forces, None)


def test_molecules_of_a_batch_have_numbers_of_their_own(potential, acac_folder):
    alone = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames[0]
    samples = make_samples(potential, [waters(), alone, waters(apart=4.0)])
    labels = collate(samples).labels
    assert labels.molecule.tolist() == [0] * 3 + [1] * 3 + [-1] * 15 + [2] * 3 + [3] * 3
    assert count_labels([labels]) == count_labels([s.labels for s in samples]) == (3, 27, 0, 4)


def test_net_forces_are_learned(potential):
    potential.module.train()
    batch = collate(make_samples(potential, [waters()]))
    optimizer = torch.optim.AdamW(potential.module.parameters(), lr=5e-3, weight_decay=0.0)
    only = LossWeights(energy=0.0, forces=0.0, stress=0.0, net_forces=1.0)
    losses = [step(potential, batch, optimizer, weights=only).loss for _ in range(40)]
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("kind", ["mse", "huber", "l2norm"])
def test_losses_of_shares_add_up_to_that_of_the_batch(potential, acac_folder, kind):
    frames = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames
    bare = Frame("bare", frames[2].atoms, frames[2].energy, None, None)
    samples = make_samples(potential, [*frames[:2], bare, *frames[3:5], waters()])
    weights = WEIGHTS._replace(net_forces=100.0)
    module = potential.module.train()

    def loss_of(own):
        share = make_share(samples, own)
        output = module(share.batch.system, True, False)
        config = LossConfig(kind=kind)
        return compute_loss(output, share.batch, config, weights, counts=share.counts).item()

    whole = loss_of(samples)
    assert whole == pytest.approx(loss_of(samples[:1]) + loss_of(samples[1:]), rel=1e-5)
    output = module(collate(samples).system, True, False)
    expected = compute_loss(output, collate(samples), LossConfig(kind=kind), weights).item()
    assert whole == pytest.approx(expected, rel=1e-6)
    empty = make_share(samples, [])
    assert empty.batch is None
    assert empty.counts == (6, 66, 0, 2)
    assert empty.names[2] == "bare"


def test_a_loss_that_is_not_finite_names_step_and_structures(potential, batch):
    module = potential.module.train()
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    energy = batch.labels.energy.clone()
    energy[1] = float("inf")
    broken = batch._replace(labels=batch.labels._replace(energy=energy))
    optimizer = torch.optim.AdamW(module.parameters())
    message = r"loss became inf at step 12, .*40\.xyz\[0\], train_300K_first_40\.xyz\[1\].*learning"
    with pytest.raises(DatasetError, match=message):
        step(potential, broken, optimizer)
    for name, value in module.named_parameters():
        assert torch.equal(value, before[name])


def test_batches_hold_each_structure_with_its_labels(potential, acac_folder):
    frames = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames[:7]
    batches = fixed_batches(make_samples(potential, frames), 3)
    assert [len(batch.names) for batch in batches] == [3, 3, 1]
    second = batches[1]
    assert second.names == tuple(frame.name for frame in frames[3:6])
    assert second.labels.energy.tolist() == [frame.energy for frame in frames[3:6]]
    np.testing.assert_allclose(second.labels.forces[15:30], frames[4].forces, rtol=1e-6)
    assert second.system.structure.tolist() == [0] * 15 + [1] * 15 + [2] * 15
    assert second.n_atoms.tolist() == [15.0] * 3


def test_missing_labels_are_marked(potential, acac_folder):
    frames = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames
    bare = Frame("bare", frames[1].atoms, None, None, None)
    labels = collate(make_samples(potential, [frames[0], bare])).labels
    assert labels.has_energy.tolist() == [True, False]
    assert labels.has_forces.tolist() == [True] * 15 + [False] * 15
    assert labels.has_stress.tolist() == [False, False]


def test_an_unusable_structure_is_named(potential, acac_folder):
    frame = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames[0]
    broken = frame.atoms.copy()
    broken.positions[7] = broken.positions[1] + [0.0, 0.0, 6.0]
    with pytest.raises(TopologyError, match=r"lost atom: "):
        make_samples(potential, [Frame("lost atom", broken, None, None, None)])


def test_order_of_the_structures_does_not_change_their_fragments(acac_folder):
    frames = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames
    config = FragmentationConfig()
    forward = find_fragments(frames, config)
    backward = find_fragments(frames[::-1], config)[::-1]
    assert len({f[0].fragments for f in forward}) == 2  # the proton is on either oxygen
    assert [f[0].fragments for f in forward] == [b[0].fragments for b in backward]


def test_a_shared_proton_gives_two_fragmentations(acac_folder):
    frames = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames
    shared = frames[0].atoms.copy()
    donor, acceptor = sorted((3, 5), key=lambda oxygen: shared.get_distance(11, oxygen))
    direction = shared.positions[acceptor] - shared.positions[donor]
    shared.positions[11] = shared.positions[donor] + 0.45 * direction
    shared.positions[acceptor] += 0.3 * direction * (2.4 / np.linalg.norm(direction) - 1.0)
    every = [*frames, Frame("shared", shared, None, None, None)]
    found = find_fragments(every, FragmentationConfig(), bond_stretch=1.6)
    assert len(found[-1]) == 2
    assert {tuple(sorted(f.topology.bonds)) for f in found[-1]} == {
        tuple(sorted(f[0].topology.bonds)) for f in found[:-1]
    }
    assert [len(f) for f in find_fragments(every, FragmentationConfig())] == ([1] * 41)


def test_fragments_of_the_other_topology_where_a_proton_may_have_moved(acac_folder):
    frames = read_frames(acac_folder / "train_300K_first_40.xyz", LabelConfig()).frames
    counts = [
        [len(f) for f in find_fragments(frames, FragmentationConfig(), bond_stretch=stretch)]
        for stretch in (0.0, 1.6, 2.8)
    ]
    assert counts[0] == [1] * 40
    assert 40 <= sum(counts[1]) < 80
    assert counts[2] == [2] * 40
