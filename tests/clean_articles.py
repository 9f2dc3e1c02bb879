"""Clean articles that are short and alike, and a workspace in which stage clean has finished."""

from __future__ import annotations

from elara.records import Article, Section, frame
from elara.workspace import Workspace
from elara.workspace.workspace import Stage

DRUGS = ("metformin", "warfarin", "lithium", "digoxin", "insulin", "heparin", "aspirin", "codeine")
SIGNS = ("nausea", "bleeding", "tremor", "vomiting", "hunger", "bruising", "ulcers", "sleepiness")


def article(number: int, **more: object) -> Article:
    """An article that says three things about one drug."""
    drug, sign = DRUGS[number % 8], SIGNS[number % 8]
    told = {
        "id": f"pubmed:{1000 + number}",
        "source": "pubmed",
        "pmid": f"{1000 + number}",
        "title": f"Report {number} on {drug}",
        "abstract": f"Patients who take {drug} may notice {sign}. It was seen in trial {number}.",
        "body": [Section("Advice", f"Stop {drug} and call a doctor when {sign} begins.")],
        "language": "en",
        "url": f"https://example.org/{number}",
        "licence": "CC-BY-4.0",
        "redistributable": True,
        "topics": ["Cardiology"] if number % 2 else ["Neurology", "Psychiatry"],
    }
    return Article(**(told | more))  # type: ignore[arg-type]


def finish(workspace: Workspace, articles: list[Article]) -> None:
    """Leave what stage clean leaves."""
    (workspace.root / "logs").mkdir(parents=True, exist_ok=True)
    stage = Stage("clean", workspace, {})
    stage.draft.mkdir(parents=True)
    stage.write({"articles.parquet": frame(articles, Article)})
