"""The operations that FastSpeech2's layers are made of.

Each file states its operation in plain PyTorch first and puts the faster way beside it.
`select.py` is the one place that says which of them runs.
"""

from fastspeech2.kernels.attention import attention
from fastspeech2.kernels.convolution import time_convolution
from fastspeech2.kernels.dropout import dropout
from fastspeech2.kernels.linear import linear

__all__ = ["attention", "dropout", "linear", "time_convolution"]
