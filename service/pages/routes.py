"""Every route of the pages, and the few files they load."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from kdguard.service.api.problems import Problem
from kdguard.service.pages import audits, conclusions, entry, lists, subject_pages, thresholds
from kdguard.service.pages.rendering import PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)
for part in (entry, lists, subject_pages, conclusions, audits, thresholds):
    router.include_router(part.router)

_FILES = {
    "report.css": ("kdguard.report", "templates/report.css", "text/css"),
    "pages.css": ("kdguard.service.pages", "static/pages.css", "text/css"),
    "icon.svg": ("kdguard.service.pages", "static/icon.svg", "image/svg+xml"),
}


@router.get("/")
@router.get("/pages")
def get_start(request: Request) -> Response:
    """Where analysts begin."""
    return RedirectResponse("/pages/accounts", 303)


@router.get("/pages/static/{name}")
def get_file(name: str) -> Response:
    """A style sheet or the icon; the style of reports is served as it is."""
    if name not in _FILES:
        raise Problem(404, "not-found", "there is no such file")
    package, path, kind = _FILES[name]
    content = resources.files(package).joinpath(path).read_bytes()
    return Response(content, media_type=kind, headers={"cache-control": "public, max-age=300"})
