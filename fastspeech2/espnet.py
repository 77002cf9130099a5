"""Loads FastSpeech2 checkpoints of ESPnet2 (github.com/espnet/espnet, espnet2/tts/fastspeech2/)."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf
from torch import Tensor

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.published import load_renamed
from fastspeech2.settings import ModelSettings
from pipeline.errors import RecipeError
from pipeline.settings import checked
from preprocessing.text.punctuation import END

_BLOCK = r"^(encoder|decoder)\.(\d+)\."
_SUBSTITUTIONS = [
    (r"^embedding\.", "encoder.embed.0."),
    (r"^encoder_positions\.scale$", "encoder.embed.1.alpha"),
    (r"^decoder_positions\.scale$", "decoder.embed.0.alpha"),
    (rf"{_BLOCK}attention\.query\.", r"\1.encoders.\2.self_attn.linear_q."),
    (rf"{_BLOCK}attention\.key\.", r"\1.encoders.\2.self_attn.linear_k."),
    (rf"{_BLOCK}attention\.value\.", r"\1.encoders.\2.self_attn.linear_v."),
    (rf"{_BLOCK}attention\.output\.", r"\1.encoders.\2.self_attn.linear_out."),
    (rf"{_BLOCK}attention_norm\.", r"\1.encoders.\2.norm1."),
    (rf"{_BLOCK}combine\.", r"\1.encoders.\2.concat_linear."),
    (rf"{_BLOCK}expand\.", r"\1.encoders.\2.feed_forward.w_1."),
    (rf"{_BLOCK}contract\.", r"\1.encoders.\2.feed_forward.w_2."),
    (rf"{_BLOCK}ffn_norm\.", r"\1.encoders.\2.norm2."),
    (r"^(encoder|decoder)_norm\.", r"\1.after_norm."),
    (r"_predictor\.convolutions\.(\d+)\.", r"_predictor.conv.\1.0."),
    (r"_predictor\.norms\.(\d+)\.", r"_predictor.conv.\1.2."),
    (r"_predictor\.output\.", "_predictor.linear."),
    (r"^(pitch|energy)_embedding\.projection\.", r"\1_embed.0."),
    (r"^mel_output\.", "feat_out."),
    (r"^postnet\.convolutions\.(\d+)\.", r"postnet.postnet.\1.0."),
    (r"^postnet\.norms\.(\d+)\.", r"postnet.postnet.\1.1."),
]
"""Regular expressions that turn a parameter name of `FastSpeech2` into ESPnet's name."""

_PREDICTORS = {
    f"{name}_predictor_{setting}": value
    for name, dropout in (("duration", 0.1), ("energy", 0.5), ("pitch", 0.5))
    for setting, value in (
        *(("layers", 2), ("chans", 384), ("kernel_size", 3)),
        ("dropout_rate" if name == "duration" else "dropout", dropout),
    )
}
_EMBEDDINGS = {
    f"{name}_embed_{setting}": value
    for name in ("energy", "pitch")
    for setting, value in (("kernel_size", 9), ("dropout", 0.5))
}
_DROPOUTS = {
    f"transformer_{stack}_{kind}dropout_rate": 0.1
    for stack in ("enc", "dec")
    for kind in ("", "positional_", "attn_")
}
DEFAULTS: dict[str, Any] = {
    **{"adim": 384, "aheads": 4, "elayers": 6, "eunits": 1536, "dlayers": 6, "dunits": 1536},
    **{"postnet_layers": 5, "postnet_chans": 512, "postnet_filts": 5},
    **{"postnet_dropout_rate": 0.5, "use_batch_norm": True, "use_scaled_pos_enc": True},
    **{"positionwise_layer_type": "conv1d", "positionwise_conv_kernel_size": 1},
    **{"encoder_normalize_before": True, "decoder_normalize_before": True},
    **{"encoder_concat_after": False, "decoder_concat_after": False},
    **{"stop_gradient_from_energy_predictor": False, "stop_gradient_from_pitch_predictor": False},
    "init_type": "xavier_uniform",
    **_DROPOUTS,
    **_PREDICTORS,
    **_EMBEDDINGS,
}
"""Values that ESPnet's FastSpeech2 takes where `tts_conf` leaves a setting out."""


