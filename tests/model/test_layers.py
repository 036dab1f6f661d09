"""The layers against plain e3nn, and what keeps them smooth."""

import math

import pytest
import torch
from e3nn import o3

from se3set_mlip.errors import ConfigError
from se3set_mlip.model.attention import smooth_leaky_relu, weighted_softmax
from se3set_mlip.model.linear import EquivariantLinear, Gate, layout
from se3set_mlip.model.norm import EquivariantLayerNorm
from se3set_mlip.model.radial import (
    BesselBasis,
    ExponentialNormalBasis,
    GaussianBasis,
    RadialNetwork,
    cosine_envelope,
    polynomial_envelope,
)
from se3set_mlip.model.tensor_product import (
    EdgeCoupling,
    EdgeProduct,
    FeatureProduct,
    product_paths,
)

IRREPS = o3.Irreps("5x0e+4x1o+3x2e")
N = 7


@pytest.fixture(autouse=True)
def double_precision():
    """Let e3nn make its tables in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def flat(features, irreps):
    """Turn our layout [(n, 2l+1, mul)] into e3nn's (n, mul * (2l+1))."""
    return torch.cat([f.transpose(1, 2).reshape(f.shape[0], -1) for f in features], dim=1)


def random_features(irreps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(N, ir.dim, mul, generator=generator, dtype=torch.float64) for mul, ir in irreps
    ]


def rotated(features, irreps, matrix):
    return [
        torch.einsum("ij,njc->nic", ir.D_from_matrix(matrix).double(), f)
        for f, (_, ir) in zip(features, irreps, strict=True)
    ]


def plain_product(irreps_in, irreps_edge, irreps_out):
    """Build the depthwise product with e3nn's generator."""
    paths = product_paths(irreps_in, irreps_edge, irreps_out)
    outputs = [(irreps_in[path.i_in].mul, path.ir_out) for path in paths]
    collected = [ir for _, ir in layout(o3.Irreps(outputs))]
    order = sorted(range(len(paths)), key=lambda p: collected.index(paths[p].ir_out))
    slot = {p: k for k, p in enumerate(order)}
    return o3.TensorProduct(
        irreps_in,
        irreps_edge,
        o3.Irreps([outputs[p] for p in order]),
        [(path.i_in, path.i_edge, slot[p], "uvu", True) for p, path in enumerate(paths)],
        path_normalization="none",
        internal_weights=False,
        shared_weights=False,
    ).double()


def test_edge_product_equals_e3nn():
    irreps_sh = o3.Irreps.spherical_harmonics(2)
    coupling = EdgeCoupling(IRREPS, irreps_sh, IRREPS)
    product = EdgeProduct(coupling, internal_weights=False)
    plain = plain_product(IRREPS, irreps_sh, IRREPS)
    x = random_features(IRREPS)
    vector = torch.randn(N, 3, dtype=torch.float64)
    harmonics = o3.spherical_harmonics(irreps_sh, vector, normalize=True)
    weights = torch.randn(N, product.n_weights, dtype=torch.float64)
    ours = flat(product(x, coupling(harmonics), weights), product.irreps_out)
    # e3nn lists the copies of an irrep path by path, as we do
    theirs = plain(flat(x, IRREPS), harmonics, weights)
    assert ours.shape == theirs.shape
    assert float(theirs.abs().max()) > 0.1
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_feature_product_equals_e3nn():
    edge = o3.Irreps("4x0e+2x1o+3x2e")
    product = FeatureProduct(IRREPS, edge, IRREPS).double()
    plain = plain_product(IRREPS, edge, IRREPS)
    x, h = random_features(IRREPS), random_features(edge, seed=1)
    ours = flat(product(x, h), product.irreps_out)
    theirs = plain(flat(x, IRREPS), flat(h, edge), product.weight.double().expand(N, -1))
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", ["linear", "gate", "norm", "published norm", "product"])
@pytest.mark.parametrize("reflect", [False, True])
def test_layers_are_equivariant(make, reflect):
    layer = {
        "linear": lambda: EquivariantLinear(IRREPS, o3.Irreps("2x0e+3x1o+1x2e")),
        "gate": lambda: Gate(IRREPS),
        "norm": lambda: EquivariantLayerNorm(IRREPS, joint=True),
        "published norm": lambda: EquivariantLayerNorm(IRREPS, joint=False),
        "product": lambda: FeatureProduct(IRREPS, IRREPS, IRREPS),
    }[make]().double()
    irreps_in = layer.irreps_in if make in ("linear", "gate", "product") else IRREPS
    irreps_out = IRREPS if "norm" in make else layer.irreps_out
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    matrix = o3.rand_matrix(dtype=torch.float64) * (-1.0 if reflect else 1.0)
    x = random_features(irreps_in)

    def call(value):
        return layer(value, value) if make == "product" else layer(value)

    one = rotated(call(x), irreps_out, matrix)
    other = call(rotated(x, irreps_in, matrix))
    for a, b in zip(one, other, strict=True):
        assert float(a.detach().abs().max()) > 1e-3
        assert torch.allclose(a, b, rtol=0, atol=1e-10)


