"""The recipe language: one frozen, strict model a section."""

from titrant.schema.recipe.recipe import LANGUAGE, Level, Recipe, Task, recipe_value, written

__all__ = ["LANGUAGE", "Level", "Recipe", "Task", "recipe_value", "written"]
