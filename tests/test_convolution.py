import naive
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, gaussian

import spectra.convolution
from spectra import AccuracyWarning, convolution_norm_bounds

PADDINGS = st.sampled_from(["circular", "zero"])


@st.composite
def layers(draw, most=3):
    """Kernel and shape, of one or two dimensions."""
    widths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
    shape = tuple(width + draw(st.integers(0, 4)) for width in widths)
    out, into = draw(st.integers(1, most)), draw(st.integers(1, most))
    entries = gaussian(out, into * int(np.prod(widths)), is_complex=draw(st.booleans()), seed=draw(SEEDS))
    return entries.reshape(out, into, *widths), shape


def torch_matrix(kernel, shape, padding, stride):
    into, d = kernel.shape[1], len(shape)
    images = torch.eye(into * int(np.prod(shape)), dtype=torch.float64).reshape(-1, into, *shape)
    pads = [width for k in kernel.shape[:1:-1] for width in ((k - 1) // 2, k - 1 - (k - 1) // 2)]
    images = torch.nn.functional.pad(images, pads, mode="circular" if padding == "circular" else "constant")
    layer = torch.nn.functional.conv1d if d == 1 else torch.nn.functional.conv2d
    return layer(images, torch.from_numpy(kernel), stride=stride).flatten(1).numpy().T


def check(C, found, rtol=1e-6):
    norm = naive.spectral_norm(C)
    assert found.lower <= norm * (1 + 1e-13)
    assert found.upper >= norm * (1 - 1e-13)
    assert found.lower <= found.value <= found.upper <= found.lower * (1 + rtol)
    assert np.linalg.norm(found.points) == pytest.approx(1.0, rel=1e-13)
    assert np.linalg.norm(C @ found.points) == pytest.approx(found.value, rel=1e-12)
    left = C.conj().T @ (C @ found.points) - found.value**2 * found.points
    assert np.linalg.norm(left) / found.value == pytest.approx(found.residual, abs=1e-12 * norm)


@given(layers(), PADDINGS, st.integers(1, 3))
def test_the_interval_holds_the_norm_of_the_definition(layer, padding, stride):
    kernel, shape = layer
    found = convolution_norm_bounds(kernel, shape=shape, padding=padding, stride=stride)
    check(naive.convolution_matrix(kernel, shape, padding, stride), found)
    if padding == "circular" and not any(n % stride for n in shape):
        assert found.steps == 0
        assert found.residual <= 1e-12 * found.value


@pytest.mark.slow
@settings(max_examples=1000)
@given(layers(most=5), PADDINGS, st.integers(1, 4))
def test_the_interval_holds_the_norm_of_many(layer, padding, stride):
    kernel, shape = layer
    C = naive.convolution_matrix(kernel, shape, padding, stride)
    check(C, convolution_norm_bounds(kernel, shape=shape, padding=padding, stride=stride))
    proven = convolution_norm_bounds(kernel, shape=shape, padding=padding, stride=stride, delta=0)
    assert proven.upper >= naive.spectral_norm(C)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["circular", "zero"])
@pytest.mark.parametrize(
    ("kernel", "shape"), [((3, 2, 3, 5), (6, 7)), ((2, 3, 4, 3), (9, 5)), ((2, 3, 4), (12,))]
)
def test_the_layer_is_that_of_torch(kernel, shape, padding, stride):
    K = np.random.default_rng(1).standard_normal(kernel)
    C = torch_matrix(K, shape, padding, stride)
    assert np.allclose(C, naive.convolution_matrix(K, shape, padding, stride), rtol=0, atol=1e-13)
    check(C, convolution_norm_bounds(K, shape=shape, padding=padding, stride=stride))


@pytest.mark.parametrize("n", [8, 9, 50])
def test_differences_have_their_closed_forms(n):
    circle = convolution_norm_bounds([[[1.0, -1.0]]], shape=(n,), padding="circular")
    assert circle.value == pytest.approx(2 * np.sin(np.pi * (n // 2) / n), rel=1e-13)
    second = convolution_norm_bounds([[[1.0, -2.0, 1.0]]], shape=(n,), padding="zero", rtol=1e-9)
    assert second.lower <= 4 * np.cos(np.pi / (2 * n + 2)) ** 2 <= second.upper
    plane = convolution_norm_bounds(
        [[[[0, 1.0, 0], [1, -4, 1], [0, 1, 0]]]], shape=(n, n), padding="zero", rtol=1e-5
    )
    assert plane.lower <= 8 * np.cos(np.pi / (2 * n + 2)) ** 2 <= plane.upper


def test_a_kernel_of_one_entry_is_its_matrix():
    A = gaussian(4, 3, is_complex=True, seed=2)
    for padding in ("circular", "zero"):
        for stride in (1, 2):
            found = convolution_norm_bounds(A[:, :, None, None], shape=(4, 6), padding=padding, stride=stride)
            assert found.value == pytest.approx(naive.spectral_norm(A), rel=1e-6)


@given(layers(), PADDINGS)
def test_scaling_adjoint_and_the_bound_by_the_circle(layer, padding):
    kernel, shape = layer
    found = convolution_norm_bounds(kernel, shape=shape, padding=padding)
    scaled = convolution_norm_bounds(-4 * kernel, shape=shape, padding=padding)
    assert scaled.value == pytest.approx(4 * found.value, rel=1e-13)
    odd = all(width % 2 for width in kernel.shape[2:])
    adjoint = np.flip(kernel, axis=tuple(range(2, kernel.ndim))).swapaxes(0, 1).conj()
    other = convolution_norm_bounds(adjoint, shape=shape, padding=padding)
    if odd or padding == "circular":
        assert other.lower <= found.upper
        assert found.lower <= other.upper
    if padding == "zero":  # a part of a larger circle, and of any image that contains it
        larger = tuple(n + k - 1 for n, k in zip(shape, kernel.shape[2:], strict=True))
        assert found.lower <= convolution_norm_bounds(kernel, shape=larger, padding="circular").upper
        assert found.lower <= convolution_norm_bounds(kernel, shape=larger, padding="zero").upper


@given(layers())
def test_with_delta_zero_the_upper_end_is_the_circular_norm(layer):
    kernel, shape = layer
    found = convolution_norm_bounds(kernel, shape=shape, padding="zero", delta=0)
    torus = tuple(n + k - 1 for n, k in zip(shape, kernel.shape[2:], strict=True))
    circular = naive.spectral_norm(naive.convolution_matrix(kernel, torus, "circular"))
    assert found.upper == pytest.approx(circular, rel=1e-12)
    assert found.upper >= circular * (1 - 1e-14)


def test_frequencies_in_chunks_give_the_same(monkeypatch):
    kernel = gaussian(3, 18, is_complex=False, seed=2).reshape(3, 2, 3, 3)
    whole = convolution_norm_bounds(kernel, shape=(8, 6), padding="circular", stride=2)
    monkeypatch.setattr(spectra.convolution, "_CHUNK", 50)
    assert convolution_norm_bounds(kernel, shape=(8, 6), padding="circular", stride=2).value == whole.value


@pytest.mark.parametrize("size", [1e300, 1e-300])
@pytest.mark.parametrize("padding", ["circular", "zero"])
def test_extreme_scales_need_no_warning(size, padding):
    kernel = gaussian(3, 18, is_complex=False, seed=2).reshape(3, 2, 3, 3)
    plain = convolution_norm_bounds(kernel, shape=(5, 5), padding=padding)
    found = convolution_norm_bounds(kernel * size, shape=(5, 5), padding=padding)
    assert found.value == pytest.approx(size * plain.value, rel=1e-12)
    assert found.lower <= size * plain.value * (1 + 1e-15)


def test_a_kernel_of_zeros_has_norm_zero():
    for padding in ("circular", "zero"):
        found = convolution_norm_bounds(np.zeros((2, 1, 3)), shape=(4,), padding=padding)
        assert (found.value, found.lower, found.upper) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("padding", ["circular", "zero"])
def test_a_stride_beyond_the_image_leaves_one_output(padding):
    kernel = gaussian(6, 9, is_complex=False, seed=0).reshape(2, 3, 3, 3)
    found = convolution_norm_bounds(kernel, shape=(4, 5), padding=padding, stride=10**18)
    check(naive.convolution_matrix(kernel, (4, 5), padding, 5), found)


def test_an_interval_that_stays_wide_is_announced():
    with pytest.warns(AccuracyWarning, match="after 300 steps"):
        found = convolution_norm_bounds([[[1.0, -2.0, 1.0]]], shape=(3000,), padding="zero", rtol=1e-9)
    assert found.lower <= 4 * np.cos(np.pi / 6002) ** 2 <= found.upper


GOOD = {"shape": (5, 5), "padding": "zero"}


@pytest.mark.parametrize(
    ("kernel", "options", "error", "words"),
    [
        (np.ones((2, 3)), {}, ValueError, "^kernel has shape"),
        (np.ones((2, 3, 0, 3)), {}, ValueError, "^kernel is empty"),
        (np.full((1, 1, 1, 1), np.nan), {}, ValueError, "^kernel has a NaN"),
        (torch.ones(1, 1, 3, 3), {}, TypeError, "^kernel is a torch tensor"),
        (np.ones((1, 1, 3, 3)), {"shape": (5,)}, ValueError, r"^shape is \(5,\); expected 2 numbers"),
        (np.ones((1, 1, 3, 3)), {"shape": 5}, TypeError, "^shape is 5; expected a tuple"),
        (np.ones((1, 1, 3, 3)), {"shape": "55"}, TypeError, "^shape is '55'"),
        (np.ones((1, 1, 3, 3)), {"shape": (5, 0)}, ValueError, "^shape is 0"),
        (np.ones((1, 1, 3, 3)), {"shape": (5, 2.5)}, TypeError, "^shape is 2.5"),
        (np.ones((1, 1, 3, 3)), {"shape": (5, 2), "padding": "circular"}, ValueError, "^shape is .*wraps"),
        (np.ones((1, 1, 3, 3)), {"padding": "same"}, ValueError, "^padding is 'same'"),
        (np.ones((1, 1, 3, 3)), {"stride": 0}, ValueError, "^stride is 0"),
        (np.ones((1, 1, 3, 3)), {"rtol": -1.0}, ValueError, "^rtol is -1"),
        (
            np.ones((1, 1, 3, 3)),
            {"shape": (10**9, 10**9)},
            ValueError,
            "^A convolution on images of 1 x .* GiB",
        ),
        (np.ones((1, 1, 3, 3)), {"delta": 2}, ValueError, "^delta is 2"),
        (np.ones((1, 1, 3, 3)), {"rng": "0"}, TypeError, "^rng is '0'"),
    ],
)
def test_refusals_name_the_argument(kernel, options, error, words):
    with pytest.raises(error, match=words):
        convolution_norm_bounds(kernel, **(GOOD | options))
