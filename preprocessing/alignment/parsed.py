"""Keeps what stage 2 parsed from TextGrids, so that later stages need not parse them again."""

import json
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import UtteranceError
from pipeline.files import atomic_path
from preprocessing.alignment.textgrid import Alignment, Interval, alignment_of, parse_textgrid

FILE = "textgrids.jsonl"


class TextGrids:
    """A corpus's TextGrids, each parsed only if stage 2 did not, or if it has changed since.

    Args:
        folder: stage 2's, as an absolute path where other processes are to use it.
        kept: by utterance, the JSON of what stage 2 parsed.
    """

    def __init__(self, folder: Path, kept: dict[str, str]):
        self.folder, self._kept = folder, kept

    @classmethod
    def load(cls, folder: Path) -> "TextGrids":
        """Read what stage 2 kept. Without its file, each TextGrid is parsed when it is needed."""
        path = folder / FILE
        lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []
        return cls(folder, dict(line.split("\t", 1) for line in lines))

    def save(self) -> None:
        with atomic_path(self.folder / FILE) as temporary:
            lines = (f"{utterance}\t{kept}\n" for utterance, kept in self._kept.items())
            temporary.write_text("".join(lines), "utf-8")

    def part(self, utterances: Iterable[str]) -> "TextGrids":
        """Those of some utterances, which are few enough to be sent to another process."""
        kept = {each: self._kept[each] for each in utterances if each in self._kept}
        return TextGrids(self.folder, kept)

    def alignment(self, utterance: str, phones: frozenset[str]) -> Alignment:
        """An utterance's alignment, in which these phones are allowed besides silences.

        Raises:
            UtteranceError: from `parse_textgrid` or `alignment_of`, here or in stage 2.
        """
        path = self.folder / "TextGrid" / f"{utterance}.TextGrid"
        stat = path.stat() if path.exists() else None
        state = [stat.st_size, stat.st_mtime_ns] if stat else None
        kept = json.loads(self._kept.get(utterance, "{}"))
        if kept.get("state", ...) != state:
            kept = {"state": state} | _parsed(path)
            self._kept[utterance] = json.dumps(kept)
        if "fault" in kept:
            raise UtteranceError(*kept["fault"])
        tiers = {name: [Interval(*row) for row in rows] for name, rows in kept["tiers"].items()}
        return alignment_of(tiers, phones)


def _parsed(path: Path) -> dict:
    try:
        return {"tiers": parse_textgrid(path)}
    except UtteranceError as error:
        return {"fault": (error.kind, str(error))}
