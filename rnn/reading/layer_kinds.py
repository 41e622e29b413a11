"""What the tensor `weight` of a layer is, by the name of the layer's class."""

from __future__ import annotations

import re

KINDS = {
    "torch.nn.modules.linear.Linear": "linear",
    "torch.nn.modules.linear.NonDynamicallyQuantizableLinear": "linear",
    "torch.ao.nn.quantized.modules.linear.Linear": "linear",
    "torch.ao.nn.quantized.dynamic.modules.linear.Linear": "linear",
    "torch.nn.quantized.modules.linear.Linear": "linear",
    "torch.nn.quantized.dynamic.modules.linear.Linear": "linear",
    "bitsandbytes.nn.modules.Linear8bitLt": "linear",
    "transformers.pytorch_utils.Conv1D": "transposed linear",
    "transformers.modeling_utils.Conv1D": "transposed linear",
    "torch.nn.modules.sparse.Embedding": "embedding",
    "torch.nn.modules.sparse.EmbeddingBag": "embedding",
    "torch.nn.modules.conv._ConvNd": "convolution",
    "torch.nn.modules.conv.Conv1d": "convolution",
    "torch.nn.modules.conv.Conv2d": "convolution",
    "torch.nn.modules.conv.Conv3d": "convolution",
    "torch.nn.modules.conv._ConvTransposeNd": "transposed convolution",
    "torch.nn.modules.conv.ConvTranspose1d": "transposed convolution",
    "torch.nn.modules.conv.ConvTranspose2d": "transposed convolution",
    "torch.nn.modules.conv.ConvTranspose3d": "transposed convolution",
    "torch.nn.modules.linear.Bilinear": "! a bilinear form is no matrix",
    "torch.nn.modules.normalization.LayerNorm": "scale",
    "torch.nn.modules.normalization.GroupNorm": "scale",
    "torch.nn.modules.normalization.RMSNorm": "scale",
    "torch.nn.modules.batchnorm._NormBase": "scale",
    "torch.nn.modules.batchnorm.BatchNorm1d": "scale",
    "torch.nn.modules.batchnorm.BatchNorm2d": "scale",
    "torch.nn.modules.batchnorm.BatchNorm3d": "scale",
    "torch.nn.modules.batchnorm.SyncBatchNorm": "scale",
    "torch.nn.modules.instancenorm.InstanceNorm1d": "scale",
    "torch.nn.modules.instancenorm.InstanceNorm2d": "scale",
    "torch.nn.modules.instancenorm.InstanceNorm3d": "scale",
}

_TORCHSCRIPT = re.compile(r"^__torch__\.|___torch_mangle_\d+\.")


def kind_of_class(layer: type, *, groups: int = 1) -> str:
    """Give the kind of ``weight`` in the layers of a class, from the first of its bases that is known.

    Parameters
    ----------
    layer : type
        The class.
    groups : int
        Groups of a convolution.

    Returns
    -------
    str
        One of the kinds of `rnn.reading.tensors.Tensors`, "" if none of the bases is known.

    Examples
    --------
    >>> import torch
    >>> kind_of_class(torch.nn.Conv2d)
    'convolution'
    """
    known = (kind_of_name(f"{base.__module__}.{base.__qualname__}", groups=groups) for base in layer.__mro__)
    return next((kind for kind in known if kind), "")


def kind_of_name(name: str, *, groups: int = 1) -> str:
    """Give the kind of ``weight`` in the layers of a class that a file names.

    Parameters
    ----------
    name : str
        Module and class, with or without the marks of TorchScript.
    groups : int
        Groups of a convolution.

    Returns
    -------
    str
        One of the kinds of `rnn.reading.tensors.Tensors`, "" if the class is not known.

    Examples
    --------
    >>> kind_of_name("__torch__.torch.nn.modules.linear.___torch_mangle_3.Linear")
    'linear'
    """
    kind = KINDS.get(_TORCHSCRIPT.sub("", name), "")
    if kind == "transposed convolution" and groups > 1:
        return "! a transposed convolution in groups is not read yet"
    return kind
