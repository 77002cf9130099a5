"""Alignments: every spelling of silence, rounding to frames, cutting at pauses, and faults."""

import random
from pathlib import Path

import pytest
import tgt

from pipeline.errors import RecipeError, UtteranceError
from preprocessing.alignment.segments import cut_segments
from preprocessing.alignment.textgrid import Alignment, read_textgrid, without_short_pauses
from preprocessing.text.pronouncer import Pronouncer

RATE = 22050 / 256
"""frames in a second"""


def read(path: Path) -> Alignment:
    """An alignment as the features use it."""
    return without_short_pauses(read_textgrid(path), 0.03)


def write(path, phones, words=None, tiers=("phones", "words")):
    """Write a TextGrid from (label, seconds) pairs, as the aligners do."""
    grid = tgt.TextGrid()
    for name, intervals in zip(tiers, (phones, words or [("word", 1.0)]), strict=True):
        tier = tgt.IntervalTier(name=name)
        start = 0.0
        for label, length in intervals:
            tier.add_interval(tgt.Interval(round(start, 4), round(start + length, 4), label))
            start += length
        grid.add_tier(tier)
    tgt.write_to_file(grid, path, format="long")
    return path


@pytest.mark.parametrize("silence", ["", "sil", "sp", "<eps>"])
def test_every_spelling_of_silence_is_a_pause_inside_and_nothing_outside(tmp_path, silence):
    path = tmp_path / "a.TextGrid"
    write(path, [(silence, 0.2), ("HH", 0.1), (silence, 0.3), ("AY1", 0.2), (silence, 0.4)])
    alignment = read(path)
    assert [phone.label for phone in alignment.phones] == ["HH", "sp", "AY1"]
    (segment,) = cut_segments(alignment, round(1.2 * RATE))
    assert segment.start == round(0.2 * RATE)
    assert sum(segment.durations) == round(0.8 * RATE) - round(0.2 * RATE)


def test_neighbouring_silences_are_one_and_unknown_words_stay_inside(tmp_path):
    path = tmp_path / "a.TextGrid"
    phones = [("spn", 0.2), ("S", 0.1), ("sil", 0.1), ("", 0.1), ("spn", 0.3), ("T", 0.1)]
    write(path, [*phones, ("sp", 0.1), ("spn", 0.2)])
    labels = [phone.label for phone in read(path).phones]
    assert labels == ["S", "sp", "spn", "T"]


def test_short_silences_become_closures_or_the_end_of_a_phone(tmp_path):
    path = tmp_path / "a.TextGrid"
    write(path, [("S", 0.1), ("", 0.02), ("T", 0.1), ("sil", 0.02), ("AY1", 0.1)])
    phones = read(path).phones
    assert [(p.label, round(p.start, 3), round(p.end, 3)) for p in phones] == [
        ("S", 0.0, 0.1),
        ("T", 0.1, 0.24),
        ("AY1", 0.24, 0.34),
    ]
    assert len(read_textgrid(path).phones) == 5


def test_durations_are_ming024s_and_rounding_errors_do_not_add_up(tmp_path):
    random.seed(0)
    phones = [("AH0", random.uniform(0.004, 0.2)) for _ in range(400)]
    alignment = read(write(tmp_path / "a.TextGrid", phones))
    (segment,) = cut_segments(alignment, 10**6)
    expected = [round(p.end * RATE) - round(p.start * RATE) for p in alignment.phones]
    assert segment.durations == expected and 0 in expected
    assert sum(segment.durations) == round(alignment.phones[-1].end * RATE)


def test_long_utterances_are_cut_at_their_longest_pauses(tmp_path):
    phones = [("AH0", 3.0), ("sp", 0.2), ("B", 3.0), ("sp", 0.5), ("D", 4.0), ("sp", 0.3), ("M", 9)]
    words = [
        ("one", 3.0),
        ("", 0.2),
        ("two", 3.0),
        ("", 0.5),
        ("three", 4.0),
        ("", 0.3),
        ("four", 9),
    ]
    alignment = read(write(tmp_path / "a.TextGrid", phones, words))
    cut = cut_segments(alignment, 10**6, 8)
    assert [part.words for part in cut] == [["one", "two"], ["three"], ["four"]]
    assert [part.phones for part in cut] == [["AH0", "sp", "B"], ["D"], ["M"]]
    assert [part.start for part in cut] == [0, round(6.7 * RATE), round(11 * RATE)]


@pytest.mark.parametrize(
    "phones, tiers, message",
    [
        ([("sil", 1.0)], ("phones", "words"), "without a phone"),
        ([("HH", 0.5), ("ə", 0.5)], ("phones", "words"), "not ARPAbet: ə"),
        ([("AH", 0.5), ("EH1", 0.5)], ("phones", "words"), "some vowels but not on AH"),
        ([("HH", 1.0)], ("phone", "words"), "without the tier 'phones' .it has 'phone', 'words'"),
    ],
)
def test_unusable_alignments_say_why(tmp_path, phones, tiers, message):
    path = write(tmp_path / "a.TextGrid", phones, tiers=tiers)
    with pytest.raises(RecipeError, match=message):
        read(path)


