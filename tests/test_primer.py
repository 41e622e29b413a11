import numpy as np

from rnn.pages.primer import LEVELS, POINT, example_matrix, examples
from spectra.norms import resolvent_norm
from spectra.stability import distance_to_instability
from spectra.transients import transient_growth


def test_the_remarks_are_true():
    normal, other = example_matrix(coupling=0.0), example_matrix()
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(other).real), np.sort(np.diag(normal)))
    assert np.array_equal(normal @ normal.T, normal.T @ normal)
    assert abs(POINT) > 1
    assert 1 / resolvent_norm(other, POINT) < 0.1 < 1 / resolvent_norm(normal, POINT)
    assert 0.1 in LEVELS
    assert 1 / resolvent_norm(other, 1.0) < 0.1  # "beyond the unit circle on the right"


def test_the_captions_hold_the_numbers():
    normal, other = examples()
    assert normal.png != other.png
    assert "below 0.25 brings" in normal.caption
    A = example_matrix()
    assert f"norm {distance_to_instability(A, dynamics='discrete').value:.2g} brings" in other.caption
    assert f"to {transient_growth(A, 30, dynamics='discrete').peak:.2g} times" in other.caption