def test_linear_gives_zeros_where_the_input_has_nothing():
    layer = EquivariantLinear(o3.Irreps("4x0e"), IRREPS).double()
    out = layer(random_features(o3.Irreps("4x0e")))
    assert float(out[0].detach().abs().max()) > 0
    assert float(out[1].detach().abs().max()) == 0
    assert [f.shape for f in out] == [(N, 1, 5), (N, 3, 4), (N, 5, 3)]


def test_joint_norm_does_not_magnify_an_irrep_that_vanishes():
    x = random_features(IRREPS)
    x[1] = x[1] * 1e-6
    joint = EquivariantLayerNorm(IRREPS, joint=True).double()(x)
    published = EquivariantLayerNorm(IRREPS, joint=False).double()(x)
    assert float(joint[1].detach().abs().max()) < 1e-5
    assert float(published[1].detach().abs().max()) > 1e-4
    assert torch.allclose(joint[0], published[0], rtol=0, atol=1e-12)  # scalars alike


@pytest.mark.parametrize("joint", [False, True])
def test_norm_is_finite_at_zero(joint):
    layer = EquivariantLayerNorm(IRREPS, joint=joint).double()
    zero = [torch.zeros_like(f, requires_grad=True) for f in random_features(IRREPS)]
    out = layer(zero)
    gradients = torch.autograd.grad(sum(f.sum() for f in out), zero)
    assert all(bool(torch.isfinite(f).all()) for f in (*out, *gradients))


