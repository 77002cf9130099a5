"""Names of phones: ARPAbet, the pause, and the labels that aligners write for silence."""

PAUSE = "sp"
SILENCE = "sil"
"""ESPnet's pause without punctuation, and its silence at the ends of an utterance."""
CONSONANTS = frozenset("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split())
VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
UNKNOWN = "spn"
"""What an aligner writes for a word that its dictionary lacks: speech with unknown phones."""
SILENCES = frozenset({"", "sil", "sp", "<eps>"})
ARPABET = CONSONANTS | {f"{vowel}{stress}" for vowel in VOWELS for stress in ("", "0", "1", "2")}
