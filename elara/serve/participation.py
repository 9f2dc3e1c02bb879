"""Define the addresses for people who give feedback or take part in an experiment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from elara.serve.experiments import Choice, ExperimentError, Experiments
from elara.serve.feedback import Feedback, FeedbackError, FeedbackStore, Receipts


class Token(BaseModel):
    """What `POST /feedback` returned. It is sent in the body, since addresses are logged."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=100)


class Subject(BaseModel):
    """The identifier under which the front end sends a person's requests."""

    model_config = ConfigDict(extra="forbid")

    subject: str = Field(min_length=1, max_length=200)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FeedbackError as error:
        raise HTTPException(409, str(error)) from None
    except ExperimentError as error:
        raise HTTPException(503, str(error)) from None


def participation_router(
    experiments: Experiments, store: FeedbackStore, receipts: Receipts
) -> APIRouter:
    """The addresses, to be mounted on the application. They run in worker threads.

    Args:
        experiments: of this server.
        store: of this server, with a mask.
        receipts: with this server's key.
    """
    router = APIRouter(tags=["Feedback and experiments"])

    def about(body: Feedback) -> tuple[str, Choice]:
        turns = [turn.model_dump() for turn in body.messages]
        return receipts.read(body.receipt, turns, body.answer)

    @router.post("/feedback/preview")
    def preview(body: Feedback) -> dict[str, Any]:
        """Show what would be stored of this feedback, masked. Nothing is stored."""
        with _told():
            about(body)
            return store.preview(body)

    @router.post("/feedback")
    def give(body: Feedback) -> dict[str, Any]:
        """Store feedback. Its thumb counts where the person takes part in an experiment.

        An answer that is called dangerous counts as thumbs down.
        """
        with _told():
            request, choice = about(body)
            stored, token = store.add(body, request, choice.adapter)
            up, counted = body.thumb == "up" and not body.dangerous, False
            if choice.arm and (body.thumb or body.dangerous):
                counted = experiments.rate(choice, request, up, body.dangerous, time.time())
            return {"stored": stored, "token": token, "counted_in_experiment": counted}

    @router.post("/feedback/delete")
    def delete(body: Token) -> dict[str, Any]:
        """Delete feedback, and take its rating back from the experiment."""
        with _told():
            request = store.delete(body.token)
            return {"deleted": request, "ratings_taken_back": experiments.forget(request)}

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
