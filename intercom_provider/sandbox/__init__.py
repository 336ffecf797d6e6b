"""A local Intercom for development and tests. It needs no workspace and messages nobody."""

from intercom_provider.sandbox.server import Sandbox
from intercom_provider.sandbox.templates import Templates, read_templates

__all__ = ["Sandbox", "Templates", "read_templates"]
