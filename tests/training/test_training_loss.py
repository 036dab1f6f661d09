"""The loss against numbers worked out by hand."""

import pytest
import torch

from se3set_mlip.hypergraph.hypergraph import System
from se3set_mlip.potential.potential_module import PotentialOutput
from se3set_mlip.training.batches import Batch, Labels
from se3set_mlip.training.config import LossConfig, StageTwoConfig
from se3set_mlip.training.loss import LossWeights, compute_loss, loss_weights

F64 = torch.float64


def example(
    *,
    has_forces=(True, True, True),
    has_energy=(True, True),
    weight=(1.0, 1.0),
    molecule=(-1, -1, -1),
) -> tuple:
    """Two structures of 2 and 1 atoms: errors 0.4 and -0.3 eV, and forces as below."""
    labels = Labels(
        energy=torch.tensor([-10.0, -20.0], dtype=F64),
        has_energy=torch.tensor(has_energy),
        forces=torch.zeros(3, 3, dtype=F64),
        has_forces=torch.tensor(has_forces),
        stress=torch.zeros(2, 3, 3, dtype=F64),
        has_stress=torch.tensor([False, True]),
        weight=torch.tensor(weight, dtype=F64),
        molecule=torch.tensor(molecule),
    )
    stress = torch.zeros(2, 3, 3, dtype=F64)
    stress[0] += 100.0  # without a label: nobody may see it
    stress[1, 0, 0] = 0.3
    output = PotentialOutput(
        energy=torch.tensor([-9.6, -20.3], dtype=F64),
        atomic_energies=torch.zeros(3, dtype=F64),
        forces=torch.tensor([[0.3, 0.0, 0.4], [0.0, 0.0, 0.0], [0.0, 1.2, 0.5]], dtype=F64),
        stress=stress,
    )
    system = System(*([torch.zeros(0)] * len(System._fields)))._replace(
        structure=torch.tensor([0, 0, 1])
    )
    return output, Batch(("a", "b"), system, labels, torch.tensor([2.0, 1.0], dtype=F64))


def loss(kind: str, weights: tuple[float, ...], **masks) -> float:
    output, batch = example(**masks)
    config = LossConfig(kind=kind, huber_delta=0.25)
    return compute_loss(output, batch, config, LossWeights(*weights)).item()


@pytest.mark.parametrize("kind", ["mse", "huber", "l2norm"])
@pytest.mark.parametrize("part", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
def test_a_structure_counts_by_its_weight(kind, part):
    apart = {"molecule": (0, 1, 2)}
    weights = (1.0, 1e-9), (1e-9, 1.0)
    first, second = (loss(kind, part, weight=weight, **apart) for weight in weights)
    assert loss(kind, part, **apart) == pytest.approx(first + second)
    found = loss(kind, part, weight=(0.5, 2.0), **apart)
    assert found == pytest.approx(0.5 * first + 2.0 * second)
    assert second > 0.0


def test_mean_squares():
    # energies: ((0.4 / 2)^2 + 0.3^2) / 2; forces: (0.25 + 1.69) / 9; stress: 0.09 / 9
    assert loss("mse", (1, 0, 0)) == pytest.approx(0.065)
    assert loss("mse", (0, 1, 0)) == pytest.approx(1.94 / 9)
    assert loss("mse", (0, 0, 1)) == pytest.approx(0.01)
    assert loss("mse", (2, 3, 4)) == pytest.approx(2 * 0.065 + 3 * 1.94 / 9 + 4 * 0.01)


def test_norms():
    assert loss("l2norm", (1, 0, 0)) == pytest.approx((0.2 + 0.3) / 2)
    assert loss("l2norm", (0, 1, 0)) == pytest.approx((0.5 + 0.0 + 1.3) / 3)


def test_huber():
    # delta 0.25: 0.2 is quadratic, 0.3 linear
    assert loss("huber", (1, 0, 0)) == pytest.approx((0.5 * 0.04 + 0.25 * (0.3 - 0.125)) / 2)
    components = (0.3, 0.4, 1.2, 0.5)
    assert loss("huber", (0, 1, 0)) == pytest.approx(
        sum(0.25 * (x - 0.125) for x in components) / 9
    )


def test_net_forces_are_those_of_molecules_beside_others():
    # Forces are off by (0.3, 0, 0.4), 0 and (0, 1.2, 0.5).
    assert loss("mse", (0, 0, 0, 1)) == 0.0
    first_two = loss("mse", (0, 0, 0, 1), molecule=(0, 0, -1))
    assert first_two == pytest.approx(0.25 / 3)
    assert loss("mse", (0, 0, 0, 2), molecule=(0, 1, -1)) == pytest.approx(2 * 0.25 / 6)
    assert loss("l2norm", (0, 0, 0, 1), molecule=(0, 1, 2)) == pytest.approx((0.5 + 1.3) / 3)
    unlabelled = loss("mse", (0, 0, 0, 1), molecule=(0, 1, 2), has_forces=(True, True, False))
    assert unlabelled == pytest.approx(0.25 / 6)


def test_errors_within_a_molecule_have_no_net_force():
    output, batch = example(molecule=(0, 0, 1))
    forces = torch.tensor([[3.0, -1.0, 2.0], [-3.0, 1.0, -2.0], [0.0, 0.0, 0.0]], dtype=F64)
    weights = LossWeights(0, 0, 0, 1)
    value = compute_loss(output._replace(forces=forces), batch, LossConfig(kind="mse"), weights)
    assert value.item() == 0.0


def test_what_has_no_label_counts_neither_above_nor_below():
    assert loss("mse", (0, 1, 0), has_forces=(True, True, False)) == pytest.approx(0.25 / 6)
    assert loss("l2norm", (0, 1, 0), has_forces=(True, True, False)) == pytest.approx(0.25)
    assert loss("mse", (1, 0, 0), has_energy=(False, True)) == pytest.approx(0.09)
    assert loss("mse", (1, 0, 0), has_energy=(False, False)) == 0.0


@pytest.mark.parametrize("kind", ["mse", "huber", "l2norm"])
def test_masked_rows_get_no_gradient_even_where_they_are_nan(kind):
    output, batch = example(has_forces=(True, True, False))
    forces = output.forces.clone()
    forces[2] = float("nan")
    forces.requires_grad_(True)
    value = compute_loss(
        output._replace(forces=forces), batch, LossConfig(kind=kind), LossWeights(0, 1, 0)
    )
    (gradient,) = torch.autograd.grad(value, forces)
    assert torch.equal(gradient[2], torch.zeros(3, dtype=F64))
    assert torch.equal(gradient[1], torch.zeros(3, dtype=F64))  # an error of 0 has no kink
    assert gradient[0].abs().sum() > 0


def test_stage_two_begins_at_its_fraction():
    second = StageTwoConfig(
        start_fraction=0.8, energy_weight=7.0, forces_weight=5.0, net_forces_weight=3.0
    )
    config = LossConfig(energy_weight=1.0, forces_weight=2.0, stage_two=second)
    assert loss_weights(config, step=7, n_steps=10) == (1.0, 2.0, 0.0, 0.0)
    assert loss_weights(config, step=8, n_steps=10) == (7.0, 5.0, 0.0, 3.0)
    assert loss_weights(LossConfig(), step=9, n_steps=10) == (1.0, 100.0, 0.0, 0.0)
