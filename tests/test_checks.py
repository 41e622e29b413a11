from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import spectra
from spectra import checks


class Ragged:
    """An object whose conversion to an array fails."""

    def __array__(self, *_, **__):
        raise ValueError("no array here")


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([[1, 2], [3, 4]], np.float64),
        (np.array([[1, 2], [3, 4]], dtype=np.uint8), np.float64),
        (np.array([[1, 2], [3, 4]], dtype=np.float16), np.float64),
        (np.array([[1, 2], [3, 4]], dtype=np.longdouble), np.float64),
        (np.array([[1, 2], [3, 4]], dtype=np.complex64), np.complex128),
        (np.array([[1, 2], [3, 4]], dtype=np.clongdouble), np.complex128),
        (np.array([[1, 2], [3, 4]], dtype=">f8"), np.float64),
        (np.array([[1.0, 3.0], [2.0, 4.0]]).T, np.float64),
        (np.array([[1.0, 9.0, 2.0], [3.0, 9.0, 4.0]])[:, ::2], np.float64),
        (np.asmatrix([[1.0, 2.0], [3.0, 4.0]]), np.float64),
        (np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]]), np.float64),
    ],
)
def test_a_matrix_comes_out_in_64_bit_c_order_and_owned(value, dtype):
    for gate in (checks.square_matrix, checks.any_matrix):
        found = gate(value)
        assert type(found) is np.ndarray
        assert found.dtype == dtype
        assert found.dtype.isnative
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert not np.shares_memory(found, value)
        assert found.tolist() == [[1, 2], [3, 4]]


def test_a_rectangular_matrix_passes_the_other_gate_only():
    assert checks.any_matrix(np.ones((2, 3))).shape == (2, 3)
    with pytest.raises(ValueError, match=r"^W has shape \(2, 3\); expected a square matrix"):
        checks.square_matrix(np.ones((2, 3)), "W")


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (None, TypeError, "dtype object"),
        ("[[1.0]]", TypeError, "dtype <U7"),
        (b"1", TypeError, "dtype"),
        ([["1"]], TypeError, "dtype <U1"),
        ([[None]], TypeError, "dtype object"),
        ([[Fraction(1, 2)]], TypeError, "dtype object"),
        ([[10**400]], TypeError, "dtype object"),
        ([[True]], TypeError, "dtype bool"),
        (np.array([["2020-01-01"]], dtype="datetime64[D]"), TypeError, "dtype datetime64"),
        (np.zeros((2, 2), dtype=[("a", float)]), TypeError, "dtype"),
        ([[1.0, 2.0], [3.0]], TypeError, "no array of numbers"),
        (Ragged(), TypeError, "no array here"),
        (scipy.sparse.eye(3), TypeError, r"sparse matrix; pass a dense array: A\.toarray"),
        (scipy.sparse.eye_array(3), TypeError, "sparse"),
        (np.ma.masked_array([[1.0]], mask=[[True]]), TypeError, r"masked entries; .* A\.filled"),
        ({"a": 1}, TypeError, "dtype object"),
        (object(), TypeError, "dtype object"),
        ([], ValueError, r"empty \(shape \(0,\)\)"),
        (np.zeros((0, 3)), ValueError, "empty"),
        ([[1.0, np.nan]], ValueError, r"NaN or infinite entry at \(0, 1\)"),
        ([[1.0], [-np.inf]], ValueError, r"NaN or infinite entry at \(1, 0\)"),
        ([[complex(0, np.nan)]], ValueError, r"NaN or infinite entry at \(0, 0\)"),
        (np.array([["1e400"]], dtype=np.longdouble), ValueError, "NaN or infinite"),
        (3.0, ValueError, r"shape \(\); expected two dimensions"),
        ([1.0, 2.0], ValueError, r"shape \(2,\); expected two dimensions"),
        (np.ones((2, 2, 2)), ValueError, "two dimensions"),
    ],
)
def test_what_is_no_matrix_is_refused_with_a_reason(value, error, words):
    with pytest.raises(error, match=rf"^A .*{words}"):
        checks.any_matrix(value)


