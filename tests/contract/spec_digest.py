"""Digest Pipedrive's API specification: paths, methods, parameters, costs, names of fields.

`python -m tests.contract.spec_digest ../shared/spec` writes `spec_digest.json` from the files of
the specification, which are too large for this repository. The digest holds no prose.

A response is a shape: an object is a mapping of names to shapes, where "*" stands for any further
name; a list is a list of one shape; a value is its JSON types, such as "integer|string". A name
that ends with "!" is required. "example" marks what only the specification's examples show.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any, TypeAlias

DIGEST = Path(__file__).with_name("spec_digest.json")
FILES = {"v1": "openapi-v1-extract.yaml", "v2": "openapi-v2.yaml"}
OPTIONAL = "get-operations.json"
"""The file that lists, for each GET of v2, the fields which a row may lack."""
METHODS = ("get", "post", "put", "patch", "delete")
CUSTOM = re.compile(r"[0-9a-f]{40}(_\w+)?")
Shape: TypeAlias = "dict[str, Any] | list[Any] | str"


def load() -> dict[str, Any]:
    digest: dict[str, Any] = json.loads(DIGEST.read_text(encoding="utf-8"))
    return digest


def digest_of(folder: Path) -> dict[str, Any]:
    """Make the digest from the folder of the specification."""
    import yaml

    optional = json.loads((folder / OPTIONAL).read_text(encoding="utf-8"))
    digest: dict[str, Any] = {"sha256": {}}
    for version, name in FILES.items():
        content = (folder / name).read_bytes()
        digest["sha256"][name] = hashlib.sha256(content).hexdigest()
        paths = yaml.load(content, yaml.CSafeLoader)["paths"]
        digest[version] = {path: _path(paths[path]) for path in sorted(paths)}
        for path, operation in digest[version].items():
            names = optional.get(path, {}).get("optional", []) if version == "v2" else []
            if names and "response" in operation:
                operation["optional"] = sorted({part for name in names for part in name.split(",")})
    return digest


def _path(described: dict[str, Any]) -> dict[str, Any]:
    """Digest one path: the cost of each method, and all of what its GET takes and answers."""
    costs = {
        method: described[method].get("x-token-cost") for method in METHODS if method in described
    }
    digest: dict[str, Any] = {"cost": costs}
    if "get" not in described:
        return digest
    get = described["get"]
    digest["parameters"] = {each["name"]: _parameter(each) for each in get.get("parameters", [])}
    answers = get["responses"]["200"].get("content", {}).get("application/json", {})
    shape = shape_of(answers.get("schema", {}))
    for example in _examples(answers):
        shape = merged(shape, _shape_of_example(example))
    digest["response"] = shape
    return digest


def _parameter(described: dict[str, Any]) -> dict[str, Any]:
    schema = described["schema"]
    digest = {"in": described["in"], "type": schema["type"]}
    if described.get("required"):
        digest["required"] = True
    for name in ("enum", "format", "minimum", "maximum"):
        if name in schema:
            digest[name] = schema[name]
    return digest


def shape_of(schema: dict[str, Any]) -> Shape:
    """Reduce a JSON schema to names and types."""
    shape: Shape = ""
    if "properties" in schema or schema.get("type") == "object":
        required = schema.get("required", [])
        shape = {
            f"{name}!" if name in required else name: shape_of(sub)
            for name, sub in schema.get("properties", {}).items()
        }
        more = schema.get("additionalProperties", not shape and "allOf" not in schema)
        if more:
            shape["*"] = shape_of(more) if isinstance(more, dict) else "any"
    elif schema.get("type") == "array":
        shape = [shape_of(schema.get("items", {}))]
    elif "type" in schema:
        shape = str(schema["type"])
    for kind in ("allOf", "oneOf", "anyOf"):
        for part in schema.get(kind, []):
            shape = merged(shape, shape_of(part))
    return shape or "any"


def merged(one: Shape, other: Shape) -> Shape:
    """Unite two shapes: what either allows."""
    if not one or not other or one == other:
        return one or other
    if isinstance(one, dict) and isinstance(other, dict):
        both = dict(one)
        for name, shape in other.items():
            known = next((each for each in (name, f"{name}!") if each in both), None)
            both[known or name] = merged(both[known], shape) if known else shape
        return both
    if isinstance(one, list) and isinstance(other, list):
        return [merged(one[0], other[0])]
    if "example" in (one, other):
        return one if other == "example" else other
    if isinstance(one, str) and isinstance(other, str):
        types = {*one.split("|"), *other.split("|")}
        return "any" if "any" in types else "|".join(sorted(types))
    return "any"


def _examples(answer: dict[str, Any]) -> list[Any]:
    named = answer.get("examples", {})
    examples = [each.get("value") for each in named.values() if isinstance(each, dict)]
    return [example for example in (*examples, answer.get("example")) if example is not None]


def _shape_of_example(value: Any) -> Shape:
    """Reduce an example to its names; custom fields, which each company has of its own, apart."""
    if isinstance(value, dict):
        return {
            name: _shape_of_example(part)
            for name, part in value.items()
            if name != "custom_fields" and not CUSTOM.fullmatch(name)
        }
    if isinstance(value, list):
        shape: Shape = ""
        for part in value:
            shape = merged(shape, _shape_of_example(part))
        return [shape or "example"]
    return "example"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    made = digest_of(Path(sys.argv[1]))
    DIGEST.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
