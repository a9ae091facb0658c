"""Published values: numbers that a page shows, each with the tolerance that it holds to when it is computed again.

Another processor, another number of threads or another copy of the data gives other last digits. So a chapter does not
print numbers, it publishes values: in its text (:func:`glue`), in a line of output (:func:`say`), in the ledger
(:func:`flatter_lib.claims.record`) and behind a figure (:func:`flatter_lib.figures.show`). Executing it again must give
the same words, and every number within its tolerance.

The tolerance follows from how the number is made, and is declared where it is computed:

* :data:`PRINTED`, the default: a printed digit is a claim that it holds, to half a unit of the last one;
* :func:`relative`: a closed form or a sum, known to a relative error;
* :data:`OPTIMUM`: the place of an optimum, where a flat function hides half of the digits;
* :func:`absolute`: a settling time, which may come a step sooner or later; a part of the entries may do so by more;
* :func:`below`: a machine zero, which is published as "below 1e-12" and not as its digits;
* :data:`IN_DISTRIBUTION`: what became of a chaotic run: only the interval is reproducible, and the two must overlap.

What is printed is rounded to what holds: a format with more digits than that is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flatter_lib import checks
from flatter_lib.notebook import emit
from flatter_lib.stats import Estimate as Estimate

#: Significant digits kept of a published number.
DIGITS = 12
#: The prefix under which a page finds what was glued and not shown in place.
_GLUED = "application/papermill.record/text/plain"
_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?z?#?0?\d*[,_]?(?:\.(?P<digits>\d+))?(?P<kind>[a-zA-Z%]?)")
_POWER = re.compile(r"(?<=\d)e([-+]?\d+)")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Value = dict[str, Any]


@dataclass(frozen=True)
class Tolerance:
    """How closely a number must come out again.

    Attributes:
        kind: the reason, in words.
        rtol: relative tolerance.
        atol: absolute tolerance, added to it.
        share: the least share of the entries of an array that must be within it.
    """

    kind: str
    rtol: float = 0.0
    atol: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        checks.fields(self, rtol="[0, 1)", atol="[0, inf)", share="[0.5, 1]")


PRINTED = Tolerance("printed digits")
OPTIMUM = Tolerance("place of an optimum", rtol=1e-3)
IN_DISTRIBUTION = Tolerance("in distribution")


def relative(rtol: float) -> Tolerance:
    """Known to a relative error: a closed form, a sum, a median of records."""
    return Tolerance("relative", rtol=rtol)


def absolute(atol: float, *, rtol: float = 0.0, share: float = 1.0) -> Tolerance:
    """Known to an absolute error, such as a step of a settling time; a share of the entries may be off by more."""
    return Tolerance("absolute", rtol=rtol, atol=atol, share=share)


class Below(NamedTuple):
    """A machine zero: what is published of it is the bound that it keeps; see :func:`below`."""

    bound: float

    def __format__(self, spec: str) -> str:
        return f"below {self.bound:g}".replace("e-0", "e-")


def below(value: float, bound: float) -> Below:
    """A number that is zero but for rounding.

    Raises:
        ValueError: if its size is not below the bound, or the bound is above 1e-3 and so of no zero.

    Examples:
        >>> f"off by {below(-3e-16, 1e-12)}"
        'off by below 1e-12'
    """
    bound = checks.number("bound", bound, "(0, 1e-3]")
    checks.number("value", value, f"(-{bound:g}, {bound:g})")
    return Below(bound)


@dataclass(frozen=True)
class Text:
    """Words with numbers in them, not yet shown; see :func:`text`."""

    words: str
    numbers: tuple[Any, ...]
    units: tuple[float, ...]

    def __str__(self) -> str:
        return self.words.format(*self.numbers)


def text(words: str, *numbers: Any) -> Text:
    """Words with numbers in them, for :func:`say` and :func:`glue`.

    Args:
        words: a format, ``"{:.2f} steps"``. A ``{}`` takes a text, a whole number, a
            :class:`~flatter_lib.stats.Estimate`, a :class:`Below` or another :class:`Text`; a float needs a format that
            says how many digits it is known to. A sequence is written with commas between.
        numbers: one for each ``{}``.

    Raises:
        ValueError: if a float has no format, a number is NaN or has over 53 bits, or numbers and places differ.

    Examples:
        >>> str(text("{:.2f} times, in {:,} runs: {:.1f}", Estimate(1.234, 1.1, 1.3), 4096, [0.25, 0.5]))
        '1.23 [1.10, 1.30] times, in 4,096 runs: 0.2, 0.5'
    """
    fields = [part for part in Formatter().parse(words) if part[1] is not None]
    if len(fields) != len(numbers) or any(name or change for _, name, _, change in fields):
        raise ValueError(f"words: one plain {{}} for each of {len(numbers)} numbers, got {words!r}")
    left = iter(numbers)
    pieces: list[Text] = []
    for literal, name, spec, _ in Formatter().parse(words):
        pieces.append(_piece("", literal))
        if name is not None:
            pieces.append(_piece(spec or "", next(left)))
    return _joined("", pieces)


def say(*lines: Text | str, holds: Tolerance = PRINTED) -> None:
    """Show lines of output whose numbers are values.

    Args:
        lines: each a :func:`text`, or plain words.
        holds: the tolerance of the numbers in them.

    Examples:
        >>> say(text("decay {:.3f}", 0.12345), "in all")
        decay 0.123
        in all
    """
    value = _value(_joined("\n", (_piece("", line) for line in lines)), holds)
    emit({"text/plain": written(value)}, {"role": "line", "values": [value]})


def glue(name: str, words: str, *numbers: Any, holds: Tolerance = PRINTED) -> None:
    """Keep a value for the chapter's text, which shows it with ``{glue:text}`name```.

    Args:
        name: under which the text finds it.
        words: see :func:`text`.
        numbers: see :func:`text`.
        holds: their tolerance.

    Raises:
        ValueError: if there is no name, or as :func:`text`.

    Examples:
        >>> glue("example-power", "{:.2f}", Estimate(0.667, 0.651, 0.683))
        example-power: 0.67 [0.65, 0.68]
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name: a name for the chapter's text, got {name!r}")
    value = _value(text(words, *numbers), holds) | {"name": name}
    shown = in_prose(written(value))
    mark = {"role": "glue", "values": [value]}
    emit({_GLUED: repr(shown), "text/plain": f"{name}: {shown}"}, mark, name)


