"""The audits of other packages' models that docs/audit.md shows: their words."""

import warnings

import pytest
from benchmarks.audit.third_party import run


def test_the_words_of_the_table():
    pytest.importorskip("e3nn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e3nn compiles with a deprecated part of torch
        words = {result.title: result.verdict.word for result in run()}
    assert words == {
        "e3nn, tensor products": "approximate",
        "e3nn, made in float64": "exact",
        "TransformerEncoder": "exact",
        "TransformerEncoder with places": "broken",
        "plain CNN": "broken",
    }
