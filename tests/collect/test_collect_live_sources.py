"""Parameters become sources, and wrong ones an error before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from elara.collect.live.sources import GROUPS, full_text_query, live_sources
from elara.collect.topics import load_searches

CONTACT = "name@example.org"


def test_every_group_gives_its_sources(tmp_path: Path) -> None:
    found = live_sources(list(GROUPS), tmp_path, CONTACT, until="2026-11-23")
    assert [s.name for s in found] == [name for group in GROUPS.values() for name in group]
    assert all(s.base_url.startswith("https://") and s.per_second > 0 for s in found)


def test_a_mirror_and_a_rate_replace_the_service(tmp_path: Path) -> None:
    mirrors = {"who": "http://127.0.0.1:8000/who/"}
    found = live_sources(["government"], tmp_path, CONTACT, base_urls=mirrors, per_second=0)
    addresses = {s.name: s.base_url for s in found}
    assert addresses["who"] == "http://127.0.0.1:8000/who"
    assert addresses["cdc"] == "https://www.cdc.gov"
    assert {s.per_second for s in found} == {0}


def test_another_stack_exchange_site_can_be_named(tmp_path: Path) -> None:
    (usual,) = live_sources(["stackexchange"], tmp_path, CONTACT)
    (other,) = live_sources(["stackexchange"], tmp_path, CONTACT, stackexchange_site="biology")
    assert (usual.site, other.site) == ("medicalsciences", "biology")  # type: ignore[attr-defined]


def test_a_key_comes_from_the_environment_and_raises_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NCBI_API_KEY", raising=False)
    assert live_sources(["pubmed"], tmp_path, CONTACT)[0].per_second == 3
    monkeypatch.setenv("NCBI_API_KEY", "secret-key")
    (source,) = live_sources(["pubmed"], tmp_path, CONTACT)
    assert source.per_second == 10
    assert "secret-key" not in repr(source)


def test_the_last_day_stays_what_it_was_until_another_is_named(tmp_path: Path) -> None:
    def day(until: str) -> str:
        (source,) = live_sources(["stackexchange"], tmp_path, CONTACT, until=until)
        return source.until  # type: ignore[attr-defined,no-any-return]

    first = day("")
    assert day("") == first
    assert day("2030-01-31") == "2030-01-31"
    assert day("") == "2030-01-31"


@pytest.mark.parametrize(
    ("named", "options", "message"),
    [
        (["pubmet"], {}, "did you mean `pubmed`"),
        (["pubmed"], {"base_urls": {"who": "http://127.0.0.1"}}, "Unknown source `who`"),
        (["pubmed"], {"until": "tomorrow"}, "write a day as 2026-11-30"),
    ],
)
def test_what_is_not_known_is_named(
    tmp_path: Path, named: list[str], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        live_sources(named, tmp_path, CONTACT, **options)  # type: ignore[arg-type]


def test_every_topic_has_a_query_for_full_texts() -> None:
    for search in load_searches():
        query = full_text_query(search.query, permissive_only=True)
        assert "[Title/Abstract]" not in query
        assert query.count("(") == query.count(")")
        assert '"cc by license"[filter]' in query
