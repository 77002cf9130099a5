"""Mel-cepstral distortion of a model in training, on a few validation sentences."""

from collections.abc import Callable

import torch
from torch import nn

from evaluation.metrics.distances import cepstral_path, mcd
from evaluation.metrics.mel_cepstra import mel_cepstra
from fastspeech2.settings import TrainingSettings
from fastspeech2.synthesis.synthesiser import synthesiser_of
from hifigan import load_vocoder
from preprocessing.features.store import FeatureStore, natural_waveform


def validation_mcd(config: TrainingSettings) -> Callable[[nn.Module], float]:
    """Make a function that returns the mean mel-cepstral distortion in dB of a FastSpeech2 model.

    It synthesises the first `selection.utterances` sentences of the validation split from their
    phones alone, vocodes them and compares them with their recordings as stage 6 does. The
    variance of the mels is compensated if the configuration says so for the model. The function
    leaves the model in evaluation mode.
    """
    store, vocoder = FeatureStore(config.paths.features), load_vocoder(config.vocoder)
    chosen = store.split("validation")[: config.selection.utterances]
    segments = [store.segment(i) for i in chosen]
    references = [mel_cepstra(natural_waveform(segment)) for segment in segments]

    @torch.inference_mode()
    def measure(model: nn.Module) -> float:
        synthesiser = synthesiser_of(model, store, config.model.variance_compensation)
        distortions = []
        for reference, segment in zip(references, segments, strict=True):
            mel = synthesiser.synthesise([segment.phones])[0].mel.float().cpu()
            spoken = mel_cepstra(vocoder([mel])[0].numpy())
            path = cepstral_path(reference, spoken)
            distortions.append(mcd(reference[path[:, 0]], spoken[path[:, 1]]))
        return sum(distortions) / len(distortions)

    return measure
