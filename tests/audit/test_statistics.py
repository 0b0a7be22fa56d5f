import math

import pytest
import torch

from intertwine.audit.statistics import (
    Spread,
    bootstrap_weights,
    cluster_bootstrap,
    holm,
    percentile_interval,
    rms,
    rule_of_three,
)


def test_cluster_bootstrap_covers_where_pair_bootstrap_fails():
    """Nominal 95 %, 40 samples x 20 elements, exponential heterogeneity between samples."""
    g = torch.Generator().manual_seed(3)
    trials, n, k, resamples = 300, 40, 20, 400
    scale = -torch.rand(trials, n, 1, generator=g, dtype=torch.float64).log()
    values = scale * torch.rand(trials, n, k, generator=g, dtype=torch.float64) * 2  # mean of scale * 2U is 1
    by_cluster = by_pair = 0
    for trial in values:
        means = trial.mean(1)
        draws = cluster_bootstrap(lambda w, means=means: w @ means / w.sum(1), n, generator=g, resamples=resamples)
        low, high = (i := percentile_interval(draws)).low, i.high
        by_cluster += low <= 1 <= high
        flat = trial.flatten()
        w = bootstrap_weights(n * k, resamples, g)
        interval = percentile_interval(w @ flat / (n * k))
        by_pair += interval.low <= 1 <= interval.high
    assert by_cluster / trials >= 0.85
    assert by_pair / trials <= 0.65


def test_bootstrap_is_reproducible_and_chunks_do_not_change_its_law():
    values = torch.arange(12, dtype=torch.float64)
    draws = [
        cluster_bootstrap(lambda w: w @ values / 12, 12, generator=torch.Generator().manual_seed(5)) for _ in range(2)
    ]
    assert torch.equal(*draws)
    assert len(draws[0]) == 2000
    assert abs(draws[0].mean() - 5.5) < 0.1
    assert abs(draws[0].std() - values.std(unbiased=False) / math.sqrt(12)) < 0.05
    assert bootstrap_weights(7, 20, torch.Generator().manual_seed(0)).sum(1).eq(7).all()


def test_spread_is_the_mean_over_pairs_of_different_samples(generator):
    y = torch.randn(6, 2, 5, generator=generator, dtype=torch.float64) + 1e4
    pairs = [(y[i] - y[j]).square().mean() for i in range(6) for j in range(6) if i != j]
    expected = torch.stack(pairs).mean()
    for outputs in (list(y), list(y.reshape(6, 1, 10))):  # more, and fewer, samples than numbers
        found = Spread.of(outputs)(torch.ones(1, 6, dtype=torch.float64))
        torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=0)
    few = [t.reshape(1, 10)[:, :2] for t in y]
    pairs = [(few[i] - few[j]).square().mean() for i in range(6) for j in range(6) if i != j]
    found = Spread.of(few)(torch.ones(1, 6, dtype=torch.float64))
    torch.testing.assert_close(found[0], torch.stack(pairs).mean(), rtol=1e-9, atol=0)


def test_spread_with_weights_counts_only_different_samples(generator):
    y = list(torch.randn(4, 1, 3, generator=generator, dtype=torch.float64))
    doubled = Spread.of(y)(torch.tensor([[2.0, 1.0, 1.0, 0.0]], dtype=torch.float64))
    chosen = [0, 0, 1, 2]
    pairs = [(y[i] - y[j]).square().mean() for i in chosen for j in chosen if i != j]
    torch.testing.assert_close(doubled[0], torch.stack(pairs).mean(), rtol=1e-9, atol=0)
    assert Spread.of(y)(torch.tensor([[4.0, 0.0, 0.0, 0.0]], dtype=torch.float64)).isnan()


def test_spread_compares_rows_where_samples_differ_in_size(generator):
    y = [torch.randn(k, 3, generator=generator, dtype=torch.float64) for k in (2, 5, 3)]
    pairs = [(y[i][:, None] - y[j][None]).square().mean() for i in range(3) for j in range(3) if i != j]
    found = Spread.of(y)(torch.ones(1, 3, dtype=torch.float64))
    torch.testing.assert_close(found[0], torch.stack(pairs).mean(), rtol=1e-9, atol=0)


def test_per_sample_ratios_mislead_where_the_global_ratio_does_not(generator):
    """Why the headline is a ratio of sums: outputs over three decades with one constant absolute error."""
    size = torch.logspace(0, -3, 100, dtype=torch.float64)
    error = torch.full_like(size, 3e-4)
    assert (error / size).mean() > 20 * (error.square().sum() / size.square().sum()).sqrt()


def test_rms_is_over_entries():
    torch.testing.assert_close(rms(torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]])), torch.tensor([math.sqrt(12.5), 0.0]))


def test_rule_of_three_counts_samples():
    assert "3/300 = 1 %" in rule_of_three(300)
    assert "too few" in rule_of_three(9)


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]), ([0.5], [0.5]), ([], []), ([0.9, 0.8], [1.0, 1.0])],
)
def test_holm(p, adjusted):
    assert holm(p) == pytest.approx(adjusted)
