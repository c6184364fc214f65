"""The connector proxy's discovery list and OpenAPI document, made from manifests and schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector_runtime import Connector
from connector_runtime.connection import Action
from connector_runtime.settings import is_given

from .protocol import ENGINES_OWN, KEY_HEADER

_TYPES = {"string": "str", "integer": "int", "boolean": "bool"}
# What counts as not given: null, and text that is blank as Python defines it.
_BLANK = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
_NOT_GIVEN: tuple[dict[str, Any], ...] = (
    {"type": "null"},
    {"type": "string", "pattern": f"^[{_BLANK}]*$(?!\\n)"},
)
_REFUSALS = {
    "400": "The request is not valid HTTP, not JSON, or not an object with fields.",
    "401": "The API key is missing or wrong.",
    "403": "No web pages of other sites, and without a key loopback names alone, are served.",
    "408": "The body took too long to come.",
    "413": "The request is larger than the proxy takes.",
    "415": "The body is not declared as application/json, or it is compressed.",
    "500": "An unexpected fault before a command began; the proxy's log has it.",
    "503": "Too much is under way, or the proxy is stopping. This request began nothing.",
}


def needed(action: Action, settings: Mapping[str, Any]) -> list[str]:
    """Return the inputs that a caller must give: they have no default and no setting."""
    schema = action.input_schema
    return [
        name
        for name in schema.get("required", ())
        if not (name in action.globals and is_given(settings.get(name)))
        and "default" not in schema["properties"].get(name, {})
    ]


def discovery(
    connectors: Mapping[str, Connector], settings: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the list of commands from which a modeler offers them."""
    return [
        {
            "id": f"{name}/{action.name}",
            "parameters": [
                {
                    "id": field,
                    "type": _type(schema),
                    "required": field in needed(action, settings[name]),
                }
                for field, schema in action.input_schema["properties"].items()
            ],
        }
        for name, connector in connectors.items()
        for action in connector.actions.values()
    ]


def _type(schema: Mapping[str, Any]) -> str:
    declared = schema.get("type", [])
    declared = [declared] if isinstance(declared, str) else declared
    kinds = [kind for kind in declared if kind != "null"]
    return _TYPES.get(kinds[0], "any") if len(kinds) == 1 else "any"


