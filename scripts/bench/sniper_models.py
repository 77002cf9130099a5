"""Models on which the cost of sparse training is measured, from a perceptron to `espnet`.

Each function returns a model with random weights and a function that computes its loss on a fixed
random batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from evaluation.settings import Settings
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.training.loss import fastspeech2_loss
from pipeline.configuration import compose

VOCABULARY, MELS = 80, 80
# A minibatch of the recipe `ljspeech` has 9,000 frames. That recipe accumulates eight of them for
# an update, where masks cost less than here: two of their three passes happen once an update.
UTTERANCES, PHONES, FRAMES_PER_PHONE = 16, 70, 8

Case = tuple[nn.Module, Callable[[nn.Module], Tensor]]


def _classification(model: nn.Module, x: Tensor, classes: int) -> Case:
    y = torch.randint(classes, (len(x),), generator=torch.Generator().manual_seed(2))
    return model, lambda m: nn.functional.cross_entropy(m(x), y)


def perceptron() -> Case:
    """Three linear layers, 64 inputs, batch 64: the network of recipes/digits."""
    sizes = (64, 128, 128, 10)
    layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    return _classification(model, torch.randn(64, 64), 10)


class _Residual(nn.Module):
    """A block of layers, beside which its input is passed on where the shapes agree."""

    def __init__(self, layers: list[nn.Module], shortcut: nn.Module | None) -> None:
        super().__init__()
        self.layers, self.shortcut = nn.Sequential(*layers), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return y if self.shortcut is None else y + self.shortcut(x)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def resnet18() -> Case:
    """ResNet-18 (He et al. 2015, arXiv 1512.03385) on 16 images of 32×32."""
    layers = [*_conv(3, 64, 3), nn.ReLU()]
    channels = 64
    for width, stride in (
        (64, 1),
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
    ):
        block = [*_conv(channels, width, 3, stride), nn.ReLU(), *_conv(width, width, 3)]
        same = stride == 1 and channels == width
        shortcut = nn.Identity() if same else nn.Sequential(*_conv(channels, width, 1, stride))
        layers += [_Residual(block, shortcut), nn.ReLU()]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return _classification(nn.Sequential(*layers), torch.randn(16, 3, 32, 32), 10)


class _Gate(nn.Module):
    """Squeeze and excitation: each channel is scaled by what its mean and the others' say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = (channels // 4 + 7) // 8 * 8
        self.layers = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), nn.ReLU()),
            *(nn.Conv2d(inner, channels, 1), nn.Hardsigmoid()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x)


# Kernel, expanded and output channels, gate, h-swish rather than ReLU, stride.
MOBILENET = (
    (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
)  # fmt: skip


def mobilenet() -> Case:
    """MobileNetV3-small (Howard et al. 2019, arXiv 1905.02244, table 2) on 16 images of 64×64."""
    layers, channels = [*_conv(3, 16, 3, 2), nn.Hardswish()], 16
    for kernel, width, outputs, gate, swish, stride in MOBILENET:
        act = nn.Hardswish if swish else nn.ReLU
        block = [*_conv(channels, width, 1), act()] if width != channels else []
        block += [*_conv(width, width, kernel, stride, groups=width), act()]
        block += [_Gate(width)] if gate else []
        block += _conv(width, outputs, 1)
        same = stride == 1 and channels == outputs
        layers.append(_Residual(block, nn.Identity() if same else None))
        channels = outputs
    layers += [*_conv(96, 576, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [nn.Linear(576, 1024), nn.Hardswish(), nn.Linear(1024, 1000)]
    return _classification(nn.Sequential(*layers), torch.randn(16, 3, 64, 64), 1000)


class _Bert(nn.Module):
    """A transformer encoder that predicts its tokens, as BERT does."""

    def __init__(self, tokens: int, channels: int, layers: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(tokens, channels), nn.Embedding(64, channels)
        layer = nn.TransformerEncoderLayer(channels, 2, 4 * channels, 0.1, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(channels, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.tokens(tokens) + self.places.weight)).flatten(0, 1)


def bert() -> Case:
    """A BERT of 6 layers and 128 channels (Devlin et al. 2018), on 8 sequences of 64 tokens."""
    tokens = torch.randint(1000, (8, 64))
    loss = nn.functional.cross_entropy
    return _Bert(1000, 128, 6), lambda m: loss(m(tokens), tokens.flatten())


def loss_fn(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The loss of FastSpeech2 on a batch of tensors by name."""
    inputs = [batch[k] for k in ("phones", "phone_lengths", "durations", "pitch", "energy")]
    targets = [batch[k] for k in ("mel", "durations", "pitch", "energy", "phone_lengths")]
    return fastspeech2_loss(model(*inputs), *targets).total


def espnet() -> Case:
    """The `espnet` model of conf/model/, on 16 random utterances of 560 frames."""
    model = FastSpeech2(compose(Settings, ["model=espnet"]).model, VOCABULARY, MELS)
    generator = torch.Generator().manual_seed(1)
    shape = (UTTERANCES, PHONES)
    phones = torch.randint(1, VOCABULARY, shape, generator=generator)
    lengths = torch.full((UTTERANCES,), PHONES)
    durations = torch.full(shape, FRAMES_PER_PHONE)
    pitch, energy = (torch.randn(shape, generator=generator) for _ in range(2))
    mel = torch.randn(UTTERANCES, PHONES * FRAMES_PER_PHONE, MELS, generator=generator)

    batch = {"phones": phones, "phone_lengths": lengths, "durations": durations}
    batch |= {"pitch": pitch, "energy": energy, "mel": mel}
    return model, lambda m: loss_fn(m, batch)


MODELS: dict[str, Callable[[], Case]] = {
    "perceptron": perceptron,
    "mobilenet": mobilenet,
    "bert": bert,
    "resnet18": resnet18,
    "espnet": espnet,
}
