"""List the verbs by which an answer tells the reader to do something.

They tell a clause of its own ("stop the drip and give calcium") from a further object of the same
verb ("stop ramipril and metformin").
"""

from __future__ import annotations

import re

# In the form in which an answer commands: the base.
_BASES = """
    activate add adjust administer admit advise alert aim analgese anticoagulate apply arrange
    ascertain ask aspirate assess attach attempt auscultate avoid bandage bathe begin biopsy
    book bring calculate call cancel cannulate cardiovert catheterize cauterize cease change
    check choose clamp clarify clean clear close collect commence compress confirm consult contact
    continue convert cool correct counsel cover debride decompress defer defibrillate delay deliver
    determine diagnose dilute discharge disclose discontinue discuss do document drain draw dress
    educate elevate elicit enquire ensure escalate establish estimate evacuate evaluate examine
    exclude excise explain explore expose fast fix flush follow forget gain get give go hold hydrate
    identify immobilize immunize infuse initiate inject inquire insert inspect institute intubate
    invite involve irrigate isolate keep lay leave lie ligate listen look lower maintain make manage
    massage measure mobilize monitor move notify observe obtain offer omit open operate optimize
    order organize palpate perform phone place plan position postpone prefer prepare prescribe
    prevent prioritize proceed protect provide put quantify raise reassess reassure
    recalculate receive recheck
    recognize recommend record reduce refer refrain rehydrate relieve remain remove repeat replace
    report request resect restart restrict resume resuscitate return reverse review rewarm rule
    save screen secure sedate see seek select send set sit skip speak splint stabilize start
    stay step stop suction supplement support suspect suture switch take talk target taper teach
    tell thank thrombolyse thrombolyze titrate transfer transfuse transport treat try turn undertake
    update urge use vaccinate ventilate verify wait wake warm warn wash watch wear weigh withdraw
    withhold wrap include includes comprise comprises
"""
_IRREGULAR = """
    given gave began begun took taken got kept held sent put set done did made withheld sought told
    laid left seen drawn brought chosen gone went undertaken withdrawn woken
"""
# Words that a verb of this list is often a noun in: "blood tests and checks".
_NOUNS = "plans drains orders sets places measures checks splints covers fixes"
_AUXILIARY = (
    "is are was were be been has have had do does did should must can could may might will would "
    "shall need needs ought requires require required means suggests indicates"
)
# Words of an action group that are no command: "pacing is indicated".
_STATED = "indicated needed required recommended essential mandatory advised urgent necessary"

BASES = frozenset(_BASES.split())


def _forms(base: str) -> set[str]:
    british = {base, base.replace("iz", "is")} if base.endswith("ize") else {base}
    found = set()
    for word in british:
        stem = word[:-1] if word.endswith("e") else word
        found |= {word, f"{word}s", f"{word}es", f"{stem}ed", f"{stem}ing"}
        found |= {f"{word}{word[-1]}ed", f"{word}{word[-1]}ing"}  # stopped, stopping
        if word.endswith("y"):
            found |= {f"{word[:-1]}ies", f"{word[:-1]}ied"}
    return found


FORMS = frozenset().union(*map(_forms, BASES), _IRREGULAR.split()) - {*_NOUNS.split()}
_COMMANDS = BASES | {base.replace("iz", "is") for base in BASES if base.endswith("ize")}
ACTION = f"(?:{'|'.join(sorted(_COMMANDS, key=len, reverse=True))})"
AUXILIARY = f"(?:{'|'.join(_AUXILIARY.split())})"
_STEMS = tuple(sorted({base[:-1] if base.endswith("e") else base for base in BASES}))
_WORDS = re.compile(r"[\w']+")


def has_verb(text: str) -> bool:
    """Whether a text has a verb that we know, in any form, or an auxiliary."""
    words = {word.casefold() for word in _WORDS.findall(text)}
    return bool(words & FORMS or words & set(_AUXILIARY.split()))


def is_action(term: str) -> bool:
    """Whether a term of a rule is a verb of this list: `start*`, `set up`, `is indicated`."""
    first, *rest = term.replace("*", "").split() or [""]
    if first in _AUXILIARY.split() and rest:
        return is_action(" ".join(rest))
    if first in FORMS or first in _STATED.split():
        return True
    return term.endswith("*") and len(first) > 2 and any(s == first for s in _STEMS)
