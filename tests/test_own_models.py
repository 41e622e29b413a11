"""Models of somebody's own: rows, correlations and words, without training anything."""

import functools
import json
import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import rnn
from rnn.models import ModelConfig, build_model
from rnn.study.correlation_findings import interval, label
from rnn.study.evidence import study_statistics
from rnn.study.model_correlations import ModelCorrelations, model_correlations, plan_outcomes
from rnn.study.model_rows import REST, about
from rnn.study.network_rows import AttackPlan, network_row
from rnn.study.own_models import correlate
from rnn.tasks import load_task
from rnn.training import TrainingConfig, save_checkpoint, train

PLAN = AttackPlan(methods=("fgsm",), budgets=(("linf", (0.1, 0.3)),), minimal=(), trajectories=3)
FEW = ("spectral_radius", "spectral_norm", "jacobian_spectral_norm", "io_jacobian_norm")


@pytest.fixture(scope="module")
def data():
    random = torch.Generator().manual_seed(1)
    x = torch.rand(60, 4, 3, generator=random)
    return x, (x.mean((1, 2)) > 0.5).long()


def tiny(seed, cell="tanh"):
    return build_model(
        ModelConfig(cell, features=3, steps=4, hidden=3, classes=2, seed=seed, gain=0.5 + seed / 3)
    )


def made(seed):
    """For workers, which look it up by its name."""
    return tiny(seed)


class Picky(nn.Module):
    """Cannot be judged."""

    def forward(self, x):
        raise RuntimeError("not\ntoday")


@pytest.fixture(scope="module")
def models():
    return [tiny(seed) for seed in range(8)]


@pytest.fixture(scope="module")
def found(models, data):
    return correlate(models, *data, plan=PLAN, measures=FEW, bounds=(0, 1))


def test_the_rows_are_those_of_network_row(found, models, data):
    for seed in (0, 5):
        row = network_row(models[seed], *data, plan=PLAN, bounds=(0, 1)).values
        mine = found.rows.iloc[seed]
        assert {name: mine[name] for name in row} == row
        assert mine[["name", "group", "architecture", "parameters"]].tolist() == [
            f"model {seed}",
            "tanh",
            "tanh",
            32,
        ]


def test_the_table_is_that_of_the_statistics(found):
    rows = found.rows
    twin = study_statistics(
        rows, measures=FEW, outcomes=found.outcomes, blocks="group", covariates=("clean_accuracy",)
    )
    pd.testing.assert_frame_equal(found.statistics.per_block, twin.per_block)
    for line in found.table.to_dict("records"):
        pair = (line["measure"], line["outcome"])
        expected = twin.per_block.set_index(["measure", "outcome"]).loc[pair]
        assert [line[name] for name in ("n", "spearman", "lower", "upper", "p", "holm")] == [
            expected[name] for name in ("n", "spearman", "lower", "upper", "p", "holm")
        ]
        partial = twin.partial.set_index(["measure", "outcome"]).loc[pair]
        np.testing.assert_equal(line["partial_lower"], partial["lower"])
    gains = found.table.set_index("measure")["gain"]
    assert gains[["spectral_radius", "spectral_norm"]].isna().all()
    assert gains.drop(["spectral_radius", "spectral_norm"]).notna().all()
    for _, part in found.table.groupby("outcome"):
        strength = part["spearman"].abs().tolist()
        assert strength == sorted(strength, reverse=True)


def test_an_effect_that_is_there_is_found_and_said(found):
    """The more the weights of the input and the gain grow, the farther an output moves."""
    rows = found.rows.copy()
    rows["fooling_all_linf_0.1"] = rows["spectral_norm"].rank() / 100
    again = model_correlations(
        pd.concat([rows.assign(name=rows["name"] + f" {k}") for k in range(2)], ignore_index=True).assign(
            **{"fooling_all_linf_0.1": lambda table: table["spectral_norm"] + 0.01 * np.arange(len(table))}
        ),
        plan=PLAN,
        measures=("spectral_norm", "lyapunov_exponent"),
        outcomes=("fooling_all_linf_0.1",),
        covariates=(),
    )
    top = again.table.iloc[0]
    assert top["measure"] == "spectral_norm"
    assert top["spearman"] > 0.9
    assert top["holm"] < 0.05
    assert again.findings[0].startswith("Strongest with fooling rate, all attacks, L∞ 0.1: spectral norm, +")
    assert re.fullmatch(r"Of 2 correlations (1 has|2 have) Holm's p below 0.05.", again.findings[1])
    assert str(again).startswith("ModelCorrelations of 16 models: Strongest with fooling rate")


