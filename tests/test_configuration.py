import dataclasses
import itertools
import re

import pytest

from rnn.study import configuration
from rnn.study.configuration import read_study, shipped_studies, study_again, study_from
from rnn.study.toml_places import parsed
from rnn.study.trials import NUMBERS, Trial, plain_row, trial_from
from spectra import __version__

FULL = """\
name = "all keys"   # and a comment
description = "for a test"

[[grid]]
task = ["digits", "copy"]
cell = ["tanh", "gru",
        "lstm"]
hidden = 16
gain = [0.5, 1]
normalisation = ["none", "radius", "norm-during"]
target = [1.0, 0.9]
optimiser = "sgd"
learning_rate = 0.01
weight_decay = [0, 1e-3]
seeds = 2

[[grid]]
task = "digits"
cell = "gru"
seeds = [7]

[training]
epochs = 5
batch_size = 32
[training.copy]
epochs = 1
gradient_clip = 0

[tasks.copy]
steps = 5

[measures]
trajectories = 10

[attacks]
methods = ["fgsm", "pgd"]
budgets = { l2 = [1, 0.5], linf = 0.1 }
minimal = []
examples = 50
[attacks.copy]
budgets.linf = [0.2]

[audit]
share = 0.25
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="study.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_every_key_reaches_the_trials(written):
    study = read_study(written(FULL))
    # none has no target, the two normalisations have two each
    assert len(study.trials) == 2 * 3 * 2 * (1 + 2 * 2) * 2 * 2 + 1
    digits = next(trial for trial in study.trials if trial.task == "digits")
    copy = next(trial for trial in study.trials if trial.task == "copy")
    assert (digits.hidden, digits.gain, digits.optimiser, digits.learning_rate) == (16, 0.5, "sgd", 0.01)
    assert (digits.epochs, digits.batch_size, digits.gradient_clip) == (5, 32, 1.0)
    assert (copy.epochs, copy.batch_size, copy.gradient_clip) == (1, 32, 0.0)
    assert digits.budgets == (("linf", (0.1,)), ("l2", (0.5, 1.0)))
    assert copy.budgets == (("linf", (0.2,)),)
    assert (digits.options, copy.options) == ((), (("steps", 5),))
    assert (copy.methods, copy.minimal, copy.examples, copy.trajectories) == (("fgsm", "pgd"), (), 50, 10)
    assert {trial.seed for trial in study.trials} == {0, 1, 7}
    assert (study.name, study.description) == ("all keys", "for a test")
    assert repr(study) == f"Study 'all keys': {len(study.trials)} trials (2 tasks, 3 cells, 3 seeds)"


def test_the_grid_is_the_product_of_its_axes_seed_after_seed():
    axes = {"task": ["digits"], "cell": ["tanh", "gru"], "gain": [0.5, 2.0]}
    study = study_from({"name": "x", "grid": axes | {"seeds": 3}})
    expected = [
        (seed, *point) for seed in range(3) for point in itertools.product(axes["cell"], axes["gain"])
    ]
    assert [(trial.seed, trial.cell, trial.gain) for trial in study.trials] == expected


def test_grids_unite_and_a_trial_is_there_once():
    one = {"task": "digits", "cell": "gru", "seeds": 3}
    study = study_from({"name": "x", "grid": [one, one | {"cell": ["gru", "tanh"], "seeds": 2}]})
    assert len(study.trials) == 3 + 2
    assert [trial.seed for trial in study.trials] == [0, 0, 1, 1, 2]


def test_a_study_is_made_again_from_its_content(written, tmp_path):
    study = read_study(written(FULL))
    again = study_again(study.content)
    assert again.trials == study.trials
    moved = study_again(study.content, data_root=tmp_path)
    assert {trial.data_root for trial in moved.trials} == {str(tmp_path)}
    assert [trial.key for trial in moved.trials] == [trial.key for trial in study.trials]


def test_a_relative_data_root_is_beside_the_file(written, tmp_path):
    study = read_study(written('name = "x"\ndata_root = "data"\n[grid]\ntask = "digits"\ncell = "gru"\n'))
    assert study.trials[0].data_root == str(tmp_path / "data")


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Trial)])
def test_the_key_depends_on_everything_but_where_things_lie(field):
    trial = Trial("digits", "gru")
    others = {str: "other", int: 5, float: 0.125, bool: True, tuple: (("l1", (0.5,)),)}
    changed = dataclasses.replace(trial, **{field: others[type(getattr(trial, field))]})
    assert (changed.key == trial.key) == (field in {"data_root", "modules"})


def test_the_key_depends_on_the_version_of_the_numbers(monkeypatch):
    trial = Trial("digits", "gru")
    key = trial.key
    assert re.fullmatch("[0-9a-f]{64}", key)
    assert f'"numbers":{NUMBERS},' in trial.content
    assert f'"version":"{__version__}"' in trial.content
    monkeypatch.setattr("rnn.study.trials.NUMBERS", NUMBERS + 1)
    assert trial.key != key


def test_a_trial_comes_back_from_its_content():
    trial = Trial("copy", "gru", options=(("steps", 5),), budgets=(("l2", (0.5, 1.0)),), audited=True)
    assert trial_from(trial.content) == trial
    with pytest.raises(ValueError, match="made by version 9"):
        trial_from('{"task": "digits", "cell": "gru", "colour": 1, "version": "9"}')


def test_the_audit_takes_its_share_and_stays_with_it():
    grid = {"task": ["digits", "copy"], "cell": ["tanh", "gru"], "gain": [0.5, 1.0, 2.0], "seeds": 20}
    few = study_from({"name": "x", "grid": grid, "audit": {"share": 0.2}}).trials
    audited = [trial for trial in few if trial.audited]
    assert len(audited) == pytest.approx(0.2 * len(few), abs=0.03 * len(few))
    of_each = [
        sum(trial.audited for trial in few if (trial.task, trial.cell, trial.gain) == point)
        for point in itertools.product(grid["task"], grid["cell"], grid["gain"])
    ]
    assert min(of_each) >= 3
    assert max(of_each) <= 5
    more = study_from({"name": "x", "grid": grid | {"seeds": 25}, "audit": {"share": 0.3}}).trials
    assert {(t.task, t.cell, t.gain, t.seed) for t in audited} <= {
        (t.task, t.cell, t.gain, t.seed) for t in more if t.audited
    }
    assert not any(trial.audited for trial in study_from({"name": "x", "grid": grid}).trials)


SMALL = 'name = "x"\n[[grid]]\ntask = "digits"\ncell = "gru"\n'
GRID = "[[grid]]\ntask = 'digits'\ncell = 'gru'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SMALL.replace("gru", "gruu"),
            r'line 4, key grid.cell: "gruu" is unknown; did you mean "gru"\? expec',
        ),
        (SMALL + "hiden = 3\n", r"line 5, key grid.hiden: unknown key; did you mean \"hidden\"\?"),
        (SMALL + "hidden = 0\n", "line 5, key grid.hidden: hidden is 0; expected at least 1"),
        (SMALL + "gain = [1.0,\n -2]\n", "line 5, key grid.gain: gain is -2.0; expected a number > 0"),
        (SMALL + "seeds = []\n", "line 5, key grid.seeds: seeds is empty"),
        (SMALL + "seeds = -1\n", "key grid.seeds: seeds is -1; expected at least 1"),
        (
            SMALL + "learning_rate = 'fast'\n",
            "key grid.learning_rate: learning_rate is 'fast'; expected a real",
        ),
        (SMALL + "[training]\nepochs = -1\n", "line 6, key training.epochs: epochs is -1"),
        (SMALL + "[training.mnist]\n", r"line 5, key training.mnist: unknown key; .*\"digits\""),
        (
            SMALL + "[training.digits]\nepoch = 1\n",
            "line 6, key training.digits.epoch: unknown key; did you mean",
        ),
        (
            SMALL + "[attacks]\nmethods = ['pdg']\n",
            'line 6, key attacks.methods: "pdg" is unknown; did you mean',
        ),
        (SMALL + "[attacks]\nmethods = []\n", "methods is empty; expected at least one value"),
        (SMALL + "[attacks.budgets]\nl3 = [1]\n", 'line 5, key attacks.budgets: "l3" is unknown'),
        (SMALL + "[attacks]\nbudgets = [0.1]\n", "line 6, key attacks.budgets: .*expected a table of norms"),
        (
            SMALL + "[audit]\nshare = 2\n",
            "line 6, key audit.share: share is 2; expected a number from 0 to 1",
        ),
        (SMALL + "[tasks.digits]\na = [1]\n", "line 6, key tasks.digits.a: .* expected a number, a text"),
        (SMALL + "[tasks]\ndigits = 1\n", r"line 6, key tasks.digits: expected a table \[digits\], got 1"),
        (SMALL + "cell = 3\n", "cannot overwrite a value"),
        (
            SMALL.replace("'gru'", "3").replace('"gru"', "3"),
            "line 4, key grid.cell: cell is 3; expected one of",
        ),
        (
            "modules = ['no_such_module']\n" + SMALL,
            'line 1, key modules: "no_such_module" cannot be imported',
        ),
        ("modules = [3]\n" + SMALL, "modules is 3; expected a text"),
        (GRID, "study.toml: name is missing"),
        ('name = " "\n' + GRID, "line 1, key name: name is blank"),
        ("name = 3\n" + GRID, "line 1, key name: name is 3; expected a text"),
        ('name = "x"\n', "key grid: expected at least one table"),
        ('name = "x"\ngrid = 3\n', "line 2, key grid: expected at least one table"),
        ('name = "x"\n[grid]\ncell = "gru"\n', "line 2, key grid.task: task is missing"),
        (SMALL + "seeds = 100001\n", "line 5, key grid.seeds: seeds is 100001; expected at most 100000"),
        (SMALL + f"seeds = 1{'0' * 30}\n", "line 5, key grid.seeds: seeds is 10+; expected at most 100000"),
        (SMALL + f"hidden = 1{'0' * 30}\n", "line 5, key grid.hidden: hidden is 10+; expected at most"),
        (
            SMALL + "seeds = 400\nhidden = [" + ", ".join(map(str, range(1, 252))) + "]\n",
            "line 2, key grid: 100400 combinations; expected at most 100000",
        ),
        (
            'name = "x"\n' + 2 * (GRID + "seeds = 50001\n"),
            "line 6, key grid: 50001 combinations after the 50001 of the grids above; expected at most",
        ),
        ('name = "n # [n"\n' + GRID + "gain = -1\n", "line 5, key grid.gain: gain is -1.0"),
        (SMALL + "target = 0.9\n", "line 5, key grid.target: target is given without a normalisation"),
        (
            SMALL.replace("gru", "orthogonal") + 'normalisation = ["none", "norm-during"]\n',
            'line 5, key grid.normalisation: the cell "orthogonal" takes no normalisation',
        ),
        (
            SMALL + "[attacks]\nbudgets = { linf = [0.1, 0.10000001] }\n",
            "line 6, key attacks.budgets: budgets has linf 0.1 twice",
        ),
        ("a = " + "[" * 100_000, "study.toml: lists or tables are nested too deeply"),
        ('name = "x\n', "study.toml, line 1: no TOML"),
        ("name = [1,\n2", "study.toml, line 2, the last: no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(written, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_study(written(text))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("study.toml")


def test_a_module_that_ends_the_program_is_refused(written, tmp_path, monkeypatch):
    (tmp_path / "module_that_exits.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r'"module_that_exits" cannot be imported \(SystemExit: 3\)'):
        read_study(written('modules = ["module_that_exits"]\n' + SMALL))


def test_a_home_that_is_not_there_is_a_folder_like_others(written, tmp_path):
    study = read_study(written('data_root = "~no-such-user/x"\n' + SMALL))
    assert study.trials[0].data_root == str(tmp_path / "~no-such-user" / "x")


def test_plain_values_have_no_line():
    with pytest.raises(ValueError, match=r'^study, key grid\.cell: "x" is unknown; expected one of'):
        study_from({"name": "x", "grid": {"task": "digits", "cell": "x"}})


def test_text_that_is_no_utf8(tmp_path):
    (tmp_path / "a.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ValueError, match=r"a\.toml: no UTF-8 text"):
        read_study(tmp_path / "a.toml")


def test_shipped_studies_are_found_by_name_and_are_valid(monkeypatch, tmp_path):
    for name in shipped_studies():
        assert read_study(name).trials
    with pytest.raises(
        ValueError, match="study is 'no-such'; expected a TOML file, or a study that is shipped"
    ):
        read_study("no-such")
    monkeypatch.setattr(configuration, "SHIPPED", tmp_path)
    (tmp_path / "a_first_one.toml").write_text(SMALL)
    assert shipped_studies() == ("a-first-one",)
    assert read_study("a-first-one").name == "x"


def test_lines_of_keys_whatever_the_style():
    text = (
        'a = "x # [y]" # c = 1\n"b c".d = 3\nt = """\n[no]\nz = 1\n"""\n'
        "[p]\nq = [ # [[no]]\n 1,\n [2]]\n[[p.r]]\ns = { u = 1 }\n[[p.r]]\n[p.r.v]\nw = 'it''s'\n".replace(
            "'it''s'", "'s'"
        )
    )
    lines = parsed(text, "f")[1]
    assert lines == {
        ("a",): 1,
        ("b c", "d"): 2,
        ("t",): 3,
        ("p",): 7,
        ("p", "q"): 8,
        ("p", "r"): 13,
        ("p", "r", 0): 11,
        ("p", "r", 0, "s"): 12,
        ("p", "r", 1): 13,
        ("p", "r", 1, "v"): 14,
        ("p", "r", 1, "v", "w"): 15,
    }
    assert parsed(text.replace("\n", "\r\n"), "f")[1] == lines


def test_rows_hold_plain_values():
    with pytest.raises(ValueError, match="row holds 'seed', which stands beside it"):
        plain_row({"seed": 1})
    with pytest.raises(ValueError, match="row holds 'key'"):
        plain_row({"key": "a"})
