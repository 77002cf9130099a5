"""Keep records of the finished runs of a sweep: `make records` with what `make sweep` was given."""

from pathlib import Path

from pipeline.entry_point import stage_script
from pipeline.errors import RecipeError
from pipeline.records import evaluated_as, keep_record
from sweep import RECORDED, runs_of


def keep_records(config) -> None:
    """Write `config.records`; a run that is unfinished or of other settings is told.

    Raises:
        RecipeError: it is not said where to, or no run is finished.
    """
    if not config.records:
        raise RecipeError("where to? make records RECORDS=<folder>")
    kept = 0
    for run in runs_of(config):
        folder = Path(run.folder)
        if evaluated_as(folder) == run.fingerprint:
            result = keep_record(folder, run.settings, Path(config.records))
            print(f"{run.name}: {RECORDED[result]}")
            kept += 1
        else:
            print(f"{run.name}: not finished with these settings, not recorded")
    if not kept:
        raise RecipeError("no run of this sweep is finished: `make sweep` with the same settings")


main = stage_script(keep_records)

if __name__ == "__main__":
    main()
