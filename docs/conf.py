"""The documentation as a site: `make docs`."""

from __future__ import annotations

import inspect
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from docutils import nodes
from sphinx import addnodes

from intercom_provider import __version__
from intercom_provider.api import models

if TYPE_CHECKING:
    from pydantic import BaseModel
    from sphinx.application import Sphinx

_REPOSITORY: Final = "https://github.com/airflow-provider-intercom/airflow-provider-intercom"

# Airflow, which the API reference imports, makes its home where it is not told to; nothing is left outside this folder.
os.environ.setdefault("AIRFLOW_HOME", str(Path(__file__).parents[1] / ".airflow" / "docs"))
# A package of Furo's prints what anybody logs.
logging.getLogger("airflow").setLevel(logging.WARNING)

project = "airflow-provider-intercom"
author = "The authors of airflow-provider-intercom"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
# index.rst includes it: GitHub shows a folder's README.md, a site begins with its index.
exclude_patterns = ["README.md"]

# The anchors of headings are those of GitHub: links lead to the same place here and there.
myst_heading_anchors = 4

# A docstring documents each argument with ``:param:``; the type and the default come from the signature.
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_mock_imports = ["pytest"]
maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["style"]
html_css_files = ["tables.css"]
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


def _leave_out_validators(model: type[BaseModel]) -> None:
    # The types of Pydantic's fields contain the code that checks them.
    types = get_type_hints(model)
    signature = inspect.signature(model)
    fields = [field.replace(annotation=types[name]) for name, field in signature.parameters.items()]
    model.__annotations__, model.__signature__ = types, signature.replace(parameters=fields)


def _leave_out_inherited_arguments(
    _app: Sphinx, _kind: str, _name: str, documented: Any, _options: Any, signature: str | None, _returned: str | None
) -> tuple[str, None] | None:
    # An error is caught by its class; its arguments stand at the class that defines them.
    is_error = inspect.isclass(documented) and issubclass(documented, Exception)
    return ("", None) if signature and is_error and "__init__" not in vars(documented) else None


def setup(app: Sphinx) -> None:
    """
    Add what Sphinx has no setting for.

    :param app: The application that builds the site.
    """
    # Before Sphinx collects the files to copy, at 500.
    app.connect("doctree-read", _link_to_repository, priority=400)
    app.connect("autodoc-process-signature", _leave_out_inherited_arguments)
    for model in (models.Receipt, models.WhatsAppStatus, models.WhatsAppError, models.StatusEvent):
        _leave_out_validators(model)
