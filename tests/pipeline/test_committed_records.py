"""The records that recipes keep of their runs."""

import pytest
from conftest import PROJECT, composed

from pipeline.files import read_json
from pipeline.records import read_records
from pipeline.stages import EVALUATION, training_context

FOLDERS = sorted(PROJECT.glob("recipes/*/results/*/runs"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parts[-4])
def test_todays_settings_would_give_every_record_again(folder):
    """If only names of settings have changed, scripts/carry_records.py carries the records over."""
    recipe = folder.relative_to(PROJECT).parts[1]
    outdated = []
    for record in read_records(folder):
        config = composed(f"recipe={recipe}", *record.overrides)
        training = read_json(record.folder / "evaluation" / "metrics.json")["training"]
        context = training["context"] if training else training_context(config)
        today = EVALUATION.fingerprint(config), training_context(config)
        if today != (record.fingerprint, context):
            outdated.append(record.folder.name)
    assert not outdated and FOLDERS
