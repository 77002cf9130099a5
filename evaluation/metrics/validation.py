"""How far a model in training is from the recordings, by a few sentences that it speaks."""

from collections.abc import Callable

import torch
from omegaconf import DictConfig
from torch import nn

from evaluation.metrics.distances import cepstral_path, mcd
from evaluation.metrics.mel_cepstra import mel_cepstra
from fastspeech2.synthesis.synthesiser import synthesiser_of
from hifigan import load_vocoder
from preprocessing.features.store import FeatureStore, natural_waveform


def validation_mcd(config: DictConfig) -> Callable[[nn.Module], float]:
    """A function from a FastSpeech2 to its mean mel-cepstral distortion in dB.

    The first `selection.utterances` of the validation split are synthesised, nothing given but
    their phones, vocoded, and compared with their recordings as stage 6 does; where the model's
    mels get their variance compensated, so do these. It leaves the model in evaluation mode.
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
