"""The fast way, in frames aligned with the edges, against the plain one: equal in every number."""

import dataclasses

import pytest
import torch
from e3nn import o3

from se3set_mlip.hypergraph.hypergraph import Hypergraph
from se3set_mlip.model.aligned import aligned_constants, couples_equal_m
from se3set_mlip.model.aligned_attention import can_align
from se3set_mlip.model.config import ModelConfig
from se3set_mlip.model.frames import EdgeFrames, aligned_order
from se3set_mlip.model.se3set import SE3Set
from se3set_mlip.model.tensor_product import EdgeCoupling, Path

N_ATOMS, N_INCIDENCES, N_PAIRS = 6, 14, 40

CONFIGS = {
    "default": ModelConfig(elements=(1, 6, 8), interaction="attention"),
    "published": ModelConfig(
        elements=(1, 6, 8),
        interaction="attention",
        irreps="8x0e+4x1o+2x2e",
        irreps_final="16x0e",
        irreps_head="2x0e+1x1o+1x2e",
        irreps_hidden="12x0e+6x1o+3x2e",
        n_layers=3,
        norm="per_irrep",
        radial_envelope="cosine",
    ),
    "vectors": ModelConfig(
        elements=(1, 6, 8),
        interaction="attention",
        irreps="8x0e+4x1o",
        irreps_head="2x0e+1x1o",
        irreps_hidden="8x0e+4x1o",
        lmax=1,
    ),
    "high degrees": ModelConfig(
        elements=(1, 6, 8),
        interaction="attention",
        irreps="6x0e+4x1o+3x2e+2x3o",
        irreps_head="2x0e+1x1o+1x2e+1x3o",
        irreps_hidden="6x0e+3x1o+3x2e+2x3o",
        lmax=3,
    ),
    "scalars": ModelConfig(
        elements=(1, 6, 8),
        interaction="attention",
        irreps="8x0e",
        irreps_head="4x0e",
        irreps_hidden="8x0e",
        lmax=0,
    ),
}


def directions(n, seed=0):
    """Random directions of ordinary length, and those along and almost along the axes."""
    vectors = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    vectors[:3] = torch.eye(3)
    vectors[3:6] = -1.3 * torch.eye(3)
    vectors[6] = torch.tensor([1e-9, 1.0, -1e-9])
    vectors[7] = torch.tensor([1.0, 1.0, 1.0])  # all axes at the same angle
    return vectors


def hypergraph(vectors):
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(N_INCIDENCES, generator=generator, dtype=torch.float64)
    weights[:N_ATOMS] = 1.0  # own fragments
    return Hypergraph(
        numbers=torch.tensor([1, 6, 8, 1, 6, 1]),
        charge=torch.zeros(N_ATOMS, dtype=torch.int64),
        incidence_atom=torch.arange(N_INCIDENCES) % N_ATOMS,
        incidence_weight=weights,
        incidence_absence=torch.zeros(N_INCIDENCES, dtype=torch.float64),
        pair_source=torch.randint(0, N_ATOMS, (N_PAIRS,), generator=generator),
        pair_incidence=torch.arange(N_PAIRS) * N_INCIDENCES // N_PAIRS,
        pair_vector=vectors,
        pair_weight=torch.rand(N_PAIRS, generator=generator, dtype=torch.float64),
    )


def both(config):
    torch.manual_seed(0)
    fast = SE3Set(config).double()
    plain = SE3Set(config, aligned=False).double()
    plain.load_state_dict(fast.state_dict())
    assert fast.aligned
    assert not plain.aligned
    return fast, plain


@pytest.mark.parametrize("name", CONFIGS)
def test_energies_and_both_derivatives_are_those_of_the_plain_way(name):
    values = []
    for network in both(CONFIGS[name]):
        vectors = directions(N_PAIRS).requires_grad_(True)
        energy = network(hypergraph(vectors))
        force = torch.autograd.grad(energy.sum(), vectors, create_graph=True)[0]
        loss = (force * torch.linspace(0.5, 1.5, 3, dtype=torch.float64)).pow(2).sum()
        second = torch.autograd.grad(loss, [vectors, *network.parameters()], allow_unused=True)
        values.append((energy.detach(), force.detach(), second))
    fast, plain = values
    assert float(plain[1].abs().max()) > 1e-3
    assert torch.allclose(fast[0], plain[0], rtol=1e-12, atol=1e-13)
    assert torch.allclose(fast[1], plain[1], rtol=1e-11, atol=1e-12)
    for one, other in zip(fast[2], plain[2], strict=True):
        if one is None or other is None:
            missing = [value for value in (one, other) if value is not None]
            assert all(float(value.abs().max()) == 0.0 for value in missing if value.numel())
        else:
            scale = float(other.abs().max()) if other.numel() else 0.0
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-10 * max(scale, 1.0))


