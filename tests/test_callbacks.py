"""Measuring changes nothing of a training, takes no more than its share, and survives what goes wrong."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rnn.measuring.measured_matrix import FUNCTIONS, MeasuredMatrix
from rnn.watching import callbacks, tracked_matrices
from rnn.watching.callbacks import DEFAULT_MEASURES, SpectralCallback
from rnn.watching.time_budget import TimeBudget
from rnn.watching.training_measures import TrainingMeasures
from rnn.weights import named_matrices
from spectra.errors import ConvergenceError, UnsupportedModelError
from spectra.overview import measures

ALWAYS = 1e12  # a share that affords everything


class Clock:
    """Seconds that pass only when told, with a ledger of its own."""

    def __init__(self) -> None:
        self.now = self.trained = self.spent = 0.0

    def __call__(self) -> float:
        return self.now

    def train(self, seconds: float) -> None:
        self.now += seconds
        self.trained += seconds

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.spent += seconds


class Slow(nn.Module):
    """Two recurrent layers of one unit."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, 1, num_layers=layers)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def costs(clock, monkeypatch):
    """Costs of spectral_norm, one after the other; the last one stays."""
    wanted = [1.0]

    def slow(_: MeasuredMatrix) -> float:
        clock.work(wanted.pop(0) if len(wanted) > 1 else wanted[0])
        return 0.5

    monkeypatch.setitem(FUNCTIONS, "spectral_norm", slow)
    return wanted


def slow_callback(clock: Clock, *, layers: int = 2, **options) -> SpectralCallback:
    callback = SpectralCallback(Slow(layers), measures=["spectral_norm"], clock=clock, **options)
    clock.spent = 0.0  # trials before the training are not counted
    return callback


def trained(callback: SpectralCallback | None, model: nn.Module, *, steps: int = 12) -> None:
    x = torch.randn(steps, 7, 3, 2, generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for batch in x:
        optimiser.zero_grad()
        out, _ = model(batch)
        (out - 1).square().mean().backward()
        optimiser.step()
        if callback is not None:
            callback()


# What is measured


def test_values_are_the_measures_of_the_weights_at_that_step() -> None:
    model = nn.GRU(2, 5)
    seen = []
    callback = SpectralCallback(
        model, every=3, share=ALWAYS, at_start=True, to=lambda step, _: seen.append((step, snapshot(model)))
    )
    assert [step for step, _ in seen] == [0]
    trained(callback, model, steps=10)
    record = callback.record
    assert [step for step, _ in seen] == list(record.steps) == [0, 3, 6, 9]
    assert list(record.matrices) == [f"weight_hh_l0[{gate}]" for gate in "rzn"]
    assert tuple(record.measures) == DEFAULT_MEASURES
    for (_, weights), values in zip(seen, record.values, strict=True):
        for W, row in zip(np.split(weights, 3), values, strict=True):
            found = measures(W, dynamics="discrete")
            np.testing.assert_array_equal(row, [found[name] for name in DEFAULT_MEASURES])
    assert len(np.unique(record.values[:, 0, 0])) == 4


def snapshot(model: nn.Module) -> np.ndarray:
    return model.weight_hh_l0.detach().double().numpy().copy()


@pytest.mark.parametrize("dynamics", ["discrete", "continuous"])
def test_every_name_is_the_measure_of_that_name(dynamics: str) -> None:
    W = np.random.default_rng(0).standard_normal((6, 6)) / 4 - np.eye(6) / 2
    found = measures(W, dynamics=dynamics, epsilon=0.03)
    ours = MeasuredMatrix(W, epsilon=0.03, dynamics=dynamics)
    assert set(FUNCTIONS) == set(found)
    for name in FUNCTIONS:
        assert ours.measure(name) == pytest.approx(found[name], rel=1e-12), name


def test_options_reach_the_measures() -> None:
    model = nn.RNN(1, 4)
    names = ["pseudospectral_radius", "kreiss_constant"]
    callback = SpectralCallback(model, measures=names, epsilon=0.3, dynamics="continuous", at_start=True)
    found = measures(snapshot(model), dynamics="continuous", epsilon=0.3)
    np.testing.assert_array_equal(callback.record.values[0, 0], [found[name] for name in names])


def test_square_linear_matrices_by_choice_and_wrappers_off() -> None:
    model = nn.ModuleDict({"module": nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2), nn.RNN(2, 2))})
    callback = SpectralCallback(model, matrices=["2.weight_hh_l0", "0.weight"], at_start=True)
    assert list(callback.record.matrices) == ["2.weight_hh_l0", "0.weight"]
    norm = np.linalg.norm(model["module"][0].weight.detach().double().numpy(), 2)
    assert callback.record.values[0, 1, 1] == pytest.approx(norm, rel=1e-14)


