import numpy as np
import pytest
import torch
from torch import nn

from rnn.examination import diagnose
from rnn.network_dynamics import examined


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
    found = examined(model, torch.randn(10, 4), epsilon=0.1, quick=True)
    assert found.dynamics == ()
    assert found.local_lipschitz.largest <= found.lipschitz.bound
    assert found.lipschitz.certified
    texts = [finding.text for finding in found.findings]
    assert any("no dynamics" in text for text in texts)
    assert any("Lipschitz constant between" in text for text in texts)


def test_without_network_or_data_nothing_is_examined():
    assert examined(None, None, epsilon=0.1, quick=False).dynamics == ()
    assert examined(nn.Linear(2, 2), None, epsilon=0.1, quick=True).lipschitz is None
    assert examined(nn.Linear(2, 2), None, epsilon=0.1, quick=False).lipschitz is not None


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0]


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 5, 3, 1)])
def test_data_that_do_not_fit_are_refused_in_one_line(shape):
    with pytest.raises(ValueError, match="data cannot be run through the network") as caught:
        diagnose(Reader(), data=torch.zeros(shape), quick=True)
    assert "\n" not in str(caught.value)


def test_data_need_a_network():
    state = nn.GRU(3, 4).state_dict()
    with pytest.raises(ValueError, match="data need a network"):
        diagnose(state, data=torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="model is only used with data"):
        diagnose(state, model=nn.GRU(3, 4))
    found = diagnose(state, data=torch.zeros(1, 2, 3), model=nn.GRU(3, 4, batch_first=True), quick=True)
    assert len(found.dynamics) == 1


def test_what_cannot_be_examined_is_a_finding():
    layer = nn.GRU(3, 4, batch_first=True)
    with torch.no_grad():
        layer.weight_hh_l0.fill_(np.nan)
    net = nn.Sequential(layer)
    with pytest.raises(ValueError, match="NaN"):
        diagnose(net, data=torch.zeros(1, 2, 3), quick=True)