def in_prose(text: str) -> str:
    """A text with its powers of ten and its minus signs as people write them.

    Examples:
        >>> in_prose("3e+05 steps, -0.5 of 2-3")
        '3 · 10⁵ steps, −0.5 of 2-3'
    """
    text = re.sub(r"(?<![\w.])-(?=[\d.])", "−", text)
    return _POWER.sub(lambda found: f" · 10{str(int(found[1])).translate(_RAISED)}", text)


def written(value: Value) -> str:
    """What the page shows of a value that is a text."""
    return str(value["words"]).format(*_revived(value["numbers"]))


def column(name: str, numbers: Any, holds: Tolerance) -> Value:
    """The numbers of one curve or table behind a figure, at most two dimensions, as a value.

    Raises:
        ValueError: if they have more than two dimensions, differ by no more than their absolute tolerance, or hold in
            distribution but are no rows of a value and its interval.
    """
    array = np.asarray(numbers, dtype=np.float64)
    if array.ndim > 2:
        raise ValueError(f"data[{name!r}]: at most two dimensions, got {array.ndim}")
    if holds == IN_DISTRIBUTION and not (
        array.ndim == 2
        and array.shape[1] == 3
        and np.isfinite(array).all()
        and (np.diff(array[:, [1, 0, 2]]) >= 0).all()
    ):
        raise ValueError(f"data[{name!r}]: rows of value, low, high, finite, low <= value <= high")
    finite = array[np.isfinite(array)]
    span = np.ptp(finite) if finite.size else 0.0
    if 0 < span <= holds.atol:
        raise ValueError(f"data[{name!r}]: it spans {span:.3g}; atol, {holds.atol:g}, must be less")
    return {"name": name, "numbers": _plain(np.atleast_1d(array), 8)} | _declared(holds)


def estimate(name: str, number: Any, holds: Tolerance) -> Value:
    """A measured number of the ledger as a value: an :class:`Estimate`, a :class:`Below` or, if exact, a float.

    An exact one is written to as many digits as hold.
    """
    if isinstance(number, float):
        if holds == PRINTED:
            holds = relative(1e-6) if number else Tolerance("exact")
        if holds.atol:
            spec = f".{max(math.floor(-math.log10(holds.atol)), 0)}f"
        else:
            spec = f".{min(max(math.floor(-math.log10(holds.rtol or 1e-6)), 1), 6)}g"
        made = text(f"{{:{spec}}}", number)
    else:
        made = text("{}", number)
    bound = {"bound": number.bound} if isinstance(number, Below) else {}
    return _value(made, holds) | {"name": name} | bound


