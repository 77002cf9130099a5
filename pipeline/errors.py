"""Errors that a user can fix. Their messages say what is wrong, where, and what to do."""

from collections.abc import Sequence


class RecipeError(Exception):
    """Bad input or configuration. Scripts print the message and exit with status 1."""


class FaultsError(RecipeError):
    """The faults of a whole corpus, so that one run shows all of them.

    Args:
        what: what was being done, such as `reading the recordings`.
        faults: pairs of (utterance or file, reason).
        advice: a sentence that says what to do.
    """

    shown = 10

    def __init__(self, what: str, faults: Sequence[tuple[str, str]], advice: str):
        self.faults = list(faults)
        lines = [f"{what}: {len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"]
        lines += [f"  {name}: {reason}" for name, reason in self.faults[: self.shown]]
        if len(self.faults) > self.shown:
            lines.append(f"  ... and {len(self.faults) - self.shown} more")
        super().__init__("\n".join([*lines, advice]))


class UtteranceError(RecipeError):
    """One utterance is unusable.

    Args:
        kind: which of `preprocessing.faults.KINDS` the fault is.
        reason: what is wrong, a clause whose subject is the utterance or its file.
    """

    def __init__(self, kind: str, reason: str):
        self.kind = kind
        super().__init__(reason)
