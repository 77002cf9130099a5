"""Loads checkpoints of github.com/ming024/FastSpeech2."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.model.layers import sinusoids
from fastspeech2.published import load_renamed
from fastspeech2.settings import ModelSettings
from pipeline.errors import RecipeError
from pipeline.settings import checked

_SUBSTITUTIONS = [
    (r"^embedding\.", "encoder.src_word_emb."),
    (r"^(encoder|decoder)\.(\d+)\.", r"\1.layer_stack.\2."),
    (r"\.attention\.query\.", ".slf_attn.w_qs."),
    (r"\.attention\.key\.", ".slf_attn.w_ks."),
    (r"\.attention\.value\.", ".slf_attn.w_vs."),
    (r"\.attention\.output\.", ".slf_attn.fc."),
    (r"\.attention_norm\.", ".slf_attn.layer_norm."),
    (r"\.expand\.", ".pos_ffn.w_1."),
    (r"\.contract\.", ".pos_ffn.w_2."),
    (r"\.ffn_norm\.", ".pos_ffn.layer_norm."),
    (r"^(\w+_(?:predictor|embedding)\.)", r"variance_adaptor.\1"),
    (r"_predictor\.convolutions\.0\.", "_predictor.conv_layer.conv1d_1.conv."),
    (r"_predictor\.convolutions\.1\.", "_predictor.conv_layer.conv1d_2.conv."),
    (r"_predictor\.norms\.0\.", "_predictor.conv_layer.layer_norm_1."),
    (r"_predictor\.norms\.1\.", "_predictor.conv_layer.layer_norm_2."),
    (r"_predictor\.output\.", "_predictor.linear_layer."),
    (r"_embedding\.edges$", "_bins"),
    (r"^mel_output\.", "mel_linear."),
    (r"^postnet\.convolutions\.(\d+)\.", r"postnet.convolutions.\1.0.conv."),
    (r"^postnet\.norms\.(\d+)\.", r"postnet.convolutions.\1.1."),
]
"""Regular expressions that turn a parameter name of `FastSpeech2` into the published name."""

_POSITIONS = ("encoder.position_enc", "decoder.position_enc")


def load_ming024(
    state_dict: Mapping[str, Tensor],
    model_config: Mapping,
    preprocess_config: Mapping,
) -> FastSpeech2:
    """Load a published checkpoint of a single speaker into a model in evaluation mode.

    Called with durations, pitch and energy (teacher forcing), the model gives the same outputs as
    the published code in evaluation mode, for any lengths in the batch. That includes positions
    beyond `max_seq_len`. Normalise pitch and energy as the published preprocessing does: F0 in Hz,
    not its logarithm. If the published `feature` of pitch or energy is `frame_level`, pass it as
    `[batch, frames]`.

    Args:
        state_dict: `torch.load("900000.pth.tar")["model"]`.
        model_config: the published model.yaml as a dict.
        preprocess_config: the published preprocess.yaml as a dict.

    Raises:
        RecipeError: the model has several speakers, a setting is missing, or the state dict does
            not fit the settings. Missing and unknown keys are named.
    """
    if model_config.get("multi_speaker"):
        raise RecipeError(
            "this checkpoint has several speakers (multi_speaker in model.yaml), but FastSpeech2 "
            "here has one: give a checkpoint of a single speaker, such as LJSpeech"
        )
    if "encoder.src_word_emb.weight" not in state_dict:
        raise RecipeError(
            "the state dict has no key encoder.src_word_emb.weight: pass the entry `model` of a "
            "checkpoint of ming024/FastSpeech2"
        )
    vocabulary = len(state_dict["encoder.src_word_emb.weight"])
    mels = _setting(preprocess_config, "preprocessing.mel.n_mel_channels")
    model = FastSpeech2(_model_config(model_config, preprocess_config), vocabulary, mels)
    names = {name: _published_name(name) for name in model.state_dict()}
    source, settings = "ming024/FastSpeech2", "model.yaml and preprocess.yaml"
    load_renamed(model, state_dict, names, source, settings, _POSITIONS)
    _check_positions(state_dict, model.state_dict()["embedding.weight"].shape[1])
    return model.eval()


def _setting(config: Mapping, path: str):
    """Read the setting at a dotted path of the published YAML files."""
    value = config
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise RecipeError(f"the configuration of ming024/FastSpeech2 has no setting {path}")
        value = value[part]
    return value


def _model_config(model_config: Mapping, preprocess_config: Mapping) -> ModelSettings:
    """Translate the two published files into a node like those of conf/model/."""

    def transformer(name: str):
        return _setting(model_config, f"transformer.{name}")

    hidden = transformer("encoder_hidden")
    if transformer("decoder_hidden") != hidden:
        raise RecipeError(
            f"encoder_hidden is {hidden}, but decoder_hidden is {transformer('decoder_hidden')}: "
            "they have to be equal, since ming024/FastSpeech2 adds the vectors"
        )
    predictor = {
        "layers": 2,
        "channels": _setting(model_config, "variance_predictor.filter_size"),
        "kernel": _setting(model_config, "variance_predictor.kernel_size"),
        "dropout": _setting(model_config, "variance_predictor.dropout"),
        "stop_gradient": False,
    }
    levels = {
        name: _setting(preprocess_config, f"preprocessing.{name}.feature")
        for name in ("pitch", "energy")
    }
    return checked(
        ModelSettings,
        {
            "name": "ming024",
            "hidden": hidden,
            "heads": transformer("encoder_head"),
            "decoder_heads": transformer("decoder_head"),
            "encoder_layers": transformer("encoder_layer"),
            "decoder_layers": transformer("decoder_layer"),
            "decoder_attention": True,
            "norm": "post",
            "ffn": {
                "channels": transformer("conv_filter_size"),
                "kernels": list(transformer("conv_kernel_size")),
            },
            "dropout": _dropout(transformer("encoder_dropout")),
            "decoder_dropout": _dropout(transformer("decoder_dropout")),
            "positions": "sinusoid",
            "reduction_factor": 1,
            "phone_position": False,
            "initialisation": "torch",
            "duration_predictor": predictor,
            "pitch_predictor": predictor,
            "energy_predictor": predictor,
            "bins": _setting(model_config, "variance_embedding.n_bins"),
            "cascaded": True,
            "mask_padding": False,
            "frame_level": [name for name, level in levels.items() if level == "frame_level"],
            # The published code has these as constants.
            "postnet": {"layers": 5, "channels": 512, "kernel": 5, "dropout": 0.5, "bias": True},
            "variance_compensation": False,
        },
    )


def _dropout(residual: float) -> dict[str, float]:
    return {"input": 0.0, "attention": 0.0, "hidden": 0.0, "residual": residual}


def _published_name(name: str) -> str:
    for pattern, replacement in _SUBSTITUTIONS:
        name = re.sub(pattern, replacement, name)
    return name


def _check_positions(state_dict: Mapping[str, Tensor], hidden: int) -> None:
    """Check that the saved position tables are the usual sinusoids, which are not loaded."""
    for name in _POSITIONS:
        table = state_dict[name].float()
        fixed = sinusoids(table.shape[-2], hidden, table.device)
        if table.shape[-1] != hidden or not torch.allclose(table, fixed, atol=1e-4):
            raise RecipeError(f"{name} does not hold the sinusoids of ming024/FastSpeech2")
