"""Keep an experiment: what is served, who takes part, what they said; start, stop, roll back.

Two files in one folder. `served.json` says which adapter answers whom; the server reads it at every
request, so a rollback is a file of a few hundred bytes and loads no model. `experiments.sqlite`
holds people under pseudonyms and their ratings, and nothing of what was asked or answered. The key
of the pseudonyms is in `served.json` alone and goes with the end of the experiment: from then on
no row can be linked to a person by anybody who does not have that person's pseudonym already.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elara.serve.database import Database, make_private
from elara.serve.experiments.assign import (
    CANDIDATE,
    STANDING,
    Choice,
    ExperimentError,
    Plan,
    choose,
    read_plan,
)
from elara.serve.experiments.report import BETTER, HARM, Person, Report, report
from elara.serve.experiments.served import Served, ServedFile
from elara.workspace import lock

Audit = Callable[[dict[str, Any]], None]
Admit = Callable[[str], Mapping[str, str]]

_DAY = 86400.0  # seconds
_TABLES = """
CREATE TABLE IF NOT EXISTS experiment (
    id TEXT PRIMARY KEY, name TEXT, plan TEXT, plan_sha256 TEXT, started REAL,
    ended REAL, why TEXT);
CREATE TABLE IF NOT EXISTS person (
    experiment TEXT, name TEXT, arm TEXT, joined REAL, answers INTEGER, withdrawn INTEGER,
    PRIMARY KEY (experiment, name));
CREATE TABLE IF NOT EXISTS rating (
    experiment TEXT, person TEXT, request TEXT, value REAL, dangerous INTEGER, late INTEGER,
    PRIMARY KEY (experiment, request));
