"""How the numbers of the ledger are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flatter_lib.publish.ledger import SAMPLE_SIZES, Row

PROFILES = ("smoke", "laptop", "paper")


def measured(row: Row) -> str:
    """A measured value with its interval, to the digits that hold.

    Examples:
        >>> measured(Row("a", "b", 0.6671, 0.6512, 0.6831, {}, "0.667 [0.651, 0.683]"))
        '0.667, 95 % interval 0.651 to 0.683'
        >>> measured(Row("a", "b", 1.0, None, None, {}, "1"))
        '1, exact'
    """
    if row.low is None:
        return f"{row.written}, exact"
    return re.sub(r" \[(.+), (.+)\]", r", 95 % interval \1 to \2", row.written)


def allowed(expect: Mapping[str, Any]) -> str:
    """The values that a claim allows, in words.

    Examples:
        >>> allowed({"equals": 1.0, "tolerance": 0.02})
        '1 ± 0.02'
        >>> allowed({"at_most": 0.5}), allowed({"at_least": 2}), allowed({"between": [0, 1]})
        ('at most 0.5', 'at least 2', 'between 0 and 1')
    """
    match dict(expect):
        case {"equals": x, "tolerance": t}:
            return f"{float(x):.6g} ± {float(t):.6g}"
        case {"at_most": x}:
            return f"at most {float(x):.6g}"
        case {"at_least": x}:
            return f"at least {float(x):.6g}"
        case {"between": [a, b]}:
            return f"between {float(a):.6g} and {float(b):.6g}"
    raise ValueError(f"expect: {dict(expect)} is not a band")


def circumstances(where: Mapping[str, Any]) -> str:
    """On what a value was measured, the sample size and the scale first.

    Examples:
        >>> circumstances({"scale": "laptop", "runs": 4096, "eta": 0.01})
        '4096 runs, laptop scale, eta = 0.01'
        >>> circumstances({"scale": "closed form"})
        'closed form'
    """
    sizes = [f"{where[name]} {name}" for name in SAMPLE_SIZES if name in where]
    scale = str(where.get("scale", ""))
    scales = [f"{scale} scale" if scale in PROFILES else scale] if scale else []
    rest = [f"{k} = {v}" for k, v in where.items() if k not in (*SAMPLE_SIZES, "scale")]
    return ", ".join([*sizes, *scales, *rest])
