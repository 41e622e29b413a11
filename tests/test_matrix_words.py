import numpy as np
import pytest

from rnn.details import matrix_detail
from rnn.measuring.measures import MEASURES
from rnn.pages.matrix_words import measure_rows, number, row_words, sentences
from spectra.gallery import grcar


def said(A, **options):
    return " ".join(sentences(matrix_detail("A", np.asarray(A, dtype=float), epsilon=0.1, **options)))


def test_a_stable_normal_matrix():
    text = said(0.5 * np.eye(4))
    assert "No eigenvalue is outside the unit circle: the largest modulus is 0.5." in text
    assert "A perturbation of norm 0.5, 100 % of the norm of the matrix, can bring an eigenvalue to" in text
    assert "from 0.5 to 0.6, no farther than with a normal matrix" in text
    assert "No state grows at any step that was looked at: ‖A^k‖ never exceeds its first value, 1." in text
    assert "The matrix is normal, as far as can be told (relative Henrici departure 0 on a scale" in text
    assert "The singular values, 4 in number, are too few" in text


def test_a_stable_matrix_that_is_not_normal_has_the_numbers_of_its_measures():
    detail = matrix_detail("A", grcar(20) / 3, epsilon=0.1)
    values, text = detail.values, " ".join(sentences(detail))
    distance, norm = values["distance_to_instability"], values["spectral_norm"]
    assert f"norm {distance:.3g}, {100 * distance / norm:.3g} % of the norm" in text
    times = (values["pseudospectral_radius"] - values["spectral_radius"]) / 0.1
    assert f"{times:.3g} times as far as with a normal matrix" in text
    assert (
        f"can grow to {detail.growth.peak:.4g} times its size (at step {detail.growth.peak_time:.4g})" in text
    )
    assert f"at most {detail.growth.peak_upper:.4g} times" in text
    assert "The matrix is non-normal" in text
    assert f"eigenvector condition number {values['eigenvector_condition_number']:.3g}" in text


def test_an_unstable_matrix_counts_the_eigenvalues_outside():
    text = said(np.diag([1.5, -1.2, 0.3]))
    assert "2 of 3 eigenvalues lie outside the unit circle, the largest modulus being 1.5." in text
    assert "grow without end, in the long run 1.5 times a step" in text
    assert "can bring an eigenvalue to" not in text
    assert "1 of 2 eigenvalues lies outside" in said(np.diag([2.0, 0.1]))


def test_a_rotation_is_at_the_limit_of_stability_whatever_the_rounding():
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((9, 9)))[0]
    text = said(Q)
    assert "is on the unit circle, the limit of stability" in text
    assert "without end" not in text
    assert "No state grows" in text


def test_continuous_time_speaks_of_the_imaginary_axis():
    text = said(np.diag([-1.0, -2.0]), dynamics="continuous")
    assert "No eigenvalue is right of the imaginary axis: the largest real part is -1." in text
    assert (
        "A perturbation of norm 1, 50 % of the norm of the matrix, can bring an eigenvalue to the imag"
        in text
    )
    assert "‖exp(tA)‖ never exceeds" in text
    assert "circle" not in text
    grows = said(np.diag([0.5, -2.0]), dynamics="continuous")
    assert "1 of 2 eigenvalues lies right of the imaginary axis" in grows
    assert f"in the long run {np.exp(0.5):.4g} times in a unit of time" in grows


def test_singular_values_are_compared_with_noise():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((64, 64)) / 8
    u, v = (x / np.linalg.norm(x) for x in rng.standard_normal((2, 64)))
    assert "None of its 64 singular values lies above" in said(noise)
    assert "are spread like those of independent random numbers" in said(noise)
    assert "One of its 64 singular values lies above" in said(noise + 5 * np.outer(u, v))
    assert "The others are not spread like" in said(noise**3)
    assert "At least half of the singular values are 0" in said(np.diag([1.0, *np.zeros(40)]))


def test_rectangular_and_quick_matrices_say_what_is_known():
    rectangular = said(np.random.default_rng(2).standard_normal((64, 40)))
    assert "eigenvalue" not in rectangular
    assert "of its 40 singular values" in rectangular
    quick = said(grcar(20) / 3, quick=True)
    assert "No eigenvalue is outside" in quick
    assert "ε" not in quick
    unstable = said(np.diag([2.0, 0.5]), quick=True)
    assert "The largest modulus of an eigenvalue, 2, is outside the unit circle." in unstable


def test_measures_come_with_intervals_whose_ends_differ():
    detail = matrix_detail("A", grcar(12) / 3, epsilon=0.1)
    rows = measure_rows(detail)
    assert [label for label, _, _ in rows] == [m.label for m in MEASURES if m.name in detail.values]
    assert len(rows) == len(detail.values)
    intervals = {label: ends for label, _, ends in rows}
    assert intervals["spectral radius"] == "direct formula"
    low, high = map(float, intervals["pseudospectral radius"].split(" to "))
    assert low < high
    assert low == pytest.approx(detail.interval("pseudospectral_radius")[0], rel=1e-5)


def test_the_words_of_a_row():
    row = {"role": "recurrent", "rows": 4, "columns": 3, "gate": "n", "layer": 1, "direction": "reverse"}
    assert row_words(row) == "recurrent, 4 x 3, gate n, layer 1, reverse"
    assert row_words(row | {"gate": "", "layer": 0, "direction": "forward"}) == "recurrent, 4 x 3"


def test_numbers():
    assert [number(x) for x in (0.0, -1.23456, 1e-9, float("-inf"))] == ["0", "-1.235", "1e-09", "-∞"]
    assert number(float("nan")) == "\N{EN DASH}"
