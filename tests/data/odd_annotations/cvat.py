"""Places of CVAT's xml files."""

from __future__ import annotations

TASK = "instance"
PHOTO = "images/a.png"
NOT_CVAT = r"is not as CVAT has it \(.*"
_POLYGON = '<polygon label="cat" points="1,1;5,1;5,5"/>'


def _file(inner=_POLYGON, attributes='name="a.png" width="12" height="8"', meta=""):
    return {"annotations.xml": f"<annotations>{meta}<image {attributes}>{inner}</image></annotations>"}


def _raw(text):
    """A place of two files, of which the first is as it should be."""
    return {"a.xml": _file()["annotations.xml"], "b.xml": text}


def _points(points):
    return _file(f'<polygon label="cat" points="{points}"/>')


def _box(xtl="1", ytl="1", xbr="5", ybr="5", more=""):
    return _file(f'{_POLYGON}<box label="cat" xtl="{xtl}" ytl="{ytl}" xbr="{xbr}" ybr="{ybr}" {more}/>')


def _mask(rle="0, 6", left="1", top="1", width="3", height="2"):
    return _file(f'<mask label="cat" rle="{rle}" left="{left}" top="{top}" width="{width}" height="{height}"/>')


def _ellipse(cx="5", cy="4", rx="2", ry="1", more=""):
    return _file(f'<ellipse label="cat" cx="{cx}" cy="{cy}" rx="{rx}" ry="{ry}" {more}/>')


def _image(name="a.png", width="12", height="8"):
    return _file(attributes=f'name="{name}" width="{width}" height="{height}"')


