"""Stage 7: tables, figures and the report over all finished runs and their records."""

from pathlib import Path

from evaluation.listening.tables import read_analysis
from evaluation.report.collect import current_runs, grouped
from evaluation.report.paper import read_paper
from evaluation.settings import Settings
from pipeline.errors import RecipeError
from pipeline.records import Record, read_records
from pipeline.stages import REPORT


def build_report(config: Settings) -> None:
    """Write `tables/`, `figures/` and `report.html` into `config.paths.results`.

    Raises:
        RecipeError: no run is finished, or `config.records` holds no record.
    """
    runs = current_runs(config, kept_records(config))
    paper_file = Path(config.recipe.folder) / "paper.yaml"
    paper = read_paper(paper_file)
    analysis = read_analysis(Path(config.paths.listening))
    found = [[run.folder.name, run.metrics, run.recorded] for run in runs], paper, analysis
    if REPORT.is_up_to_date(config, *found):
        return

    # The libraries of figures and of the feature store take seconds to import.
    from evaluation.report.figures import write_figures
    from evaluation.report.formats import markdown
    from evaluation.report.page import write_report
    from evaluation.report.tables import make_tables, tables_of_listeners, write_tables
    from preprocessing.features.store import FeatureStore

    groups = grouped(runs)
    tables = make_tables(groups, paper, paper_file) + tables_of_listeners(analysis)
    # Records have no audio, so their tables can be made without the corpus and its features.
    has_audio = any(group.run_with_audio for group in groups)
    store = FeatureStore(config.paths.features) if has_audio else None
    stage = REPORT.output(config, *found)
    stage.begin()
    write_tables(tables, stage.folder / "tables")
    figures = write_figures(groups, store, config.evaluation.f0, stage.folder / "figures")
    write_report(groups, tables, figures, config, stage.folder / "report.html")
    stage.finish()
    shown = [table for table in tables if table.name in ("intelligibility", "naturalness")]
    print("\n".join(markdown(table.rows) for table in shown))
    recorded = sum(run.recorded for run in runs)
    by_record = f", {recorded} of them from their records" if recorded else ""
    print(f"{REPORT.name}: {len(runs)} runs{by_record}; open {stage.folder / 'report.html'}")


def kept_records(config: Settings) -> list[Record]:
    """The records in `config.records`; none where that is empty.

    Raises:
        RecipeError: there is no record.
    """
    if not config.records:
        return []
    records = read_records(Path(config.records))
    if not records:
        raise RecipeError(f"no record in {config.records}: `make sweep RECORDS=` keeps them there")
    return records
