"""Products on the sphere: exact, and sums of the couplings of the plain product."""

import pytest
import torch
from e3nn import o3

from se3set_mlip.errors import ConfigError
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.model.grid_product import GridProduct, sphere_grid
from se3set_mlip.model.tensor_product import coupling

IRREPS = o3.Irreps("3x0e+3x1o+3x2e+3x3o")


def features(seed: int, n: int = 5) -> list[torch.Tensor]:
    """Return random features ``[(n, 2l+1, 3)]``."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, ir.dim, 3, dtype=torch.float64, generator=generator) for _, ir in IRREPS]


@pytest.mark.parametrize("degree", [0, 1, 4, 9, 10])
def test_the_grid_integrates_its_degree_exactly(degree):
    points, weights = sphere_grid(degree)
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-14)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(len(points), dtype=torch.float64))
    for k in range(1, degree + 1):
        values = o3.spherical_harmonics(k, points, normalize=True)
        assert (weights @ values).abs().max() < 1e-13
    beyond = o3.spherical_harmonics(degree + 1, points, normalize=True)
    beyond = torch.cat([beyond, o3.spherical_harmonics(degree + 2, points, normalize=True)], dim=1)
    assert (weights @ beyond).abs().max() > 1e-3  # no point more than it takes


@pytest.mark.parametrize("out", ["3x0e", "3x0e+3x1o", "3x0e+3x1o+3x2e+3x3o"])
def test_it_is_a_sum_of_couplings(out):
    """Each pair of degrees adds its one coupling with a weight, so rotations are kept."""
    product = GridProduct(IRREPS, o3.Irreps(out)).double()
    x, y = features(0), features(1)
    for i, (_, first) in enumerate(IRREPS):
        for j, (_, second) in enumerate(IRREPS):
            alone_x = [p if k == i else torch.zeros_like(p) for k, p in enumerate(x)]
            alone_y = [p if k == j else torch.zeros_like(p) for k, p in enumerate(y)]
            found = product(alone_x, alone_y)
            for part, (_, ir) in zip(found, product.irreps_out, strict=True):
                if ir not in list(first * second):
                    assert part.abs().max() < 1e-12
                    continue
                table = coupling(first, second, ir)
                plain = torch.einsum("abc,nau,nbu->ncu", table, x[i], y[j])
                weight = (plain * part).sum() / plain.square().sum()
                assert weight.abs() > 0.05
                torch.testing.assert_close(part, weight * plain, rtol=0.0, atol=1e-12)


def test_it_keeps_the_size_of_random_features():
    product = GridProduct(IRREPS, IRREPS).double()
    for part in product(features(2, n=4000), features(3, n=4000)):
        assert part.square().mean().item() == pytest.approx(1.0, abs=0.05)


def test_irreps_of_the_other_parity_are_refused():
    with pytest.raises(ConfigError, match="1e is no function on the sphere"):
        GridProduct(o3.Irreps("2x0e+2x1e"), o3.Irreps("2x0e"))
    with pytest.raises(ConfigError, match="density_product = 'cube', expected 'paths' or 'grid'"):
        ModelConfig(elements=(1, 6), density_product="cube")
