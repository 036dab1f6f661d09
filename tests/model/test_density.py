"""The density interaction: products couple as e3nn's do, and the network obeys the physics."""

import dataclasses

import numpy as np
import pytest
import torch
from e3nn import o3
from scipy.spatial.transform import Rotation

from se3set_mlip.errors import ConfigError
from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.channel_product import ChannelProduct
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.model.density import DensityNetwork
from se3set_mlip.model.element_linear import ElementLinear, element_order
from se3set_mlip.model.tensor_product import coupling, product_paths

CONFIG = ModelConfig(
    elements=(1, 6, 8),
    interaction="density",
    irreps="6x0e+6x1o",
    irreps_density="6x0e+6x1o+6x2e",
    irreps_final="6x0e",
    n_radial=6,
    radial_hidden=(8,),
    radial_range_angstrom=4.0,
)


def network(seed: int = 0, **changes: object) -> DensityNetwork:
    """Return a network with random weights in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DensityNetwork(dataclasses.replace(CONFIG, **changes)).double()


def hypergraph(vectors: torch.Tensor, weights: torch.Tensor) -> Hypergraph:
    """Return three atoms, four incidences and five pairs."""
    pair_incidence = torch.tensor([0, 0, 1, 2, 3])
    return Hypergraph(
        numbers=torch.tensor([6, 1, 8]),
        charge=torch.zeros(3, dtype=torch.int64),
        incidence_atom=torch.tensor([0, 0, 1, 2]),
        incidence_weight=weights,
        incidence_absence=torch.zeros(4, dtype=torch.float64),
        pair_source=torch.tensor([1, 2, 2, 0, 1]),
        pair_incidence=pair_incidence,
        pair_vector=vectors,
        pair_weight=torch.ones(5, dtype=torch.float64),
    )


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Pair vectors (5, 3) in Å and incidence weights (4,)."""
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn(5, 3, dtype=torch.float64, generator=generator) * 1.3
    return vectors, torch.tensor([1.0, 0.4, 1.0, 0.7], dtype=torch.float64)


def improper_rotation(seed: int) -> torch.Tensor:
    """Return a random rotation times an inversion, (3, 3)."""
    return torch.from_numpy(-Rotation.random(rng=np.random.default_rng(seed)).as_matrix())


def rotated(features: list[torch.Tensor], irreps: o3.Irreps, matrix: torch.Tensor):
    """Rotate features ``[(n, 2l+1, mul)]``, by what the spherical harmonics do."""
    points = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    out = []
    for (_, ir), part in zip(irreps, features, strict=True):
        before, after = (
            o3.spherical_harmonics(ir.l, v, normalize=True) for v in (points, points @ matrix.T)
        )
        representation = torch.linalg.lstsq(before, after).solution.T
        out.append(torch.einsum("ij,njc->nic", representation, part))
    return out


def test_a_product_turns_with_its_operands_and_differs_between_paths():
    irreps = o3.Irreps("3x0e+3x1o+3x2e")
    product = ChannelProduct(irreps, irreps).double()
    assert product.irreps_out == o3.Irreps("9x0e+12x1o+12x2e")
    generator = torch.Generator().manual_seed(0)
    x, y = (
        [torch.randn(4, ir.dim, 3, dtype=torch.float64, generator=generator) for _, ir in irreps]
        for _ in range(2)
    )
    matrix = improper_rotation(0)
    expected = rotated(product(x, y), product.irreps_out, matrix)
    found = product(rotated(x, irreps, matrix), rotated(y, irreps, matrix))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-12)
        rows = a.reshape(-1, a.shape[2])
        assert torch.linalg.matrix_rank(rows) == min(rows.shape)


