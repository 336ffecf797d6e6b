"""A local Intercom: develop and test against it, without a workspace and without messaging anybody."""

from intercom_provider.sandbox.server import Sandbox

__all__ = ["Sandbox"]
