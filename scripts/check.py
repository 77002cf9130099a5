"""The pre-flight: all faults of a corpus and its alignments, before features and training."""

from pathlib import Path

from pipeline.entry_point import stage_script


@stage_script
def main(config) -> None:
    from preprocessing.check import check_corpus, print_faults, refuse, write_faults

    utterances, faults = check_corpus(config)
    print_faults(len(utterances), faults, config.check.leave_out)
    table = Path(config.paths.data) / "faults.csv"
    write_faults(table, faults)
    print(f"all faults: {table}")
    refuse(faults, config.check.leave_out)


if __name__ == "__main__":
    main()