@pytest.mark.parametrize(
    "model", [nn.GRU(2, 4), nn.LSTM(2, 4, proj_size=3), nn.RNN(2, 4, 2, bidirectional=True)], ids=repr
)
def test_only_the_tensors_that_are_needed_are_read(model: nn.Module, monkeypatch) -> None:
    callback = SpectralCallback(model, share=ALWAYS, every=1)
    read = []

    def watched(source: object) -> object:
        read.append(set(source))
        return named_matrices(source)

    monkeypatch.setattr(tracked_matrices, "named_matrices", watched)
    callback()
    assert read == [{key for key in dict(model.named_parameters()) if "weight_h" in key}]
    recurrent = [m for m in named_matrices(model) if m.role == "recurrent"]
    assert list(callback.record.matrices) == [m.name for m in recurrent]
    np.testing.assert_allclose(
        callback.record.values[0, :, 1], [np.linalg.norm(m.matrix, 2) for m in recurrent], rtol=1e-13
    )


def test_computed_weights_are_read_as_they_act() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)))
    callback = SpectralCallback(model, matrices=["0.weight"], share=ALWAYS, every=1)
    with torch.no_grad():
        model[0].parametrizations.weight.original0.mul_(2)
    callback()
    norm = np.linalg.norm(model[0].weight.detach().double().numpy(), 2)
    assert callback.record.values[0, 0, 1] == pytest.approx(norm, rel=1e-6)


# Nothing changes


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_the_training_is_the_same_to_the_last_bit(kind: type[nn.Module]) -> None:
    def run(*, measured: bool) -> tuple[nn.Module, list[object]]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            np.random.seed(0)  # noqa: NPY002
            random.seed(0)
            model = kind(2, 4, num_layers=2, dropout=0.5)
            options = {"measures": list(FUNCTIONS), "every": 2, "share": ALWAYS, "at_start": True}
            callback = SpectralCallback(model, to=lambda *_: None, **options) if measured else None
            trained(callback, model, steps=6)
            assert callback is None or len(callback.record.steps) == 4
            states = [torch.get_rng_state(), np.random.get_state()[1], random.getstate()]  # noqa: NPY002
            return model, states

    state = np.random.get_state(), random.getstate()  # noqa: NPY002
    (one, states), (other, other_states) = run(measured=False), run(measured=True)
    np.random.set_state(state[0])  # noqa: NPY002
    random.setstate(state[1])
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
        assert torch.equal(one.get_parameter(key).grad, other.get_parameter(key).grad)
    assert torch.equal(states[0], other_states[0])
    np.testing.assert_array_equal(states[1], other_states[1])
    assert states[2] == other_states[2]
    assert other.training
    assert all(parameter.requires_grad for parameter in other.parameters())
    assert not other._forward_hooks
    assert not other._state_dict_hooks


# The budget