def differences(name: str, published: Value | None, fresh: Value | None) -> list[str]:
    """How a value of a new execution differs from the published one, beyond the published tolerance.

    Returns:
        At most one line.

    Examples:
        >>> old, new = (_value(text("{:.2f} steps", x), PRINTED) for x in (1.2341, 1.2388))
        >>> differences("x", old, new), differences("x", old, old)
        ([], [])
        >>> differences("x", old, _value(text("{:.2f} steps", 1.24), PRINTED))
        ['x: 1 of 1 numbers beyond 0.005; the worst, 1.2341 published, is 1.24']
    """
    if published is None:
        return [f"{name}: is not among the published values"]
    if fresh is None:
        return [f"{name}: is gone"]
    declared = ["role", "name", "kind", "rtol", "share", "words", "bound", "where"]
    # What a printed digit holds to follows from the number.
    for part in declared if published.get("kind") == PRINTED.kind else [*declared, "atol"]:
        if published.get(part) != fresh.get(part):
            return [
                f"{name}: its {part} changed: {published.get(part)!r} published, {fresh.get(part)!r} now"
            ]
    if published["kind"] == IN_DISTRIBUTION.kind:
        return _apart(name, published["numbers"], fresh["numbers"])
    return _beyond(name, published, fresh)


def _apart(name: str, published: Sequence[Any], fresh: Sequence[Any]) -> list[str]:
    if len(published) != len(fresh):
        return [f"{name}: {len(published)} intervals published, {len(fresh)} now"]
    for old, new in zip(_revived(published), _revived(fresh), strict=True):
        if not (old.low <= new.high and new.low <= old.high):
            return [f"{name}: the interval {old:.4g} published and {new:.4g} now do not overlap"]
    return []


def _beyond(name: str, published: Value, fresh: Value) -> list[str]:
    before, after = (_flat(value["numbers"]) for value in (published, fresh))
    shapes = [_shape(value["numbers"]) for value in (published, fresh)]
    if shapes[0] != shapes[1]:
        return [f"{name}: shape {shapes[0]} published, {shapes[1]} now"]
    rtol, atol = published.get("rtol", 0.0), published.get("atol", 0.0)
    if published["kind"] == PRINTED.kind and "words" in published:
        atol = _halves(published)
    limits = _flat(atol) if isinstance(atol, list) else np.full(before.shape, float(atol))
    with np.errstate(all="ignore"):
        away = ~np.isclose(after, before, rtol=rtol, atol=limits, equal_nan=True)
        few = away.sum() <= (1 - published.get("share", 1.0)) * away.size
        if few and np.array_equal(np.isnan(before), np.isnan(after)):
            return []
        gap = np.abs(after - before) / np.maximum(np.abs(before), np.finfo(np.float64).tiny)
    worst = int(np.argmax(np.where(away, np.nan_to_num(gap, nan=np.inf), -1)))
    allowed = [f"rtol {rtol:g}"] * bool(rtol) + [f"{limits[worst]:g}"] * bool(
        limits[worst] or not rtol
    )
    return [
        f"{name}: {int(away.sum())} of {away.size} numbers beyond {' + '.join(allowed)}; "
        f"the worst, {before[worst]:.6g} published, is {after[worst]:.6g}"
    ]


def _halves(value: Value) -> list[Any]:
    """Half a unit of the last digit that is printed of each number of a text."""
    specs = [
        spec or "" for _, name, spec, _ in Formatter().parse(value["words"]) if name is not None
    ]
    halves: list[Any] = []
    for spec, number in zip(specs, _revived(value["numbers"]), strict=True):
        if isinstance(number, Estimate):
            halves.append([max(_unit(spec or number.spec, part) for part in number) / 2] * 3)
        else:
            halves.append(_unit(spec, number) / 2)
    return halves


def _value(made: Text, holds: Tolerance) -> Value:
    numbers = [_plain(number, DIGITS) for number in made.numbers]
    value = {"words": made.words, "numbers": numbers} | _declared(holds)
    if holds == PRINTED:
        return value
    for number, unit in zip(made.numbers, made.units, strict=True):
        if holds == IN_DISTRIBUTION:
            if not isinstance(number, Estimate):
                raise ValueError(
                    f"{made}: in distribution only an Estimate holds; publish its interval"
                )
            continue
        size = max(map(abs, number)) if isinstance(number, tuple) else abs(number)
        if holds.rtol * size + holds.atol > unit * (1 + 1e-9):
            raise ValueError(
                f"{made}: more digits than hold: the last one is {unit:g}, the tolerance "
                f"{holds.rtol * size + holds.atol:.2g}"
            )
    return value


