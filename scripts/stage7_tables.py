"""Stage 7: tables, figures and the report over all finished runs."""

from pathlib import Path

from common import stage_script
from evaluation.collect import finished_runs
from preprocessing.artefacts import StageFolder, fingerprint


def tables_stage(config) -> None:
    runs = finished_runs(Path(config.paths.experiment))
    depends = [[run.folder.name, run.metrics] for run in runs]
    stage = StageFolder(config.paths.results, fingerprint(depends))
    if stage.is_complete():
        print(f"stage 7: {stage.folder} is up to date")
        return

    from evaluation.figures import write_figures
    from evaluation.report import write_report
    from evaluation.tables import TABLES, cells, markdown, write_tables
    from preprocessing.store import FeatureStore

    stage.begin()
    write_tables(runs, stage.folder / "tables")
    store = FeatureStore(config.paths.features)
    figures = write_figures(runs, store, config.evaluation.f0, stage.folder / "figures")
    write_report(runs, figures, config, stage.folder / "report.html")
    stage.finish()
    print(markdown(cells(runs, TABLES["speech"][1])))
    print(f"stage 7: {len(runs)} runs; listen at {stage.folder / 'report.html'}")


main = stage_script(tables_stage)

if __name__ == "__main__":
    main()