@pytest.mark.parametrize(
    "given",
    [
        lambda models: iter(models),
        lambda models: {f"model {k}": model for k, model in enumerate(models)},
        lambda models: lambda: (model for model in models),
        lambda models: [functools.partial(lambda model: model, model) for model in models],
        lambda models: [(f"model {k}", model) for k, model in enumerate(models)],
    ],
    ids=["iterator", "mapping", "generator", "functions", "pairs"],
)
def test_models_come_in_many_ways(given, models, found, data):
    again = correlate(given(models), *(part.numpy() for part in data), plan=PLAN, measures=FEW, bounds=(0, 1))
    pd.testing.assert_frame_equal(again.rows.drop(columns="seconds"), found.rows.drop(columns="seconds"))
    pd.testing.assert_frame_equal(again.table, found.table)


def test_paths_of_checkpoints_and_names_of_a_mapping(tmp_path):
    task = load_task("digits")
    model = build_model(ModelConfig("gru", task.features, task.steps, hidden=3, seed=0))
    record = train(model, task, config=TrainingConfig(epochs=0))
    save_checkpoint(tmp_path / "m.pt", model, task=task, record=record)
    x, y = task.x_test[:20], task.y_test[:20]
    one = correlate([tmp_path / "m.pt"], x, y, plan=PLAN)
    other = correlate({7: model}, x.double(), y, plan=PLAN)  # in the precision of the model
    assert one.rows["name"].tolist() == [str(tmp_path / "m.pt")]
    assert other.rows["name"].tolist() == ["7"]
    same = [name for name in one.rows if name not in {"name", "seconds"}]
    pd.testing.assert_frame_equal(one.rows[same], other.rows[same])


def same_in(place, found, data):
    loaders = {f"model {seed}": functools.partial(made, seed) for seed in range(8)}
    seen = []
    given = {"plan": PLAN, "measures": FEW, "bounds": (0, 1), **place}
    again = correlate(loaders, *data, progress=lambda *what: seen.append(what), **given)
    pd.testing.assert_frame_equal(again.rows.drop(columns="seconds"), found.rows.drop(columns="seconds"))
    assert [what[:2] for what in seen] == [(k + 1, 8) for k in range(8)]


def test_an_executor_gives_the_same_numbers(found, data):
    with ThreadPoolExecutor(1) as executor:
        same_in({"executor": executor}, found, data)


@pytest.mark.slow
def test_workers_give_the_same_numbers(found, data):
    same_in({"workers": 2}, found, data)


def test_only_two_models_of_an_iterator_are_there_at_a_time(data):
    alive = []

    class Counted(nn.Linear):
        def __init__(self):
            super().__init__(3, 2)
            alive.append(self)

        def forward(self, x):
            return super().forward(x.mean(1))

    import gc
    import weakref

    most, known = [], []

    def loaded():
        for _ in range(5):
            model = Counted()
            alive.clear()
            known.append(weakref.ref(model))
            gc.collect()
            most.append(sum(one() is not None for one in known))
            yield model
            del model

    found = correlate(loaded, *data, plan=PLAN, covariates=())
    assert len(found.rows) == 5
    assert max(most) <= 2


def test_the_models_come_back_as_they_were(data):
    model = tiny(3).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    correlate([model], *data, plan=PLAN)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_a_model_elsewhere_is_copied_to_the_cpu(models, data):
    found = correlate([models[0], ("elsewhere", tiny(0).to("meta"))], *data, plan=PLAN)
    ((name, error),) = found.failures
    assert name == "elsewhere"
    assert "Cannot copy out of meta tensor" in error


def test_a_model_that_fails_is_recorded_and_the_others_go_on(models, data):
    rows = []
    found = correlate(
        [*models[:5], ("picky", Picky()), ("gone", lambda: 1 / 0), ("number", lambda: 3)], *data, plan=PLAN,
        measures=FEW, groups=list("aaaaaaaa"), progress=lambda *what: rows.append(what),
    )  # fmt: skip
    assert len(found.rows) == 5
    assert [name for name, _ in found.failures] == ["picky", "gone", "number"]
    assert found.failures[1][1] == "ZeroDivisionError: division by zero"
    assert found.failures[2][1] == "TypeError: model 'number' is a int; expected a torch.nn.Module"
    assert "(3 more failed)" in str(found)
    assert rows[-1][:2] == (8, 8)
    assert "gone: ZeroDivisionError" in found.to_html()


