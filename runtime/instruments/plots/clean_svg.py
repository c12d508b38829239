"""Take out of an SVG whatever runs, or reads something else than the picture itself."""

import re
from xml.etree import ElementTree

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# A declaration without definitions of its own is what matplotlib writes; one with them can blow a text up.
_DOCTYPE = re.compile(r"<!DOCTYPE[^\[>]*>", re.IGNORECASE)
# What only draws. Left out are scripts, pages inside, links, animations that set attributes, and what handles events.
_DRAWS = {
    "svg", "g", "defs", "symbol", "use", "title", "desc", "style", "path", "rect", "circle", "ellipse", "line",
    "polyline", "polygon", "text", "tspan", "textPath", "image", "clipPath", "mask", "pattern", "marker",
    "linearGradient", "radialGradient", "stop", "filter", "feGaussianBlur", "feOffset", "feMerge", "feMergeNode",
    "feColorMatrix", "feBlend", "feFlood", "feComposite",
}  # fmt: skip
_INSIDE = re.compile(r"#|data:image/(png|jpeg);base64,", re.IGNORECASE)
_OUTSIDE = re.compile(r"@import|url\(\s*['\"]?(?!#)|expression\(|javascript:", re.IGNORECASE)
_SIZE = (640.0, 400.0)


def clean_svg(text: str) -> str:
    """Return an SVG that draws, and does nothing else; ValueError for a text that is none.

    Elements that are not for drawing, attributes that handle events, and references to anything outside are left out.
    """
    text = _DOCTYPE.sub("", text, count=1)
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise ValueError("it defines entities of its own")
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise ValueError(f"it is not well formed ({error})") from None
    if root.tag == "svg":  # written without its namespace
        for element in root.iter():
            element.tag = (
                f"{{{SVG}}}{element.tag}" if isinstance(element.tag, str) and element.tag[0] != "{" else element.tag
            )
    if root.tag != f"{{{SVG}}}svg":
        raise ValueError("its first element is not svg")
    _clean(root)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element) -> None:
    for name, value in list(element.attrib.items()):
        plain = name.rpartition("}")[2].lower()
        outside = plain == "href" and not _INSIDE.match(value.strip())
        if plain.startswith("on") or outside or (plain != "href" and _OUTSIDE.search(value)):
            del element.attrib[name]
    if element.text and element.tag == f"{{{SVG}}}style" and _OUTSIDE.search(element.text):
        element.text = ""
    for child in list(element):
        if isinstance(child.tag, str) and child.tag.startswith(f"{{{SVG}}}") and child.tag.rpartition("}")[2] in _DRAWS:
            _clean(child)
        else:
            element.remove(child)


def svg_size(text: str) -> tuple[float, float]:
    """Return an SVG's width and height in pixels: of its view box, else as it says; else 640 by 400."""
    root = ElementTree.fromstring(text)
    numbers = [_number(part) for part in root.get("viewBox", "").replace(",", " ").split()]
    sides = numbers[2:] if len(numbers) == 4 else [_number(root.get("width", "")), _number(root.get("height", ""))]
    return (sides[0], sides[1]) if all(side > 0 for side in sides) else _SIZE


def _number(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)(?:px|pt)?\s*", text)
    return float(match[1]) if match else 0.0
