"""Sums over pairs in rows are the products of pairs, one by one, and then their sum."""

import pytest
import torch
from e3nn import o3

from se3set_mlip.model.attention import segment_sum
from se3set_mlip.model.pair_sum import PAIRS_IN_ROW, PairSum, pair_rows
from se3set_mlip.model.tensor_product import EdgeCoupling, EdgeProduct

N_OWNERS = 5
OWNER = torch.tensor([3, 0, 3, 1, 0, 3, 3, 3, 3, 3, 3, 3, 3])  # owners 2 and 4 have no pair


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def test_every_pair_has_one_place_in_a_row_of_its_owner():
    rows = pair_rows(OWNER, N_OWNERS, 4)
    assert rows.owner.tolist() == [0, 1, 3, 3, 3]
    places = rows.pair.view(-1, 4)
    there = places[places < len(OWNER)]
    assert sorted(there.tolist()) == list(range(len(OWNER)))
    for row, owner in zip(places, rows.owner, strict=True):
        assert all(OWNER[pair] == owner for pair in row if pair < len(OWNER))


def test_rows_of_no_pairs():
    rows = pair_rows(OWNER[:0], N_OWNERS, 4)
    assert rows.pair.shape == rows.owner.shape == (0,)


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize("irreps_in", ["3x0e", "3x0e+2x1o", "2x1o+3x2e"])
@pytest.mark.parametrize("irreps_out", ["1x0e+1x1o+1x2e", "1x1o"])
def test_the_sum_is_that_of_products(irreps_in, irreps_out, scripted):
    """Values, first and second derivatives against EdgeProduct."""
    irreps, sh = o3.Irreps(irreps_in), o3.Irreps.spherical_harmonics(2)
    edges = EdgeCoupling(irreps, sh, o3.Irreps(irreps_out)).double()
    plain = EdgeProduct(edges, internal_weights=False).double()
    fast = PairSum(irreps, sh, o3.Irreps(irreps_out)).double()
    assert fast.irreps_out == plain.irreps_out
    assert fast.n_weights == plain.n_weights
    assert fast.state_dict().keys() == plain.state_dict().keys()
    if scripted:
        fast = torch.jit.script(fast)
    n = len(OWNER)
    x = [random(n, ir.dim, mul, seed=k) for k, (mul, ir) in enumerate(irreps)]
    inputs = [*x, random(n, sh.dim, seed=7), random(n, plain.n_weights, seed=8)]
    rows = pair_rows(OWNER, N_OWNERS, PAIRS_IN_ROW)

    def by_products(*values: torch.Tensor) -> list[torch.Tensor]:
        *features, harmonics, weights = values
        products = plain(features, edges(harmonics), weights)
        return [segment_sum(part, OWNER, N_OWNERS) for part in products]

    def in_rows(*values: torch.Tensor) -> list[torch.Tensor]:
        *features, harmonics, weights = (
            torch.cat([value, torch.zeros_like(value[:1])])[rows.pair] for value in values
        )
        return fast(features, harmonics, weights, rows, N_OWNERS)

    results = []
    for call in (by_products, in_rows):
        leaves = [value.clone().requires_grad_() for value in inputs]
        values = call(*leaves)
        cotangents = [random(*part.shape, seed=20 + k) for k, part in enumerate(values)]
        first = torch.autograd.grad(values, leaves, cotangents, create_graph=True)
        cotangents = [random(*part.shape, seed=40 + k) for k, part in enumerate(first)]
        results.append([*values, *first, *torch.autograd.grad(first, leaves, cotangents)])
    for expected, found in zip(*results, strict=True):
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)
