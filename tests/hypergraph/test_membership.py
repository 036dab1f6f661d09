"""Weights: their values, their limits, and three continuous derivatives."""

import pytest
import torch

from se3set_mlip.errors import ConfigError, InputError
from se3set_mlip.fragments.bond_orders import bond_order as reference_bond_order
from se3set_mlip.hypergraph.batch import batch_systems
from se3set_mlip.hypergraph.build import HypergraphConfig
from se3set_mlip.hypergraph.membership import bond_order, segment_absence, smooth_step, switch


def test_the_step_has_three_continuous_derivatives():
    for edge in (0.0, 1.0):
        x = torch.tensor([edge - 1e-7, edge + 1e-7], dtype=torch.float64, requires_grad=True)
        value = smooth_step(x)
        assert torch.allclose(value, torch.full_like(value, edge), atol=1e-12)
        for order in range(1, 5):
            (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
            jump = abs(float((value[0] - value[1]).detach()))
            assert jump < 1e-3 if order < 4 else jump > 100.0


def test_the_switch_falls_from_one_to_zero():
    distance = torch.linspace(0.0, 6.0, 601, dtype=torch.float64)
    values = switch(distance, 2.5, 4.0)
    assert torch.equal(values[distance <= 2.5], torch.ones(int((distance <= 2.5).sum())).double())
    assert float(values[distance >= 4.0].max()) == 0.0
    assert bool((values.diff() <= 0).all())
    assert float(switch(torch.tensor([3.25], dtype=torch.float64), 2.5, 4.0)) == pytest.approx(0.5)
    hard = switch(distance, 4.0, 4.0)
    assert torch.equal(hard, (distance < 4.0).double())


@pytest.mark.parametrize("kind", ["pauling", "lendvay"])
def test_bond_orders_are_those_of_the_fragmentation(kind):
    distance = torch.tensor([0.9, 1.5, 3.0], dtype=torch.float64)
    radii = torch.tensor([0.62, 1.52, 1.47], dtype=torch.float64)
    ours = bond_order(distance, radii, kind == "lendvay")
    theirs = reference_bond_order(kind, radii.numpy(), distance.numpy())
    assert torch.allclose(ours, torch.as_tensor(theirs), rtol=1e-13)


def test_absence_is_the_product_of_one_minus_w():
    generator = torch.Generator().manual_seed(0)
    sizes = [1, 5, 0, 3, 8, 2, 0]
    segment = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    weight = torch.rand(len(segment), generator=generator, dtype=torch.float64)
    weight[3] = 1.0
    result = segment_absence(weight, segment, torch.tensor(sizes), max(sizes))
    for k in range(len(sizes)):
        expected = torch.prod(1.0 - weight[segment == k])
        assert float(result[k]) == pytest.approx(float(expected), rel=1e-14)
    assert float(result[1]) == 0.0
    assert float(result[2]) == 1.0


def test_absence_has_exact_derivatives_at_weight_one():
    segment = torch.tensor([0, 0, 0, 1, 1])
    weight = torch.tensor([1.0, 0.4, 1.0, 1.0, 0.2], dtype=torch.float64, requires_grad=True)

    def function(w):
        return segment_absence(w, segment, torch.tensor([3, 2, 0]), 3)

    assert torch.autograd.gradcheck(function, weight)
    assert torch.autograd.gradgradcheck(function, weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"membership": "fuzzy"}, "'smooth' or 'hard'"),
        ({"cutoff_angstrom": -1.0}, "must be positive"),
        ({"switch_on_angstrom": 4.0}, "must lie between 0 and"),
        ({"overlap_width": 1.0}, "must lie between 0 and 1"),
        ({"skin_angstrom": -0.1}, "must not be negative"),
        ({"bond_order_range_angstrom": 0.5}, "above 1 Å"),
    ],
)
def test_settings_without_meaning_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        HypergraphConfig(**settings)


def test_an_empty_batch_is_refused():
    with pytest.raises(InputError, match="cannot batch 0 systems"):
        batch_systems([])
