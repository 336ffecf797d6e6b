"""An error reply of Intercom's API, in its two shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ErrorReply(Exception):  # noqa: N818 - a reply, which an endpoint raises instead of returning
    """Raised by an endpoint to refuse a request.

    :param status: the HTTP status.
    :param code: Intercom's error code; None for the old shape, which has a message only.
    :param message: the text for people.
    :param field: the field or parameter at fault, if there is one.
    :param headers: headers that only this reply has.
    """

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        field: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.headers = headers or {}

    def body(self, request_id: str) -> dict[str, Any]:
        """Build the body of the reply.

        :param request_id: the id by which Intercom's support would find the request.
        """
        if self.code is None:
            return {"type": "error", "request_id": request_id, "message": self.message}
        error = {"code": self.code, "message": self.message}
        if self.field:
            error["field"] = self.field
        return {"type": "error.list", "request_id": request_id, "errors": [error]}
