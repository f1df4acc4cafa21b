"""`request.query_as`, `json_as` and `form_as`: read a request by a model without declaring parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

from kui.forms import FormData
from kui.http.json import is_plain_json, json_charset

from .markers import Source
from .sources import Given, Whole
from .validators import Model, model_validator

__all__ = ["form_as", "json_as", "query_as"]

M = TypeVar("M")


@lru_cache(maxsize=1024)
def _validator(model: Any) -> Model:
    return model_validator(model)


@lru_cache(maxsize=1024)
def _whole(model: Any, source: Source) -> Whole:
    return Whole(model, source)


def query_as(request: Any, model: type[M]) -> M:
    """Return the query of a request as a model.

    :raises RequestValidationError: the query does not fit.
    """
    found: M = _read(request.query_params, model, "query")
    return found


async def json_as(request: Any, model: type[M]) -> M:
    """Return the JSON body of a request as a model. Raises what `request.json` raises, and:

    :raises RequestValidationError: the body does not fit.
    """
    charset = None
    if not is_plain_json(request.plain_fields()):
        headers = request.headers
        charset = json_charset(headers.get("content-type"), headers.get("content-encoding"))
    kind: Any = model
    found: M = _validator(kind).validate_json(await request.body, charset)
    return found


async def form_as(request: Any, model: type[M]) -> M:
    """Return the form of a request as a model. Raises what `request.form` raises, and:

    :raises RequestValidationError: the form does not fit.
    """
    form: FormData = await request.form
    found: M = _read(form, model, "body")
    return found


def _read(given: Given, model: Any, source: Source) -> Any:
    return _validator(model).validate(_whole(model, source).read(given), source)