def test_first_two_derivatives_of_the_products():
    coupling = EdgeCoupling(IRREPS, o3.Irreps.spherical_harmonics(1), IRREPS)
    product = EdgeProduct(coupling, internal_weights=True).double()

    def function(*x):
        harmonics = torch.cat([torch.ones(2, 1, dtype=torch.float64), x[-1]], dim=1)
        return torch.cat([f.flatten() for f in product(list(x[:-1]), coupling(harmonics), x[-1])])

    inputs = [f[:2].requires_grad_() for f in random_features(IRREPS)]
    inputs.append(torch.randn(2, 3, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize(("envelope", "smooth"), [("polynomial", 3), ("cosine", 1)])
def test_how_often_envelopes_are_differentiable_at_the_range(envelope, smooth):
    function = {"polynomial": polynomial_envelope, "cosine": cosine_envelope}[envelope]
    x = torch.tensor([1.0 - 1e-7, 1.0 + 1e-7], dtype=torch.float64, requires_grad=True)
    value = function(x)
    continuous = -1
    for _ in range(5):
        if abs(float((value[0] - value[1]).detach())) > 1e-3:
            break
        continuous += 1
        (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    assert continuous == smooth
    assert float(function(torch.tensor(0.0))) == 1.0


def test_radial_bases_by_their_formulas():
    distance = torch.tensor([0.8, 2.0, 4.9], dtype=torch.float64)
    basis = ExponentialNormalBasis(6, 5.0, envelope="cosine").double()
    k = 3
    expected = (
        0.5
        * (torch.cos(math.pi * distance / 5.0) + 1.0)
        * torch.exp(-basis.betas[k] * (torch.exp(-distance) - basis.means[k]) ** 2)
    )
    assert torch.allclose(basis(distance)[:, k], expected)
    assert float(basis(torch.tensor([5.0, 6.0])).detach().abs().max()) < 1e-15
    gaussian = GaussianBasis(6, 5.0).double()
    width = gaussian.widths[k].abs() + 1e-5
    normal = torch.distributions.Normal(gaussian.means[k], width)
    assert torch.allclose(gaussian(distance)[:, k], normal.log_prob(distance / 5.0).exp())
    bessel = BesselBasis(6, 5.0).double()
    wave = (k + 1) * math.pi / 5.0
    expected = math.sqrt(2.0 / 5.0) * wave * torch.special.spherical_bessel_j0(wave * distance)
    assert torch.allclose(bessel(distance)[:, k], expected)
    assert float(bessel(torch.tensor([5.0], dtype=torch.float64)).abs().max()) < 1e-15


def test_the_basis_without_envelope_levels_off():
    basis = ExponentialNormalBasis(6, 5.0, envelope="none")
    far = basis(torch.tensor([30.0, 60.0])).detach()
    assert torch.allclose(far[0], far[1], atol=1e-9)
    assert torch.allclose(far[0], torch.exp(-basis.betas * basis.means.pow(2)).detach())


def test_radial_network_needs_a_hidden_layer():
    with pytest.raises(ConfigError, match="radial_hidden is empty"):
        RadialNetwork(8, (), 4)


def test_softmax_with_all_weights_one_is_the_plain_one():
    logits = torch.randn(9, 2, dtype=torch.float64) * 30.0
    segment = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    ones = torch.ones(9, dtype=torch.float64)
    alpha = weighted_softmax(logits, ones, torch.zeros(3, dtype=torch.float64), segment)
    for s in range(3):
        assert torch.allclose(alpha[segment == s], logits[segment == s].softmax(dim=0), atol=1e-14)


def test_softmax_fades_to_its_null_edge():
    logits = torch.tensor([[500.0], [-3.0]], dtype=torch.float64)
    segment = torch.tensor([0, 0])
    for weight in (1e-30, 0.0):
        weights = torch.tensor([0.0, weight], dtype=torch.float64)
        absence = torch.tensor([1.0 - weight], dtype=torch.float64)
        alpha = weighted_softmax(logits, weights, absence, segment)
        assert float(alpha[0]) == 0.0  # a candidate of weight 0, whatever its logit
        assert float(alpha[1]) == pytest.approx(weight * math.exp(-3.0), rel=1e-6)


def test_softmax_has_exact_derivatives_at_weight_zero():
    logits = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 0.3, 0.0, 1e-6], dtype=torch.float64, requires_grad=True)
    segment = torch.tensor([0, 0, 0, 0])
    absence = torch.zeros(1, dtype=torch.float64)

    def function(a, w):
        return weighted_softmax(a, w, absence, segment)

    assert torch.autograd.gradcheck(function, (logits, weights))
    assert torch.autograd.gradgradcheck(function, (logits, weights))


def test_smooth_leaky_relu_has_its_slopes():
    x = torch.tensor([-50.0, 50.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(smooth_leaky_relu(x).sum(), x)
    assert torch.allclose(slope, torch.tensor([0.2, 1.0], dtype=torch.float64))


def test_irreps_must_be_in_order():
    with pytest.raises(ConfigError, match="write 3x0e"):
        EquivariantLinear(o3.Irreps("2x1o+3x0e"), IRREPS)
    with pytest.raises(ConfigError, match="even scalars first"):
        Gate(o3.Irreps("2x1o"))
    with pytest.raises(ConfigError, match="each harmonic once"):
        EdgeCoupling(IRREPS, o3.Irreps("2x0e+1x1o"), IRREPS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softmax_of_very_negative_logits(dtype):
    """Without a null edge the largest term is 1, however small its exponential."""
    logits = torch.tensor([[-125.0], [-127.0]], dtype=dtype)
    ones, segment = torch.ones(2, dtype=dtype), torch.tensor([0, 0])
    alpha = weighted_softmax(logits, ones, torch.zeros(1, dtype=dtype), segment)
    assert torch.allclose(alpha, logits.softmax(dim=0))
