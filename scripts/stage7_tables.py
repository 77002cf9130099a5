"""Stage 7: tables, figures and the report over all finished runs."""

from pathlib import Path

from common import stage_script
from evaluation.collect import finished_runs, grouped
from evaluation.listening.tables import read_analysis
from evaluation.paper import read_paper
from preprocessing.artefacts import StageFolder, fingerprint


def tables_stage(config) -> None:
    runs = finished_runs(Path(config.paths.experiment))
    paper_file = Path(config.recipe.folder) / "paper.yaml"
    depends = [[run.folder.name, run.metrics] for run in runs]
    paper = read_paper(paper_file)
    listeners = read_analysis(Path(config.paths.listening))
    stage = StageFolder(config.paths.results, fingerprint(depends, paper, listeners))
    if stage.is_complete():
        print(f"stage 7: {stage.folder} is up to date")
        return

    from evaluation.figures import write_figures
    from evaluation.formats import markdown
    from evaluation.report import write_report
    from evaluation.tables import make_tables, tables_of_listeners, write_tables
    from preprocessing.store import FeatureStore

    groups = grouped(runs)
    tables = make_tables(groups, paper, paper_file) + tables_of_listeners(listeners)
    stage.begin()
    write_tables(tables, stage.folder / "tables")
    store = FeatureStore(config.paths.features)
    figures = write_figures(groups, store, config.evaluation.f0, stage.folder / "figures")
    write_report(groups, tables, figures, config, stage.folder / "report.html")
    stage.finish()
    shown = [table for table in tables if table.name in ("intelligibility", "naturalness")]
    print("\n".join(markdown(table.rows) for table in shown))
    print(f"stage 7: {len(runs)} runs; listen at {stage.folder / 'report.html'}")


main = stage_script(tables_stage)

if __name__ == "__main__":
    main()
