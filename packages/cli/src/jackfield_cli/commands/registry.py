"""The marketplace: `publish`, `search`, `info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jackfield_cli.arguments import Slug
from jackfield_cli.command import Session, remote
from jackfield_cli.contents import contributions
from jackfield_cli.publishing import publish_package
from jackfield_cli.views import done, facts, heading, listing, moment, size, stack

__all__ = ["info", "publish", "search"]


@remote
def publish(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The package that `pack` made.", exists=True, dir_okay=False)
    ],
) -> None:
    """Publish a package. A signing key that the registry does not know yet is added to you first. For publishers."""
    published = publish_package(session.client, file, session.terminal)
    release = published.release
    session.terminal.answer(
        {**release, "key_id": published.key_id, "key_added": published.is_key_new},
        lambda: stack(
            done(f"{release['slug']} {release['version']} is published"),
            facts(
                [
                    ("publisher", published.publisher_id),
                    ("key", published.key_id + (" (now registered as yours)" if published.is_key_new else "")),
                    ("size", size(int(release["size"]))),
                    ("sha-256", str(release["digest"])),
                ]
            ),
        ),
    )


@remote
def search(
    session: Session,
    query: Annotated[str, typer.Argument(metavar="[QUERY]", help="Words in name, slug, summary or tags.")] = "",
    category: Annotated[str | None, typer.Option(help="Only this category.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    sort: Annotated[str, typer.Option(help="name, newest or installs.")] = "name",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """Look for plugins in the marketplace."""
    found = session.client.pages(
        "marketplace", limit=limit, query=query or None, category=category, tag=tag, sort=sort
    )  # fmt: skip
    session.terminal.answer(
        found,
        lambda: listing(
            ("plugin", "version", "category", "publisher", "what it does"),
            [(p["slug"], p["version"], p["category"], p["publisher"]["name"], p["summary"]) for p in found],
            empty="No plugin was found.",
        ),
    )


@remote
def info(session: Session, slug: Slug) -> None:
    """All about a plugin of the marketplace, and its releases."""
    plugin = session.client.get("marketplace", slug)
    releases = session.client.pages("marketplace", slug, "releases", limit=20)
    session.terminal.answer({**plugin, "releases": releases}, lambda: _view(plugin, releases))


def _view(plugin: dict[str, Any], releases: list[dict[str, Any]]) -> Any:
    manifest = plugin["manifest"]
    kinds = ("filters", "events", "emits", "functions", "routes", "widgets", "tables")
    return stack(
        heading(f"{plugin['name']} {plugin['version']}"),
        facts(
            [
                ("", plugin["summary"]), ("slug", plugin["slug"]), ("publisher", plugin["publisher"]["name"]),
                ("category", plugin["category"]), ("tags", plugin["tags"]), ("licence", plugin["licence"]),
                ("home page", plugin["homepage"]), ("repository", plugin["repository"]),
                ("support", plugin["support"]), ("installed", f"{plugin['installs']} times"),
                ("needs", plugin["permissions"]), ("may use", plugin["optional_permissions"]),
            ]
        ),
        heading("It contributes"),
        contributions({kind: manifest.get(kind) for kind in kinds}),
        heading("Releases"),
        listing(
            ("version", "state", "published", "why withdrawn"),
            [(r["version"], r["state"], moment(r["published_at"]), r["yank_reason"]) for r in releases],
            empty="none",
        ),
    )  # fmt: skip
