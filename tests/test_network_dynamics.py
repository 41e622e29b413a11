import numpy as np
import pytest
import torch
from torch import nn

from rnn.examination import diagnose
from rnn.motion.network_dynamics import examined, subject


def looked_at(model, data, *, quick):
    return examined(subject(model, data, quick=quick), epsilon=0.1, quick=quick)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 4)
        self.rnn = nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 3)

    def forward(self, ids):
        return self.head(self.rnn(self.embedding(ids))[0][:, -1])


def test_every_layer_and_direction_is_examined_on_data():
    found = diagnose(Tagger(), data=torch.randint(20, (4, 6)), quick=True)
    names = [layer.name for layer in found.dynamics]
    assert names == ["rnn.l0", "rnn.l0_reverse", "rnn.l1", "rnn.l1_reverse"]
    assert found.local_lipschitz is None  # of words there is no Jacobian
    assert found.lipschitz is not None
    assert {layer.states for layer in found.dynamics} == {10}
    assert "dynamics on data" in found.seconds


def test_the_norm_on_data_is_below_the_bound():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    found = looked_at(model, torch.randn(10, 4), quick=True)
    assert found.dynamics == ()
    assert found.local_lipschitz.largest <= found.lipschitz.bound
    assert found.lipschitz.certified
    texts = [finding.text for finding in found.findings]
    assert any("no dynamics" in text for text in texts)
    assert any("Lipschitz constant between" in text for text in texts)


def test_without_network_or_data_nothing_is_examined():
    assert looked_at(None, None, quick=False).dynamics == ()
    assert looked_at(nn.Linear(2, 2), None, quick=True).lipschitz is None
    assert looked_at(nn.Linear(2, 2), None, quick=False).lipschitz is not None


def test_a_close_bound_passes_and_a_coarse_one_vouches_for_nothing():
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    close = looked_at(nn.Linear(4, 2), x, quick=True).findings[-1]
    assert close.level == "pass"
    assert "No perturbation of the input of norm d moves the output by more than" in close.text
    coarse = looked_at(nn.LayerNorm(4, eps=1e-9), x, quick=True).findings[-1]
    assert coarse.level == "notice"
    assert "too coarse to vouch for anything" in coarse.text


def test_examples_that_influence_each_other_have_a_bound_but_no_jacobian():
    model = nn.RNN(3, 4)  # time on the first axis
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(0.1)
    found = looked_at(model, torch.randn(5, 2, 3), quick=True)
    assert found.lipschitz.certified
    assert found.local_lipschitz is None
    assert any("no Jacobian on data: the outputs of one example" in one.text for one in found.findings)


@pytest.mark.parametrize(
    ("model", "data", "quick", "matrices", "layers"),
    [
        (Tagger(), torch.randint(20, (4, 6)), True, 1 + 4 * 8 + 1, 4),
        (nn.RNN(2, 3, batch_first=True), torch.ones(4, 6, 2), False, 2, 1),
    ],
)
def test_progress_counts_matrices_layers_and_the_network(model, data, quick, matrices, layers):
    seen = []
    diagnose(model, data=data, quick=quick, progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {matrices + layers * 10 + 1}
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    assert len({done for done, _ in seen if done > matrices}) >= layers * 7  # within a layer as well


def test_data_are_tried_before_anything_that_takes_long():
    seen = []
    with pytest.raises(ValueError, match="data cannot be run"):
        diagnose(Reader(), data=torch.zeros(2, 5, 7), progress=lambda *numbers: seen.append(numbers))
    assert seen == []


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0]


@pytest.mark.parametrize(
    "data", [torch.zeros(2, 5, 7), torch.zeros(2, 5, 3, 1), "words", {"y": torch.zeros(2, 5, 3)}]
)
def test_data_that_do_not_fit_are_refused_in_one_line(data):
    with pytest.raises(ValueError, match="data cannot be run through the network") as caught:
        diagnose(Reader(), data=data, quick=True)
    assert "\n" not in str(caught.value)


def test_data_need_a_network():
    state = nn.GRU(3, 4).state_dict()
    with pytest.raises(ValueError, match="data need a network"):
        diagnose(state, data=torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="model is only used with data"):
        diagnose(state, model=nn.GRU(3, 4))
    model = nn.GRU(3, 4, batch_first=True)
    found = diagnose(model.half().state_dict(), data=torch.zeros(1, 2, 3), model=model.float(), quick=True)
    assert len(found.dynamics) == 1
    assert not any("model" in finding.text for finding in found.findings)


def test_a_model_with_other_weights_than_the_source_is_a_finding():
    model, data = nn.GRU(3, 4, batch_first=True), torch.zeros(1, 2, 3)
    other = {name: value + 1 for name, value in model.state_dict().items()}
    found = diagnose(other, data=data, model=model, quick=True)
    assert sum("differs from that of the model" in finding.text for finding in found.findings) == 6
    named = {f"encoder.{name}": value for name, value in other.items()}
    found = diagnose(named, data=data, model=model, quick=True)
    assert any("share no name of a matrix" in finding.text for finding in found.findings)


def test_what_cannot_be_examined_is_a_finding():
    layer = nn.GRU(3, 4, batch_first=True)
    with torch.no_grad():
        layer.weight_hh_l0.fill_(np.nan)
    net = nn.Sequential(layer)
    with pytest.raises(ValueError, match="NaN"):
        diagnose(net, data=torch.zeros(1, 2, 3), quick=True)


@pytest.mark.parametrize("error", [AssertionError, StopIteration, ZeroDivisionError, KeyError("a")])
def test_whatever_a_forward_raises_is_told_in_one_line(error):
    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 2, batch_first=True)

        def forward(self, x):
            raise error

    name = type(error).__name__ if isinstance(error, KeyError) else error.__name__
    with pytest.raises(ValueError, match=rf"cannot be run through the network \({name}"):
        diagnose(Raises(), data=torch.ones(2, 4, 3), quick=True)
