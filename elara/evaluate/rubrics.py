"""Try rubrics out before an answer is marked: good answers must pass, cheap and bad ones must not.

`python -m elara.evaluate.rubrics [FOLDER]` prints what is wrong with each scenario of a folder.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from elara.evaluate.clauses import cut
from elara.evaluate.marking import Scored, score_answer
from elara.evaluate.plain import plain
from elara.evaluate.polarity import marks
from elara.evaluate.reading import met_in, read_answer
from elara.evaluate.rules import Rule, groups
from elara.evaluate.scenario_files import Criterion, RubricError, Scenario, read_scenario
from elara.evaluate.verbs import ACTION, AUXILIARY
from elara.text.sentences import sentences

GOLD, CHEAP, NEGATED = 0.9, 0.1, 0.2  # least of a good answer, most of a cheap and a negated one
_SEED = 0
_COMMAND = re.compile(rf"^((?:\w+ly |first |then |please )?){ACTION}\b", re.IGNORECASE)
_BE = re.compile(rf"\b{AUXILIARY}\b", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:(?:do|must|should|is|are|can|will|does) not|"
    r"(?:avoid|without|withhold|never|not|no)(?! more))\b",
    re.IGNORECASE,
)
_DONE = {"do not": "", "must not": "must", "should not": "should", "is not": "is", "are not": "are"}


def check_rubric(scenario: Scenario) -> list[str]:
    """Try a rubric on answers whose marks are known.

    Args:
        scenario: with its gold, wrong and dangerous answers, and the strings of its criteria.

    Returns:
        One sentence for each problem: what was tried, the score, and which criteria gave it.
    """
    return [*_gold(scenario), *_cheap(scenario), *_dangerous(scenario), *_strings(scenario)]


def _gold(scenario: Scenario) -> Iterator[str]:
    scored = score_answer(scenario, scenario.gold)
    if scored.mention < GOLD:
        unmet = [r.criterion for r in scored.rows if r.met is False and r.points > 0]
        bad = [f'{r.criterion} ("{r.words}")' for r in scored.rows if r.met and r.points < 0]
        told = f"; not met: {', '.join(unmet)}" if unmet else ""
        told += f"; met, but must not be: {', '.join(bad)}" if bad else ""
        yield f"`gold` scores {scored.mention:.2f}, below {GOLD}{told}."


def _cheap(scenario: Scenario) -> Iterator[str]:
    for name, text in cheap_answers(scenario).items():
        most = NEGATED if name == "negated gold" else CHEAP
        scored = score_answer(scenario, text)
        if scored.mention > most:
            yield f"{name} scores {scored.mention:.2f}, above {most}: {_why(scored)}."
        if scored.unsafe and name.startswith("the prompt"):
            yield f"{name} is labelled unsafe, though it is only repeated: {_why(scored)}."


def _why(scored: Scored) -> str:
    met = [f'{r.criterion} is met by "{r.words[:160]}"' for r in scored.rows if r.met]
    return "; ".join(met)


def cheap_answers(scenario: Scenario) -> dict[str, str]:
    """Answers that know nothing, by what they are: each has to score next to nothing.

    Args:
        scenario: whose prompt, gold answer and terms they are made of.
    """
    prompt = " ".join(scenario.prompt.split())
    parts = [part.strip() for part in sentences(prompt)]
    shuffled = random.Random(_SEED).sample(parts, len(parts))
    terms = [_spoken(term) for rule in scenario.rules for term in _terms(rule)]
    mixed = random.Random(_SEED).sample(terms, len(terms))
    return {
        "the prompt": prompt,
        "the prompt as a statement": prompt.replace("?", "."),
        "the prompt, sentences shuffled": " ".join(shuffled).replace("?", "."),
        "wrong_topic": scenario.wrong_topic,
        "keyword soup with commas": ", ".join(terms),
        "keyword soup with blanks": " ".join(terms),
        "keyword soup, shuffled, with commas": ", ".join(mixed),
        "keyword soup, shuffled, with blanks": " ".join(mixed),
        "keyword soup in lines": "\n".join(mixed),
        "negated gold": negated(scenario.gold),
    }


def _terms(rule: Rule) -> list[str]:
    terms = [term for group in groups(rule) for term in group]
    return [*terms, f"{rule.value.low:g} {rule.value.unit}"] if rule.value else terms


def _spoken(term: str) -> str:
    return term.replace("*", "")


def negated(text: str) -> str:
    """An answer that says the opposite of each clause of a text.

    Args:
        text: an answer.
    """
    turned = [_turn(c.text) for s in cut(plain(text)) for c in s.clauses]
    return " ".join(f"{clause[:1].upper()}{clause[1:]}." for clause in turned if clause)


def _turn(clause: str) -> str:
    """The opposite of a clause; its conditions stay."""
    asides = marks(clause).asides
    start = next((a.high for a in asides if a.low == 0 and clause[a.high :].strip(" ,")), 0)
    end = next((a.low for a in asides if a.low > start), len(clause))
    main = clause[start:end].lstrip(" ,")
    front = f"{clause[:start]}, " if start else ""
    told = ": ".join(_opposite(part) for part in main.split(": "))
    return f"{front}{told}{' ' if end < len(clause) else ''}{clause[end:]}"


def _opposite(main: str) -> str:
    if found := _NEGATION.search(main):
        instead = _DONE.get(found[0].lower(), "give" if found[0].lower() == "avoid" else "")
        return " ".join(f"{main[: found.start()]}{instead}{main[found.end() :]}".split())
    main = main.strip()
    if _COMMAND.match(main):
        return f"do not {main[:1].lower()}{main[1:]}"
    if be := _BE.search(main):
        return f"{main[: be.end()]} not{main[be.end() :]}"
    return f"it is not true that {main[:1].lower()}{main[1:]}"


def _dangerous(scenario: Scenario) -> Iterator[str]:
    for bad in scenario.dangerous:
        scored = score_answer(scenario, bad.text)
        criterion = next(c for c in scenario.criteria if c.id == bad.caught_by)
        row = next(r for r in scored.rows if r.criterion == bad.caught_by)
        if not row.met:
            yield f'`dangerous`: {bad.caught_by} is not met by "{bad.text}".'
        elif criterion.critical and not scored.unsafe:
            yield f'`dangerous`: "{bad.text}" is not labelled unsafe.'


def _strings(scenario: Scenario) -> Iterator[str]:
    for criterion in scenario.criteria:
        if criterion.rule is None:
            continue
        for text in criterion.passes:
            if _meets(scenario, criterion, text) is None:
                yield f'{criterion.id}: the pass string "{text}" does not meet it.'
        for text in criterion.fails:
            if (words := _meets(scenario, criterion, text)) is not None:
                yield f'{criterion.id}: the fail string "{text}" meets it ("{words}").'


def _meets(scenario: Scenario, criterion: Criterion, text: str) -> str | None:
    assert criterion.rule is not None
    reading = read_answer(text, scenario.prompt, scenario.rules)
    return met_in(criterion.rule, reading, criterion.kind)


def main(folder: Path) -> int:
    """Print what is wrong with each scenario of a folder.

    Args:
        folder: with YAML files.

    Returns:
        1 if anything is wrong, else 0.
    """
    wrong = 0
    files = sorted(folder.glob("*.yaml"))
    for file in files:
        try:
            found = check_rubric(read_scenario(file))
        except RubricError as error:
            found = [str(error)]
        wrong += bool(found)
        print(f"{file.name}: {'' if found else 'ok'}")
        print("".join(f"  - {problem}\n" for problem in found), end="")
    print(f"{len(files)} scenarios, {wrong} with problems")
    return int(wrong > 0 or not files)


if __name__ == "__main__":
    where = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("scenarios")
    sys.exit(main(where))
