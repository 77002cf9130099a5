"""The names of runs."""

from pipeline.configuration import run_name


def test_a_run_is_named_by_its_settings_in_any_order():
    assert run_name([]) == "default"
    assert run_name(["recipe=allison", "name=x", "paths.data=/tmp/a", "jobs=3"]) == "default"
    settings = ["seed=1", "sparsity=decaying", "sparsity.start=0.4", "recipe=ljspeech"]
    assert run_name(settings) == "seed=1,sparsity.start=0.4,sparsity=decaying"
    assert run_name(settings[::-1]) == run_name(settings)
    assert run_name(["aligner.source=/a/b"]) == "aligner.source=_a_b"


def test_seeds_do_not_change_how_a_long_name_is_cut():
    long = [f"aligner.source={'a' * 300}", "sparsity=dense"]
    assert run_name([*long, "seed=3"]) == f"{run_name(long)},seed=3"
    assert run_name([*long, "seed=0"]) == run_name(long)


def test_long_names_fit_a_file_system_and_stay_distinct(tmp_path):
    names = [run_name([f"aligner.source={'ä' * 300}{end}"]) for end in "ab"]
    assert names[0] != names[1]
    for name in names:
        (tmp_path / name).mkdir()
