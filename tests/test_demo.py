import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import spectra
from rnn.measuring.measures import STUDIED
from rnn.models import ModelConfig, build_model
from rnn.study.demo import (
    BUDGETS,
    CELLS,
    GAINS,
    METHODS,
    NAMES,
    OUTCOME,
    Network,
    demo_tables,
    demo_trial,
    demo_trials,
    nearest_to_unit_scale,
    run_demo,
)
from rnn.study.demo_pages import ALL, SHOWN, checked_folder, demo_pages, write_folder
from rnn.study.engine import TrialResult
from rnn.tasks import load_task
from rnn.training import TrainingConfig, train
from rnn.weights import named_matrices

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "report.html",
    "models.csv",
    "correlations.csv",
    "pseudospectra.png",
    "spectra_vs_success.png",
    "correlations.png",
}
RATES = [f"{method}_{norm}_{budget:g}" for method in METHODS for norm in BUDGETS for budget in BUDGETS[norm]]
GATES = {"tanh": "", "gru": "rzn", "lstm": "ifgo", "feedforward": ""}


def made_up(count=6):
    """Give networks with random numbers in every column, as fast as tables and pages can be tested."""
    rng = np.random.default_rng(0)
    networks = []
    for trial in demo_trials(count):
        row = {
            "task": "digits",
            "cell": trial.cell,
            "seed": trial.seed,
            "clean_accuracy": rng.uniform(0.9, 1),
        }
        row |= dict(zip(NAMES, rng.uniform(1.1, 2, len(NAMES)), strict=True))
        row |= {f"{gate}_{name}": rng.uniform(1, 2) for gate in GATES[trial.cell] for name in NAMES}
        if trial.cell in {"gru", "lstm"}:
            row |= {f"{'n' if trial.cell == 'gru' else 'g'}_{name}": row[name] for name in NAMES}
        row |= {
            f"jacobian_{measure.name}": rng.uniform(1, 2)
            for measure in STUDIED
            if trial.cell != "feedforward" or not measure.square
        }
        row |= {f"{what}_{rate}": rng.uniform(0.2, 0.8) for rate in RATES for what in ("success", "fooling")}
        row |= {
            "gain": trial.gain,
            "epochs": 3,
            "train_accuracy": 1.0,
            "test_examples": 360,
            "clean_correct": 340,
        }
        networks.append(Network(row, rng.standard_normal((6, 6))))
    return networks


@pytest.fixture(scope="module")
def tables():
    return demo_tables(made_up())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Give the smallest real demo: one network of each family, trained for one pass."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    seen = []
    result = run_demo(out, models_per_cell=1, epochs=1, workers=2, progress=lambda *call: seen.append(call))
    return result, seen


# The tables


def test_columns_of_the_models_are_those_promised(tables):
    models, _ = tables
    gated = [f"{gate}_{name}" for gate in "rznifgo" for name in NAMES]
    assert list(models.columns) == [
        *("task", "cell", "seed", "clean_accuracy"),
        *NAMES,
        *gated,
        *(f"jacobian_{name}" for name in NAMES),
        *(f"success_{rate}" for rate in RATES),
        *(f"fooling_{rate}" for rate in RATES),
        *("gain", "epochs", "train_accuracy", "test_examples", "clean_correct"),
    ]
    assert len(models) == 24


def test_only_fooling_rates_are_correlated_and_only_with_what_a_family_has(tables):
    _, correlations = tables
    assert list(correlations.columns[:4]) == ["measure", "outcome", "block", "n"]
    assert {"spearman", "lower", "upper", "note"} <= set(correlations)
    assert set(correlations["outcome"]) == {f"fooling_{rate}" for rate in RATES}
    assert set(correlations["block"]) == {*CELLS, "pooled"}
    gates = {cell: set() for cell in CELLS}
    for measure, block in correlations[["measure", "block"]].itertuples(index=False):
        prefix = measure.partition("_")[0]
        if len(prefix) == 1 and block in gates:
            gates[block].add(prefix)
    assert gates == {cell: set(letters) for cell, letters in GATES.items()}


def test_every_correlation_has_numbers_or_a_note(tables):
    _, correlations = tables
    empty = correlations["spearman"].isna()
    assert (correlations.loc[empty, "note"] != "").all()
    assert correlations.loc[~empty, ["lower", "upper", "p", "q"]].notna().all(axis=None)
    rectangular = correlations[(correlations["block"] == "feedforward") & empty]
    assert set(rectangular["note"]) == {"not defined in this block"}
    assert rectangular["measure"].str.startswith("jacobian_").all()
    repeated = correlations[(correlations["block"] == "gru") & (correlations["measure"] == "n_spectral_norm")]
    assert set(repeated["note"]) == {"the same numbers as spectral_norm"}