def test_short_floats_agree_too():
    fast, plain = (network.float() for network in both(CONFIGS["default"]))
    graph = hypergraph(directions(N_PAIRS))
    graph = Hypergraph(*(t.float() if t.is_floating_point() else t for t in graph))
    assert torch.allclose(fast(graph), plain(graph), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_frames_rotate_as_irreps_do(degree):
    vectors = directions(20)
    frames = EdgeFrames(degree).double()(vectors, vectors.norm(dim=1))
    polar = frames[1]  # rows m = 0, -1, 1 are the axes y, x, z
    rotation = torch.stack([polar[:, 1], polar[:, 0], polar[:, 2]], dim=1)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(20, dtype=torch.float64))
    other = torch.randn(20, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    turned = torch.einsum("nij,nj->ni", rotation, other)
    before, after = (
        o3.spherical_harmonics(degree, v, normalize=True, normalization="component")
        for v in (other, turned)
    )
    found = torch.einsum("nij,nj->ni", frames[degree], before)
    assert torch.allclose(found, after[:, aligned_order(degree)], rtol=0, atol=1e-12)
    harmonics = o3.spherical_harmonics(degree, vectors, normalize=True, normalization="component")
    aligned = torch.einsum("nij,nj->ni", frames[degree], harmonics)
    assert torch.allclose(aligned[:, 0], torch.full((20,), (2 * degree + 1) ** 0.5).double())
    assert float(aligned[:, 1:].abs().max()) < 1e-12


def test_frames_have_bounded_derivatives_everywhere():
    vectors = directions(400, seed=3).requires_grad_(True)
    distance = vectors.norm(dim=1)
    matrix = EdgeFrames(2).double()(vectors, distance)[2]
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(matrix.shape, generator=generator, dtype=torch.float64)
    gradient = torch.autograd.grad((matrix * weights).sum(), vectors)[0]
    assert float((gradient.norm(dim=1) * distance.detach()).max()) < 50.0


def test_odd_couplings_take_the_plain_way():
    irreps, harmonics = o3.Irreps("4x0e+2x1o+2x1e"), o3.Irreps("1x0e+1x1o")
    coupling = EdgeCoupling(irreps, harmonics, irreps)
    assert not couples_equal_m(coupling.paths, irreps, harmonics)  # 1o x 1o -> 1e
    config = dataclasses.replace(
        CONFIGS["vectors"], irreps=str(irreps), irreps_head="1x0e+1x1o+1x1e"
    )
    assert not SE3Set(config).aligned


def test_heads_without_some_irrep_take_the_plain_way():
    irreps = o3.Irreps("4x0e+2x1o")
    coupling = EdgeCoupling(irreps, o3.Irreps("1x0e+1x1o"), irreps)
    assert can_align(coupling, o3.Irreps("2x0e+1x1o"))
    assert not can_align(coupling, o3.Irreps("2x0e"))


def test_constants_are_those_of_the_coupling():
    harmonics = o3.spherical_harmonics(
        2, torch.tensor([0.0, 1.0, 0.0]).double(), normalize=True, normalization="component"
    )
    path = Path(1, 2, o3.Irrep("1o"))
    table = o3.wigner_3j(1, 2, 1, dtype=torch.float64) * 3**0.5
    matrix = torch.einsum("ijk,j->ki", table, harmonics)
    assert torch.allclose(matrix, torch.diag(torch.diag(matrix)), atol=1e-12)
    found = aligned_constants(o3.Irrep("1o"), o3.Irrep("2e"), path.ir_out)
    assert found[0] == pytest.approx(float(matrix[1, 1]))
    assert found[1] == pytest.approx(float(matrix[0, 0]))
    assert found[1] == pytest.approx(float(matrix[2, 2]))
