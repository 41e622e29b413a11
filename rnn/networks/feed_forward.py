"""The feed-forward net, the family without recurrence."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rnn.networks.cell_kinds import FEEDFORWARD
from rnn.networks.configurations import ModelConfig
from rnn.networks.initial_weights import linear_layer
from rnn.networks.sequences import checked_sequences
from spectra.checks import one_of


class FeedForward(nn.Module):
    """Two hidden layers over the flattened sequence: logits = head(relu(hidden(relu(embed(x))))).

    `hidden` is square and stands where the recurrent matrix stands in the other families.

    Parameters
    ----------
    config : ModelConfig
        With `cell` "feedforward"; determines the weights. Biases start at 0.

    Raises
    ------
    ValueError
        If `config.cell` is recurrent.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        one_of(config.cell, "cell", (FEEDFORWARD,))
        self.config = config
        inputs, h = config.steps * config.features, config.hidden
        random = torch.Generator().manual_seed(config.seed)
        self.embed = linear_layer(inputs, h, math.sqrt(2 / inputs), random)
        self.hidden = linear_layer(h, h, config.gain / math.sqrt(h), random)
        self.head = linear_layer(h, config.classes, 1 / math.sqrt(h), random)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Give the logits of whole sequences.

        Parameters
        ----------
        x : Tensor, shape (N, steps, features)
            The sequences.
        lengths : Tensor of int, shape (N,), optional
            How many frames of each belong to it; the others count as 0.

        Returns
        -------
        Tensor, shape (N, classes)
            The logits.

        Raises
        ------
        ValueError
            If the number of steps is not that of the configuration.
        """
        x, _ = checked_sequences(x, lengths, self.config.features)
        if x.shape[1] != self.config.steps:
            raise ValueError(
                f"x has {x.shape[1]} steps; this feed-forward model was built for {self.config.steps}"
            )
        return self.head(self.hidden(self.embed(x.flatten(1)).relu()).relu())
