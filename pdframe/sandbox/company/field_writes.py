"""Changes to the definitions of custom fields and their options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import fields
from .custom_fields import code_of
from .ledger import ENTITIES, Ledger, Row

_OPTION_TYPES = ("enum", "set")


class FieldWrites(Ledger):
    """The ledger with writes on field definitions."""

    def __init__(self, now: int, seed: int, me: int) -> None:
        super().__init__(now)
        self.seed = seed
        self.me = me
        self._fields_made = dict.fromkeys(ENTITIES, 0)
        self._next_option = 101
        self._codes: dict[str, set[str]] = {entity: set() for entity in ENTITIES}
        self._fields_changed = 0

    def field(self, entity: str, code: str) -> Row:
        """Return the definition of one field; ValueError where there is none."""
        if entity not in self.fields:
            raise ValueError(f"{entity!r} has no fields; there are {', '.join(self.fields)}.")
        for result in self.fields[entity]:
            if result["field_code"] == code:
                return result
        raise ValueError(f"{entity} has no field {code!r}.")

    def add_field(
        self,
        entity: str,
        name: str,
        field_type: str,
        options: Iterable[str] | None = None,
        *,
        named_parts: bool = True,
        code: str | None = None,
    ) -> str:
        """Create a custom field and return its code; `named_parts=False` leaves a composite without
        metadata of its parts.
        """
        with self.lock:
            if entity not in self.fields:
                raise ValueError(f"{entity!r} has no fields; there are {', '.join(self.fields)}.")
            if field_type not in fields.CREATABLE:
                raise ValueError(
                    f"A custom field cannot be of type {field_type!r}; it can be"
                    f" {', '.join(fields.CREATABLE)}."
                )
            labels = list(options or ())
            if labels and field_type not in _OPTION_TYPES:
                raise ValueError(f"A field of type {field_type} has no options.")
            self._fields_made[entity] += 1
            code = code or code_of(self.seed, entity, self._fields_made[entity])
            if code in self._codes[entity]:
                raise ValueError(f"{entity} has a field {code!r} already.")
            rows = (
                [{"id": self._option_id(), "label": label} for label in labels]
                if field_type in _OPTION_TYPES
                else None
            )
            self._tick()
            self._put_field(
                entity,
                fields.definition(
                    entity, code, name, field_type, rows, custom=True, parts=named_parts
                ),
            )
            self._codes[entity].add(code)
            return code

    def _put_field(self, entity: str, definition: Row) -> None:
        self._fields_changed += 1
        self.fields[entity].append(definition)
        self._log(
            f"{entity}_fields", definition["field_code"], "create", definition.copy(), self.me
        )

    def _option_id(self) -> int:
        self._next_option += 1
        return self._next_option - 1

    def _change_field(self, entity: str, code: str, changes: Mapping[str, Any]) -> None:
        self._tick()
        self._fields_changed += 1
        index = next(
            i for i, result in enumerate(self.fields[entity]) if result["field_code"] == code
        )
        self.fields[entity][index] = {**self.fields[entity][index], **changes}
        self._log(f"{entity}_fields", code, "update", changes, self.me)

    def _custom(self, entity: str, code: str) -> Row:
        result = self.field(entity, code)
        if not result["is_custom_field"]:
            raise ValueError(f"{code!r} is a standard field of {entity}: it cannot be changed.")
        return result

    def _options(self, entity: str, code: str) -> list[Row]:
        options: list[Row] | None = self._custom(entity, code)["options"]
        if options is None:
            raise ValueError(f"Field {code!r} of {entity} has no options.")
        return options

    def rename_field(self, entity: str, code: str, name: str) -> None:
        """Give a custom field another label; the names of its parts follow."""
        with self.lock:
            kept = self._custom(entity, code)
            changes: Row = {"field_name": name}
            if kept["subfields"] is not None:
                changes["subfields"] = fields.subfields(kept["field_type"], name)
            self._change_field(entity, code, changes)

    def drop_field(self, entity: str, code: str) -> None:
        """Delete a custom field. Rows keep the values under its code in the company's own tables; a
        server shows defined fields alone.
        """
        with self.lock:
            kept = self._custom(entity, code)
            self._tick()
            self._fields_changed += 1
            self.fields[entity].remove(kept)
            self._codes[entity].discard(code)
            self._log(f"{entity}_fields", code, "remove", {}, self.me)

    def add_option(self, entity: str, code: str, label: str) -> int:
        """Append an option and return its id."""
        with self.lock:
            options = self._options(entity, code)
            new = self._option_id()
            self._change_field(entity, code, {"options": [*options, {"id": new, "label": label}]})
            return new

    def rename_option(self, entity: str, code: str, option: int, label: str) -> None:
        """Give an option another label."""
        with self.lock:
            options = self._options(entity, code)
            self._known_option(options, code, option)
            self._change_field(
                entity,
                code,
                {"options": [{**o, "label": label} if o["id"] == option else o for o in options]},
            )

    def remove_option(self, entity: str, code: str, option: int) -> None:
        """Delete an option; rows that hold its id go on holding it."""
        with self.lock:
            options = self._options(entity, code)
            self._known_option(options, code, option)
            self._change_field(entity, code, {"options": [o for o in options if o["id"] != option]})

    @staticmethod
    def _known_option(options: list[Row], code: str, option: int) -> None:
        if all(o["id"] != option for o in options):
            raise ValueError(f"Field {code!r} has no option {option}.")

    def _check_custom(self, entity: str, values: Mapping[str, Any] | None) -> None:
        if values and not values.keys() <= self._codes[entity]:
            unknown = sorted(values.keys() - self._codes[entity])
            raise ValueError(f"{entity} has no custom field {', '.join(unknown)}.")