def test_the_main_outcome_and_the_measures_shown_are_columns(tables):
    models, _ = tables
    assert {OUTCOME, *SHOWN, *ALL} <= set(models.columns)


def test_trials_vary_seed_and_scale_alike_in_every_family():
    trials = demo_trials(12, seed=3)
    for cell in CELLS:
        part = [trial for trial in trials if trial.cell == cell]
        assert [trial.seed for trial in part] == list(range(3000, 3012))
        gains = [trial.gain for trial in part]
        assert (gains[0], gains[-1]) == GAINS
        assert gains == sorted(gains)
    assert [trial.gain for trial in demo_trials(1)] == [1.0] * 4


def test_the_network_of_usual_scale_is_chosen():
    models = pd.DataFrame({"cell": ["gru", "tanh", "tanh", "tanh"], "gain": [9.0, 0.5, 0.9, 1.2]})
    assert nearest_to_unit_scale(models) == {"tanh": 2, "gru": 0}


# One network


def test_a_row_holds_what_other_functions_say_about_the_same_network():
    trial = next(trial for trial in demo_trials(1, epochs=2) if trial.cell == "lstm")
    found = demo_trial(trial)
    task = load_task("digits")
    model = build_model(ModelConfig("lstm", 8, 8, hidden=32, gain=trial.gain, seed=trial.seed))
    record = train(model, task, config=TrainingConfig(epochs=2, seed=trial.seed))
    gates = {matrix.gate: matrix.matrix for matrix in named_matrices(model) if matrix.role == "recurrent"}
    np.testing.assert_array_equal(found.matrix, gates["g"])
    assert found.row["clean_accuracy"] == record.test_accuracy
    assert found.row["spectral_radius"] == spectra.spectral_radius(gates["g"])
    assert found.row["f_spectral_norm"] == spectra.spectral_norm(gates["f"])
    assert found.row["clean_correct"] == round(record.test_accuracy * 360)
    for rate in RATES:
        fooled = found.row[f"fooling_{rate}"] * found.row["clean_correct"]
        wrong = 360 - found.row["clean_correct"]
        assert found.row[f"success_{rate}"] * 360 == pytest.approx(fooled + wrong)
    for norm, budgets in BUDGETS.items():
        rates = [found.row[f"fooling_pgd_{norm}_{budget:g}"] for budget in budgets]
        assert rates == sorted(rates)
        assert rates[0] > 0
        assert rates[-1] < 1
    json.dumps(found.row)  # plain numbers only


# The whole way


