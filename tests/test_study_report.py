"""The report of a study: its numbers are those of the statistics, what is missing is said, a whole page."""

import base64
import dataclasses
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape

import numpy as np
import pandas as pd
import pytest
from browser import Browser
from planted_trials import BEFORE, EVIL, fed_forward, hopeless, planted, troubled
from test_report import Page
from toy_trials import cheap

import rnn.study.study_pictures
from rnn.study.claims import claims
from rnn.study.configuration import study_from
from rnn.study.evidence import study_statistics
from rnn.study.runs import run_study
from rnn.study.study_columns import (
    baseline_columns,
    configuration_columns,
    further_outcomes,
    main_outcomes,
    measure_columns,
    study_label,
    training_strata,
)
from rnn.study.study_numbers import CENTRAL_COLUMNS, along_training
from rnn.study.study_report import PAGE, study_report, write_study_report
from rnn.study.tables import study_rows

CONTENT = {
    "name": f"planted {EVIL}",
    "description": f"made up {EVIL}",
    "grid": {
        "task": ["digits", "adding"],
        "cell": ["gru", "tanh"],
        "normalisation": ["none", "radius", "norm", "radius-during", "norm-during"],
        "seeds": 4,
    },
    "audit": {"share": 0.3},
}
STUDY = study_from(CONTENT)
PAIR = ["measure", "outcome"]


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def folder(tmp_path_factory, threads):
    out = tmp_path_factory.mktemp("study")
    run_study(STUDY, out, function=troubled, executor=threads)
    return out