@pytest.mark.parametrize("dims", ["0e+1o+2e+3o", "1o+2e", "0e", "1o", "0e+0o+1o+1e"])
@pytest.mark.parametrize("out", ["0e+1o+2e+3o", "0e", "0e+1o+1e"])
def test_a_product_is_every_coupling_in_order(dims, out):
    """Against the couplings one by one: values, first and second derivatives."""
    irreps = o3.Irreps("+".join(f"2x{ir}" for ir in dims.split("+")))
    irreps_out = o3.Irreps("+".join(f"2x{ir}" for ir in out.split("+")))
    product = ChannelProduct(irreps, irreps_out).double()
    generator = torch.Generator().manual_seed(5)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    def plain(x: list[torch.Tensor], y: list[torch.Tensor]) -> list[torch.Tensor]:
        found = []
        for _, ir in irreps_out:
            parts = [
                torch.einsum(
                    "abc,nau,nbu->ncu",
                    coupling(irreps[p.i_in].ir, irreps[p.i_edge].ir, ir),
                    x[p.i_in],
                    y[p.i_edge],
                )
                for p in product_paths(irreps, irreps, irreps_out)
                if p.ir_out == ir
            ]
            if parts:
                found.append(torch.cat(parts, dim=2))
        return found

    x, y = ([random(3, ir.dim, 2).requires_grad_() for _, ir in irreps] for _ in range(2))
    results = []
    cotangents: dict[str, list[torch.Tensor]] = {}
    for call in (product, plain):
        values = call(x, y)
        first = cotangents.setdefault("first", [random(*part.shape) for part in values])
        gradient = torch.autograd.grad(values, [*x, *y], first, create_graph=True)
        second = cotangents.setdefault("second", [random(*part.shape) for part in gradient])
        results.append([*values, *gradient, *torch.autograd.grad(gradient, [*x, *y], second)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)


def test_a_product_agrees_with_e3nn():
    irreps = o3.Irreps("2x1o")
    product = ChannelProduct(irreps, o3.Irreps("2x0e+2x2e")).double()
    reference = o3.TensorProduct(
        "2x1o",
        "2x1o",
        "2x0e+2x2e",
        [(0, 0, 0, "uuu", False), (0, 0, 1, "uuu", False)],
        irrep_normalization="component",
        path_normalization="element",
    ).double()
    x = torch.randn(5, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = x.flip(0) + 0.3
    expected = reference(*(part.transpose(1, 2).reshape(5, 6) for part in (x, y)))
    scalars, tensors = product([x], [y])
    # e3nn keeps its table in single precision
    torch.testing.assert_close(scalars.reshape(5, 2), expected[:, :2], rtol=0.0, atol=1e-6)
    torch.testing.assert_close(
        tensors.transpose(1, 2).reshape(5, 10), expected[:, 2:], rtol=0.0, atol=1e-6
    )


@pytest.mark.parametrize("wide", [False, True])
def test_elements_have_weights_of_their_own(wide):
    linear = ElementLinear(o3.Irreps("3x0e+2x1o"), o3.Irreps("4x0e+5x1o+2x2e"), 3).double()
    linear.wide = wide
    x = [torch.ones(3, 1, 3, dtype=torch.float64), torch.ones(3, 3, 2, dtype=torch.float64)]
    out = linear(x, torch.tensor([0, 0, 2]), [2, 0, 1])
    assert [tuple(part.shape) for part in out] == [(3, 1, 4), (3, 3, 5), (3, 5, 2)]
    torch.testing.assert_close(out[0][0], out[0][1])
    assert (out[0][0] - out[0][2]).abs().min() > 1e-3
    assert out[2].abs().max() == 0.0  # what the input lacks


def test_atoms_in_the_order_of_their_elements():
    found = element_order(torch.tensor([2, 0, 2, 0]), 4)
    assert found.order.tolist() == [1, 3, 0, 2]
    assert found.element.tolist() == [0, 0, 2, 2]
    assert found.counts == [2, 0, 2, 0]
    assert found.order[found.place].tolist() == [0, 1, 2, 3]


def test_elements_one_by_one_or_all_at_once_give_the_same():
    linear = ElementLinear(o3.Irreps("3x0e+2x1o"), o3.Irreps("4x0e+5x1o"), 3).double()
    generator = torch.Generator().manual_seed(2)
    x = [
        torch.randn(6, d, m, dtype=torch.float64, generator=generator) for d, m in ((1, 3), (3, 2))
    ]
    element = torch.tensor([0, 1, 1, 2, 2, 2])
    found = linear(x, element, [1, 2, 3])
    linear.wide = True
    for a, b in zip(found, linear(x, element, [1, 2, 3]), strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_energies_are_invariant(inputs, n_layers):
    model = network(n_layers=n_layers)
    vectors, weights = inputs
    matrix = improper_rotation(5)
    energies = model(hypergraph(vectors, weights))
    assert energies.shape == (3,)
    assert energies.std() > 1e-2
    torch.testing.assert_close(
        model(hypergraph(vectors @ matrix.T, weights)), energies, rtol=0.0, atol=1e-12
    )


def test_an_incidence_of_weight_zero_is_not_there(inputs):
    model = network()
    vectors, weights = inputs
    weights = weights.clone()
    weights[1] = 0.0
    energies = model(hypergraph(vectors, weights))
    moved = vectors.clone()
    moved[2] += 0.5  # the pair of incidence 1
    torch.testing.assert_close(model(hypergraph(moved, weights)), energies, rtol=0.0, atol=0.0)
    weights[1] = 1e-3
    assert (model(hypergraph(moved, weights)) - energies).abs().max() > 1e-6


@pytest.mark.parametrize(
    "changes", [{}, {"radial_range_angstrom": 3.0, "pair_range_angstrom": 4.0}]
)
def test_nothing_is_felt_beyond_the_range_of_pairs(inputs, changes):
    model = network(**changes)
    vectors, weights = inputs
    far = vectors.clone()
    far[4] = torch.tensor([4.0, 0.1, 0.0])
    farther = far.clone()
    farther[4] *= 1.5
    torch.testing.assert_close(
        model(hypergraph(far, weights)), model(hypergraph(farther, weights)), rtol=0.0, atol=0.0
    )


def test_first_and_second_derivatives(inputs):
    model = network()
    vectors, weights = (value.requires_grad_() for value in inputs)

    def energies(v: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return model(hypergraph(v, w))

    assert torch.autograd.gradcheck(energies, (vectors, weights))
    assert torch.autograd.gradgradcheck(energies, (vectors, weights))


def test_script_and_eager_agree(inputs):
    model = network()
    graph = hypergraph(*inputs)
    torch.testing.assert_close(torch.jit.script(model)(graph), model(graph), rtol=0.0, atol=1e-14)


def test_every_weight_is_used(inputs):
    model = network()
    model(hypergraph(*inputs)).pow(2).sum().backward()
    unused = [n for n, p in model.named_parameters() if p.numel() and not p.grad.abs().max() > 0]
    assert unused == []


def test_fragments_update_what_they_gather(inputs):
    graph = hypergraph(*inputs)
    assert not np.allclose(
        network()(graph).detach(), network(fragment_update=False)(graph).detach()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interaction": "convolution"}, "expected 'attention' or 'density'"),
        ({"irreps_density": "6x0e+4x1o"}, "one multiplicity for all"),
        ({"irreps_density": "6x1o"}, "must begin with even scalars"),
    ],
)
def test_settings_without_meaning_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **change)