def test_constant_costs_never_exceed_the_share(clock, costs) -> None:
    callback = slow_callback(clock, every=3, share=0.05)
    callback()
    for _ in range(2000):
        clock.train(0.7)
        callback()
        assert clock.spent <= 0.05 * clock.trained + 1e-9
    record = callback.record
    assert (record.training_seconds, record.measuring_seconds) == pytest.approx((clock.trained, clock.spent))
    assert record.actual_share == pytest.approx(0.05, rel=0.05)
    assert record.measuring_seconds == 2 * len(record.steps)
    assert not np.isnan(record.values).any()


def test_a_due_measurement_waits_until_it_is_earned(clock, costs) -> None:
    """Two seconds each at a share of one tenth are earned every 20 seconds; due are 5, 10, 15, ..."""
    callback = slow_callback(clock, every=5, share=0.1)
    callback()  # from here on the clock counts
    for _ in range(47):
        clock.train(1.0)
        callback()
    record = callback.record
    assert list(record.steps) == [21, 41]  # after 20 and 40 seconds of training
    assert (record.due, record.put_off) == (9, 9)
    assert list(record.seconds) == [20.0, 42.0]


def test_what_is_affordable_is_not_put_off(clock, costs) -> None:
    callback = slow_callback(clock, every=25, share=0.1)
    for _ in range(101):
        clock.train(1.0)
        callback()
    assert list(callback.record.steps) == [25, 50, 75, 100]
    assert (callback.record.due, callback.record.put_off) == (4, 0)


def test_an_expensive_surprise_is_paid_back_before_anything_else(clock, costs) -> None:
    callback = slow_callback(clock, layers=1, every=1, share=0.1)
    costs[:] = [50.0, 1.0]
    callback()
    for _ in range(600):
        clock.train(1.0)
        callback()
    steps = list(callback.record.steps)
    assert steps[0] == 11  # ten seconds earn the second that was predicted
    assert steps[1] == 1001 if len(steps) > 1 else True
    for _ in range(600):
        clock.train(1.0)
        callback()
    assert callback.record.steps[1] == 1001  # spent 50 and predicted 50 are earned in 1000 seconds
    assert clock.spent <= 0.1 * clock.trained


def test_the_rest_is_left_out_where_the_beginning_took_too_long(clock, costs) -> None:
    callback = slow_callback(clock, every=10, share=0.1)
    costs[:] = [5.0, 1.0]
    callback()
    for _ in range(20):
        clock.train(1.0)
        callback()
    record = callback.record
    assert list(record.steps) == [21]
    np.testing.assert_array_equal(record.values[0, :, 0], [0.5, np.nan])
    assert list(record.failures) == [
        "step 21: from rnn.weight_hh_l1, spectral_norm on: left out, no time left"
    ]
    assert clock.spent == 5


@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=40),
    st.lists(st.floats(0, 30), min_size=1, max_size=60),
    st.floats(0.01, 0.5),
    st.integers(1, 7),
)
def test_the_share_is_exceeded_by_one_piece_at_most(
    prices: list[float], durations: list[float], share: float, every: int
) -> None:
    clock, rest = Clock(), list(prices)

    def slow(_: MeasuredMatrix) -> float:
        clock.work(rest.pop(0) if rest else 1.0)
        return 0.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FUNCTIONS, "spectral_norm", slow)
        callback = slow_callback(clock, every=every, share=share)
        callback()
        for duration in durations:
            clock.train(duration)
            before = clock.spent
            afforded = share * clock.trained
            callback()
            if clock.spent > before:
                assert before <= afforded
                assert clock.spent <= afforded + max([1.0, *prices]) + 1e-9
            else:
                assert clock.spent == before


def test_the_first_prediction_grows_with_the_cube_of_the_order(clock, monkeypatch) -> None:
    orders = []

    def cubic(it: MeasuredMatrix) -> float:
        n = len(it.matrix)
        orders.append(n)
        clock.work((n / 128) ** 3)
        return 1.0

    monkeypatch.setitem(FUNCTIONS, "spectral_norm", cubic)
    model = nn.RNN(1, 256)
    callback = SpectralCallback(model, measures=["spectral_norm"], every=1, share=0.1, clock=clock)
    assert orders == [128, 128]
    callback()
    for _ in range(81):
        clock.train(1.0)
        callback()
    assert list(callback.record.steps) == [81]  # the 8 seconds that it takes, earned in 80
    assert callback.record.setup_seconds == 2.0
    assert callback.record.measuring_seconds == 8.0


