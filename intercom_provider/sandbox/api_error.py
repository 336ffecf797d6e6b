"""A request that Intercom refuses, and the two shapes in which it says so."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An error reply.

    :param status: the HTTP status.
    :param code: Intercom's code; None for the old shape, which has a message only.
    :param message: what a person reads.
    :param field: the field or parameter that is at fault, where there is one.
    """

    def __init__(self, status: int, code: str | None, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field

    def body(self, request_id: str) -> dict[str, Any]:
        """Make the body of the reply.

        :param request_id: the id by which Intercom's support would find the request.
        """
        if self.code is None:
            return {"type": "error", "request_id": request_id, "message": self.message}
        error = {"code": self.code, "message": self.message}
        if self.field:
            error["field"] = self.field
        return {"type": "error.list", "request_id": request_id, "errors": [error]}