def document(
    connectors: Mapping[str, Connector],
    settings: Mapping[str, Mapping[str, Any]],
    *,
    keyed: bool,
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a proxy; `keyed` says whether it asks for an API key."""
    paths: dict[str, Any] = {
        "/liveness": {
            "get": {
                **_read("liveness", "Whether the proxy is up", {"const": {"ok": True}}, keyed),
                "security": [],
            }
        },
        "/v1/commands": {
            "get": _read("commands", "The commands and their parameters", _COMMANDS, keyed)
        },
        "/v1/auths": {
            "get": _read("auths", "None: credentials are the proxy's own settings", _NONE, keyed)
        },
        "/openapi.json": {"get": _read("openapi", "This document", {"type": "object"}, keyed)},
    }
    if keyed:  # /liveness needs no key
        del paths["/liveness"]["get"]["responses"]["401"]
    for name, connector in connectors.items():
        for action in connector.actions.values():
            paths[f"/v1/do/{name}/{action.name}"] = _command(name, action, settings[name], keyed)
    components: dict[str, Any] = {"schemas": _SCHEMAS}
    if keyed:
        components["securitySchemes"] = {
            "apiKey": {"type": "apiKey", "in": "header", "name": KEY_HEADER}
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Connector proxy",
            "version": ", ".join(
                f"{name} {connector.version}" for name, connector in connectors.items()
            ),
            "description": "Actions of connectors as commands, in Spiff Arena's protocol.",
        },
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}] if keyed else [],
        "tags": [
            {"name": name, "description": connector.manifest["description"]}
            for name, connector in connectors.items()
        ],
        "paths": paths,
        "components": components,
    }


def _command(
    connector: str, action: Action, settings: Mapping[str, Any], keyed: bool
) -> dict[str, Any]:
    inputs = _inputs(action, settings)
    shared: dict[str, Any] = {
        "tags": [connector],
        "summary": action.display_name,
        "description": action.description,
        "externalDocs": {"url": action.documentation},
    }
    answers = {"200": _json("The command ran.", _answer(action))}
    operations = {
        "post": {
            **shared,
            "operationId": f"{connector}_{action.name}",
            "parameters": [_IDEMPOTENCY_KEY] if action.effect == "write" else [],
            "requestBody": {"required": True, "content": {"application/json": {"schema": inputs}}},
            "responses": {
                **answers,
                **_refusals("400", "408", "413", "415", "500", "503", keyed=keyed),
            },
        }
    }
    if action.effect == "read":
        operations["get"] = {
            **shared,
            "operationId": f"{connector}_{action.name}_by_get",
            "parameters": [
                {
                    "name": name,
                    "in": "query",
                    "required": name in inputs["required"],
                    "schema": schema,
                }
                for name, schema in inputs["properties"].items()
            ],
            "responses": {**answers, **_refusals("400", "500", "503", keyed=keyed)},
        }
    return operations


def _inputs(action: Action, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input's schema for a caller, who need not give what settings supply."""
    required = needed(action, settings)
    return {
        **_plain(action.input_schema),
        "required": required,
        "properties": {
            name: schema if name in required else {"anyOf": [schema, *_NOT_GIVEN]}
            for name, schema in action.input_schema["properties"].items()
        },
        "patternProperties": {f"^{ENGINES_OWN}": {}},
    }


def _answer(action: Action) -> dict[str, Any]:
    status = 200 if action.effect == "read" else 201
    return {
        "oneOf": [
            _version_2(_plain(action.output_schema), {"const": status}, {"type": "null"}),
            _version_2(
                {"$ref": "#/components/schemas/Fault"},
                {
                    "type": "integer",
                    "minimum": 400,
                    "maximum": 599,
                    "description": "429, or 500 and above: nothing was done, repeat it. "
                    "409: it may have been carried out.",
                },
                {"$ref": "#/components/schemas/Error"},
            ),
        ]
    }


def _version_2(body: Any, status: Any, error: Any) -> dict[str, Any]:
    return _object(
        command_response_version={"const": 2},
        command_response=_object(
            body=body, mimetype={"const": "application/json"}, http_status=status
        ),
        error=error,
        spiff__logs={"type": "array", "items": {"type": "string"}},
    )


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the keywords that only the root of a schema file may have."""
    return {name: value for name, value in schema.items() if name != "$schema"}


def _read(operation: str, summary: str, schema: Any, keyed: bool) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": _json(summary, schema), **_refusals("400", "500", "503", keyed=keyed)},
    }


def _refusals(*statuses: str, keyed: bool) -> dict[str, Any]:
    refusal = {"$ref": "#/components/schemas/Refusal"}
    chosen = sorted([*statuses, "403", *(["401"] if keyed else [])])
    answers = {status: _json(_REFUSALS[status], refusal) for status in chosen}
    if "503" in answers:
        answers["503"]["headers"] = {
            "Retry-After": {"required": True, "schema": {"type": "integer"}}
        }
    return answers


def _json(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Names this call, as text in quotes. A later request with it gets "
    "what the first call made. Without it, `spiff__task_id` is the key.",
    "schema": {"type": "string", "pattern": '^"[!#-\\[\\]-~]{1,200}"$'},
}
_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_NONE = {"type": "array", "maxItems": 0}
_COMMANDS = {
    "type": "array",
    "items": _object(
        id=_TEXT,
        parameters={
            "type": "array",
            "items": _object(
                id=_TEXT,
                type={"enum": ["str", "int", "bool", "any"]},
                required={"type": "boolean"},
            ),
        },
    ),
}
_ERROR = _object(error_code=_TEXT, message=_TEXT)
_SCHEMAS = {
    "Error": {"description": "What BPMN error events match, and why.", **_ERROR},
    "Refusal": {
        "description": "No command was begun.",
        **_object(error=_ERROR),
    },
    "Fault": {
        "description": "What went wrong, as the connector tells it.",
        **_object(
            code=_TEXT,
            message=_TEXT,
            retryable={"type": "boolean"},
            outcome={"enum": ["not_sent", "refused", "unknown"]},
            status={"type": ["integer", "null"]},
            provider_code=_TEXT_OR_NULL,
            request_id=_TEXT_OR_NULL,
            hint=_TEXT_OR_NULL,
            retry_after_seconds={"type": ["number", "null"]},
            problems={"type": "array", "items": _TEXT},
            candidates={"type": "array", "items": _TEXT},
            looked_until=_TEXT_OR_NULL,
        ),
    },
}
