"""A local Intercom for development and tests. It needs no workspace and messages nobody."""

from intercom_provider.sandbox.server import Sandbox

__all__ = ["Sandbox"]
