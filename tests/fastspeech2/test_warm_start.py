"""`trainer.init_from`: weights by name, phones by symbol, and what was not taken is named."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import changed, composed, section
from espnet_cases import SYMBOLS, train_config
from ming024_reference import configurations, random_checkpoint
from test_espnet import checkpoint

from fastspeech2 import FastSpeech2, load_espnet, load_ming024
from fastspeech2.espnet import model_config
from fastspeech2.settings import ModelSettings
from fastspeech2.training.warm_start import ming024_symbols, read_source, warm_start
from pipeline.errors import RecipeError
from pipeline.stages import TRAINING
from preprocessing.features.store import FeatureStore

TINY = section(ModelSettings, "model/tiny.yaml")
STATISTICS = {
    "mel": {"mean": [-4.0] * 80, "std": [2.0] * 80},
    "pitch": {"mean": 5.0, "std": 0.3},
    "energy": {"mean": 19.0, "std": 9.0},
}


def write_model(path, symbols: list[str], config=TINY, seed: int = 1) -> dict[str, torch.Tensor]:
    """Write a model.pt of random weights, and return its state dict."""
    torch.manual_seed(seed)
    state = FastSpeech2(config, len(symbols)).state_dict()
    saved = {"model": state, "symbols": symbols, "statistics": STATISTICS, "features": {}}
    torch.save(saved | {"config": config.plain()}, path)
    return state


@pytest.fixture
def store(prepared) -> FeatureStore:
    return FeatureStore(composed(*prepared).paths.features)


def test_weights_are_taken_by_name_and_phones_by_symbol(store, tmp_path, capsys):
    lacking = [symbol for symbol in store.symbols if symbol not in ("AA1", "CH")]
    source = write_model(tmp_path / "model.pt", [*lacking[:1], "QQ", *reversed(lacking[1:])])
    model = FastSpeech2(TINY, len(store.symbols))
    taken = warm_start(model, str(tmp_path / "model.pt"), store, "recomputed")
    state = model.state_dict()
    assert taken == source.keys() - {"embedding.weight"}
    assert all(torch.equal(state[name], source[name]) for name in taken)
    vectors = dict(zip(store.symbols, state["embedding.weight"], strict=True))
    rows = [lacking[0], "QQ", *reversed(lacking[1:])]
    for symbol in lacking[1:]:
        assert torch.equal(vectors[symbol], source["embedding.weight"][rows.index(symbol)])
    phones = [i for i, row in enumerate(rows) if i > 1 and row != "sp"]
    mean = source["embedding.weight"][phones].mean(0)
    assert torch.allclose(vectors["AA1"], mean) and torch.equal(vectors["AA1"], vectors["CH"])
    assert not vectors[store.symbols[0]].any()
    assert "phones that start from the mean of the others: AA1, CH\n" in capsys.readouterr().out


def test_tensors_that_do_not_fit_are_named_and_keep_their_values(store, tmp_path, capsys):
    other = changed(TINY, decoder_layers=5, ffn__channels=500)
    write_model(tmp_path / "model.pt", store.symbols, other)
    model = FastSpeech2(TINY, len(store.symbols))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    taken = warm_start(model, str(tmp_path / "model.pt"), store, "recomputed")
    assert "encoder.0.attention.query.weight" in taken
    expand = "encoder.0.expand.weight"
    assert expand not in taken and torch.equal(model.state_dict()[expand], before[expand])
    printed = capsys.readouterr().out
    assert "kept at their initial values: encoder.0.expand.weight, encoder.0.expand.bias" in printed
    assert "of the checkpoint, not taken: decoder.4.contract.bias" in printed


def test_statistics_are_taken_or_recomputed(store, tmp_path):
    write_model(tmp_path / "model.pt", store.symbols)
    own = store.statistics
    warm_start(
        FastSpeech2(TINY, len(store.symbols)), str(tmp_path / "model.pt"), store, "recomputed"
    )
    assert store.statistics == own
    warm_start(FastSpeech2(TINY, len(store.symbols)), str(tmp_path / "model.pt"), store, "taken")
    assert store.statistics == STATISTICS


def test_espnets_checkpoints_start_a_training(tmp_path, capsys):
    state = checkpoint("prefixed")
    for name in ("mean", "std"):
        state[f"normalize.{name}"] = torch.ones(12)
    torch.save(state, tmp_path / "train.loss.best.pth")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(train_config("prefixed")), "utf-8")
    model = FastSpeech2(model_config(train_config("prefixed")), 5, 12)
    corpus = SimpleNamespace(symbols=["<pad>", "AH0", "sp", "ZH", "<sos/eos>"], mel_kind="espnet")
    warm_start(model, str(tmp_path), corpus, "recomputed")
    loaded = load_espnet(state, train_config("prefixed")).state_dict()["embedding.weight"]
    vectors = model.state_dict()["embedding.weight"]
    for row, symbol in ((1, "AH0"), (2, "sil"), (4, "<sos/eos>")):
        assert torch.equal(vectors[row], loaded[SYMBOLS.index(symbol)])
    assert "the others: ZH\n" in capsys.readouterr().out


def test_ming024s_checkpoints_start_a_training(tmp_path):
    state, (model, preprocess) = random_checkpoint(vocabulary=361), configurations()
    torch.save({"model": state, "optimizer": {}}, tmp_path / "900000.pth.tar")
    for name, settings in (("model", model), ("preprocess", preprocess)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    source = read_source(tmp_path / "900000.pth.tar")
    expected = load_ming024(state, model, preprocess).state_dict()
    assert all(torch.equal(source.state[name], value) for name, value in expected.items())
    symbols = ming024_symbols()
    # text/symbols.py: padding, `-`, ten marks, 52 letters, CMUdict's 84 phones, Pinyin, silences.
    assert symbols[64:68] == ["AA", "AA0", "AA1", "AA2"] and symbols[147] == "ZH"
    assert symbols[358:] == ["sp", "spn", "sil"]


def test_errors_name_what_is_missing(store, tmp_path):
    def start(path) -> None:
        warm_start(FastSpeech2(TINY, len(store.symbols)), str(path), store, "recomputed")

    with pytest.raises(RecipeError, match="nowhere.pt does not exist: name a run"):
        start(tmp_path / "nowhere.pt")
    with pytest.raises(RecipeError, match="holds none"):
        start(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"")
    with pytest.raises(RecipeError, match="needs config.yaml beside it"):
        start(tmp_path / "a.pth")
    (tmp_path / "b.pt").write_bytes(b"not torch")
    with pytest.raises(RecipeError, match="b.pt cannot be read as a checkpoint"):
        start(tmp_path / "b.pt")
    torch.save({"weights": 1}, tmp_path / "c.pt")
    with pytest.raises(RecipeError, match="no model.pt of a training"):
        start(tmp_path / "c.pt")
    with pytest.raises(RecipeError, match="a.txt is no checkpoint"):
        (tmp_path / "a.txt").touch()
        start(tmp_path / "a.txt")


def test_the_fingerprint_follows_the_weights_and_not_their_place(prepared, store, tmp_path):
    plain = TRAINING.fingerprint(composed(*prepared))

    def found(folder: str, seed: int) -> str:
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "model.pt"
        write_model(path, store.symbols, seed=seed)
        return TRAINING.fingerprint(composed(*prepared, f"trainer.init_from={path}"))

    first, moved, other = found("a", 1), found("b", 1), found("c", 2)
    assert first == moved and len({plain, first, other}) == 3


def test_weights_return_at_the_values_of_the_checkpoint(prepared, store, tmp_path):
    """With a learning rate of zero, the model is in the end what was loaded."""
    state = write_model(tmp_path / "model.pt", store.symbols)
    settings = ["trainer.updates=8", "trainer.val_every=8", "trainer.frames_per_batch=700"]
    settings += ["samples=0", "sparsity=decaying", "sparsity.scoring_batches=1"]
    settings += [
        "sparsity.first_switch=0.15",
        "trainer.optimizer.lr=0",
        "trainer.precision=32-true",
    ]
    settings += [
        f"trainer.init_from={tmp_path}",
        f"paths.experiment={tmp_path / 'exp'}",
        "name=run",
    ]
    result = subprocess.run(
        [sys.executable, "scripts/stage4_train.py", *prepared, *settings],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "started from" in result.stdout
    train = tmp_path / "exp" / "run" / "train"
    trained = torch.load(train / "model.pt", weights_only=True)
    assert all(torch.equal(trained["model"][name], value) for name, value in state.items())
    assert '"achieved": 0.0' in (train / "sparsity.json").read_text()
