"""What the OpenAPI document says of every route's errors, and of its second success."""

from litestar.openapi import ResponseSpec

from payments_core_app.http.errors import Problem

__all__ = ["PAGE_PROBLEMS", "PROBLEMS", "success"]


def _problem(description: str) -> ResponseSpec:
    return ResponseSpec(
        data_container=Problem, description=description, media_type="application/problem+json", generate_examples=False
    )


PROBLEMS = {
    400: _problem("The request cannot be read"),
    401: _problem("No token, or one that does not count"),
    403: _problem("The token does not allow this"),
    404: _problem("No such thing, or not yours"),
    409: _problem("The state forbids it; `code` says which state"),
    422: _problem("The request can be read, and cannot be done"),
    503: _problem("Not now; `Retry-After` says when"),
}
"""Problem details by status."""
PAGE_PROBLEMS = {
    **PROBLEMS,
    502: _problem("The gateway answered with an error; try again"),
    504: _problem("The gateway did not answer in time; try again"),
}
"""Of the route that calls a gateway while the caller waits."""


def success(body: type, description: str) -> ResponseSpec:
    """What a route answers beside its usual success."""
    return ResponseSpec(data_container=body, description=description, generate_examples=False)