def test_a_start_on_credit_is_paid_back(clock, costs) -> None:
    callback = slow_callback(clock, every=1, share=0.1, at_start=True)
    assert (list(callback.record.steps), callback.record.measuring_seconds) == ([0], 2.0)
    callback()
    for _ in range(40):
        clock.train(1.0)
        callback()
    assert list(callback.record.steps) == [0, 41]


def test_time_before_the_first_step_earns_nothing(clock, costs) -> None:
    callback = slow_callback(clock, every=1, share=0.5)
    clock.train(1e6)
    callback()
    assert len(callback.record.steps) == 0
    assert callback.record.training_seconds == 0


def test_handing_on_is_paid_for(clock, costs) -> None:
    callback = slow_callback(clock, every=1, share=0.1, to=lambda *_: clock.work(3.0))
    callback()
    for _ in range(200):
        clock.train(1.0)
        callback()
    assert callback.record.measuring_seconds == clock.spent == 5.0 * len(callback.record.steps)
    assert list(callback.record.steps) == [21, 101, 151, 201]  # after the first the three seconds are known


def test_by_the_real_clock_only_one_piece_goes_beyond_the_share(monkeypatch) -> None:
    model, pieces = nn.GRU(8, 24), []
    callback = SpectralCallback(model, every=1, share=0.05)
    counted = TimeBudget.piece_ended

    def watched(budget: TimeBudget, piece: object) -> None:
        before = budget.spent
        counted(budget, piece)
        pieces.append(budget.spent - before)

    monkeypatch.setattr(TimeBudget, "piece_ended", watched)
    optimiser, x = torch.optim.Adam(model.parameters()), torch.randn(30, 8, 8)
    for _ in range(2000):
        optimiser.zero_grad()
        model(x)[0].square().mean().backward()
        optimiser.step()
        callback()
        if len(callback.record.steps) == 4:
            break
    record = callback.record
    assert len(record.steps) == 4
    assert record.put_off > 0
    assert record.measuring_seconds == pytest.approx(sum(pieces))
    assert record.measuring_seconds <= 0.05 * record.training_seconds + 2 * max(pieces)


# What goes wrong


def test_a_training_that_diverges_goes_on_and_is_recorded() -> None:
    model = nn.GRU(2, 3)
    callback = SpectralCallback(model, every=1, share=ALWAYS)
    callback()
    with torch.no_grad():
        model.weight_hh_l0[4, 0] = math.nan
        model.weight_hh_l0[0, 0] = math.inf
    with pytest.warns(RuntimeWarning, match="the training goes on") as caught:
        callback()
    assert len(caught) == 1
    callback()  # a second warning would be an error
    callback()
    record = callback.record
    assert np.isfinite(record.values[0]).all()
    assert np.isnan(record.values[1:]).all()
    assert len(record.failures) == 9
    assert record.failures[0].startswith("step 2: weight_hh_l0[r]: not read: weight_hh_l0: 2 NaN or infinite")


def test_a_measure_that_fails_leaves_the_others(monkeypatch) -> None:
    model = nn.RNN(2, 3)
    callback = SpectralCallback(model, every=1, share=ALWAYS)

    def failing(_: MeasuredMatrix) -> float:
        raise ConvergenceError("did not settle\nat all")

    monkeypatch.setitem(FUNCTIONS, "spectral_norm", failing)
    with pytest.warns(RuntimeWarning, match="spectral_norm: ConvergenceError: did not settle;"):
        callback()
    np.testing.assert_array_equal(np.isnan(callback.record.values[0, 0]), [False, True, False])
    assert list(callback.record.failures) == [
        "step 1: weight_hh_l0, spectral_norm: ConvergenceError: did not settle"
    ]


