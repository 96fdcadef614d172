"""Fields that hold the name of a row: looked up when a spec is checked, so that a row is all that a name needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from aecompress import plugins
from aecompress.registry import listed


@dataclass(frozen=True)
class OneOf:
    """The annotation of a text that must be one of some names."""

    names: Callable[[], Sequence[str]]
    group: str = ""
    """Entry points of installed packages (:mod:`aecompress.plugins`) whose names are allowed too."""
    pattern: str = ""
    """A regular expression of further texts that are allowed."""
    example: str = ""
    """One of these."""
    spellings: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What other names of them are taken as."""

    def check(self, value: Any) -> str:
        """Return the value, another name of it as ours.

        Raises:
            PydanticCustomError: it is none of the names, which the message lists as that of a ``Literal`` does.
        """
        value = self.spellings.get(value, value) if isinstance(value, str) else value
        if isinstance(value, str) and (value in self.names() or self._matches(value) or value in self._installed()):
            return value
        raise PydanticCustomError("one_of", "{choice}", {"choice": f"Input should be {self._choice()}"})

    def _matches(self, value: str) -> bool:
        return bool(self.pattern) and re.fullmatch(self.pattern, value) is not None

    def _choice(self) -> str:
        more = [f"a text such as {self.example!r}"] if self.example else []
        ours, theirs = listed([*map(repr, self.names()), *more]), self._installed()
        if not self.group:
            return ours
        return f"{ours} or a plug-in's{': ' + ', '.join(theirs) if theirs else ' name, and none is installed'}"

    def _installed(self) -> list[str]:
        return plugins.names(self.group) if self.group else []

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the value by :meth:`check`."""
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """List the names of now."""
        ours = {"enum": [*self.names(), *self.spellings], "type": "string"}
        if self.pattern:
            return {"anyOf": [ours, {"type": "string", "pattern": f"^{self.pattern}$"}]}
        return {"anyOf": [ours, {"type": "string"}]} if self.group else ours
