"""Pooling to subgroups: equivariance, exact reconstruction, aliasing where it is not filtered, and the way back."""

import pytest
import torch
from torch.testing import assert_close

from intertwine import nn
from intertwine.audit import assert_equivariant
from intertwine.groups import Cyclic, Dihedral, S

EVEN_AND_SWAP = torch.tensor([[1, 2, 0, 3], [1, 0, 3, 2], [1, 0, 2, 3]])
CASES = [
    (Cyclic(12), 0, 3, None),
    (Cyclic(8), 0, 2, None),
    (Cyclic(6), 0, 6, None),
    (Dihedral(4), 0, 2, None),
    (Dihedral(4), 1, 2, None),
    (S(4), 2, 2, EVEN_AND_SWAP),
    (Cyclic(4) * Cyclic(3), 0, 2, None),
]


def pool(channels, case, **options):
    group, generator, rate, generators = case
    return nn.SubgroupPool(channels, group, generator, rate, generators=generators, **options)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_pooling_is_equivariant_under_the_subgroup(case, antialias, generator):
    for channels in (1, 3):
        assert_equivariant(pool(channels, case, antialias=antialias).double())
    layer = pool(2, case, antialias=antialias)
    assert_equivariant(layer, data=layer.rep_in.randn(4, generator=generator, dtype=torch.float32))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_there_and_back_commutes_with_the_whole_group(case, generator):
    """U restrict P = P, which commutes with G; plain sampling and back does not."""
    layer, plain = pool(2, case).double(), pool(2, case, antialias=False).double()
    rep = 2 * layer.group.regular
    x = rep.randn(6, generator=generator, dtype=torch.float64)
    g = layer.group.sample(6, generator=generator)

    def there_and_back(layer, x):
        return layer.upsample(layer(x))

    once = there_and_back(layer, x)
    assert_close(there_and_back(layer, once), once, atol=1e-12, rtol=0)
    assert_close(there_and_back(layer, rep.act(g, x)), rep.act(g, once), atol=1e-12, rtol=0)
    for h in range(layer.group.order):
        g = layer.group.take(layer.group.elements(), h)
        if h not in layer.group.index(layer.embed(layer.subgroup.elements())):
            gap = there_and_back(plain, rep.act(g, x)) - rep.act(g, there_and_back(plain, x))
            assert gap.abs().max() > 0.1


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_canonicalised_pooling_is_equivariant_under_the_whole_group(case, antialias, generator):
    layer = pool(2, case, antialias=antialias, canonicalise=True).double()
    rep = 2 * layer.group.regular
    for batch in (0, 1, 7):
        x = rep.randn(batch, generator=generator, dtype=torch.float64)
        g = layer.group.sample(batch, generator=generator)
        values, coset = layer(x)
        moved, moved_coset = layer(rep.act(g, x))
        assert values.shape == (batch, layer.rep_out.dim) and coset.shape == (batch,)
        # what is invariant under H is invariant under G
        for power in (1, 2, 3):
            per_channel = [v.unflatten(-1, (-1, 2)).pow(power).sum(-2) for v in (values, moved)]
            assert_close(*per_channel, atol=1e-10, rtol=1e-10)
        assert_close(layer.upsample(moved, moved_coset), rep.act(g, layer.upsample(values, coset)), atol=1e-10, rtol=0)


def test_what_the_layer_does():
    layer = nn.SubgroupPool(1, Cyclic(4), 0, 2, antialias=False)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert layer(x).tolist() == [1.0, 3.0] and layer.upsample(layer(x)).tolist() == [1.0, 0.0, 3.0, 0.0]
    mean = nn.SubgroupPool(1, Cyclic(4), 0, 4)
    assert_close(mean(x), torch.tensor([2.5]))
    same = nn.SubgroupPool(1, Cyclic(4), 0, 1)
    assert_close(same(x), x)
    moved, coset = nn.SubgroupPool(1, Cyclic(4), 0, 2, antialias=False, canonicalise=True)(x)
    assert moved.tolist() == [2.0, 4.0] and coset == 1
    assert not list(layer.parameters()) and not layer.state_dict()
    assert repr(layer) == "SubgroupPool(1 channels, Cyclic(2) in Cyclic(4), antialias=False)"


def test_gradients(generator):
    for canonicalise in (False, True):
        layer = nn.SubgroupPool(2, Dihedral(3), 0, 3, canonicalise=canonicalise).double()
        x = layer.rep_in.randn(2, generator=generator, dtype=torch.float64).requires_grad_()
        call = (lambda x, layer=layer: layer.upsample(*layer(x))) if canonicalise else layer
        assert torch.autograd.gradcheck(call, (x,)) and torch.autograd.gradgradcheck(call, (x,))


def test_it_follows_linear_layers(generator):
    """Linear on G, pool, linear on H: the usual network, with representations that fit."""
    first = nn.Linear(Cyclic(8).regular, 4 * Cyclic(8).regular)
    layer = nn.SubgroupPool(4, Cyclic(8), 0, 2)
    second = nn.Linear(layer.rep_out, Cyclic(4).trivial)
    x = first.rep_in.randn(3, generator=generator)
    h = torch.tensor([1, 2, 3])
    turned = first.rep_in.act(layer.embed(h), x)
    assert_close(second(layer(first(turned)).relu()), second(layer(first(x)).relu()), atol=1e-5, rtol=0)


def test_bad_input():
    layer = nn.SubgroupPool(2, Cyclic(8), 0, 2)
    with pytest.raises(ValueError, match="expected trailing dimension 16, the data has 8"):
        layer(torch.ones(3, 8))
    with pytest.raises(ValueError, match="expected trailing dimension 8"):
        layer.upsample(torch.ones(3, 16))
    with pytest.raises(ValueError, match="takes values only"):
        layer.upsample(torch.ones(3, 8), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="the coset"):
        nn.SubgroupPool(1, Cyclic(8), 0, 2, canonicalise=True).upsample(torch.ones(3, 4))
    with pytest.raises(ValueError, match="at least one channel"):
        nn.SubgroupPool(0, Cyclic(8), 0, 2)
    with pytest.raises(ValueError, match="no multiple of rate 3"):
        nn.SubgroupPool(1, Cyclic(8), 0, 3)