def test_a_model_that_cannot_be_read_any_more_is_no_end() -> None:
    model = Slow()
    callback = SpectralCallback(model, every=1, share=ALWAYS)
    del model.rnn
    with pytest.warns(RuntimeWarning, match="not read: KeyError"):
        callback()
    assert np.isnan(callback.record.values).all()


def test_an_infinite_measure_is_kept() -> None:
    model = nn.RNN(1, 2)
    with torch.no_grad():
        model.weight_hh_l0.copy_(2 * torch.eye(2))
    callback = SpectralCallback(model, measures=["kreiss_constant"], at_start=True)
    assert callback.record.values[0, 0, 0] == math.inf
    assert len(callback.record.failures) == 0


# Where numbers go


class Writer:
    def __init__(self) -> None:
        self.written = []

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.written.append((tag, value, step))


def test_functions_get_all_numbers_and_writers_the_finite_ones() -> None:
    model = nn.RNN(1, 2)
    with torch.no_grad():
        model.weight_hh_l0.copy_(2 * torch.eye(2))
    writer, given_ = Writer(), []
    names = ["kreiss_constant", "spectral_norm"]
    SpectralCallback(
        model, measures=names, to=[lambda *args: given_.append(args), writer], at_start=True, first_step=70
    )
    assert given_ == [(70, {"weight_hh_l0/kreiss_constant": math.inf, "weight_hh_l0/spectral_norm": 2.0})]
    assert writer.written == [("spectra/weight_hh_l0/spectral_norm", 2.0, 70)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_holds_the_curves(tmp_path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = nn.GRU(2, 3)
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        callback = SpectralCallback(model, every=2, share=ALWAYS, to=writer)
        trained(callback, model, steps=6)
    events = EventAccumulator(str(tmp_path)).Reload()
    record = callback.record
    assert len(events.Tags()["scalars"]) == 9
    found = events.Scalars("spectra/weight_hh_l0[n]/spectral_radius")
    assert [event.step for event in found] == list(record.steps) == [2, 4, 6]
    np.testing.assert_allclose([event.value for event in found], record.values[:, 2, 0], rtol=1e-6)


def test_a_place_that_fails_stops_neither_training_nor_the_others() -> None:
    def full(step: int, _: dict[str, float]) -> None:
        raise OSError("no space left on device")

    seen, model = [], nn.RNN(1, 2)
    callback = SpectralCallback(model, every=1, share=ALWAYS, to=[full, lambda step, _: seen.append(step)])
    with pytest.warns(RuntimeWarning, match="handing on: OSError: no space left on device") as caught:
        callback()
    assert len(caught) == 1
    callback.step()
    assert seen == [1, 2]
    assert len(callback.record.failures) == 2
    assert np.isfinite(callback.record.values).all()


def test_a_place_cannot_change_what_others_get() -> None:
    seen = []
    SpectralCallback(
        nn.RNN(1, 2), at_start=True, to=[lambda _, numbers: numbers.clear(), lambda _, n: seen.append(len(n))]
    )
    assert seen == [3]


# The record


def test_table_text_and_file(tmp_path) -> None:
    model = nn.GRU(2, 3)
    callback = SpectralCallback(model, every=2, share=ALWAYS, first_step=10)
    assert len(callback.record.table) == 0
    trained(callback, model, steps=5)
    record = callback.record
    table = record.table
    assert list(table) == ["step", "seconds", "matrix", *DEFAULT_MEASURES]
    assert list(table["step"]) == [12, 12, 12, 14, 14, 14]
    np.testing.assert_array_equal(table[list(DEFAULT_MEASURES)], record.values.reshape(6, 3))
    assert str(record).startswith("3 measures of 3 matrices at 2 steps, 0 of 2 due put off, ")
    record.save(tmp_path / "training.npz")
    again = TrainingMeasures.load(tmp_path / "training.npz")
    assert str(again) == str(record)
    assert again.table.equals(table)
    assert "matrices" in record._repr_html_()


def test_a_record_of_nothing_can_be_saved(tmp_path) -> None:
    record = SpectralCallback(nn.RNN(1, 1)).record
    record.save(tmp_path / "empty.npz")
    assert TrainingMeasures.load(tmp_path / "empty.npz").values.shape == (0, 1, 3)
    assert record.actual_share == 0


def test_a_damaged_record_is_refused(tmp_path) -> None:
    record = SpectralCallback(nn.RNN(1, 1), at_start=True).record
    with open(tmp_path / "bad.npz", "wb") as file:
        fields = {name: getattr(record, name) for name in TrainingMeasures.__slots__}
        np.savez(file, record="TrainingMeasures", **fields | {"values": np.zeros((2, 1, 3))})
    with pytest.raises(ValueError, match="damaged"):
        TrainingMeasures.load(tmp_path / "bad.npz")


# Refusals


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"every": 0}, ValueError, "every is 0; expected at least 1"),
        ({"every": 1.5}, TypeError, "every is 1.5"),
        ({"share": 0}, ValueError, "share is 0"),
        ({"share": math.inf}, ValueError, "share is inf"),
        ({"measures": "spectral_norm"}, TypeError, r"expected several names: \['spectral_norm'\]"),
        (
            {"measures": ["spectral_norm", "norm"]},
            ValueError,
            "measures holds 'norm'; expected some of spectral",
        ),
        ({"measures": []}, ValueError, "measures is empty; expected some of"),
        ({"epsilon": 0}, ValueError, "epsilon is 0"),
        ({"dynamics": "both"}, ValueError, "dynamics is 'both'"),
        ({"first_step": -1}, ValueError, "first_step is -1"),
        ({"clock": 3}, TypeError, "clock is 3; expected a function"),
        ({"to": 3}, TypeError, "to is a int; expected a function of"),
        ({"to": [print, None]}, TypeError, "to is a NoneType"),
        ({"matrices": "weight_hh_l0"}, TypeError, r"expected several names: \['weight_hh_l0'\]"),
        ({"matrices": ["weight_ih_l0"]}, ValueError, "'weight_ih_l0'; expected some of weight_hh_l0"),
        ({"matrices": []}, ValueError, "matrices is empty; expected some of weight_hh_l0, or None"),
    ],
)
def test_refusals(options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SpectralCallback(nn.RNN(2, 3), **options)


def test_models_that_are_none_or_have_no_state_are_refused() -> None:
    with pytest.raises(TypeError, match=r"model is a dict; expected the torch.nn.Module"):
        SpectralCallback({"weight_hh": torch.eye(2)})
    with pytest.raises(UnsupportedModelError, match=r"no recurrent matrix; choose some .* from 0.weight$"):
        SpectralCallback(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3)))
    with pytest.raises(UnsupportedModelError, match="none: it has no square matrix"):
        SpectralCallback(nn.Linear(2, 3))
    broken = nn.RNN(2, 2)
    with torch.no_grad():
        broken.weight_hh_l0.fill_(math.nan)
    with pytest.raises(UnsupportedModelError, match=r"weight_hh_l0 \(not read: 4 NaN or infinite entries\)"):
        SpectralCallback(broken)


def test_the_module_has_no_state_of_its_own() -> None:
    """Two callbacks on one model do not know of each other."""
    model = nn.RNN(1, 2)
    one, other = (SpectralCallback(model, every=k, share=ALWAYS) for k in (1, 2))
    for _ in range(4):
        one()
        other()
    assert (list(one.record.steps), list(other.record.steps)) == ([1, 2, 3, 4], [2, 4])
    assert callbacks.DEFAULT_MEASURES is DEFAULT_MEASURES