def odd_files():
    """Names of the places with their files and what is said of them; None where they read."""
    laughs = "".join(f'<!ENTITY a{n} "&a{n - 1};&a{n - 1};">' for n in range(1, 40))
    number = NOT_CVAT + "needs a number of at most"
    sides = NOT_CVAT + "width and height need whole numbers"
    pairs = NOT_CVAT + "pairs of finite numbers"
    runs = NOT_CVAT + "rle of a mask"
    return {
        # Files.
        "half": ({"annotations.xml": _file()["annotations.xml"][:60]}, "is no xml or incomplete"),
        "zeros behind": ({"annotations.xml": _file()["annotations.xml"] + "\0" * 9}, "is no xml or incomplete"),
        "text behind": ({"annotations.xml": _file()["annotations.xml"] + "hello"}, "is no xml or incomplete"),
        "no images": (_raw("<annotations/>"), "lists no images"),
        "only a version": (_raw("<annotations><version>1.1</version></annotations>"), "lists no images"),
        "tracks of a video": (_raw('<annotations><track id="0" label="cat"/></annotations>'), "tracks of a video"),
        "wrong nesting": (_raw("<annotations><image></annotations></image>"), "is no xml or incomplete"),
        "an unknown entity": (_raw("<annotations>&who;</annotations>"), "is no xml or incomplete"),
        "wrong bytes": (_raw(b"<annotations><a>\xff</a></annotations>"), "is no xml or incomplete"),
        "a billion laughs": (
            {"annotations.xml": f'<!DOCTYPE a [<!ENTITY a0 "ha">{laughs}]><annotations>&a39;</annotations>'},
            "declares entities",
        ),
        "another file": (
            _raw('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>'),
            "declares entities",
        ),
        "an entity in the middle of another": (
            _raw('<!DOCTYPE annotations [<!ELEMENT b ANY><!ENTITY x "y">]><annotations/>'), "declares entities"
        ),
        "deep": (_file("<a>" * 4000 + "</a>" * 4000), "lie more than 32 deep"),
        "very many elements": (_file("<a/>" * 200_001), "more than 200,000 elements"),
        "a long text": (_file("x" * 1_000_001), "letters of text"),
        # Images.
        "name missing": (_file(attributes='width="12" height="8"'), NOT_CVAT + "an image needs a name"),
        "name empty": (_image(""), NOT_CVAT + "an image needs a name"),
        "name of the system": (_image("/etc/passwd"), NOT_CVAT + "a path below the folder"),
        "name above": (_image("../a.png"), NOT_CVAT + "a path below the folder"),
        "name above, as in Windows": (_image("b\\..\\..\\a.png"), NOT_CVAT + "a path below the folder"),
        "name of another image": (_image("b.png"), "lists the image 'b.png', which is neither"),
        "name too long": (_image("a" * 5000), "which is neither beside it nor"),
        "width missing": (_file(attributes='name="a.png" height="8"'), number),
        "width a word": (_image(width="wide"), number),
        "width NaN": (_image(width="nan"), number),
        "width infinite": (_image(width="inf"), number),
        "width 0": (_image(width="0"), sides),
        "width negative": (_image(width="-12"), sides),
        "width a half": (_image(width="12.5"), sides),
        "very large": (_image(width="900000", height="900000"), sides),
        "width 1e308": (_image(width="1e308"), number),
        "width of 400 digits": (_image(width="9" * 400), number),
        "another size": (_image(width="13"), "has 13 x 8 pixels but .* 12 x 8"),
        "an unknown shape": (_file("<heptagon label='cat'/>" + _POLYGON), NOT_CVAT + "'heptagon' is no shape"),
        # Shapes.
        "label missing": (_file('<polygon points="1,1;5,1;5,5"/>'), NOT_CVAT + "needs a label"),
        "label empty": (_file('<polygon label=" " points="1,1;5,1;5,5"/>'), NOT_CVAT + "needs a label"),
        "label too long": (_file(f'<polygon label="{"x" * 500}" points="1,1;5,1;5,5"/>'), NOT_CVAT + "200 letters"),
        "group a word": (_file('<polygon label="a" group_id="x" points="1,1;5,1;5,5"/>'), NOT_CVAT + "group_id needs"),
        "group negative": (_file('<polygon label="a" group_id="-1" points="1,1;5,1;5,5"/>'), NOT_CVAT + "group_id"),
        "group of 400 digits": (
            _file(f'<polygon label="a" group_id="{"9" * 400}" points="1,1;5,1;5,5"/>'), NOT_CVAT + "group_id needs"
        ),
        "points missing": (_file('<polygon label="cat"/>'), pairs),
        "points empty": (_points(""), pairs),
        "points of words": (_points("a,b;c,d;e,f"), pairs),
        "points of one number": (_points("1;2;3"), pairs),
        "points of three": (_points("1,1,1;2,2,2;3,3,3"), pairs),
        "points with a tail": (_points("1,1;5,1;5,5;"), pairs),
        "points NaN": (_points("1,1;nan,1;5,5"), pairs),
        "points infinite": (_points("1,1;inf,1;5,5"), pairs),
        "points 1e308": (_points("1,1;1e308,1;5,5"), NOT_CVAT + "px away"),
        "polygon of two corners": (_points("1,1;5,5"), NOT_CVAT + "at least three corners"),
        "polygon of long edges": (_points(";".join(["0,0;1000000,1000000"] * 4)), NOT_CVAT + "its outline is"),
        "box without corner": (_file(_POLYGON + '<box label="cat" xtl="1" ytl="1" xbr="5"/>'), number),
        "box of words": (_box("left"), number),
        "box NaN": (_box("nan"), number),
        "box far away": (_box(xbr="1e9"), number),
        "box turned round": (_box("5", "5", "1", "1"), NOT_CVAT + "must not be below"),
        "box turned by a word": (_box(more='rotation="much"'), number),
        "ellipse without middle": (_file('<ellipse label="cat" cx="5" rx="2" ry="1"/>'), number),
        "ellipse negative": (_ellipse(rx="-2"), NOT_CVAT + "rx and ry"),
        "ellipse very large": (_ellipse(rx="900000"), NOT_CVAT + "rx and ry"),
        "ellipse NaN": (_ellipse(ry="nan"), number),
        "mask without runs": (_file('<mask label="cat" left="1" top="1" width="3" height="2"/>'), runs),
        "mask of words": (_mask("a, b"), runs),
        "mask of halves": (_mask("0.5, 5.5"), runs),
        "mask negative": (_mask("-1, 7"), runs),
        "mask too short": (_mask("0, 5"), NOT_CVAT + "rle of a mask covers 5 pixels, its part has 6"),
        "mask too long": (_mask("0, 7"), NOT_CVAT + "rle of a mask covers 7 pixels, its part has 6"),
        "mask of very long runs": (_mask("99999999999, 99999999999"), runs),
        "mask of 400 digits": (_mask("9" * 400), runs),
        "mask in other digits": (_mask("\u0660, \u0666"), runs),
        "mask at a half": (_mask(left="1.5"), NOT_CVAT + "left, top, width and height of a mask"),
        "mask at a negative place": (_mask(left="-1"), NOT_CVAT + "left, top, width and height of a mask"),
        "mask of no size": (_mask("0", width="0"), NOT_CVAT + "left, top, width and height of a mask"),
        "mask beyond the image": (_mask(left="10"), NOT_CVAT + "reaches beyond the image"),
        "mask very large": (_mask("0", width="900000", height="900000"), NOT_CVAT + "reaches beyond the image"),
        # Odd, but sensible: these are read.
        "as it should be": (_file(), None),
        "nothing in it": (
            _file("", meta="<meta><task><labels><label><name>cat</name></label></labels></task></meta>"), None
        ),
        "box": (_box(), None),
        "box turned": (_box(more='rotation="30"'), None),
        "box beside the image": (_box("50", "50", "60", "60"), None),
        "ellipse": (_ellipse(), None),
        "ellipse turned": (_ellipse(more='rotation="-400.5"'), None),
        "ellipse of nothing": (_ellipse(rx="0", ry="0"), None),
        "mask": (_mask(), None),
        "mask of very many runs": (_mask(", ".join(["0"] * 50_000 + ["6"])), None),
        "polygon far away": (_points("900000,900000;900009,900000;900000,900009"), None),
        "polygon of a point": (_points("2,2;2,2;2,2"), None),
        "lines and points beside it": (
            _file(_POLYGON + '<polyline label="x" points="1,1"/><points label="x"/><tag label="day"/>'), None
        ),
        "groups": (_file('<polygon label="a" group_id="1" points="1,1;5,1;5,5"/>' * 2), None),
        "crowd": (
            _file('<polygon label="a" points="1,1;5,1;5,5"><attribute name="is_crowd">true</attribute></polygon>'), None
        ),
        "a byte order mark": ({"annotations.xml": "\ufeff" + _file()["annotations.xml"]}, None),
        "a name with a folder": (_image("somewhere/else/a.png"), None),
    }  # fmt: skip
