"""What is wrong with a settings file, in words."""

import difflib
from typing import get_args, get_origin

from pydantic import ValidationError


def explain(error: ValidationError, path, model) -> str:
    """Each wrong key of a settings file with the value given and the remedy.

    Parameters
    ----------
    error : ValidationError
    path : path or None
        Of the file.
    model : type
        Of the settings, which knows what keys there are.
    """
    lines = [f"settings {path or '(defaults)'}:"]
    for item in error.errors():
        key = ".".join(map(str, item["loc"])) or "(top level)"
        given = "" if isinstance(item["input"], dict) else f" (given: {item['input']!r})"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            fields = list(_fields_at(model, item["loc"][:-1]))
            near = difflib.get_close_matches(str(item["loc"][-1]), fields, 1)
            message = "unknown key" + (
                f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            )
        elif item["type"] == "too_short":
            message = "empty list; name at least one"
        lines.append(f"  {key}: {message}{given}")
    return "\n".join(lines)


def _fields_at(kind, loc):
    for key in loc:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
            continue
        fields = getattr(kind, "model_fields", {})
        kind = fields[key].annotation if key in fields else None
    return getattr(kind, "model_fields", {})
