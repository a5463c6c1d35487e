"""One definition of the fraction of variance unexplained, whatever the batches."""

import pytest
import torch

from vlascope_sae.evaluation.variance import Variance, fraction_unexplained


def test_fvu_is_the_error_over_the_variance_of_the_whole_set():
    x = torch.randn(500, 7) * torch.arange(1.0, 8) + 100
    x_hat = x + 0.3 * torch.randn(500, 7)
    truth = (x - x_hat).double().square().sum() / (x - x.mean(0)).double().square().sum()
    assert fraction_unexplained(x, x_hat) == pytest.approx(float(truth), rel=1e-5)
    assert fraction_unexplained(x, x) == 0
    assert fraction_unexplained(x, x.mean(0).expand_as(x)) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("cut", [1, 3, 64, 500])
def test_fvu_does_not_depend_on_how_rows_are_cut(cut):
    """Batches that differ in mean: an average of the batches' own FVU would be far off."""
    x = torch.randn(500, 4) + torch.arange(500.0)[:, None]
    x_hat = x + torch.randn(500, 4)
    variance = Variance()
    for rows, rebuilt in zip(x.split(cut), x_hat.split(cut), strict=True):
        variance.add(rows, rebuilt)
    assert variance.fvu == pytest.approx(fraction_unexplained(x, x_hat), rel=1e-12)
    assert torch.allclose(variance.mean, x.double().mean(0))
    assert variance.rows == 500
    assert variance.explained == 1 - variance.fvu


def test_a_large_common_offset_does_not_cost_precision():
    x = torch.randn(1000, 4, dtype=torch.float64)
    x_hat = x + 0.1 * torch.randn(1000, 4, dtype=torch.float64)
    near, far = fraction_unexplained(x, x_hat), fraction_unexplained(x + 1e7, x_hat + 1e7)
    assert far == pytest.approx(near, rel=1e-6)


def test_equal_rows_and_no_rows_have_no_variance_to_explain():
    with pytest.raises(ValueError, match="all 9 rows are equal"):
        fraction_unexplained(torch.ones(9, 3), torch.zeros(9, 3))
    with pytest.raises(ValueError, match="no rows"):
        _ = Variance().fvu
    with pytest.raises(ValueError, match="against"):
        Variance().add(torch.ones(2, 3), torch.ones(2, 1))
