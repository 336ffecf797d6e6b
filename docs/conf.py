"""The documentation as a site: `make docs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx import addnodes

from intercom_provider import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_REPOSITORY: Final = "https://github.com/airflow-provider-intercom/airflow-provider-intercom"

project = "airflow-provider-intercom"
author = "The authors of airflow-provider-intercom"
release = __version__
extensions = ["myst_parser"]
# index.rst includes it: GitHub shows a folder's README.md, a site begins with its index.
exclude_patterns = ["README.md"]

# The anchors of headings are those of GitHub: links lead to the same place here and there.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
html_theme_options = {
    "source_repository": f"{_REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "docs/",
}


def _link_to_repository(app: Sphinx, doctree: nodes.document) -> None:
    # Files outside docs/ are no pages of the site; Sphinx would copy them for download.
    for link in list(doctree.findall(addnodes.download_reference)):
        path = (app.srcdir / link["reftarget"]).resolve().relative_to(app.srcdir.parent)
        link.replace_self(nodes.reference("", "", *link.children, refuri=f"{_REPOSITORY}/blob/main/{path}"))


def setup(app: Sphinx) -> None:
    """
    Add what Sphinx has no setting for.

    :param app: The application that builds the site.
    """
    # Before Sphinx collects the files to copy, at 500.
    app.connect("doctree-read", _link_to_repository, priority=400)
