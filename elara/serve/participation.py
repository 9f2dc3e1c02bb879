"""Let people give feedback and take part in experiments: what is kept for it, and the addresses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from elara.serve.database import make_private
from elara.serve.experiments import Choice, ExperimentError, Experiments
from elara.serve.feedback import Feedback, FeedbackError, FeedbackStore, Receipts
from elara.serve.journal import Event, make_secret, read_secret
from elara.serve.problems import documented


class Participation:
    """Experiments, feedback and receipts of one server.

    Args:
        folder: where they are kept; made when needed.
        audit: called with each act before it takes effect.
        mask: replaces what may identify a person in a text.
    """

    def __init__(
        self, folder: Path, audit: Callable[[dict[str, Any]], None], mask: Callable[[str], str]
    ) -> None:
        make_private(folder)
        key = folder / "receipts.key"
        if not key.exists():
            make_secret(key)
        self.experiments = Experiments(folder, audit)
        self.store = FeedbackStore(folder / "feedback.sqlite", audit, mask)
        self.receipts = Receipts(read_secret(key))


def act_of(event: Mapping[str, Any], by: str) -> Event:
    """The audit record of an act.

    Args:
        event: as experiments and feedback tell it; `event` names the act.
        by: id of the key, or name of the account.
    """
    details = {name: str(value) for name, value in event.items() if name != "event"}
    what: Any = event["event"].replace(" ", "-")
    return Event(what=what, by=by, details=details)


class Token(BaseModel):
    """What `POST /feedback` returned. It is sent in the body, since addresses are logged."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(min_length=1, max_length=100)


class Subject(BaseModel):
    """The identifier under which the front end sends a person's requests."""

    model_config = ConfigDict(extra="forbid", strict=True)

    subject: str = Field(min_length=1, max_length=200)


class Masked(BaseModel):
    """Feedback as it is stored, without what may identify a person."""

    messages: list[dict[str, str]]
    answer: str
    comment: str
    correction: str
    thumb: Literal["up", "down"] | None
    dangerous: bool


class Stored(BaseModel):
    """What became of feedback."""

    stored: Masked
    token: str = Field(description="deletes it; told only now")
    counted_in_experiment: bool


class Deleted(BaseModel):
    """What was deleted."""

    deleted: str = Field(description="id of the answer's request")
    ratings_taken_back: int


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FeedbackError as error:
        raise HTTPException(409, str(error)) from None
    except ExperimentError as error:
        raise HTTPException(503, str(error)) from None


def participation_router(held: Participation) -> APIRouter:
    """The addresses, to be mounted on the application. They run in worker threads.

    Args:
        held: what this server keeps.
    """
    experiments, store, receipts = held.experiments, held.store, held.receipts
    router = APIRouter(tags=["Feedback and experiments"], responses=documented(503))

    def about(body: Feedback) -> tuple[str, Choice]:
        turns = [turn.model_dump() for turn in body.messages]
        return receipts.read(body.receipt, turns, body.answer)

    @router.post("/feedback/preview", responses=documented(409))
    def preview(body: Feedback) -> Masked:
        """Show what would be stored of this feedback, masked. Nothing is stored."""
        with _told():
            about(body)
            return Masked(**store.preview(body))

    @router.post("/feedback", responses=documented(409))
    def give(body: Feedback) -> Stored:
        """Store feedback. Its thumb counts where the person takes part in an experiment.

        An answer that is called dangerous counts as thumbs down.
        """
        with _told():
            request, choice = about(body)
            stored, token = store.add(body, request, choice.adapter)
            up, counted = body.thumb == "up" and not body.dangerous, False
            if choice.arm and (body.thumb or body.dangerous):
                counted = experiments.rate(choice, request, up, body.dangerous, time.time())
            return Stored(stored=Masked(**stored), token=token, counted_in_experiment=counted)

    @router.post("/feedback/delete", responses=documented(409))
    def delete(body: Token) -> Deleted:
        """Delete feedback, and take its rating back from the experiment."""
        with _told():
            request = store.delete(body.token)
            return Deleted(deleted=request, ratings_taken_back=experiments.forget(request))

    @router.get("/experiment")
    def notice() -> dict[str, str]:
        """Say what to tell people before they consent to the running experiment; {} if none is."""
        with _told():
            return experiments.notice()

    @router.post("/experiment/withdraw")
    def withdraw(body: Subject) -> dict[str, bool]:
        """Leave the running experiment. All ratings in it are deleted."""
        with _told():
            return {"withdrawn": experiments.withdraw(body.subject)}

    return router
