"""Learning rates and averaged weights against numbers worked out by hand."""

import pytest
import torch

from se3set_mlip.training.schedule import MovingAverage, learning_rate_factor


def test_learning_rate_warms_up_and_falls_along_a_cosine():
    def factor(step):
        return learning_rate_factor(step, n_steps=25, warmup_steps=4, final_fraction=0.1)

    assert [factor(step) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert factor(4) == pytest.approx(1.0)
    assert factor(14) == pytest.approx(0.55)  # half of the way
    assert factor(24) == pytest.approx(0.1)
    falling = [factor(step) for step in range(4, 25)]
    assert falling == sorted(falling, reverse=True)


def test_a_run_shorter_than_its_warm_up_has_a_learning_rate():
    rates = [
        learning_rate_factor(step, n_steps=3, warmup_steps=10, final_fraction=0.0)
        for step in range(3)
    ]
    assert rates == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert learning_rate_factor(0, n_steps=1, warmup_steps=0, final_fraction=0.5) == 1.0


def module_with(value: float) -> torch.nn.Linear:
    module = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.constant_(module.weight, value)
    return module


def test_moving_average_by_hand():
    module = module_with(0.0)
    average = MovingAverage(module, 0.15)
    expected = 0.0
    for value, decay in ((1.0, 0.1), (2.0, 0.15), (4.0, 0.15)):  # 1/10, then 2/11 > 0.15
        torch.nn.init.constant_(module.weight, value)
        average.update(module)
        expected = decay * expected + (1 - decay) * value
    assert average.average["weight"].item() == pytest.approx(expected, rel=1e-15)
    assert module.weight.item() == 4.0


def test_average_is_lent_and_the_own_weights_come_back():
    module = module_with(1.0)
    average = MovingAverage(module, 0.9)
    torch.nn.init.constant_(module.weight, 3.0)

    def use():
        with average.applied(module):
            assert module.weight.item() == 1.0
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        use()
    assert module.weight.item() == 3.0


def test_without_decay_the_average_is_the_present():
    module = module_with(1.0)
    average = MovingAverage(module, 0.0)
    torch.nn.init.constant_(module.weight, 5.0)
    average.update(module)
    assert average.average["weight"].item() == 5.0