@pytest.fixture(scope="module")
def report(folder):
    return study_report(folder, draws=100)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made, but no images of them, which take most of the time."""
    monkeypatch.setattr(rnn.study.study_pictures, "small_png", lambda figure: b"\x89PNG")


def run(out, threads, function, **options):
    run_study(STUDY, out, function=function, executor=threads, **options)
    return study_report(out, draws=50)


def words(report):
    return " ".join(" ".join(Page(report.html).words).split())


def test_the_choice_of_columns(folder):
    rows = study_rows(folder)
    further = ["eigenvector_condition_number", "kreiss_constant_scaled", "growth_end", "lyapunov_exponent"]
    assert measure_columns(rows) == [*BEFORE, *further, "constant"]
    assert main_outcomes(rows) == ["fooling_reference", "minimal_l2", "kick_end_worst"]
    assert further_outcomes(rows) == ["fooling_worst_linf_0.05"]  # the others repeat the reference
    assert baseline_columns(rows) == ["spectral_radius", "spectral_norm"]
    assert rows["audited"].nunique() == 2
    assert configuration_columns(rows) == ["normalisation"]
    assert study_label("linear_spectral_norm") == "readout: spectral norm"
    assert main_outcomes(rows[["task", "cell", "fooling_pgd_linf_0.05"]]) == ["fooling_pgd_linf_0.05"]


def made(**axes):
    """Rows of one block as a study would list them, two seeds each."""
    names = ["normalisation", "target", "gain"]
    grid = pd.MultiIndex.from_product([*(axes.get(name, [1.0]) for name in names), [0, 1]])
    rows = grid.set_names([*names, "seed"]).to_frame(index=False).assign(task="digits", cell="gru")
    return rows[(rows["normalisation"] != "none") | (rows["target"] == 1.0)].reset_index(drop=True)


@pytest.mark.parametrize(
    ("rows", "apart"),
    [
        (made(normalisation=["none", "radius", "norm", "radius-during"]), ["radius-during"]),
        (made(normalisation=["none", "radius-during", "norm-during"]), ["all"]),
        (made(normalisation=["radius"], target=[0.5, 1.0]), []),
        (made(normalisation=["radius-during"], target=[0.5, 1.0]), ["all"]),
        (made(normalisation=["none"], gain=[0.5, 1.0, 2.0]), ["all"]),
        (made(normalisation=["none"]), ["all"]),
    ],
)
def test_what_was_done_after_a_training_makes_no_other_training(rows, apart):
    strata = training_strata(rows)
    alone = rows["normalisation"].isin(apart) | ("all" in apart)
    assert (strata == 0).tolist() == alone.tolist()
    assert len(set(strata[~alone])) <= 1


def test_each_training_that_is_shared_is_a_stratum_of_its_block():
    rows = made(normalisation=["none", "norm", "norm-during"], target=[0.9, 1.0], gain=[0.5, 1.0])
    rows = pd.concat([rows, rows.assign(cell="tanh"), made(gain=[4.0], normalisation=["none"])])
    rows["audited"] = np.arange(len(rows)) % 2 == 0
    strata = training_strata(rows)
    kind = np.where(rows["normalisation"] == "norm-during", "during", "after")
    kind = np.where(rows["gain"] == 4.0, "during", kind)  # alone, whatever was not done afterwards
    named = pd.DataFrame({"kind": kind, "cell": rows["cell"], "gain": rows["gain"], "stratum": strata})
    assert (named[named["kind"] == "during"]["stratum"] == 0).all()
    groups = named[named["kind"] == "after"].groupby(["cell", "gain"])["stratum"]
    assert (groups.nunique() == 1).all()
    assert groups.first().nunique() == 4
    assert groups.first().min() > 0
    pd.testing.assert_series_equal(  # the order of the rows does not matter
        pd.Series(training_strata(rows[::-1])[::-1]), pd.Series(strata)
    )


def test_the_numbers_are_those_of_the_statistics(folder, report):
    rows = study_rows(folder)
    given = {
        "measures": measure_columns(rows),
        "outcomes": main_outcomes(rows),
        "draws": 100,
        "rng": np.random.default_rng(0),
    }
    found = report.statistics
    assert (found.models, found.blocks, found.clusters, found.draws) == (len(rows), 4, 20, 100)
    central = report.tables["central"]
    assert list(central) == list(CENTRAL_COLUMNS)
    lines = central.set_index(PAIR).sort_index()
    own = given | {"cluster": "normalisation", "replicate": "seed", "strata": "after"}
    known = rows.assign(after=~rows["normalisation"].str.endswith("-during"))
    again = study_statistics(known, axes=["normalisation"], **own)
    pooled = again.pooled.set_index(PAIR).sort_index()
    for name in ("spearman", "kendall", "i2", "lower", "p"):
        np.testing.assert_allclose(lines[name], pooled[name])
    for table, name in ((found.pooled, "spearman"), (found.gains, "gain"), (found.partial, "partial")):
        whole = table[table["block"] == "pooled"].set_index(PAIR)[name].sort_index()
        pd.testing.assert_series_equal(lines[name].dropna(), whole.dropna())
    study_statistics(known, **own | {"outcomes": further_outcomes(rows)})  # draws in between
    by_seed = study_statistics(rows, cluster="seed", permutations=1, **given)
    ends = by_seed.gains[by_seed.gains["block"] == "pooled"].set_index(PAIR)[["lower", "upper"]].sort_index()
    shown = lines[["by_seed_lower", "by_seed_upper"]].dropna()
    np.testing.assert_allclose(shown, ends)


def test_what_is_planted_is_found_and_nothing_else(report):
    central = report.tables["central"]
    sure = central[central["holm"] < 0.05]
    assert sure[PAIR].to_numpy().tolist() == [["henrici_departure_relative", "fooling_reference"]]
    top = central.iloc[0]
    assert top["spearman"] > 0.9
    assert top["gain_lower"] > 0.3
    assert top["partial"] > 0.9
    assert central[central["alike"]]["outcome"].unique().tolist() == ["kick_end_worst"]
    text = words(report)
    assert "1 of 21 correlations of a measure with an outcome have a p-value below 0.05" in text
    assert f"Strongest with the fooling rate: Henrici departure, relative {top['spearman']:+.2f} [" in text
    assert "after correction 1 of them: Henrici departure, relative with the fooling rate" in text
    assert "constant" in report.tables["left_out"]["measure"].tolist()


def test_verdicts_count_every_pair_also_of_audited_networks(folder, report):
    rows = study_rows(folder)
    assert [claim.name for claim in report.claims] == ["C1", "C2", "C3"]
    counts = report.tables["claim_c2"].set_index("normalisation")["n"]
    disc = rows[rows["spectral_radius"] <= 1.01]["normalisation"].value_counts()
    radii = {name: int(disc[name]) for name in ("radius", "radius-during")}
    assert counts.to_dict() == {"norm": 14, "norm-during": 16} | radii  # 2 failed
    plain = claims(rows.drop(columns="audited"))
    assert [claim.verdict for claim in report.claims] == [claim.verdict for claim in plain]
    text = words(report)
    for claim in report.claims:
        for sentence in claim.words:
            assert " ".join(sentence.split()) in text
        assert f"{claim.name} {claim.verdict}" in str(report)
    last = report.claims[0].table.iloc[-1]
    shares = [last[f"not_robust{end}"] for end in ("", "_lower", "_upper")]
    assert "{:.0%} [{:.0%}, {:.0%}]".format(*shares) in Page(report.html).words
    change = report.claims[2].table.iloc[1]
    ends = [change[f"change{end}"] for end in ("", "_lower", "_upper")]
    assert "{:+.2f} [{:+.2f}, {:+.2f}]".format(*ends) in Page(report.html).words
    assert "log10 of eigenvector condition number" in Page(report.html).words
    audited = int(rows["audited"].sum())
    assert f"On {audited} audited networks the full ensemble of attacks ran too" in text
    assert "it turned 1.0 percentage points more than the attacks that all networks had together" in text
    before = report.tables["claim_c2"].iloc[0]["stable_before"]
    assert f"{before:.0%}" in Page(report.html).words


def test_what_failed_and_what_is_open_is_said(report):
    text = words(report)
    assert report.status.failed == 2
    assert "This study is not finished: 78 of 80 trials are." in text
    assert "2 trials failed and are missing here" in text
    assert text.count("RuntimeError: diverged") == 2
    assert all(label in text for label, _ in report.status.failures)
    assert "adding gru 19 1 0 20" in text
    assert "all all 78 2 0 80" in text


def test_the_page_is_well_formed_whole_and_safe(report):
    page = Page(report.html)
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, attributes)
    assert EVIL not in report.html
    assert report.html.count("<script>") == 1
    (script,) = re.findall(r"<script>(.*?)</script>", report.html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in report.html
    assert "default-src 'none'" in report.html
    marks = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(marks) == len(set(marks))
    for attributes in page.all("a"):
        assert attributes["href"][1:] in marks
    pictures = page.all("img")
    assert len(pictures) == 2 + len(report.figures) == 7
    for attributes in pictures:
        assert re.search(r"\d", attributes["alt"])
        assert "nan" not in attributes["alt"]
    assert "nan" not in words(report).split()


def test_alternative_texts_hold_the_numbers_of_their_figures(folder, report):
    alts = {attributes["alt"] for attributes in Page(report.html).all("img")}
    top = report.tables["central"].iloc[0]
    value = f"{top['spearman']:+.2f} [{top['lower']:+.2f}, {top['upper']:+.2f}]"
    (forest,) = [alt for alt in alts if alt.startswith("Rank correlations with intervals")]
    assert f"fooling rate: Henrici departure, relative {value}" in forest
    assert forest.count("spectral radius") == 3
    (triangle,) = [alt for alt in alts if alt.startswith("Means over the networks")]
    rows = study_rows(folder)
    plain = rows[rows["normalisation"] == "none"]
    stable = ((plain["lyapunov_exponent"] < 0) & (plain["kick_end_worst"] < 1)).sum()
    accuracy, left = plain["clean_accuracy"].mean(), 1 - plain["fooling_reference"].mean()
    assert f"none: accuracy {accuracy:.2f}, not turned {left:.2f}, {stable} of 16 stable" in triangle
    (along,) = [alt for alt in alts if alt.startswith("Medians from before")]
    curves, missing = along_training(folder, rows)
    assert missing == 0
    own = curves.query("measure == 'spectral_norm' and task == 'digits' and cell == 'gru'")
    first, last = (own[own["epoch"] == epoch]["value"].median() for epoch in (0, 4))
    assert f"digits GRU {first:.3g} to {last:.3g}" in along


def test_files_are_written_together_and_make_the_study_again(folder, report, tmp_path):
    target = tmp_path / "deep" / "report"
    paths = report.write(target)
    assert sorted(path.name for path in paths) == sorted(path.name for path in target.iterdir())
    names = {path.name for path in paths}
    assert {PAGE, "study.json", "measures.csv", "central.csv", "per_block.csv", "pooled.csv"} <= names
    assert {"claim_c1.csv", "further_pooled.csv", "columns.csv", "forest.png", "triangle.png"} <= names
    assert (target / PAGE).read_text(encoding="utf-8") == report.to_html()
    assert (target / "forest.png").read_bytes()[:4] == b"\x89PNG"
    back = pd.read_csv(target / "measures.csv", keep_default_na=False, na_values=[""])
    assert len(back) == 78
    np.testing.assert_array_equal(back["fooling_reference"], study_rows(folder)["fooling_reference"])
    meanings = pd.read_csv(target / "columns.csv")
    assert set(meanings[meanings["table"] == "central"]["column"]) == set(report.tables["central"])
    again = study_from(json.loads((target / "study.json").read_text()))
    assert [trial.key for trial in again.trials] == [trial.key for trial in STUDY.trials]
    assert len(report.write(target)) == len(paths)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="which is a file; name a folder"):
        write_study_report(folder, tmp_path / "file")


def test_same_seed_same_page(folder, report, undrawn):
    steps = []
    again = study_report(folder, draws=100, progress=lambda *step: steps.append(step))
    pages = [re.sub(r'src="[^"]*"', "", one.html) for one in (again, report)]
    assert pages[0] == pages[1]
    assert steps == [(n, 5) for n in range(1, 6)]
    other = study_report(folder, draws=100, rng=1)
    assert not other.tables["central"]["gain_lower"].equals(report.tables["central"]["gain_lower"])


def test_too_few_networks_give_no_statistics_and_say_why(tmp_path, threads, undrawn):
    report = run(tmp_path, threads, planted, limit=4)
    assert report.statistics is None
    assert report.reason.startswith("A correlation needs at least 5 networks of one task and cell")
    text = words(report)
    assert report.reason in text
    assert "4 of 80 trials are" in text
    assert set(report.figures) == {"triangle.png", "along_training.png"}
    assert "pooled" not in report.tables
    report = run(tmp_path, threads, planted, limit=2)  # enough of the first block, not of the next
    assert report.statistics is not None
    assert set(report.tables["central"]["block"]) == {"digits / gru"}


def test_a_study_without_networks_or_outcomes_gives_a_page_too(tmp_path, threads, undrawn):
    empty = run(tmp_path / "empty", threads, hopeless)
    assert empty.claims == ()
    assert empty.reason == "No network is finished yet."
    assert "there is no verdict" in words(empty)
    assert "80 trials failed" in words(empty)
    assert empty.figures == {}
    toys = run(tmp_path / "toys", threads, cheap)
    assert "has no outcome" in toys.reason
    assert "No verdict: the networks have no clean_accuracy, fooling_reference" in words(toys)


def test_networks_without_trajectories_take_no_part_in_verdicts(tmp_path, threads, undrawn):
    report = run(tmp_path, threads, fed_forward)
    assert "40 networks without a Lyapunov exponent, kick or fooling rate take no part." in words(report)
    assert set(report.tables["claim_c1"]["cell"]) == {"gru", "all"}


def test_one_block_is_reported_as_it_is(tmp_path, threads, undrawn):
    grid = CONTENT["grid"] | {"task": "digits", "cell": "gru"}
    study = study_from(CONTENT | {"grid": grid})
    run_study(study, tmp_path, function=planted, executor=threads)
    report = study_report(tmp_path, draws=50)
    central = report.tables["central"]
    assert set(central["block"]) == {"digits / gru"}
    block = report.statistics.per_block.set_index(PAIR)["spearman"]
    for row in central.itertuples():
        np.testing.assert_equal(row.spearman, block[row.measure, row.outcome])
    assert report.tables["prediction"].empty


def test_seeds_alone_are_independent_networks(tmp_path, threads, undrawn):
    grid = {"task": "digits", "cell": ["gru", "tanh"], "seeds": 8}
    study = study_from({"name": "seeds", "grid": grid})
    run_study(study, tmp_path, function=planted, executor=threads)
    report = study_report(tmp_path, draws=50)
    assert report.statistics.clusters == 16
    assert report.tables["granulated"].empty
    assert report.tables["central"]["by_seed_lower"].isna().all()
    assert report.tables["central"]["spearman"].iloc[0] > 0.9


def test_curves_that_cannot_be_read_are_counted(tmp_path, threads, undrawn):
    run_study(STUDY, tmp_path, function=planted, executor=threads, limit=20)
    rows = study_rows(tmp_path)
    lost = rows[rows["normalisation"] == "none"]["key"].iloc[0]
    (tmp_path / "curves" / f"{lost}.npz").write_bytes(b"damaged")
    curves, missing = along_training(tmp_path, rows)
    assert missing == 1
    assert lost not in set(curves["key"])
    assert "1 network has no curves that can be read." in words(study_report(tmp_path, draws=20))


def test_the_command_names_a_study_of_the_package_or_its_values(report, folder):
    text = unescape(report.html)
    assert f"spectra study run study.toml --out {folder.name}" in text
    assert f"spectra study report {folder.name} --html report.html" in text
    assert '"seeds": 4' in text


def test_refusals(tmp_path, folder):
    with pytest.raises(ValueError, match="there is no study"):
        study_report(tmp_path)
    with pytest.raises(ValueError, match="draws is 0"):
        study_report(folder, draws=0)


def test_records_are_frozen(report):
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.html = ""
    assert repr(report) == str(report)


def test_in_a_browser_nothing_sticks_out_nothing_is_asked_for_and_tables_sort(report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(report.html, encoding="utf-8")
    with Browser() as browser:
        browser.open(path)
        browser.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        widths = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
        cells = "return [...table.tBodies[0].rows].map(row => row.cells[1].textContent)"
        table = "const table = document.querySelector('#found .sortable table'); "
        click = "table.querySelectorAll('thead button')[1].click(); "
        falling, rising = (browser.run(table + click + cells) for _ in range(2))
        assert browser.log("browser") == []
        assert browser.requests() == [path.as_uri()]
    assert widths == [390, 390]
    falling, rising = (
        [float(text.split()[0]) for text in order if text != "-"] for order in (falling, rising)
    )
    assert len(falling) == 7
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
