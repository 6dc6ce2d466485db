"""`rpc.discover`: every method of the socket, described for programs, from the message types.

Source: OpenRPC, https://spec.open-rpc.org.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from runtime.core.message import Request
from runtime.messages import METHODS
from runtime.wire import RESULTS, CandlesPacked

_REF = "#/components/schemas/{name}"


def discover(version: str) -> dict[str, Any]:
    """Return the OpenRPC document of all methods.

    Args:
      version: Version of marketd.
    """
    results = {method: RESULTS[kind] for method, kind in METHODS.items()}
    kinds = [*METHODS.values(), *(kind for kind, _ in results.values()), CandlesPacked]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    result_schemas = schemas[len(METHODS) : -1]
    return {
        "openrpc": "1.3.2",
        "info": {"title": "marketd", "version": version},
        "methods": [
            _method(method, kind, components[kind.__name__], _wrapped(results[method][1], result))
            for (method, kind), result in zip(METHODS.items(), result_schemas, strict=True)
        ],
        "components": {"schemas": components},
    }


def _method(
    method: str, kind: type[Request[Any]], schema: dict[str, Any], result: dict[str, Any]
) -> dict[str, Any]:
    documentation = inspect.cleandoc(kind.__doc__ or "")
    summary, _, rest = documentation.partition("\n")
    told = _attributes(documentation)
    described = {
        "name": method,
        "summary": summary,
        "description": rest.partition("Attributes:")[0].strip(),
        "paramStructure": "by-name",
        "params": [
            {
                "name": name,
                "description": told.get(name, ""),
                "required": name in schema.get("required", ()),
                "schema": part,
            }
            for name, part in schema["properties"].items()
        ],
        "result": {"name": method, "schema": result},
    }
    if method == "candles":
        # Beside `params`, not in them: it changes how the answer travels and not what it says.
        packed = {"$ref": _REF.format(name="CandlesPacked")}
        described["x-encodings"] = {"json": result, "binary": packed}
    return described


def _wrapped(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the object in which a list stands under `name`."""
    if not name:
        return schema
    return {"type": "object", "properties": {name: schema}, "required": [name]}


def _attributes(documentation: str) -> dict[str, str]:
    """Return what the `Attributes:` part of a docstring says of each field."""
    lines = documentation.partition("Attributes:\n")[2]
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", lines, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
