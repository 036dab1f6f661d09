"""What SOAP does to the matrices of a module, and what AdamW does to the rest."""

import sys

import pytest
import torch
from e3nn import o3

from se3set_mlip.errors import ConfigError, MissingDependencyError
from se3set_mlip.model.linear import EquivariantLinear
from se3set_mlip.model.sizes import named_config
from se3set_mlip.potential.config import PotentialConfig
from se3set_mlip.potential.potential_module import PotentialModule
from se3set_mlip.training.optimizer_config import OptimizerConfig
from se3set_mlip.training.optimizers import make_optimizer

SCALARS = o3.Irreps("6x0e")


def settings(**changes) -> OptimizerConfig:
    return OptimizerConfig(**({"max_steps": 1, "learning_rate": 0.02} | changes))


def test_every_parameter_is_updated_once():
    torch.manual_seed(0)
    module = PotentialModule(PotentialConfig(model=named_config("small", elements=(1, 8))))
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    optimizer = make_optimizer(module, settings(weight_decay=0.5))
    for _ in range(2):  # SOAP begins with its axes, and moves from its second step on
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    # Zero gradients: what is left is the decay, 0.02 * 0.5, once or twice.
    for name, value in module.named_parameters():
        if value.numel() > 0:
            found = (value.detach() / before[name])[before[name] != 0.0]
            steps = 1 if _is_matrix(module, name) else 2
            torch.testing.assert_close(found, torch.full_like(found, 0.99**steps), msg=name)


def _is_matrix(module: torch.nn.Module, name: str) -> bool:
    owner = module.get_submodule(name.rpartition(".")[0])
    weight = isinstance(owner, EquivariantLinear) and name.endswith(".weight")
    return weight or module.get_parameter(name).dim() == 2


@pytest.mark.parametrize(("method", "equal"), [("soap", True), ("adamw", False)])
def test_soap_does_not_depend_on_the_axes_of_the_features(method, equal):
    """Features turned by an orthogonal matrix, weights turned with them: the same losses."""
    torch.manual_seed(3)
    data = torch.randn(40, 1, 6, dtype=torch.float64) * torch.tensor([5.0, 3, 2, 1, 0.5, 0.1])
    target = torch.randn(40, 1, 6, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    first, second = (EquivariantLinear(SCALARS, SCALARS, bias=False).double() for _ in range(2))
    with torch.no_grad():
        second.weight.copy_((turn.T @ first.matrices()[0]).reshape(-1))
    losses = []
    for module, features in ((first, data), (second, data @ turn)):
        optimizer = make_optimizer(module, settings(method=method))
        losses.append([_loss_of_a_step(module, optimizer, features, target) for _ in range(25)])
    assert losses[0][-1] < 0.8 * losses[0][0]
    assert (losses[0] == pytest.approx(losses[1], rel=1e-6)) is equal


def _loss_of_a_step(module, optimizer, features, target) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = (module([features])[0] - target).pow(2).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def test_a_parameter_without_a_gradient_stays():
    torch.manual_seed(0)
    module = torch.nn.ModuleList(EquivariantLinear(SCALARS, SCALARS) for _ in range(2))
    optimizer = make_optimizer(module, settings())
    before = module[1].weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad(set_to_none=True)
        module[0]([torch.randn(4, 1, 6)])[0].pow(2).sum().backward()
        optimizer.step()
    assert torch.equal(module[1].weight, before)
    assert optimizer.state_dict()["matrices"]["state"]


def test_amsgrad_is_refused_with_soap():
    with pytest.raises(ConfigError, match=r"optimizer\.amsgrad = True"):
        settings(amsgrad=True)
    assert settings(method="adamw", amsgrad=True).amsgrad


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    module = EquivariantLinear(SCALARS, SCALARS)
    with pytest.raises(MissingDependencyError, match=r"se3set-mlip\[train\]"):
        make_optimizer(module, settings())
    assert isinstance(make_optimizer(module, settings(method="adamw")), torch.optim.AdamW)