LABELS = ["sil", "HH", "AY1", "sp", "JH", "OW1", "spn", "sil"]
BOUNDS = [0.0, 0.2, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0, 1.25]
WORDS = [("", 0.0, 0.2), ("hi", 0.2, 0.5), ("", 0.5, 0.6), ("joe", 0.6, 0.9), ("<unk>", 0.9, 1.25)]


def praat_file(kind: str, labels=LABELS, words=WORDS, prefix="") -> str:
    """A file as Praat and MFA write it, by Praat's manual. The long format names its values."""
    phones = list(zip(labels, BOUNDS[:-1], BOUNDS[1:], strict=True))
    points = [("said", 0.4), ("", 0.8)]
    tiers = [("IntervalTier", f"{prefix}phones", phones), ("TextTier", "notes", points)]
    tiers += [("IntervalTier", f"{prefix}words", words)] if words else []
    tiers += [("IntervalTier", "remarks", [('he said ""hi""', 0.0, 1.25)])]
    names = {"IntervalTier": ("text", "xmin", "xmax"), "TextTier": ("mark", "number")}
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    long = kind == "long"
    lines += ["xmin = 0", "xmax = 1.25", "tiers? <exists>"] if long else ["0", "1.25", "<exists>"]
    lines += [f"size = {len(tiers)}", "item []:"] if long else [str(len(tiers))]
    for number, (type_, name, rows) in enumerate(tiers, 1):
        head = [("class", f'"{type_}"'), ("name", f'"{name}"'), ("xmin", 0), ("xmax", 1.25)]
        lines += [f"    item [{number}]:"] if long else []
        lines += [f"        {key} = {value}" if long else str(value) for key, value in head]
        lines += [f"        intervals: size = {len(rows)}" if long else str(len(rows))]
        for i, (label, *times) in enumerate(rows, 1):
            keys = names[type_]
            values = [*zip(keys[1:], times, strict=True), (keys[0], f'"{label}"')]
            lines += [f"        intervals [{i}]:"] if long else []
            lines += [
                f"            {key} = {value}" if long else str(value) for key, value in values
            ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("kind", ["long", "short"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("prefix", ["", "LJSpeech - "])
def test_praats_formats_and_encodings_with_other_tiers(tmp_path, kind, encoding, prefix):
    path = tmp_path / "a.TextGrid"
    text = praat_file(kind, prefix=prefix)
    path.write_bytes(("\ufeff" + text if encoding == "utf-16-be" else text).encode(encoding))
    alignment = read(path)
    assert [(p.label, p.start, p.end) for p in alignment.phones] == [
        ("HH", 0.2, 0.3),
        ("AY1", 0.3, 0.5),
        ("sp", 0.5, 0.6),
        ("JH", 0.6, 0.7),
        ("OW1", 0.7, 0.9),
    ]
    assert [word.label for word in alignment.words] == ["hi", "joe", "<unk>"]


BREAKS = ["\n", "\r\n", "\t", "  ", "\n\n", "\u00a0", "\ufeff", "\u200b"]


@pytest.mark.parametrize("kind", ["long", "short"])
@pytest.mark.parametrize("space", BREAKS)
def test_white_space_around_labels_and_line_ends_in_them_change_no_label(tmp_path, kind, space):
    """Praat writes a line end into a label that was ended with Enter."""
    path = tmp_path / "a.TextGrid"
    labels = [
        f"{space}{label}{space}" if i % 2 else label + space for i, label in enumerate(LABELS)
    ]
    words = [(f"{label}{space}", *times) for label, *times in WORDS]
    path.write_bytes(praat_file(kind, labels, words).encode())
    alignment = read(path)
    assert [phone.label for phone in alignment.phones] == ["HH", "AY1", "sp", "JH", "OW1"]
    assert [word.label for word in alignment.words] == ["hi", "joe", "<unk>"]


@pytest.mark.parametrize("kind", ["long", "short"])
def test_labels_may_hold_whatever_the_format_itself_is_written_with(tmp_path, kind):
    path = tmp_path / "a.TextGrid"
    odd = ["xmin = 3", 'say ""hi""', "! no comment", "<exists>", "intervals [2]: 0.5 0.7"]
    words = [(label, *times) for label, (_, *times) in zip(odd, WORDS, strict=True)]
    path.write_text(praat_file(kind, words=words))
    assert [word.label for word in read(path).words] == [each.replace('""', '"') for each in odd]


@pytest.mark.parametrize("kind", ["long", "short"])
@pytest.mark.parametrize("change", ["\r\n", "\r", " ! a comment\n", "\n\n  "])
def test_line_ends_blank_lines_and_comments_mean_nothing(tmp_path, kind, change):
    path, plain = tmp_path / "a.TextGrid", tmp_path / "plain.TextGrid"
    plain.write_text(praat_file(kind))
    path.write_bytes(praat_file(kind).replace("\n", change).encode())
    assert read(path) == read(plain)


@pytest.mark.parametrize("kind", ["long", "short"])
def test_mfa_3_0_0_states_fewer_intervals_than_there_are(tmp_path, kind):
    """MontrealCorpusTools/Montreal-Forced-Aligner, issue 756."""
    path, plain = tmp_path / "a.TextGrid", tmp_path / "plain.TextGrid"
    text = praat_file(kind)
    plain.write_text(text)
    for size in (len(LABELS), len(WORDS)):
        stated, wrong = (f"size = {n}\n" if kind == "long" else f"1.25\n{n}\n" for n in (size, 2))
        assert stated in text
        text = text.replace(stated, wrong, 1)
    path.write_text(text)
    assert read(path) == read(plain)


@pytest.mark.parametrize("kind", ["long", "short"])
def test_a_textgrid_that_is_cut_short_anywhere_is_never_read_as_a_whole(tmp_path, kind):
    path = tmp_path / "a.TextGrid"
    text = praat_file(kind)
    for length in range(0, len(text) - 2, 7):
        path.write_text(text[:length])
        with pytest.raises(UtteranceError, match="cannot be read") as fault:
            read(path)
        assert fault.value.kind == "textgrid_unreadable"


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("xmax = 0.3", "xmax = 0.1", "ends at 0.1 s, before it begins at 0.2 s"),
        ('text = "HH"', 'text = "H"H"', "cannot be read"),
        ('text = "HH"', "text = HH", "cannot be read"),
        ("xmin = 0.2", "xmin = nan", "cannot be read"),
        ('class = "TextTier"', 'class = "SomeTier"', "unknown kind of tier: SomeTier"),
        ('class = "TextGrid"', 'class = "Pitch 1"', "does not begin as a TextGrid does"),
    ],
)
def test_damaged_textgrids_are_refused(tmp_path, before, after, message):
    path = tmp_path / "a.TextGrid"
    text = praat_file("long")
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(UtteranceError, match=message):
        read(path)


@pytest.mark.parametrize(
    "version, silences",
    [("MFA 1", ["sil", "sp", "spn", "sil"]), ("MFA 2", ["", "", "spn", ""]),
     ("MFA 3", ["", "sil", "spn", "<eps>"])],
)  # fmt: skip
def test_every_version_of_mfa_gives_the_same_phones(tmp_path, version, silences):
    first, middle, unknown, last = silences
    labels = [first, "HH", "AY1", middle, "JH", "OW1", unknown, last]
    path = tmp_path / "a.TextGrid"
    path.write_text(praat_file("long", labels))
    (segment,) = cut_segments(read(path), round(1.25 * RATE))
    assert segment.phones == ["HH", "AY1", "sp", "JH", "OW1"]
    bounds = [round(t * RATE) for t in BOUNDS[1:7]]
    assert segment.durations == [b - a for a, b in zip(bounds, bounds[1:], strict=False)]


def test_phones_without_stress_are_known(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(praat_file("short", [label.rstrip("1") for label in LABELS]))
    phones = [phone.label for phone in read(path).phones]
    assert phones == ["HH", "AY", "sp", "JH", "OW"]
    assert Pronouncer(symbols=phones).phones("Hi, Joe.") == phones


def test_without_a_tier_of_words_an_utterance_stays_whole(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(praat_file("long", words=None))
    without = read(path)
    assert without.words == [] and len(without.phones) == 5
    assert len(cut_segments(without, 1000, 0.4)) == 1
    path.write_text(praat_file("long"))
    assert len(cut_segments(read(path), 1000, 0.4)) == 2


def test_times_beyond_the_recording_by_up_to_a_frame_are_cut(tmp_path):
    alignment = read(write(tmp_path / "a.TextGrid", [("M", 1.0), ("IY1", 0.5)]))
    end = round(1.5 * RATE)
    for frames in (end - 1, end, end + 5):
        (segment,) = cut_segments(alignment, frames)
        assert sum(segment.durations) == min(end, frames)
    with pytest.raises(RecipeError, match="its recording ends at"):
        cut_segments(alignment, end - 2)


def test_missing_damaged_and_overlong_alignments_say_so(tmp_path):
    with pytest.raises(RecipeError, match="has no TextGrid"):
        read(tmp_path / "none.TextGrid")
    damaged = tmp_path / "damaged.TextGrid"
    damaged.write_text("File type = nonsense\n")
    with pytest.raises(RecipeError, match="cannot be read"):
        read(damaged)
    alignment = read(write(tmp_path / "a.TextGrid", [("M", 2.0)]))
    with pytest.raises(RecipeError, match="up to 2.000 s, but its recording ends at 1.498"):
        cut_segments(alignment, round(1.5 * RATE))


def test_of_two_speakers_only_one_may_have_phones(tmp_path):
    path = tmp_path / "a.TextGrid"
    rows = [[("sil", 0.2), ("HH", 0.1), ("AY1", 0.2)], [("", 0.5)]]
    for order in (rows, rows[::-1]):
        write(path, *order, tiers=("Ann - phones", "Bob - phones"))
        assert [phone.label for phone in read(path).phones] == ["HH", "AY1"]
    write(path, rows[0], [("", 0.3), ("OW1", 0.2)], tiers=("Ann - phones", "Bob - phones"))
    with pytest.raises(RecipeError, match="with the phones of two speakers"):
        read(path)
