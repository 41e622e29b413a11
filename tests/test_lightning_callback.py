"""A real Trainer measures, logs at the right steps, and trains as without the callback."""

import csv
import importlib
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from rnn.watching.lightning_adapter import lightning_callback
from spectra.errors import UnsupportedModelError

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own

ALWAYS = 1e12


@pytest.fixture(scope="module", params=["lightning.pytorch", "pytorch_lightning"])
def package(request):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("lightning", "pytorch_lightning"):  # only one of them is in use
            if not request.param.startswith(name):
                for module in [one for one in sys.modules if one.partition(".")[0] == name]:
                    patch.delitem(sys.modules, module)
        yield pytest.importorskip(request.param)


def fitted(package, tmp_path, *, callbacks, logger=False, net=None, **options):
    class Module(package.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net or nn.GRU(2, 3, batch_first=True)

        def training_step(self, batch, batch_idx):
            out = self.net(batch)
            return ((out[0] if isinstance(out, tuple) else out) - 1).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.5)

    torch.manual_seed(0)
    module = Module()
    batches = torch.utils.data.DataLoader(torch.randn(12, 5, 2), batch_size=2)
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = package.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=callbacks,
        logger=logger,
        default_root_dir=tmp_path,
        **quiet,
        **options,
    )
    trainer.fit(module, batches)
    return module


def test_it_measures_after_the_optimiser_steps_and_leaves_no_files(package, tmp_path) -> None:
    callback = lightning_callback(every=5, share=ALWAYS, at_start=True)
    assert isinstance(callback, package.Callback)
    module = fitted(package, tmp_path, callbacks=[callback])
    record = callback.measurements.record
    assert list(record.steps) == [0, 5, 10]
    assert list(record.matrices) == [f"net.weight_hh_l0[{gate}]" for gate in "rzn"]
    assert len(np.unique(record.values[:, 2, 0])) == 3
    assert list(tmp_path.iterdir()) == []
    assert module.net.weight_hh_l0.requires_grad


def test_the_training_is_the_same_to_the_last_bit(package, tmp_path) -> None:
    one = fitted(package, tmp_path, callbacks=[])
    state = torch.get_rng_state()
    other = fitted(package, tmp_path, callbacks=[lightning_callback(every=1, share=ALWAYS, at_start=True)])
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


def test_steps_are_those_of_the_optimiser_where_gradients_are_accumulated(package, tmp_path) -> None:
    callback = lightning_callback(every=1, share=ALWAYS)
    fitted(package, tmp_path, callbacks=[callback], accumulate_grad_batches=3)
    assert list(callback.measurements.record.steps) == [1, 2, 3, 4]  # 2 epochs of 6 batches


def test_loggers_and_other_places_get_the_numbers(package, tmp_path) -> None:
    loggers = importlib.import_module(f"{package.__name__}.loggers")
    logger, seen = loggers.CSVLogger(tmp_path), []
    callback = lightning_callback(
        every=5, share=ALWAYS, to=lambda step, numbers: seen.append((step, numbers))
    )
    fitted(package, tmp_path, callbacks=[callback], logger=logger)
    record = callback.measurements.record
    with open(next(tmp_path.rglob("metrics.csv")), newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("spectra/net.weight_hh_l0[n]/spectral_radius")]
    assert [int(row["step"]) for row in rows] == list(record.steps) == [5, 10]
    logged = [float(row["spectra/net.weight_hh_l0[n]/spectral_radius"]) for row in rows]
    np.testing.assert_allclose(logged, record.values[:, 2, 0], rtol=1e-12)
    assert [step for step, _ in seen] == [5, 10]
    assert seen[0][1]["net.weight_hh_l0[n]/spectral_radius"] == record.values[0, 2, 0]


def test_infinite_values_are_not_logged_but_kept(package, tmp_path) -> None:
    class Logger(importlib.import_module(f"{package.__name__}.loggers").Logger):
        name, version = "list", 0
        rows: list = []  # noqa: RUF012

        def log_hyperparams(self, *_, **__):
            pass

        def log_metrics(self, metrics, step):
            self.rows.append((step, dict(metrics)))

    net = nn.RNN(2, 2, batch_first=True)
    with torch.no_grad():
        net.weight_hh_l0.copy_(3 * torch.eye(2))
    callback = lightning_callback(measures=["kreiss_constant", "spectral_norm"], at_start=True)
    fitted(package, tmp_path, callbacks=[callback], logger=Logger(), net=net)
    assert callback.measurements.record.values[0, 0, 0] == np.inf
    assert Logger.rows[0] == (0, {"spectra/net.weight_hh_l0/spectral_norm": 3.0})


def test_a_fit_without_a_recurrent_matrix_says_so_before_it_trains(package, tmp_path) -> None:
    with pytest.raises(UnsupportedModelError, match="no recurrent matrix"):
        fitted(package, tmp_path, callbacks=[lightning_callback()], net=nn.Linear(2, 3))


def test_other_processes_of_a_distributed_training_do_not_measure(package) -> None:
    callback = lightning_callback()
    trainer = types.SimpleNamespace(is_global_zero=False, global_step=7, loggers=[])
    callback.on_train_start(trainer, nn.GRU(2, 3))
    callback.on_train_batch_end(trainer, None, None, None, 0)
    assert callback.measurements is None


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"every": 0}, ValueError, "every is 0"),
        ({"share": -1}, ValueError, "share is -1"),
        ({"measures": ["norm"]}, ValueError, "measures holds 'norm'"),
        ({"epsilon": 0}, ValueError, "epsilon is 0"),
        ({"dynamics": "both"}, ValueError, "dynamics is 'both'"),
        ({"to": 3}, TypeError, "to is a int"),
    ],
)
def test_refusals(options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lightning_callback(**options)


def test_without_lightning_it_says_what_to_install(monkeypatch) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] in {"lightning", "pytorch_lightning"}]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("lightning", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    with pytest.raises(
        ModuleNotFoundError, match="needs lightning, not installed here: pip install lightning"
    ):
        lightning_callback()


def test_a_broken_installation_is_not_called_a_missing_one(monkeypatch) -> None:
    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torchmetrics'", name="torchmetrics")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="torchmetrics"):
        lightning_callback()


def test_the_room_imports_no_lightning() -> None:
    script = "import sys, rnn.watching.lightning_adapter; print([n for n in sys.modules if 'lightning' in n])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['rnn.watching.lightning_adapter']"
