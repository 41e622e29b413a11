"""One recurrent layer with a readout, in plain unrolled operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import parametrize

from rnn.networks.cell_kinds import CellKind, cell_kind
from rnn.networks.configurations import ModelConfig
from rnn.networks.initial_weights import drawn, linear_layer, recurrent_start
from rnn.networks.sequences import checked_sequences


class RecurrentClassifier(nn.Module):
    """One recurrent layer, read out after the last step of each sequence: logits = head(h_T).

    The cell is written out in plain operations, so that ``torch.func`` transforms work on it. Its parameters
    have the names, shapes and gate order of ``nn.RNN``, ``nn.GRU`` and ``nn.LSTM`` with one layer;
    ``weight_hh_l0`` is always the matrix W that is used, also where it is computed from others by
    ``torch.nn.utils.parametrize``.

    Parameters
    ----------
    config : ModelConfig
        With a recurrent `cell`; determines the weights. Biases start at 0, the LSTM's forget gate at 1.

    Attributes
    ----------
    drift : nn.Linear or None
        The matrix A of the Lipschitz cell; others have none.

    Raises
    ------
    ValueError
        If `config.cell` is not recurrent.

    Notes
    -----
    With u = U x + b, the state h becomes

    * "tanh": tanh(W h + u); "relu": max(0, W h + u), where W starts as gain I [1]_; "gru" and "lstm": as in
      torch.
    * "orthogonal": tanh(W h + u) with W orthogonal, W = B C(S) for a random orthogonal B and the Cayley
      transform C(S) of a skew matrix S. Papers on orthogonal networks use modReLU; with tanh the cells differ
      in the matrix alone.
    * "antisymmetric" [2]_: h + η tanh(W h + u), W = M − Mᵀ − γI.
    * "lipschitz" [3]_: h + η (A h + tanh(W h + u)), with A and W each of the form
      (1 − β)(M + Mᵀ) + β(M − Mᵀ) − γI.
    * "nnrnn" [4]_: tanh(W h + u), W = P Θ Pᵀ with P orthogonal and Θ block-triangular: rotations with scale
      on its diagonal, which hold the eigenvalues, and a free part below them, 0 at first. The paper uses
      modReLU and holds the scales near 1 by a penalty; here is none.

    For "antisymmetric" and "lipschitz" W is not what acts on the state. That is the state Jacobian, for
    D = diag(tanh'): I + η D W, and I + η (A + D W). `rnn.state_jacobians` gives it for every cell.

    Biases come twice (``bias_ih_l0``, ``bias_hh_l0``), as in torch. A constrained matrix is computed once for
    each call of the model, and once for each call of `step`.

    References
    ----------
    .. [1] Q. V. Le, N. Jaitly and G. E. Hinton, "A simple way to initialize recurrent networks of rectified
       linear units", arXiv:1504.00941, 2015.
    .. [2] B. Chang, M. Chen, E. Haber and E. H. Chi, "AntisymmetricRNN: a dynamical system view on recurrent
       neural networks", ICLR 2019.
    .. [3] N. B. Erichson et al., "Lipschitz recurrent neural networks", ICLR 2021.
    .. [4] G. Kerg et al., "Non-normal recurrent neural network (nnRNN): learning long time dependencies while
       improving expressivity with transient dynamics", NeurIPS 2019.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, kind = config, cell_kind(config.cell)
        rows, h = kind.gates * config.hidden, config.hidden
        random = torch.Generator().manual_seed(config.seed)
        self.weight_ih_l0 = drawn((rows, config.features), 1 / math.sqrt(config.features), random)
        self.weight_hh_l0 = recurrent_start(
            kind.gates, h, gain=config.gain, initialisation=config.initialisation, random=random
        )
        self.bias_ih_l0 = nn.Parameter(torch.zeros(rows))
        self.bias_hh_l0 = nn.Parameter(torch.zeros(rows))
        self.head = linear_layer(h, config.classes, 1 / math.sqrt(h), random)
        self.drift: nn.Linear | None = None
        if kind.initialise is not None:
            with torch.no_grad():
                kind.initialise(self, random)

    @property
    def kind(self) -> CellKind:
        """What its cell does."""
        return cell_kind(self.config.cell)

    @property
    def state_size(self) -> int:
        """Length s of the state: h, or 2h for the LSTM, whose state is (h, c) in one vector."""
        return self.config.hidden * self.kind.states

    def initial_state(self, batch: int) -> Tensor:
        """Give the state before the first step: zeros of shape (batch, s).

        Parameters
        ----------
        batch : int
            Number of sequences.

        Returns
        -------
        Tensor, shape (batch, s)
            On the device and in the precision of the weights.
        """
        return self.weight_ih_l0.new_zeros(batch, self.state_size)

    def step(self, x_t: Tensor, state: Tensor) -> Tensor:
        """Give the state after one step.

        Parameters
        ----------
        x_t : Tensor, shape (..., features)
            Input of this step.
        state : Tensor, shape (..., s)
            State before it.

        Returns
        -------
        Tensor, shape (..., s)
            State after it.
        """
        from_input = linear(x_t, self.weight_ih_l0, self.bias_ih_l0)
        from_hidden = linear(state[..., : self.config.hidden], self.weight_hh_l0, self.bias_hh_l0)
        found = self.kind.step(from_input, from_hidden, state)
        if self.config.eta is None:
            return found
        return state + self.config.eta * (found if self.drift is None else self.drift(state) + found)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Give the logits of whole sequences, of any number of steps.

        Parameters
        ----------
        x : Tensor, shape (N, T, features)
            The sequences.
        lengths : Tensor of int, shape (N,), optional
            How many frames of each belong to it, from the first on; all T without it. The others have no
            influence on any logit, whatever they hold.

        Returns
        -------
        Tensor, shape (N, classes), or (N, T, classes) with the readout "each"
            The logits. Behind the end of a sequence those after its last frame are repeated.
        """
        x, lengths = checked_sequences(x, lengths, self.config.features)
        state, states = self.initial_state(x.shape[0]), []
        with parametrize.cached():
            for t, x_t in enumerate(x.unbind(1)):
                after = self.step(x_t, state)
                state = after if lengths is None else torch.where((t < lengths)[:, None], after, state)
                states.append(state)
        read = state if self.config.readout == "last" else torch.stack(states, dim=1)
        return self.head(read[..., : self.config.hidden])
