"""Random fields of the phantom generators that are drawn on a coarse grid."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from datasets.phantoms.fields import broad_noise, enlarge, smooth_noise


def test_enlarge_keeps_corners_and_straight_lines() -> None:
    z, y = np.meshgrid(np.arange(3.0), np.arange(5.0), indexing="ij")
    fine = enlarge((2 * z - y).astype(np.float32), (9, 5))
    wanted = 2 * np.linspace(0, 2, 9)[:, None] - np.arange(5.0)
    assert fine.dtype == np.float32
    np.testing.assert_allclose(fine, wanted, atol=1e-5)


def test_enlarge_agrees_with_an_independent_interpolation() -> None:
    coarse = np.random.default_rng(0).standard_normal((4, 6, 5)).astype(np.float32)
    wanted = ndimage.zoom(coarse, (11 / 4, 17 / 6, 2), order=1)
    np.testing.assert_allclose(enlarge(coarse, (11, 17, 10)), wanted, atol=1e-5)


def test_broad_noise_is_smooth_noise_where_the_length_is_short() -> None:
    shape, sigma = (12, 20, 20), (1.0, 2.0, 2.2)
    broad = broad_noise(np.random.default_rng(1), shape, sigma)
    np.testing.assert_allclose(broad, smooth_noise(np.random.default_rng(1), shape, sigma))


def test_broad_noise_has_the_spread_and_correlation_length_asked_for() -> None:
    rng = np.random.default_rng(2)
    field = broad_noise(rng, (48, 64, 64), (3.0, 5.0, 4.0))
    assert field.shape == (48, 64, 64)
    assert 0.85 < field.std() < 1.1
    for axis, sigma in enumerate((3.0, 5.0, 4.0)):
        # White noise under a Gaussian filter has correlation exp(-d^2 / 4 sigma^2).
        lag = round(2 * sigma)
        near, far = np.split(field, [lag], axis)[1], np.delete(field, np.s_[-lag:], axis)
        assert abs(np.corrcoef(near.ravel(), far.ravel())[0, 1] - np.exp(-1)) < 0.15
