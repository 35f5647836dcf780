"""Places in Pascal VOC's layout."""

from __future__ import annotations

TASK = "detect"
PHOTO = "JPEGImages/a.png"
_UTF_16 = '<?xml version="1.0" encoding="utf-16"?>'
NOT_VOC = r"is not as VOC has it \(.*"
_BOX = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
_CAT = f"<object><name>cat</name>{_BOX}</object>"


def _xml(objects="", size="<size><width>12</width><height>8</height><depth>3</depth></size>", head="", code="utf-8"):
    text = f"{head}<annotation><filename>a.png</filename>{size}{objects}</annotation>"
    return {"Annotations/a.xml": text if code == "utf-8" else text.encode(code)}


def _thing(inner):
    return _xml(f"<object>{inner}</object>")


def _box(left="2", top="2", right="5", bottom="5", rest="<name>cat</name>"):
    corners = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return _thing(f"{rest}<bndbox>{corners}</bndbox>")


def _size(width, height):
    return _xml(_CAT, f"<size><width>{width}</width><height>{height}</height></size>")


def _raw(text, **more):
    """A place of two files, of which one is as it should be and says what the folder holds."""
    good = _box()["Annotations/a.xml"]
    return {
        "Annotations/0.xml": good.replace("a.png", "0.png"),
        "Annotations/a.xml": text,
        "JPEGImages/0.png": None,
        **more,
    }