CREATE INDEX IF NOT EXISTS rating_of ON rating (experiment, person);
"""


class Experiments:
    """The experiments of one server. Its methods block, and any process or thread may call them.

    Args:
        folder: where its two files are; made when needed.
        audit: called with each act of an administrator and each end by rule, before it takes
            effect. Where it raises, nothing changes.
    """

    def __init__(self, folder: Path, audit: Audit) -> None:
        self._folder, self._audit = folder, audit
        self._served = ServedFile(folder / "served.json")
        self._database = Database(folder / "experiments.sqlite", _TABLES)

    # What the server asks at every request.

    def choose(self, subject: str, consent: bool) -> Choice:
        """Which adapter answers a request.

        Args:
            subject: the identifier that the front end uses for the person; "" if it has none.
            consent: whether the person agreed to take part in this experiment.

        Raises:
            ExperimentError: `served.json` was damaged by hand.
        """
        served = self._served.read()
        if served.plan is None or not consent or not subject:
            return Choice(served.standing)
        return choose(served.plan, served.experiment, bytes.fromhex(served.salt), subject)

    def adapters(self) -> list[str]:
        """The adapters that must stay loaded, so that every request and a rollback find theirs."""
        served = self._served.read()
        wanted = [served.standing, served.previous, served.plan.candidate if served.plan else ""]
        return [name for name in dict.fromkeys(wanted) if name]

    def notice(self) -> dict[str, str]:
        """What to tell people before they consent; empty where nothing runs."""
        served = self._served.read()
        if served.plan is None:
            return {}
        return {
            "experiment": served.experiment,
            "question": served.plan.question,
            "reviewed_by": served.plan.reviewed_by,
            "what_is_kept": "A pseudonym, which of two models answered, and your ratings.",
            "your_choice": "Without consent the usual model answers. You can leave at any time.",
        }

    # What people do.

    def answered(self, choice: Choice, now: float) -> None:
        """Count an answer that a person who takes part got.

        Args:
            choice: what `choose` gave; one without an arm is not counted.
            now: seconds since 1970.
        """
        if not choice.arm:
            return
        with self._database.begin() as database:
            database.execute(
                "INSERT INTO person VALUES (?, ?, ?, ?, 1, 0) ON CONFLICT "
                "DO UPDATE SET answers = answers + 1",
                (choice.experiment, choice.person, choice.arm, now),
            )

    def rate(self, choice: Choice, request: str, up: bool, dangerous: bool, now: float) -> bool:
        """Note what a person thought of an answer, and end the experiment if a rule says so.

        Args:
            choice: what `choose` gave for that answer.
            request: the id of the answer's request; only the first rating of an answer counts.
            up: thumbs up.
            dangerous: whether the person called the answer dangerous.
            now: seconds since 1970.

        Returns:
            Whether it was noted. It is not where the experiment is over, the person has left, or
            the answer was rated before.
        """
        served = self._served.read()
        if served.plan is None or choice.experiment != served.experiment:
            return False
        own = (choice.experiment, choice.person)
        with self._database.begin() as database:
            found = database.execute(
                "SELECT joined, withdrawn FROM person WHERE experiment = ? AND name = ?", own
            ).fetchone()
            if found is None or found[1]:
                return False
            late = now > found[0] + served.plan.window_days * _DAY
            row = (*own, request, float(up), dangerous, late)
            new = database.execute("INSERT OR IGNORE INTO rating VALUES (?, ?, ?, ?, ?, ?)", row)
        if dangerous:
            self.watch(now)
        return new.rowcount > 0

    def forget(self, request: str) -> int:
        """Take one rating back: its value goes, and that there was one is counted.

        Args:
            request: the id of the answer's request.

        Returns:
            How many ratings there were, 0 or 1.
        """
        with self._database.begin() as database:
            found = database.execute(
                "UPDATE rating SET value = NULL, dangerous = 0 WHERE request = ?", (request,)
            ).rowcount
        self._database.purge()
        return found

    def withdraw(self, subject: str) -> bool:
        """Let a person leave the running experiment: all ratings go, and one more left is counted.

        Args:
            subject: the identifier that the front end uses for the person.

        Returns:
            Whether the person took part.
        """
        choice = self.choose(subject, consent=True)
        own = (choice.experiment, choice.person)
        with self._database.begin() as database:
            database.execute("DELETE FROM rating WHERE experiment = ? AND person = ?", own)
            done = database.execute(
                "UPDATE person SET withdrawn = 1 WHERE experiment = ? AND name = ?", own
            )
        self._database.purge()
        return done.rowcount > 0

    # What administrators do.

    def start(self, plan_file: Path, now: float, admit: Admit = lambda adapter: {}) -> str:
        """Begin an experiment.

        Args:
            plan_file: the plan; see `read_plan`. Its hash is audited.
            now: seconds since 1970.
            admit: says what is known of an adapter, for the audit log, and raises if it may not be
                served (the gate blocks it, it is not there); by default nothing is asked.

        Returns:
            The experiment's id: the plan's name and the start of its hash.

        Raises:
            ExperimentError: one is running, this plan has run already, another adapter is
                standing.
        """
        plan, digest = read_plan(plan_file)
        name = f"{plan.name}-{digest[:8]}"
        with self._acting():
            served = self._served.read()
            if served.plan:
                raise ExperimentError(
                    f"{served.experiment} is running: end it first with `elara ab rollback` or "
                    f"`elara ab promote`."
                )
            if served.standing not in ("", plan.standing):
                raise ExperimentError(
                    f"The standing adapter is {served.standing}, and the plan names "
                    f"{plan.standing}. Correct `standing` in {plan_file}."
                )
            if self._row("SELECT 1 FROM experiment WHERE name = ?", plan.name):
                raise ExperimentError(
                    f"A plan named {plan.name!r} has run. Whoever begins again until the result "
                    f"pleases will find one: give a plan for a new question a new name."
                )
            adapters = {STANDING: plan.standing, CANDIDATE: plan.candidate}
            known = {f"{arm}_{k}": v for arm, a in adapters.items() for k, v in admit(a).items()}
            self._audit({"event": "ab start", "experiment": name, "plan_sha256": digest} | known)
            row = (name, plan.name, plan.model_dump_json(), digest, now)
            with self._database.begin() as database:
                database.execute("INSERT INTO experiment VALUES (?, ?, ?, ?, ?, NULL, '')", row)
            self._served.write(Served(plan.standing, "", name, secrets.token_hex(32), plan))
        return name

    def status(self, now: float) -> Report:
        """What the running experiment shows, or else the last one.

        Args:
            now: seconds since 1970.

        Raises:
            ExperimentError: there was none yet.
        """
        name, plan, ended = self._last()
        until = min(now, ended or now)
        return report(plan, self._people(name, plan, until))

    def watch(self, now: float) -> str:
        """End the running experiment if its plan says so: harm, or all people were heard.

        Args:
            now: seconds since 1970.

        Returns:
            Why it was ended, or "".
        """
        if self._served.read().plan is None:
            return ""
        found = self.status(now)
        if found.decision != HARM and not found.full:
            return ""
        with self._acting():
            served = self._served.read()
            if served.plan is None:  # somebody was faster
                return ""
            why = found.decision
            told = {"event": "ab stop", "experiment": served.experiment, "why": why}
            self._end(told, Served(served.standing), now)
        return why

    def promote(self, now: float, reason: str = "", admit: Admit = lambda adapter: {}) -> str:
        """Let the candidate of the last experiment answer everybody, and end the experiment.

        Args:
            now: seconds since 1970.
            reason: why, where the result is not that the candidate is better.
            admit: as of `start`; it is asked about the candidate.

        Returns:
            The adapter that stands now.

        Raises:
            ExperimentError: there is nothing to promote, or no reason was given where it takes one.
        """
        with self._acting():
            name, plan, _ = self._last()
            if self._served.read().standing != plan.standing:
                raise ExperimentError(
                    f"{plan.name} compared with {plan.standing}, which no longer stands: start a "
                    f"new experiment."
                )
            decision = self.status(now).decision
            if decision != BETTER and not reason:
                raise ExperimentError(
                    f"The result of {plan.name} is: {decision}. To promote the candidate all the "
                    f'same, say why: `elara ab promote --reason "…"`.'
                )
            told = {"event": "ab promote", "experiment": name, "result": decision, "reason": reason}
            told |= {f"{CANDIDATE}_{k}": v for k, v in admit(plan.candidate).items()}
            self._end(told, Served(plan.candidate, previous=plan.standing), now)
            return plan.candidate

    def rollback(self, now: float, reason: str = "") -> str:
        """End the running experiment, or take the last promotion back.

        Args:
            now: seconds since 1970.
            reason: why, for the audit log.

        Returns:
            The adapter that answers everybody from now on.

        Raises:
            ExperimentError: no experiment runs and nothing was promoted.
        """
        with self._acting():
            served = self._served.read()
            back = served.standing if served.plan else served.previous
            if not back:
                raise ExperimentError(
                    "No experiment runs and nothing was promoted: there is nothing to roll back."
                )
            told = {"event": "ab rollback", "experiment": served.experiment, "reason": reason}
            self._end(told | {"adapter": back}, Served(back), now)
            return back

    # How it is kept.

    def _end(self, told: dict[str, Any], then: Served, now: float) -> None:
        self._audit(told)
        self._served.write(then)
        if told["experiment"]:
            with self._database.begin() as database:
                database.execute(
                    "UPDATE experiment SET ended = ?, why = ? WHERE id = ? AND ended IS NULL",
                    (now, told["event"], told["experiment"]),
                )

    @contextmanager
    def _acting(self) -> Iterator[None]:
        make_private(self._folder)
        held = lock(self._folder / ".lock", "an experiment", wait=True)
        try:
            yield
        finally:
            held.release()

    def _row(self, query: str, *values: Any) -> Any:
        with self._database.begin() as database:
            return database.execute(query, values).fetchone()

    def _last(self) -> tuple[str, Plan, float | None]:
        row = self._row("SELECT id, plan, ended FROM experiment ORDER BY started DESC, rowid DESC")
        if row is None:
            raise ExperimentError(
                "There was no experiment yet: write a plan and start it with `elara ab start`."
            )
        return row[0], Plan.model_validate_json(row[1]), row[2]

    def _people(self, experiment: str, plan: Plan, now: float) -> list[Person]:
        with self._database.begin() as database:
            rows = database.execute(
                "SELECT name, arm, joined, answers, withdrawn FROM person "
                "WHERE experiment = ? ORDER BY joined, name",
                (experiment,),
            ).fetchall()
            said: dict[str, list[tuple[float | None, int, int]]] = {row[0]: [] for row in rows}
            for person, *rating in database.execute(
                "SELECT person, value, dangerous, late FROM rating WHERE experiment = ?",
                (experiment,),
            ):
                said[person].append((rating[0], rating[1], rating[2]))
        return [
            Person(
                arm,
                joined + plan.window_days * _DAY <= now,
                answers,
                [v for v, _, late in said[name] if v is not None and not late],
                sum(dangerous for _, dangerous, _ in said[name]),
                sum(late for v, _, late in said[name] if v is not None),
                sum(v is None for v, _, _ in said[name]),
                bool(withdrawn),
            )
            for name, arm, joined, answers, withdrawn in rows
        ]
