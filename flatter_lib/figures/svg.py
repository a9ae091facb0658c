"""Drawings by matplotlib as text: the same picture in fewer bytes, and how large its words are."""

from __future__ import annotations

import math
import re

#: Digits after the point that are kept of a place, in seventy-seconds of an inch.
DIGITS = 2
_NOT_DRAWN = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<!DOCTYPE[^>]*>", re.DOTALL)
_REFERENCE = re.compile(r'(?:xlink:href="|url\()#([\w-]+)')
_ID = re.compile(r' id="([\w-]+)"')
_WAY = re.compile(r' d="([^"]*)"( transform="scale\(0\.015625\)")?')
#: Letters are drawn in sixty-fourths of a hundredth of their size; of those so many are not seen.
_FINER = 16
_STEP = re.compile(r"[A-Za-z]|-?[\d.]+(?:e[-+]?\d+)?")
_PLACE = re.compile(r' (x|y|width|height)="(-?[\d.]+)"')
_MOVED = re.compile(r'translate\((-?[\d.]+)[ ,]+(-?[\d.]+)\)(?=([ "]))')
_MARKS = re.compile(r'<g((?: clip-path="[^"]*")?)>((?:<use [^>]*/>)+)</g>')
_IN_A_ROW = re.compile(r'(<g clip-path="[^"]*">)(?:<use [^>]*/>)+(?:</g>\1(?:<use [^>]*/>)+)+</g>')
_STYLE = re.compile(r' style="([^"]*)"')
#: Words are letters as paths, a hundredth of their size, upside down; an index is smaller by another scale.
_WORDS = re.compile(r'scale\(([\d.]+) -[\d.]+\)">(.*?)</g>', re.DOTALL)
_SCRIPT = re.compile(r"<use [^>]*scale\(([\d.]+)\)")


def smallest_words(drawing: str) -> float:
    """Pixels of the smallest letters of a drawing by matplotlib, indices too, at its own size; infinite without words.

    Args:
        drawing: the SVG, with letters as paths.

    Examples:
        >>> word = '<g transform="scale(0.09 -0.09)"><use/><use transform="scale(0.5)"/></g>'
        >>> smallest_words(word)
        6.0
    """
    sizes = [
        100 * float(words[1]) * 4 / 3 * min([1.0, *map(float, _SCRIPT.findall(words[2]))])
        for words in _WORDS.finditer(drawing)
    ]
    return min(sizes, default=math.inf)


def compact(drawing: str) -> str:
    """A drawing by matplotlib with its places to so many digits, each style said once, and without what is not drawn.

    Args:
        drawing: the SVG.

    Examples:
        >>> compact('<g id="a"><!-- no --><path d="M 1.23456 2 L 2.23456 2.5 z" style="fill: none"/> </g>')
        '<path d="M1.23 2l1 .5z" style="fill:none"/>'
    """
    drawing = re.sub(r">\s+<", "><", _NOT_DRAWN.sub("", drawing))
    places = dict.fromkeys(_REFERENCE.findall(drawing))
    names = {name: f"d{k}" for k, name in enumerate(places)}
    drawing = _ID.sub(lambda m: f' id="{names[m[1]]}"' if m[1] in names else "", drawing)
    drawing = _REFERENCE.sub(lambda m: m[0].removesuffix(m[1]) + names[m[1]], drawing)
    drawing = _WAY.sub(_drawn, drawing)
    drawing = _PLACE.sub(lambda m: f' {m[1]}="{_number(float(m[2]))}"', drawing)
    drawing = _MOVED.sub(
        lambda m: f"translate({_number(float(m[1]))} {_number(float(m[2]))})", drawing
    )
    drawing = re.sub(r' transform="translate\(([^ ]+) ([^)]+)\)"/>', r' x="\1" y="\2"/>', drawing)
    drawing = drawing.replace("<use xlink:href=", "<use href=").replace(' y="0"/>', "/>")
    drawing = _STYLE.sub(
        lambda m: f' style="{m[1].replace(": ", ":").replace("; ", ";")}"', drawing
    )
    # Marks of one kind in a row are one group, which has their style.
    drawing = _IN_A_ROW.sub(lambda m: m[0].replace(f"</g>{m[1]}", ""), drawing)
    drawing = _without_idle_groups(_MARKS.sub(_of_one_style, drawing))
    kinds = {style: f"s{k}" for k, style in enumerate(dict.fromkeys(_STYLE.findall(drawing)))}
    if "</style>" not in drawing:
        return drawing
    rules = "".join(f".{name}{{{style}}}" for style, name in kinds.items())
    drawing = _STYLE.sub(lambda m: f' class="{kinds[m[1]]}"', drawing)
    return drawing.replace("</style>", f"{rules}</style>", 1)


def _without_idle_groups(drawing: str) -> str:
    """A drawing without groups that say nothing of what is in them."""
    idle: list[bool] = []

    def kept(tag: re.Match[str]) -> str:
        if tag[0] == "</g>":
            return "" if idle.pop() else tag[0]
        if not tag[0].endswith("/>"):
            idle.append(tag[0] == "<g>")
        return "" if tag[0] in ("<g>", "<g/>") else tag[0]

    return re.sub(r"</?g\b[^>]*>", kept, drawing)


def _drawn(way: re.Match[str]) -> str:
    if not way[2]:
        return f' d="{_way(way[1])}"'
    return f' d="{_way(way[1], 1 / _FINER)}" transform="scale({_FINER / 64:g})"'


def _of_one_style(marks: re.Match[str]) -> str:
    styles = set(_STYLE.findall(marks[2]))
    if len(styles) != 1 or marks[2].count("<use ") != marks[2].count(" style="):
        return marks[0]
    return f'<g{marks[1]} style="{styles.pop()}">{_STYLE.sub("", marks[2])}</g>'


def _way(steps: str, scale: float = 1.0) -> str:
    """A path by differences of its rounded places, so that no error adds up; what has no length is left out."""
    digits = DIGITS if scale == 1 else 0
    made, here, start, command, last = [], (0.0, 0.0), (0.0, 0.0), "", ""
    tokens = _STEP.findall(steps)
    points = {"M": 1, "L": 1, "Q": 2, "C": 3}
    k = 0
    while k < len(tokens):
        if tokens[k].isalpha():
            command, k = tokens[k].upper(), k + 1
            if command == "Z":
                made.append("z")
                here, last = start, "z"
                continue
        size = 2 * points[command]
        rounded = [round(scale * float(number), digits) for number in tokens[k : k + size]]
        k += size
        end = (rounded[-2], rounded[-1])
        if command == "L" and end == here and last != "M":
            continue
        if command == "M":
            start, said, name = end, rounded, "M"
        else:
            said = [number - here[place % 2] for place, number in enumerate(rounded)]
            name = command.lower()
        numbers = "".join(
            number if number.startswith("-") else f" {number}" for number in map(_number, said)
        )
        made.append(
            (name if name != last or name == "M" else "")
            + (numbers.lstrip() if name != last or name == "M" else numbers)
        )
        here, last = end, name
    return "".join(made)


def _number(value: float) -> str:
    """A number with as few characters as it needs."""
    written = f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")
    return re.sub(r"^(-?)0(?=\.)", r"\1", written) if written != "-0" else "0"