def _declared(holds: Tolerance) -> Value:
    return {n: v for n, v in vars(holds).items() if v != getattr(Tolerance, n, None)}


def _joined(between: str, pieces: Iterable[Text]) -> Text:
    made = list(pieces)
    return Text(
        between.join(piece.words for piece in made),
        tuple(number for piece in made for number in piece.numbers),
        tuple(unit for piece in made for unit in piece.units),
    )


def _piece(spec: str, number: Any) -> Text:
    """One number with its format; what is compared word by word is taken into the words."""
    if getattr(number, "ndim", None) == 0:
        number = number.item()
    if isinstance(number, Text):
        return Text(_padded(number.words, str(number), spec), number.numbers, number.units)
    if isinstance(number, str | bool | Below):
        said = str(number) if isinstance(number, bool) else f"{number:{spec}}"
        return Text(said.replace("{", "{{").replace("}", "}}"), (), ())
    if isinstance(number, Estimate):
        number = _finite(number)
        unit = max(_unit(spec or number.spec, part) for part in number)
        return Text(f"{{:{spec}}}" if spec else "{}", (number,), (unit,))
    if isinstance(number, Sequence | np.ndarray):
        return _joined(", ", (_piece(spec, item) for item in number))
    if not isinstance(number, int | float) or number != number:
        raise ValueError(f"numbers: a number, text or sequence of them, got {number!r}")
    if isinstance(number, int) and number.bit_length() > 53:
        raise ValueError(f"numbers: a whole number of 53 bits, got {number.bit_length()} bits")
    if math.isinf(number):
        return Text(f"{number:{spec}}", (), ())
    number = number if isinstance(number, int) else _rounded(number, DIGITS)
    return Text(f"{{:{spec}}}", (number,), (_unit(spec, number),))


def _padded(words: str, said: str, spec: str) -> str:
    """The words of a text that is itself written into a column of some width."""
    padding = f"{said:{spec}}" if spec else said
    left = len(padding) - len(padding.lstrip(" ")) if not said.startswith(" ") else 0
    return " " * left + words + " " * (len(padding) - len(said) - left)


def _unit(spec: str, number: float) -> float:
    """The unit of the last digit that a format writes of a number."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"words: {{:{spec}}} is no format of a number")
    kind, given = match["kind"], match["digits"]
    if isinstance(number, int) and not given and kind in ("", "d"):
        return 1.0
    if not given and kind not in ("e", "E", "f", "F", "g", "G", "%"):
        raise ValueError(f"words: {{:{spec}}} does not say how many digits of {number} hold")
    digits = int(given) if given else 6
    if kind in ("f", "F"):
        return 10.0**-digits
    if kind == "%":
        return 10.0 ** -(digits + 2)
    magnitude = math.floor(math.log10(abs(number))) if number else 0
    if kind in ("e", "E"):
        return float(10.0 ** (magnitude - digits))
    return float(10.0 ** (magnitude - max(digits, 1) + 1))


def _revived(numbers: Sequence[Any]) -> list[Any]:
    return [Estimate(*map(float, n)) if isinstance(n, list | tuple) else n for n in numbers]


def _finite(number: Estimate) -> Estimate:
    """An estimate as it is published: three numbers of so many digits, finite and in order."""
    try:
        made = Estimate(*(_rounded(float(part), DIGITS) for part in number))
    except TypeError:
        raise ValueError("value, low, high: three numbers, got arrays") from None
    if not -math.inf < made.low <= made.value <= made.high < math.inf:
        raise ValueError(
            f"value, low, high: finite, and low <= value <= high, got {', '.join(map(str, number))}"
        )
    return made


def _rounded(number: float, digits: int) -> float:
    return float(f"{number:.{digits}g}")


def _plain(number: Any, digits: int) -> Any:
    """Numbers as JSON has them, rounded."""
    if isinstance(number, list | tuple | np.ndarray):
        return [_plain(item, digits) for item in number]
    if isinstance(number, int):
        return number
    number = float(number)
    return _rounded(number, digits) if math.isfinite(number) else str(number)


def _shape(numbers: Sequence[Any]) -> tuple[int, ...]:
    return (len(numbers), *np.shape(numbers[0] if numbers else 0))


def _flat(numbers: Sequence[Any]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *(np.ravel(np.array(n, np.float64)) for n in numbers)])


def number_of(value: Value) -> Estimate | float:
    """The number of a value that :func:`estimate` made."""
    (number,) = _revived(value["numbers"]) or [value["bound"]]
    return number if isinstance(number, Estimate) else float(number)