def test_a_torch_tensor_is_told_how_to_become_an_array():
    torch = pytest.importorskip("torch")
    for tensor in (torch.eye(2), torch.nn.Parameter(torch.eye(2))):
        with pytest.raises(TypeError, match=r"pass W\.detach\(\)\.cpu\(\)\.numpy\(\)"):
            checks.square_matrix(tensor, "W")


NO_NUMBERS = [True, np.True_, "1", b"1", None, [1.0], np.ones(1), np.array(1.0), object()]


@pytest.mark.parametrize("gate", [checks.real_number, checks.non_negative, checks.positive])
def test_real_gates(gate):
    for value in (2, 2.0, np.float16(2), np.int8(2), np.uint64(2), np.longdouble(2), Fraction(4, 2)):
        found = gate(value, "t")
        assert found == 2.0
        assert type(found) is float
    for value in (*NO_NUMBERS, 1j, np.complex64(1), np.timedelta64(1, "s")):
        with pytest.raises(TypeError, match=r"^t is .*; expected a real number"):
            gate(value, "t")
    for value in (
        np.nan,
        np.inf,
        -np.inf,
        np.float32("nan"),
        10**400,
        Fraction(10**400),
        np.longdouble("1e400"),
    ):
        with pytest.raises(ValueError, match=r"^t is .*; expected a finite number"):
            gate(value, "t")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_signs(value):
    assert checks.real_number(value, "t") == value
    for gate, allowed, wanted in (
        (checks.non_negative, value >= 0, ">= 0"),
        (checks.positive, value > 0, "> 0"),
    ):
        if allowed:
            assert gate(value, "t") == value
        else:
            with pytest.raises(ValueError, match=rf"^t is .*; expected a number {wanted}"):
                gate(value, "t")


def test_complex_gate():
    for value in (2, 2.0, 2 + 0j, np.complex64(2), np.float16(2), np.int8(2), Fraction(2)):
        found = checks.complex_number(value, "z")
        assert found == 2
        assert type(found) is complex
    for value in (*NO_NUMBERS, np.timedelta64(1, "s")):
        with pytest.raises(TypeError, match=r"^z is .*; expected a complex number"):
            checks.complex_number(value, "z")
    for value in (np.nan, complex(0, np.inf), np.complex64(complex(np.nan, 0)), 10**400, Fraction(10**400)):
        with pytest.raises(ValueError, match=r"^z is .*; expected a finite number"):
            checks.complex_number(value, "z")


def test_whole_number_gate():
    for value in (3, np.int8(3), np.uint64(3)):
        found = checks.whole_number(value, "n")
        assert found == 3
        assert type(found) is int
    assert checks.whole_number(0, "n", least=0) == 0
    for value in (*NO_NUMBERS, 3.0, np.float64(3), Fraction(3), np.timedelta64(3, "s")):
        with pytest.raises(TypeError, match=r"^n is .*; expected a whole number"):
            checks.whole_number(value, "n")
    with pytest.raises(ValueError, match=r"^n is 1; expected at least 2"):
        checks.whole_number(1, "n", least=2)


def test_levels_come_out_sorted_and_distinct():
    for value in ([1e-1, 1e-3, 1e-1], (0.1, 0.001), {0.1, 0.001}, np.array([0.1, 0.001]), iter([0.1, 0.001])):
        found = checks.levels(value)
        assert found.dtype == np.float64
        assert found.tolist() == [0.001, 0.1]


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0.1, TypeError, "expected a sequence of positive numbers"),
        ("0.1", TypeError, "expected a sequence"),
        (None, TypeError, "expected a sequence"),
        (["0.1"], TypeError, "expected a real number"),
        ([[0.1]], TypeError, "expected a real number"),
        ([True], TypeError, "expected a real number"),
        ([], ValueError, "empty"),
        ([0.1, 0.0], ValueError, "expected a number > 0"),
        ([-0.1], ValueError, "expected a number > 0"),
        ([np.nan], ValueError, "finite"),
        ([np.inf], ValueError, "finite"),
    ],
)
def test_levels_refuse(value, error, words):
    with pytest.raises(error, match=rf"^epsilons .*{words}"):
        checks.levels(value)


