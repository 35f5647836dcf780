"""Finding image files in folders, by pattern and by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from focalnets.data.finding import find_images, natural_key
from focalnets.data.image_formats import IMAGE_EXTENSIONS
from focalnets.errors import DataError


def assert_one_sentence(error: pytest.ExceptionInfo, *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    for word in words:
        assert word in message


def make_tree(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_find_images_in_folders(tmp_path: Path) -> None:
    make_tree(tmp_path, ["img10.JPG", "img2.jpg", "deep/er/a.webp", "notes.txt", ".hidden.png", ".git/b.png"])
    names = [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path])]
    assert names == ["deep/er/a.webp", "img2.jpg", "img10.JPG"]


def test_find_images_keeps_order_and_drops_repeats(tmp_path: Path) -> None:
    make_tree(tmp_path, ["b/1.png", "a/1.png", "readme.txt"])
    explicit = tmp_path / "readme.txt"
    found = find_images([tmp_path / "b", explicit, str(tmp_path), tmp_path / "b" / "1.png"])
    assert found == [tmp_path / "b/1.png", explicit, tmp_path / "a/1.png"]
    assert find_images(str(explicit)) == [explicit]


def test_find_images_by_pattern(tmp_path: Path) -> None:
    make_tree(tmp_path, ["a1.png", "a2.jpg", "a3.txt", "x/y/a4.png", "odd[1].png"])

    def names(pattern: str) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in find_images([f"{tmp_path}/{pattern}"])]

    assert names("a*") == ["a1.png", "a2.jpg"]
    assert names("**/*.png") == ["a1.png", "odd[1].png", "x/y/a4.png"]
    assert names("[x]") == ["x/y/a4.png"]
    assert names("odd[1].png") == ["odd[1].png"], "a file of that very name wins over the pattern"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_find_images_survives_link_loops(tmp_path: Path) -> None:
    make_tree(tmp_path, ["real/a.png"])
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    names = [path.relative_to(tmp_path).as_posix() for path in find_images([tmp_path])]
    assert names == ["linked/a.png", "real/a.png"]


@pytest.mark.parametrize(("given", "words"), [("gone", "gone"), ("empty", "no image"), ("*.png", "matches no image")])
def test_find_images_that_lead_nowhere(tmp_path: Path, given: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as error:
        find_images([tmp_path / given])
    assert_one_sentence(error, words)


def test_find_images_without_input() -> None:
    with pytest.raises(DataError) as error:
        find_images([])
    assert_one_sentence(error)


def test_natural_key() -> None:
    names = ["b", "A10", "a9", "a", "10", "9", "a1b2", "a1b10"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "a1b2", "a1b10", "a9", "A10", "b"]


def test_extensions_are_lower_case() -> None:
    assert all(extension == extension.lower() and extension.startswith(".") for extension in IMAGE_EXTENSIONS)