def _one_of(*options: object) -> Callable[[object], str]:
    """A rule: advice for a value that is none of these options, otherwise nothing."""
    advice = f"choose one of {', '.join(map(str, options))}"
    return lambda value: "" if value in options else advice


_SUPPORTED: dict[str, Callable[[Any], str]] = {
    "encoder_type": _one_of("transformer"),
    "decoder_type": _one_of("transformer"),
    "reduction_factor": _one_of(1),
    "use_gst": _one_of(False),
    "positionwise_layer_type": _one_of("conv1d", "linear", "conv1d-linear"),
    # ESPnet has an embedding of speakers or languages from two on.
    "spks": lambda value: "only one speaker can be loaded" if (value or 0) > 1 else "",
    "langs": lambda value: "only one language can be loaded" if (value or 0) > 1 else "",
    "spk_embed_dim": lambda value: "no speaker embedding can be loaded" if (value or 0) > 0 else "",
}
"""Rules of the settings that name variants."""
_WITHOUT_EFFECT = re.compile(
    r"conformer_|gst_|use_macaron_style_in_conformer$|use_cnn_in_conformer$|zero_triu$"
    r"|spk_embed_integration_type$|init_(enc|dec)_alpha$|use_(weighted_)?masking$|(i|o)dim$"
)
"""Settings of variants that are refused, and of training."""


def load_espnet(
    state_dict: Mapping[str, Tensor], train_config: Mapping | Path | str
) -> FastSpeech2:
    """Load a published FastSpeech2 of a single speaker into a model in evaluation mode.

    The model's outputs are those of ESPnet in evaluation mode, for any lengths in the batch: mels
    in ESPnet's normalised domain (`normalize.mean` and `normalize.std` undo that), pitch and energy
    as `pitch_normalize` and `energy_normalize` normalise them, and, if they are not given, the
    durations that ESPnet's `inference` predicts, which may be zero. Utterances end with the end of
    sentence, the last symbol of `token_list`; where it is missing, `FastSpeech2.forward` appends
    it, as ESPnet does.

    Args:
        state_dict: the contents of a file such as `train.loss.ave_5best.pth`, with or without the
            prefix `tts.` that the names have there.
        train_config: the `config.yaml` beside it, as a dict or as a path; or its section
            `tts_conf` alone.

    Raises:
        RecipeError: the network is a variant that `FastSpeech2` lacks, which is named, or the state
            dict does not fit the settings. Missing and unknown keys are named.
    """
    config = read_config(train_config)
    state = network_state(state_dict)
    if "encoder.embed.0.weight" not in state:
        raise RecipeError(
            "the state dict has no key tts.encoder.embed.0.weight: pass the contents of a "
            "checkpoint of ESPnet's FastSpeech2, such as train.loss.ave_5best.pth"
        )
    vocabulary, symbols = len(state["encoder.embed.0.weight"]), config.get("token_list")
    if isinstance(symbols, list | tuple) and len(symbols) != vocabulary:
        raise RecipeError(
            f"token_list has {len(symbols)} symbols, but the checkpoint {vocabulary}: give the "
            "config.yaml that it was trained with"
        )
    settings = model_config(config)
    mels = len(state["feat_out.bias"]) if "feat_out.bias" in state else 80
    model = FastSpeech2(settings, vocabulary, mels)
    names = {name: _espnet_name(name) for name in model.state_dict()}
    for name, value in model.state_dict().items():
        key = names[name]
        # A linear layer is a convolution of kernel 1, and old files hold scalars as vectors.
        if key in state and _same_but_ones(state[key], value):
            state[key] = state[key].reshape(value.shape)
    load_renamed(model, state, names, "ESPnet's FastSpeech2", "config.yaml")
    return model.eval()


