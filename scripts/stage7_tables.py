"""Stage 7: tables, figures and the report over all finished runs."""

from pathlib import Path

from common import evaluation_given, stage_script
from evaluation.collect import finished_runs, grouped
from evaluation.listening.tables import read_analysis
from evaluation.paper import read_paper
from evaluation.records import current_records, read_records
from preprocessing.artefacts import StageFolder, fingerprint
from preprocessing.errors import RecipeError


def usable_records(config) -> list[Path]:
    """Folders of the records in `config.records` that are of today's settings; tells the others.

    Raises:
        RecipeError: there is no record at all.
    """
    if not config.records:
        return []
    records = read_records(Path(config.records))
    if not records:
        raise RecipeError(f"no record in {config.records}: `make sweep RECORDS=` keeps them there")
    current, outdated = current_records(records, evaluation_given)
    for folder in outdated:
        print(f"{folder.name}: its record is of other settings than today's, and is left out")
    return current


def tables_stage(config) -> None:
    runs = finished_runs(Path(config.paths.experiment), usable_records(config))
    paper_file = Path(config.recipe.folder) / "paper.yaml"
    depends = [[run.folder.name, run.metrics, run.recorded] for run in runs]
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
    # Records need no corpus: their tables can be made where nothing else is.
    heard = any(group.heard for group in groups)
    store = FeatureStore(config.paths.features) if heard else None
    figures = write_figures(groups, store, config.evaluation.f0, stage.folder / "figures")
    write_report(groups, tables, figures, config, stage.folder / "report.html")
    stage.finish()
    shown = [table for table in tables if table.name in ("intelligibility", "naturalness")]
    print("\n".join(markdown(table.rows) for table in shown))
    recorded = sum(run.recorded for run in runs)
    by_record = f", {recorded} of them by their records" if recorded else ""
    print(f"stage 7: {len(runs)} runs{by_record}; listen at {stage.folder / 'report.html'}")


main = stage_script(tables_stage)

if __name__ == "__main__":
    main()
