"""Terms: tensor products of factors, their shape and their text."""

from intertwine.groups import SL, SO, S
from intertwine.reps import Product


def terms(rep):
    return [W for W, _ in rep.terms]


def test_shape_and_dimension():
    (W,) = terms(S(4).V ** 2 * S(4).det)
    assert W.shape == (4, 4, 1)
    assert W.dim == 16
    assert len(W.factors) == 3
    assert Product().shape == ()
    assert Product().dim == 1


def test_terms_multiply_and_dualise_axis_by_axis():
    (V,) = terms(SL(3).V)
    assert str(V * V * V.dual) == "V^2*V'"
    assert str((V * V.dual).dual) == "V'*V"
    assert V * Product() == V == V.dual.dual
    assert str(Product()) == "1"


def test_only_neighbours_are_written_as_powers():
    (V,), (det,) = terms(SO(3).V), terms(SO(3).det)
    assert str(V * det * V * V) == "V*det*V^2"


def test_terms_are_values():
    assert terms(S(4).V ** 2) == terms(S(4).V * S(4).V)
    assert hash(terms(S(4).V ** 2)[0]) == hash(terms(S(4).V * S(4).V)[0])
    assert terms(S(4).V) != terms(S(5).V)