def test_a_box_is_four_floats():
    for value in ((-1, 2, -3, 4), [-1.0, 2.0, -3.0, 4.0], np.array([-1, 2, -3, 4]), range(-1, 3)):
        found = checks.box(value)
        assert all(type(entry) is float for entry in found)
        assert found[0] < found[1]
    assert checks.box((-1, 2, -3, 4)) == (-1.0, 2.0, -3.0, 4.0)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, TypeError),
        (1.0, TypeError),
        ("abcd", TypeError),
        ((0, 1, 0, 1j), TypeError),
        ({-2, 1, -1, 2}, TypeError),
        ({-2: 0, 1: 0, -1: 0, 2: 0}, TypeError),
        ((0, 1, 0), ValueError),
        ((0, 1, 0, 1, 2), ValueError),
        ((1, 1, 0, 1), ValueError),
        ((0, 1, 2, 1), ValueError),
        ((0, 1, 0, np.inf), ValueError),
        ((0, np.nan, 0, 1), ValueError),
        ((-1.7e308, 1.7e308, 0, 1), ValueError),
    ],
)
def test_a_box_refuses(value, error):
    with pytest.raises(error, match=r"^region "):
        checks.box(value)


def test_grid_shape_gate():
    assert checks.grid_shape((20, np.int64(30))) == (20, 30)
    assert checks.grid_shape([2, 2]) == (2, 2)
    for value in (20, None, "ab", (20,), (20, 20, 20), (20, 2.5), (20, True), {20, 30}):
        with pytest.raises(TypeError, match=r"^shape "):
            checks.grid_shape(value)
    with pytest.raises(ValueError, match=r"^shape is 1; expected at least 2"):
        checks.grid_shape((1, 5))


def test_one_of_gate():
    assert checks.one_of("b", "mode", ("a", "b")) == "b"
    for value in ("c", None, 1, ["a"], np.array(["a", "b"])):
        with pytest.raises(ValueError, match=r"^mode is .*; expected one of 'a', 'b'"):
            checks.one_of(value, "mode", ("a", "b"))


def test_generator_gate():
    rng = np.random.default_rng(1)
    assert checks.generator(rng) is rng
    assert checks.generator(7).integers(1000) == checks.generator(np.int64(7)).integers(1000)
    for value in (None, True, -1, 1.0, "1", np.random.RandomState(1), [1]):
        with pytest.raises(TypeError, match=r"^rng is .*; expected a numpy.random.Generator or a seed >= 0"):
            checks.generator(value)


def test_whole_numbers_can_have_a_largest():
    assert checks.whole_number(5, "n", most=5) == 5
    with pytest.raises(ValueError, match="n is 6; expected at most 5"):
        checks.whole_number(6, "n", most=5)


def test_arrays_of_other_dimensions_are_no_sequences():
    for values in (np.array(0.1), np.array([[0.1, 0.2]])):
        with pytest.raises(TypeError, match="epsilons has shape"):
            checks.levels(values)
    with pytest.raises(TypeError, match="shape is array"):
        checks.grid_shape(np.array(5))


@pytest.mark.parametrize(
    "compute",
    [
        lambda: spectra.pseudospectrum(np.eye(2), progress=5),
        lambda: spectra.real_pseudospectrum(np.eye(2), progress=5),
        lambda: spectra.transient_growth(np.eye(2), 3, dynamics="discrete", progress=5),
        lambda: spectra.measures(np.eye(2), dynamics="discrete", progress=5),
    ],
)
def test_progress_must_be_a_function(compute):
    with pytest.raises(TypeError, match=r"progress is 5; expected a function of \(done, total\), or None"):
        compute()