def test_an_iterator_that_breaks_loses_nothing(models, data):
    def broken():
        yield from models[:2]
        raise OSError("disk gone")

    found = correlate(broken, *data, plan=PLAN)
    assert len(found.rows) == 2
    assert found.failures == ((REST, "models ended after 2 (OSError: disk gone)"),)
    twice = correlate(iter([("a", models[0]), ("a", models[1])]), *data, plan=PLAN)
    assert "another model of the name 'a'" in twice.failures[0][1]


def test_few_models_give_rows_and_say_why_there_is_no_more(models, data, tmp_path):
    found = correlate(models[:4], *data, plan=PLAN)
    assert len(found.rows) == 4
    assert found.statistics is None
    assert found.table.empty
    assert found.findings == ()
    assert str(found) == "ModelCorrelations of 4 models: no correlations, which need at least 5 models"
    assert [path.name for path in found.write(tmp_path)] == ["report.html", "models.csv"]
    assert "at least 5 models" in (tmp_path / "report.html").read_text("utf-8")


def test_nobody_right_is_no_outcome(data):
    models = [tiny(seed) for seed in range(5)]
    for model in models:
        nn.init.zeros_(model.head.weight)
        with torch.no_grad():
            model.head.bias.copy_(torch.tensor([1.0, 0.0]))
    found = correlate(models, data[0], torch.ones(60, dtype=torch.int64), plan=PLAN)
    assert (found.rows["clean_accuracy"] == 0).all()
    assert found.statistics is None
    assert found.note.startswith("no correlations, because no model has a measure or no model an outcome")


def test_groups_are_compared_within_and_pooled(models, data):
    others = [tiny(seed, "gru") for seed in range(6)]
    by_cell = correlate([*models[:6], *others], *data, plan=PLAN, measures=FEW)
    assert by_cell.rows["group"].tolist() == ["tanh"] * 6 + ["gru"] * 6
    assert set(by_cell.table["block"]) == {"pooled"}
    assert set(by_cell.statistics.per_block["block"]) == {"tanh", "gru"}
    one = correlate([*models[:6], *others], *data, plan=PLAN, measures=FEW, groups=["all"] * 12)
    assert set(one.table["block"]) == {"all"}
    lonely = correlate([*models[:6], *others[:2]], *data, plan=PLAN, measures=FEW)
    assert set(lonely.table["block"]) == {"tanh"}
    assert "Only one group has enough models for correlations: nothing is pooled." in lonely.findings


def test_models_of_one_training_do_not_count_as_independent(models, data):
    plain = correlate(models, *data, plan=PLAN, measures=FEW)
    clustered = correlate(models, *data, plan=PLAN, measures=FEW, clusters=list("aabbccdd"))
    assert plain.statistics.clusters == 8
    assert clustered.statistics.clusters == 4
    assert (
        clustered.table.set_index(["measure", "outcome"])["spearman"]
        == plain.table.set_index(["measure", "outcome"])["spearman"]
    ).all()


def test_json_page_and_tables_hold_everything(found, tmp_path):
    content = json.loads(found.to_json({"seed": 0}))
    assert content["seed"] == 0
    assert content["findings"] == list(found.findings)
    assert [row["name"] for row in content["models"]] == found.rows["name"].tolist()
    assert content["correlations"][0]["spearman"] == found.table["spearman"][0]
    paths = found.write(tmp_path / "new", command="spectra correlate x")
    assert [path.name for path in paths] == ["report.html", "models.csv", "correlations.csv"]
    page = paths[0].read_text("utf-8")
    assert "spectra correlate x" in page
    assert "data:image/png" in page
    for name in found.rows["name"]:
        assert name in page
    read = pd.read_csv(paths[1])
    np.testing.assert_array_equal(read["spectral_norm"], found.rows["spectral_norm"])


