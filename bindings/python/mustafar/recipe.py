# SPDX-License-Identifier: Apache-2.0
"""Recipes: which elements survive, in how many bits, and how many tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import _mustafar as c
from ._handles import Owner, handle_of
from .types import Bytes, Geometry, SideInfo, Window, _as_dict

__all__ = ["Recipe", "named_recipes", "plan"]


class Recipe(Owner):
    """An immutable recipe: a name ("lean"), a shorthand ("k64i4/v128i2"), JSON text or a dict."""

    __slots__ = ()
    _instead_of_pickle = "pickle its text, recipe.json, and make a new Recipe of it"

    def __init__(self, text: str | bytes | Mapping[str, Any]) -> None:
        if isinstance(text, Mapping):
            text = json.dumps(text)
        self._handle = c.mustafar_recipe_parse(text)

    @property
    def json(self) -> str:
        """The canonical JSON: every default written out. Equal recipes have equal text."""
        return c.mustafar_recipe_json(self._handle)

    @property
    def digest(self) -> str:
        """XXH3-128 of the canonical JSON without name and note, 32 hex digits."""
        return c.mustafar_recipe_digest(self._handle)

    @property
    def name(self) -> str:
        """The name in the JSON; "" where there is none."""
        return str(self.to_dict().get("name", ""))

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON as a dict."""
        content: dict[str, Any] = json.loads(self.json)
        return content

    def side(self, geometry: Geometry, layer: int, kv_head: int, side: int) -> SideInfo:
        """What the recipe asks of one layer, kv head and side."""
        shape = geometry_dict(geometry)
        return SideInfo(**c.mustafar_recipe_side(self._handle, shape, layer, kv_head, side))

    def window(self, geometry: Geometry, layer: int, kv_head: int) -> Window:
        """Window and budget of one kv head."""
        shape = geometry_dict(geometry)
        return Window(*c.mustafar_recipe_window(self._handle, shape, layer, kv_head))

    def plan(self, geometry: Geometry, tokens: int, **options: Any) -> Bytes:
        """`mustafar.plan` of this recipe."""
        return plan(self, geometry, tokens, **options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.json == other.json

    def __hash__(self) -> int:
        return hash(self.json)

    def __repr__(self) -> str:
        return "Recipe(closed)" if self.closed else f"Recipe({self.json!r})"


RecipeLike = Recipe | str | bytes | Mapping[str, Any]


def recipe_of(value: RecipeLike) -> Recipe:
    """`value` itself, or the recipe that it says."""
    return value if isinstance(value, Recipe) else Recipe(value)


def geometry_dict(geometry: object) -> dict[str, Any]:
    """The struct of a geometry."""
    if not isinstance(geometry, Geometry):
        from .errors import InvalidArgumentError

        raise InvalidArgumentError(f"geometry is a {type(geometry).__name__}; a Geometry is needed")
    return _as_dict(geometry)


def options_dict(max_tokens: int, reserve_tokens: int, auto: bool) -> dict[str, int]:
    """The struct of cache options."""
    return {
        "max_tokens": max_tokens,
        "reserve_tokens": reserve_tokens,
        "flags": c.MUSTAFAR_CACHE_AUTO if auto else 0,
    }


def named_recipes() -> dict[str, str]:
    """Built-in recipes: name and a sentence about it."""
    return {
        c.mustafar_recipe_name(index): c.mustafar_recipe_sentence(index)
        for index in range(c.mustafar_recipe_count())
    }


def plan(
    recipe: RecipeLike,
    geometry: Geometry,
    tokens: int,
    layer: int = c.MUSTAFAR_ALL,
    *,
    max_tokens: int = 0,
    reserve_tokens: int = 0,
    auto: bool = True,
) -> Bytes:
    """Bytes of a cache after `tokens` tokens, to the byte, without data; max_tokens 0 = tokens."""
    owner = recipe_of(recipe)
    options = options_dict(max_tokens or tokens or 1, reserve_tokens, auto)
    handle = handle_of(owner, Recipe, "recipe")
    return Bytes(**c.mustafar_plan(handle, geometry_dict(geometry), options, tokens, layer))
