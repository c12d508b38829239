"""Files that the user names are written whole, or refused in one line."""

import pytest

from titrant.api.planned import write_file
from titrant.api.recipes import copy_recipe
from titrant.schema.diagnostics.diagnostics import RecipeError


def test_makes_the_folder_and_leaves_nothing_else_beside_the_file(tmp_path):
    write_file(tmp_path / "new" / "plan.json", "{}\n")
    assert (tmp_path / "new" / "plan.json").read_text() == "{}\n"
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize("write", [lambda file: write_file(file, "{}"), lambda file: copy_recipe("digits_cnn", file)])
def test_says_why_a_place_cannot_be_written(write, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match=r"P003.*cannot be written"):
        write(tmp_path / "file" / "recipe.yaml")
    assert (tmp_path / "file").read_text() == ""