def test_infinite_and_missing_numbers_are_json_too(found):
    rows = found.rows.assign(spectral_norm=math.inf, jacobian_spectral_norm=math.nan)
    again = model_correlations(rows, plan=PLAN, measures=("spectral_norm", "spectral_radius"))
    content = json.loads(again.to_json())
    assert content["models"][0]["spectral_norm"] == "inf"
    assert content["models"][0]["jacobian_spectral_norm"] is None
    assert set(again.table["measure"]) == {"spectral_radius"}
    assert "jacobian_spectral_norm" not in model_correlations(rows, plan=PLAN).measures


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"models": nn.Linear(2, 2)}, TypeError, "models is a Linear, one model; pass several"),
        ({"models": 3}, TypeError, "models is a int; expected several models"),
        ({"models": "m.pt"}, TypeError, "models is a str; expected several models"),
        ({"models": []}, ValueError, "models is empty"),
        ({"models": [3]}, TypeError, r"models\[0\] is a int; expected a torch.nn.Module"),
        ({"models": [("a", Picky()), ("a", Picky())]}, ValueError, "two with the name 'a'"),
        ({"models": [Picky()]}, ValueError, "none of 1 models could be measured; the first: Unsupported"),
        ({"models": iter([])}, ValueError, "models is empty; expected at least one"),
        ({"y": torch.full((6,), 9)}, ValueError, "first: ValueError: y "),
        ({"x": torch.full((6, 4, 3), torch.nan)}, ValueError, "first: ValueError: x "),
        ({"x": {}}, TypeError, "x is a dict without a tensor"),
        ({"y": torch.zeros(3)}, ValueError, "expected one label for each"),
        ({"x": torch.tensor(1.0)}, ValueError, "x has shape"),
        ({"plan": "pgd"}, TypeError, "plan is a str"),
        ({"rng": -1}, ValueError, "rng is -1"),
        ({"groups": ["a"]}, ValueError, r"groups is .* for 2 models"),
        ({"clusters": "aaaaaaaa"}, ValueError, "clusters is 'aaaaaaaa' for 2 models"),
        ({"plan": AttackPlan(("charm",))}, ValueError, "charm"),
        ({"plan": AttackPlan(minimal=("l7",))}, ValueError, "l7"),
        ({"measures": ["charm"]}, ValueError, "measures has 'charm', which no network gives"),
        ({"measures": "spectral_norm"}, TypeError, "expected a sequence of names"),
        ({"outcomes": ["fooling_all_l2_9"]}, ValueError, "outcomes has"),
        ({"covariates": ["luck"]}, ValueError, "covariates has 'luck'"),
        ({"workers": 0}, ValueError, "workers is 0"),
        ({"progress": 3}, TypeError, "progress is 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change, error, words, models, data):
    x, y = data
    given = {
        "models": models[:2],
        "x": x[:6],
        "y": y[:6],
        "plan": AttackPlan(("fgsm",), (("linf", (0.1,)),), ()),
    }
    given |= change
    with pytest.raises(error, match=words):
        correlate(given.pop("models"), given.pop("x"), given.pop("y"), **given)


def test_labels_of_an_iterator_are_counted_when_it_has_ended(models, data):
    with pytest.raises(ValueError, match=r"groups is .* for 2 models"):
        correlate(iter(models[:2]), *data, plan=PLAN, groups=["a"])


def test_workers_need_to_know_what_comes(models, data):
    with pytest.raises(ValueError, match="models is an iterator, which only this process"):
        correlate(iter(models), *data, plan=PLAN, workers=2)
    with pytest.raises(ValueError, match="workers and executor are both given"):
        correlate(models, *data, plan=PLAN, workers=2, executor=object())


def test_a_model_says_what_it_is():
    assert about(tiny(0, "gru"))["architecture"] == "gru"
    assert about(nn.LSTM(2, 2)) == {"architecture": "LSTM", "parameters": 48}


def test_words_for_numbers_and_columns():
    assert label("fooling_all_l2_0.5") == "fooling rate, all attacks, L2 0.5"
    assert interval({"spearman": -0.001, "lower": -1.0, "upper": 0.5}) == "+0.00 [-1.00, +0.50]"
    assert interval({"gain": math.nan}, "gain") == "-"
    assert plan_outcomes(PLAN) == ("fooling_all_linf_0.1", "fooling_all_linf_0.3")


def test_the_front_door():
    assert rnn.correlate is correlate
    assert rnn.ModelCorrelations is ModelCorrelations
    assert rnn.AttackPlan is AttackPlan
