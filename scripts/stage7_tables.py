"""Stage 7: tables, figures and the report over all finished runs."""

from pathlib import Path

from evaluation.listening.tables import read_analysis
from evaluation.report.collect import current_runs, grouped
from evaluation.report.paper import read_paper
from pipeline.digests import fingerprint
from pipeline.entry_point import stage_script
from pipeline.errors import RecipeError
from pipeline.records import Record, read_records
from pipeline.stage_folder import StageFolder


def kept_records(config) -> list[Record]:
    """The records in `config.records`; none where it is empty.

    Raises:
        RecipeError: there is no record there.
    """
    if not config.records:
        return []
    records = read_records(Path(config.records))
    if not records:
        raise RecipeError(f"no record in {config.records}: `make sweep RECORDS=` keeps them there")
    return records


def tables_stage(config) -> None:
    runs = current_runs(config, kept_records(config))
    paper_file = Path(config.recipe.folder) / "paper.yaml"
    depends = [[run.folder.name, run.metrics, run.recorded] for run in runs]
    paper = read_paper(paper_file)
    listeners = read_analysis(Path(config.paths.listening))
    # All of the configuration, since the page shows it.
    stage = StageFolder(config.paths.results, fingerprint(depends, paper, listeners, config))
    if stage.is_complete():
        print(f"stage 7: {stage.folder} is up to date")
        return

    from evaluation.report.figures import write_figures
    from evaluation.report.formats import markdown
    from evaluation.report.page import write_report
    from evaluation.report.tables import make_tables, tables_of_listeners, write_tables
    from preprocessing.features.store import FeatureStore

    groups = grouped(runs)
    tables = make_tables(groups, paper, paper_file) + tables_of_listeners(listeners)
    # Tables of records alone need no corpus.
    has_audio = any(group.run_with_audio for group in groups)
    store = FeatureStore(config.paths.features) if has_audio else None
    stage.begin()
    write_tables(tables, stage.folder / "tables")
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