def read_config(train_config: Mapping | Path | str) -> dict:
    """ESPnet's config.yaml as a dict, from such a dict or a path.

    Raises:
        RecipeError: the file cannot be read, or is of another kind of model.
    """
    config = train_config
    if isinstance(train_config, Path | str):
        try:
            config = yaml.safe_load(Path(train_config).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeError(f"{train_config} cannot be read as YAML: {error}") from None
    elif OmegaConf.is_config(train_config):
        config = OmegaConf.to_container(train_config, resolve=True)
    if not isinstance(config, Mapping):
        raise RecipeError(f"{train_config} is no config.yaml of ESPnet: it holds no settings")
    config = dict(config)
    kind = config.get("tts", "fastspeech2")
    if kind != "fastspeech2":
        raise RecipeError(f"tts={kind}: only ESPnet's fastspeech2 can be loaded")
    return config


def symbols_of(config: Mapping, source: Path) -> list[str]:
    """The phones of ESPnet's `token_list` by index. The last is the end of sentence, `END` here.

    Args:
        config: from `read_config`.
        source: the file that it was read from, for the message.

    Raises:
        RecipeError: the settings have no such list.
    """
    symbols = config.get("token_list")
    if not isinstance(symbols, list):
        raise RecipeError(f"{source} has no token_list, which names the phones")
    return [*symbols[:-1], END]


def network_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network alone, under the names of today's ESPnet.

    Normalisers and the matrix of the mel are left out, and so are tables of positions, which old
    files hold. Old files also have other names for `embed` and `after_norm`.
    """
    prefixed = any(name.startswith("tts.") for name in state_dict)
    state = {}
    for name, value in state_dict.items():
        if prefixed and not name.startswith("tts."):
            continue
        name = name.removeprefix("tts.")
        name = re.sub(r"^(encoder|decoder)\.input_layer\.", r"\1.embed.", name)
        name = re.sub(r"^(encoder|decoder)\.norm\.", r"\1.after_norm.", name)
        outside = ("feats_extract.", "normalize.", "pitch_normalize.", "energy_normalize.")
        if not name.startswith(outside) and not re.match(r"(en|de)coder\.embed\.\d+\.pe$", name):
            state[name] = value
    return state


def statistics_of(state_dict: Mapping[str, Tensor]) -> dict[str, dict]:
    """Mean and standard deviation of `mel`, `pitch` and `energy`, as in a feature store.

    Raises:
        RecipeError: the checkpoint lacks some of them; names them.
    """
    names = {"mel": "normalize", "pitch": "pitch_normalize", "energy": "energy_normalize"}
    keys = [f"{normaliser}.{key}" for normaliser in names.values() for key in ("mean", "std")]
    if missing := [key for key in keys if key not in state_dict]:
        raise RecipeError(
            f"the checkpoint lacks {', '.join(missing)}, without which it cannot speak"
        )
    return {
        name: {
            key: state_dict[f"{normaliser}.{key}"].double().squeeze().tolist()
            for key in ("mean", "std")
        }
        for name, normaliser in names.items()
    }


def model_config(config: Mapping) -> ModelSettings:
    """Translate ESPnet's settings into those of conf/model/.

    Raises:
        RecipeError: names all settings of variants that `FastSpeech2` lacks, and unknown ones.
    """
    given = dict(config.get("tts_conf") or {k: v for k, v in config.items() if k in DEFAULTS})
    refused = [
        f"{name}={given[name]} ({advice})"
        for name, rule in _SUPPORTED.items()
        if name in given and (advice := rule(given[name]))
    ]
    known = (*DEFAULTS, *_SUPPORTED)
    refused += [
        f"{name} (an unknown setting)"
        for name in given
        if name not in known and not _WITHOUT_EFFECT.match(name)
    ]
    if refused:
        raise RecipeError(f"ESPnet's FastSpeech2 with {'; '.join(refused)} cannot be loaded")
    settings = DEFAULTS | given

    def predictor(name: str) -> dict:
        dropout = "dropout_rate" if name == "duration" else "dropout"
        return {
            "layers": settings[f"{name}_predictor_layers"],
            "channels": settings[f"{name}_predictor_chans"],
            "kernel": settings[f"{name}_predictor_kernel_size"],
            "dropout": settings[f"{name}_predictor_{dropout}"],
            "stop_gradient": settings.get(f"stop_gradient_from_{name}_predictor", False),
        }

    def embedding(name: str) -> dict:
        return {
            "kernel": settings[f"{name}_embed_kernel_size"],
            "dropout": settings[f"{name}_embed_dropout"],
        }

    def dropout(stack: str) -> dict[str, float]:
        rate = settings[f"transformer_{stack}_dropout_rate"]
        return {
            "input": settings[f"transformer_{stack}_positional_dropout_rate"],
            "attention": settings[f"transformer_{stack}_attn_dropout_rate"],
            "hidden": rate,
            "residual": rate,
        }

    kernel = settings["positionwise_conv_kernel_size"]
    kernels = {"conv1d": [kernel, kernel], "conv1d-linear": [kernel, 1], "linear": [1, 1]}[
        settings["positionwise_layer_type"]
    ]
    norms = {True: "pre", False: "post"}
    initialisations = {"xavier_uniform": "xavier_uniform", "pytorch": "torch"}
    postnet = {
        "layers": settings["postnet_layers"],
        "channels": settings["postnet_chans"],
        "kernel": settings["postnet_filts"],
        "dropout": settings["postnet_dropout_rate"],
        "bias": False,
        "norm": settings["use_batch_norm"],
    }
    return checked(
        ModelSettings,
        {
            "name": "espnet",
            "hidden": settings["adim"],
            "heads": settings["aheads"],
            "encoder_layers": settings["elayers"],
            "decoder_layers": settings["dlayers"],
            "decoder_attention": True,
            "norm": norms[settings["encoder_normalize_before"]],
            "decoder_norm": norms[settings["decoder_normalize_before"]],
            "norm_eps": 1e-12,
            "ffn": {"channels": settings["eunits"], "kernels": kernels},
            "decoder_ffn": {"channels": settings["dunits"], "kernels": kernels},
            "concatenate": settings["encoder_concat_after"],
            "decoder_concatenate": settings["decoder_concat_after"],
            "dropout": dropout("enc"),
            "decoder_dropout": dropout("dec"),
            "positions": "scaled_sinusoid" if settings["use_scaled_pos_enc"] else "amplified",
            "float32_positions": True,
            "reduction_factor": 1,
            "phone_position": False,
            # Only training starts from it; other names differ in how they draw.
            "initialisation": initialisations.get(settings["init_type"], "torch"),
            **{f"{name}_predictor": predictor(name) for name in ("duration", "pitch", "energy")},
            **{f"{name}_embedding": embedding(name) for name in ("pitch", "energy")},
            "normalised_mel": True,
            "shortest": 0,
            "eos": True,
            "mask_padding": False,
            "keep_padding": True,
            "postnet": postnet if settings["postnet_layers"] else None,
            "variance_compensation": False,
        },
    )


def _espnet_name(name: str) -> str:
    for pattern, replacement in _SUBSTITUTIONS:
        name = re.sub(pattern, replacement, name)
    return name


def _same_but_ones(found: Tensor, wanted: Tensor) -> bool:
    """Whether two tensors have the same shape if sizes of 1 at the end are left out."""

    def essential(shape: torch.Size) -> list[int]:
        sizes = list(shape)
        while sizes and sizes[-1] == 1:
            sizes.pop()
        return sizes

    return essential(found.shape) == essential(wanted.shape)