def odd_files():
    """Names of the places with their files and what is said of them; None where they read."""
    laughs = "".join(f'<!ENTITY a{n} "&a{n - 1};&a{n - 1};">' for n in range(1, 40))
    return {
        # No xml.
        "empty": (_raw(""), "is no xml or incomplete"),
        "half": (_raw(_box()["Annotations/a.xml"][:60]), "is no xml or incomplete"),
        "json": (_raw("{}"), "is no xml or incomplete"),
        "zeros": (_raw(b"\0" * 50), "is no xml or incomplete"),
        "binary": (_raw(bytes(range(256))), "is no xml or incomplete"),
        "a picture": (_raw(b"\x89PNG\r\n\x1a\n" + bytes(50)), "is no xml or incomplete"),
        "another root": (_raw("<annotations/>"), "holds <annotations>; expected <annotation>"),
        "html": (_raw("<html><body/></html>"), "holds <html>; expected <annotation>"),
        "two roots": (_raw("<annotation/><annotation/>"), "is no xml or incomplete"),
        "a tag that does not end": (_raw("<annotation><object></annotation>"), "is no xml or incomplete"),
        "an attribute twice": (_raw('<annotation a="1" a="2"/>'), "is no xml or incomplete"),
        "a bare ampersand": (_raw("<annotation><name>a & b</name></annotation>"), "is no xml or incomplete"),
        "an unknown entity": (_raw("<annotation>&who;</annotation>"), "is no xml or incomplete"),
        "an unknown encoding": (_raw('<?xml version="1.0" encoding="klingon"?><annotation/>'), "is no xml"),
        "wrong bytes": (_raw(b'<?xml version="1.0" encoding="utf-8"?><annotation>\xff</annotation>'), "is no xml"),
        "a control character": (_raw("<annotation>\x01</annotation>"), "is no xml or incomplete"),
        # Hostile.
        "a billion laughs": (
            _raw(f'<!DOCTYPE a [<!ENTITY a0 "ha">{laughs}]><annotation>&a39;</annotation>'), "it declares entities"
        ),
        "an entity of its own": (_raw('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>'), "declares ent"),
        "another file": (
            _raw('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'), "declares"
        ),
        "another computer": (
            _raw('<!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]><annotation>&x;</annotation>'), "declares"
        ),
        "a parameter entity": (
            _raw('<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><annotation/>'), "declares entities"
        ),
        "deep": (_raw("<annotation>" + "<a>" * 5000 + "</a>" * 5000 + "</annotation>"), "lie more than 32 deep"),
        "very many elements": (_raw("<annotation>" + "<a/>" * 200_001 + "</annotation>"), "more than 200,000 elements"),
        "a long text": (_raw("<annotation><name>" + "x" * 1_000_001 + "</name></annotation>"), "letters of text"),
        # Sizes.
        "width a word": (_size("wide", 8), NOT_VOC + "size/width needs a finite number"),
        "width NaN": (_size("nan", 8), NOT_VOC + "size/width needs a finite number"),
        "width infinite": (_size("inf", 8), NOT_VOC + "size/width needs a finite number"),
        "width negative": (_size(-12, -8), NOT_VOC + "size must be whole numbers"),
        "width a half": (_size("12.5", 8), NOT_VOC + "size must be whole numbers"),
        "width alone": (_size(12, 0), NOT_VOC + "size must be whole numbers"),
        "height missing": (_xml("", "<size><width>12</width></size>"), NOT_VOC + "size/height needs"),
        "very large": (_size(10**9, 10**9), NOT_VOC + "megapixels"),
        "1e308": (_size("1e308", "1e308"), NOT_VOC + "size must be"),
        "of 400 digits": (_size("9" * 400, 8), NOT_VOC + "size/width needs a finite number"),
        "another size": (_size(13, 8), "has 13 x 8 pixels but .* 12 x 8"),
        "sides exchanged": (_size(8, 12), "has 8 x 12 pixels but .* 12 x 8"),
        # Objects.
        "object empty": (_thing(""), NOT_VOC + "needs a name"),
        "name missing": (_thing(_BOX), NOT_VOC + "needs a name"),
        "name empty": (_thing(f"<name> </name>{_BOX}"), NOT_VOC + "needs a name"),
        "name too long": (_thing(f"<name>{'x' * 500}</name>{_BOX}"), NOT_VOC + "at most 200 letters"),
        "name inside another": (_thing(f"<name><b>cat</b></name>{_BOX}"), NOT_VOC + "needs a name"),
        "box missing": (_thing("<name>cat</name>"), NOT_VOC + "no bndbox/xmin"),
        "box empty": (_thing("<name>cat</name><bndbox/>"), NOT_VOC + "no bndbox/xmin"),
        "corner missing": (
            _thing("<name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax></bndbox>"), "no bndbox/ymax"
        ),
        "corner empty": (_box(left=""), NOT_VOC + "bndbox/xmin needs a finite number"),
        "corner a word": (_box(left="left"), NOT_VOC + "bndbox/xmin needs a finite number"),
        "corner NaN": (_box(top="NaN"), NOT_VOC + "bndbox/ymin needs a finite number"),
        "corner infinite": (_box(right="inf"), NOT_VOC + "bndbox/xmax needs a finite number"),
        "corner 1e400": (_box(right="1e400"), NOT_VOC + "bndbox/xmax needs a finite number"),
        "corner 1e300": (_box(right="1e300"), NOT_VOC + "px away"),
        "corner 2^31": (_box(right=str(2**31)), NOT_VOC + "px away"),
        "corner with a comma": (_box(left="2,5"), NOT_VOC + "bndbox/xmin needs a finite number"),
        "corner with an underscore": (_box(left="1_0", right="11"), NOT_VOC + "bndbox/xmin needs a finite number"),
        "corner in other digits": (_box(left="\u0662"), NOT_VOC + "bndbox/xmin needs a finite number"),
        "corner very long": (_box(left="1" * 100_000), NOT_VOC + "bndbox/xmin needs a finite number"),
        "corners exchanged": (_box(5, 5, 2, 2), NOT_VOC + "must not be below"),
        "top below bottom": (_box(2, 5, 5, 2), NOT_VOC + "must not be below"),
        "difficult a word": (_box(rest="<name>cat</name><difficult>very</difficult>"), NOT_VOC + "difficult needs"),
        "difficult 2": (_box(rest="<name>cat</name><difficult>2</difficult>"), NOT_VOC + "difficult needs 0 or 1"),
        # Files.
        "no image": (_raw(_xml()["Annotations/a.xml"], **{"Annotations/b.xml": "<annotation/>"}), "no image for .*b"),
        "only an xml file without image": (
            {"Annotations/b.xml": _box()["Annotations/a.xml"].replace("a.png", "b.png")}, "no image for"
        ),
        "nobody in any": (_xml(), "names no class"),
        "a folder called xml": ({**_box(), "Annotations/b.xml/x.md": ""}, "is no regular file"),
        "list of nothing known": ({**_box(), "ImageSets/Main/train.txt": "b\nc\n"}, None),
        "list of zeros": ({**_box(), "ImageSets/Main/train.txt": b"\0\0"}, None),
        "list that is no UTF-8": ({**_box(), "ImageSets/Main/train.txt": b"\xff\xfe"}, "cannot be read"),
        # Odd, but sensible: these are read.
        "as it should be": (_box(), None),
        "from 0": (_box(0, 0, 5, 5), None),
        "fractions": (_box("2.5", "2.25", "5.75", "5.5"), None),
        "exponents": (_box("2e0", "2", "5", "5"), None),
        "spaces": (_box(" 2 ", "\n2", "5", "5"), None),
        "beside the image": (_box(100, 100, 110, 110), None),
        "of one pixel": (_box(5, 5, 5, 5), None),
        "difficult": (_box(rest="<name>cat</name><difficult>1</difficult>"), None),
        "difficult unspecified": (_box(rest="<name>cat</name><difficult>Unspecified</difficult>"), None),
        "no size": (_xml(_CAT, ""), None),
        "size 0": (_size(0, 0), None),
        "a doctype": ({"Annotations/a.xml": "<!DOCTYPE annotation>" + _box()["Annotations/a.xml"]}, None),
        "a byte order mark": ({"Annotations/a.xml": "\ufeff" + _box()["Annotations/a.xml"]}, None),
        "UTF-16": (
            _xml(_CAT, head=_UTF_16, code="utf-16"), None
        ),
        "comments and instructions": (_xml(f"<!-- x --><?do it?><object><name>cat</name>{_BOX}</object>"), None),
        "parts inside": (_thing(f"<name>cat</name>{_BOX}<part><name>head</name>{_BOX}</part>"), None),
        "beside the images": ({"a.xml": _box()["Annotations/a.xml"], "a.png": None}, None),
    }  # fmt: skip
