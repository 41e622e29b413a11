"""State Jacobians along the trajectories of a recurrent network, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import jacrev, vmap

from rnn.motion.drives import Drive, recorded_drives
from spectra.errors import UnsupportedModelError
from spectra.threads import Progress

Floats = NDArray[np.float64]

_AT_ONCE = 2**21  # entries computed at once: 16 MB, and some ten times as much on the way


def state_jacobians(model: nn.Module | Drive, x: Any = None) -> Floats:
    """Give the state Jacobians J_t = ∂s_{t+1}/∂s_t along the trajectories of a set of sequences.

    Parameters
    ----------
    model : nn.Module or Drive
        A module with the methods `initial_state` and `step`, a network with one of torch's recurrent layers
        in one direction, or one of `recorded_drives`.
    x : Tensor, shape (N, T, F)
        Input sequences, or whatever the network takes; None for a drive.

    Returns
    -------
    ndarray of float64, shape (N, T, s, s)
        ``J[n, t]`` leads from the state before step t of sequence n to the one after it, so that
        ``J[n, t] @ ... @ J[n, 0]`` is the derivative of the state after step t by the first one. After the
        end of a packed sequence its state stays, and J is the identity.

    Raises
    ------
    UnsupportedModelError
        If the model ran no recurrent layer, or more than one.
    ValueError
        If x does not fit, is given beside a drive, or a Jacobian is not finite.

    Notes
    -----
    Reverse-mode differentiation, s backward passes for each step, many steps at once: of a GRU about 6 N T s³
    operations. The result takes 8 N T s² bytes, everything else some 200 MB at most.

    Examples
    --------
    >>> layer = nn.RNN(3, 4, batch_first=True)
    >>> x = torch.ones(2, 5, 3)
    >>> J, h = state_jacobians(layer, x), one_drive(layer, x).states
    >>> bool(np.allclose(J[1, 2], (1 - h[1, 2, :, None] ** 2) * layer.weight_hh_l0.detach()))
    True
    """
    drive = one_drive(model, x)
    count, steps, size = drive.states.shape
    found = np.empty((count, steps, size, size))
    for part, step, J in jacobian_blocks(drive):
        found[part, step] = J
    return found


def one_drive(model: nn.Module | Drive, x: Any = None) -> Drive:
    """Give the drive of a network with one recurrent layer in one direction, or the one that was passed.

    Parameters
    ----------
    model : nn.Module or Drive
        The network, or a drive.
    x : Tensor, tuple or mapping
        What the network takes; None for a drive.

    Returns
    -------
    Drive
        The drive.

    Raises
    ------
    UnsupportedModelError
        If the network ran more than one recurrent layer or direction, or none.
    ValueError
        If `x` is given beside a drive, or missing beside a network.
    """
    if isinstance(model, Drive):
        if x is not None:
            raise ValueError("x is given beside a drive, which holds its sequences; leave it out")
        return model
    if x is None:
        raise ValueError("x is missing; pass the sequences that the model is to run on, or a drive")
    drives = recorded_drives(model, x)
    number = len(drives) + len(drives.unrecognised)
    if number != 1:
        names = ", ".join([drive.name for drive in drives] + [name for name, _ in drives.unrecognised])
        raise UnsupportedModelError(
            f"model ({type(model).__name__}) has {number} recurrent layers and directions ({names}); "
            "expected one: choose from rnn.recorded_drives(model, x)"
        )
    return drives[0]


def jacobian_blocks(
    drive: Drive, *, backwards: bool = False, progress: Progress | None = None
) -> Iterator[tuple[slice, int, Floats]]:
    """Give the state Jacobians along trajectories piece by piece, in bounded memory.

    Parameters
    ----------
    drive : Drive
        The trajectories.
    backwards : bool, optional
        Whether to go from the last step to the first.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of pieces, once what is yielded has been used.

    Yields
    ------
    part : slice
        Which trajectories: a portion of them goes through all its steps before the next one comes.
    step : int
        Which step.
    J : ndarray of float64, shape (portion, s, s)
        Their Jacobians; the identity behind the end of a sequence.

    Raises
    ------
    ValueError
        If a Jacobian is not finite.
    """
    count, steps, size = drive.states.shape
    portion = max(1, min(count, _AT_ONCE // size**2))
    width = max(1, _AT_ONCE // (portion * size**2))
    before, taken = drive.before, drive.taken
    derivative = vmap(jacrev(drive.cell.step, argnums=1))
    done, total = 0, -(-count // portion) * steps
    for start in range(0, count, portion):
        part = slice(start, min(start + portion, count))
        blocks = [slice(first, min(first + width, steps)) for first in range(0, steps, width)]
        for block in reversed(blocks) if backwards else blocks:
            at = drive.inputs[part, block].flatten(0, 1), before[part, block].flatten(0, 1)
            with torch.no_grad():
                J = derivative(*at).unflatten(0, (part.stop - part.start, -1))
            J = torch.where(taken[part, block, None, None], J, torch.eye(size).to(J))
            if not J.isfinite().all():
                raise ValueError(f"a state Jacobian of {drive.name} is NaN or infinite; look at its states")
            found = J.cpu().numpy()
            order = range(block.start, block.stop)
            for step in reversed(order) if backwards else order:
                yield part, step, found[:, step - block.start]
                done += 1
                if progress is not None:
                    progress(done, total)