def test_the_demo_writes_its_files_and_nothing_else(small):
    result, seen = small
    assert {path.name for path in result.folder.iterdir()} == FILES
    assert {path.name for path in result.paths} == FILES
    assert [call[:2] for call in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert result.failures == ()
    assert list(result.models["cell"]) == list(CELLS)
    text = str(result)
    assert "spectral radius" in text
    assert str(result.folder / "report.html") in text
    assert result.summary["measure"][0] == "spectral radius"


def test_files_hold_the_tables(small):
    result, _ = small
    models = pd.read_csv(result.folder / "models.csv")
    pd.testing.assert_frame_equal(models, result.models, check_dtype=False)
    for name in ("models.csv", "correlations.csv"):
        assert "nan" not in (result.folder / name).read_text().lower()
    assert models["n_spectral_norm"].isna().sum() == 3
    assert models["jacobian_spectral_radius"].isna().sum() == 1


def test_same_seed_same_numbers_whatever_the_number_of_workers(small, tmp_path):
    again = run_demo(tmp_path, models_per_cell=1, epochs=1, workers=1)
    pd.testing.assert_frame_equal(again.models, small[0].models, check_exact=True)
    for name in ("models.csv", "correlations.csv", "spectra_vs_success.png"):
        assert (tmp_path / name).read_bytes() == (small[0].folder / name).read_bytes()


def test_other_files_stay_and_old_ones_are_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "models.csv").write_text("old")
    paths = write_folder(tmp_path, {"models.csv": b"new", "report.html": b"page"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "mine.txt": "mine",
        "models.csv": "new",
        "report.html": "page",
    }
    assert paths == (tmp_path / "models.csv", tmp_path / "report.html")


def test_nothing_half_written_stays_when_writing_fails(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")
    real = Path.write_bytes

    def full(self, data):
        if self.name == "b":
            raise OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_folder(tmp_path, {"a": b"new", "b": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


# The pages


class Words(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.text, self.alts = [], []
        self.feed(text)

    def handle_data(self, data):
        self.text.append(data)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.alts.append(dict(attributes)["alt"])


@pytest.fixture(scope="module")
def pages(tables):
    models, correlations = tables
    networks = made_up()
    failure = TrialResult(3, "<a network>", None, "ValueError: <bad>", "", 1.0)
    return demo_pages(
        models,
        correlations,
        matrices={cell: networks[place].matrix for cell, place in nearest_to_unit_scale(models).items()},
        outcome=OUTCOME,
        failures=[failure],
        command="spectra demo --out here",
        seconds=12.0,
    )


def test_the_page_names_everything_a_reader_needs(pages):
    page = Words(pages.files["report.html"].decode())
    text = " ".join(" ".join(page.text).split())
    for wanted in (
        "spectra demo --out here",
        "torch 2.",
        "0 to 5 in every family",
        "24 networks (6 tanh, 6 GRU",
    ):
        assert wanted in text
    assert "One network failed and is missing (<a network>): ValueError: <bad>" in text
    for measure in STUDIED:
        assert measure.definition in text
    assert len(page.alts) == 3
    assert all(len(alt) > 40 for alt in page.alts)
    assert " nan" not in text.lower()


def test_means_of_fewer_families_say_of_how_many(pages):
    rows = re.findall(
        r'<tr><th scope="row">(.*?)</th><td[^>]*>(.*?)</td>', pages.files["report.html"].decode()
    )
    means = dict(rows)
    assert means["Jacobian: spectral radius"].endswith("] (3 families)")  # the input Jacobian has none
    assert means["spectral radius"].endswith("]")


def test_the_page_holds_the_figures_themselves(pages):
    import base64

    page = pages.files["report.html"].decode()
    for name in ("pseudospectra.png", "spectra_vs_success.png", "correlations.png"):
        assert base64.b64encode(pages.files[name]).decode() in page


def test_the_summary_is_text_with_one_row_for_each_measure_shown(pages):
    assert list(pages.summary.columns) == [
        "measure",
        "mean of families",
        "tanh",
        "GRU",
        "LSTM",
        "feed-forward",
    ]
    assert len(pages.summary) == len(SHOWN)
    assert all(isinstance(cell, str) for cell in pages.summary.to_numpy().ravel())


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models_per_cell": 0}, "models_per_cell"),
        ({"seed": -1}, "seed"),
        ({"epochs": 0}, "epochs"),
        ({"workers": 0}, "workers"),
    ],
)
def test_refusals(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run_demo(tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match="which is a file; name a folder"):
        checked_folder(file)
    with pytest.raises(ValueError, match="cannot be written; choose another folder"):
        checked_folder(file / "below")
    assert checked_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_when_every_network_fails_the_first_error_is_told(tmp_path, monkeypatch):
    failure = TrialResult(0, None, None, "ValueError: no data", "", 0.0)
    monkeypatch.setattr("rnn.study.demo.run_trials", lambda *_, **__: [failure])
    with pytest.raises(RuntimeError, match="every network failed, the first with: ValueError: no data"):
        run_demo(tmp_path / "out", models_per_cell=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals to process groups are POSIX")
def test_an_interrupt_leaves_nothing_behind(tmp_path):
    code = (
        "from rnn.study.demo import run_demo\n"
        "if __name__ == '__main__':\n"
        f"    run_demo({str(tmp_path / 'out')!r}, workers=2, progress=lambda *_: print('one', flush=True))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "one\n"
        start = time.perf_counter()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
        seconds = time.perf_counter() - start
    assert seconds < 1
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


@pytest.mark.slow
def test_the_demo_shows_what_its_families_are_for(tmp_path):
    result = run_demo(tmp_path, models_per_cell=6)
    assert result.models["clean_accuracy"].min() > 0.85
    outcome = result.models[OUTCOME]
    assert outcome.between(0.05, 0.95).all()
    assert outcome.max() - outcome.min() > 0.2
    for cell in ("tanh", "gru", "lstm"):
        part = result.models[result.models["cell"] == cell]
        assert part["spectral_radius"].max() > 1.3 * part["spectral_radius"].min()
    found = result.correlations
    pooled = found[(found["block"] == "pooled") & (found["outcome"] == OUTCOME)]
    assert len(pooled) == len(ALL)
    assert pooled["spearman"].notna().all()
