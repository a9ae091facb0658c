"""A chapter's source as a notebook: its cells, its parameters with their types and help, its profiles."""

from __future__ import annotations

import ast
import io
import itertools
import math
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from jupytext.myst import notebook_to_myst
from nbformat import NotebookNode

from flatter_lib.publish.project import BookError, Chapter

#: What a code cell is marked with in a source.
LEXER = "ipython3"
_TRUTH = {"true": True, "false": False}
#: How a number is written: in decimal, without a leading zero, which other readers take for base eight.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
#: What else YAML may take for something other than a text without surprising anybody.
_PLAIN = re.compile(rf"({_FLOAT.pattern}|true|false|null|~|)", re.IGNORECASE)
_NOTES = {"int": " (in decimal, no leading zero)", "float": " (finite, in decimal)"}
#: Longer defaults are cut in a list of parameters.
_SHOWN = 40


@dataclass(frozen=True)
class Parameter:
    """One line of a chapter's parameters cell: ``name: kind = default  # help``."""

    name: str
    kind: str
    default: Any
    help: str

    def __str__(self) -> str:
        note = f"  {self.help}" if self.help else ""
        return f"{self.name}: {self.kind} = {self.default!r}{note}"

    def convert(self, value: Any) -> Any:
        """The value as this parameter's type.

        Args:
            value: a text, as typed after ``-p name=``, or a value read from YAML.

        Raises:
            BookError: if it is not of this parameter's type.
        """
        try:
            return _convert(self.kind, value)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError, yaml.YAMLError):
            raise BookError(
                f"{self.name}={value}: {self.name} takes a value of type {self.kind}, like {self.default!r}"
                f"{_NOTES.get(re.sub(r'list.|]', '', self.kind), '')}"
            ) from None


def read(chapter: Chapter) -> NotebookNode:
    """The chapter's source as a notebook without outputs.

    Raises:
        BookError: if the source is missing or cannot be read as a MyST notebook, or its front matter is not what
            it may be.
    """
    try:
        text = chapter.source.read_text(encoding="utf-8")
        if problem := next(_odd_front_matter(_front_matter(text)), ""):
            raise BookError(f"{chapter.slug}: front matter: {problem}")
        return jupytext.reads(text, fmt="md:myst")
    except BookError:
        raise
    except FileNotFoundError:
        raise BookError(
            f"{chapter.slug}: its source book/source/{chapter.slug}.md is missing"
        ) from None
    except Exception as error:
        said = " ".join(str(error).split())
        raise BookError(f"{chapter.slug}: its source is not a MyST notebook: {said}") from error


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The notebook's code cells, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook: NotebookNode) -> list[Parameter]:
    """What the cell tagged ``parameters`` declares.

    The cell is read as Python, not line by line: quoted annotations and ``#`` inside strings are safe.

    Raises:
        BookError: if the cell does more than give names literal values.
    """
    cells = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) > 1:
        raise BookError("more than one cell is tagged parameters: keep one")
    return [p for cell in cells for p in _declared(cell.source)]


def settings(
    notebook: NotebookNode, profile: str = "laptop", given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The values that differ from the published ones: a profile's, then those given by hand.

    Args:
        notebook: the chapter's source.
        profile: ``smoke``, ``laptop`` (the published values) or ``paper``.
        given: name -> value, the value a text, or a list of texts.

    Raises:
        BookError: for an unknown profile or parameter, or a value of the wrong type.
    """
    known = {p.name: p for p in parameters(notebook)}
    profiles = {"laptop": {}, **notebook.metadata.get("flatter", {}).get("profiles", {})}
    if profile not in profiles:
        raise BookError(f"no profile {profile!r}; this chapter has {', '.join(profiles)}")
    values: dict[str, Any] = {**profiles[profile], **(given or {})}
    for name in values:
        if name not in known:
            near = [str(known[match]) for match in get_close_matches(name, known, n=1)]
            hint = f"; did you mean `{near[0]}`?" if near else "."
            brief = (
                textwrap.shorten(f"{p.name}: {p.kind} = {p.default!r}", _SHOWN + len(p.name))
                for p in known.values()
            )
            every = "; ".join(brief) or "none"
            listing = textwrap.fill(every, 100, initial_indent="  ", subsequent_indent="  ")
            raise BookError(f"no parameter {name!r}{hint} The chapter's parameters:\n{listing}")
    converted = {name: known[name].convert(value) for name, value in values.items()}
    return {name: value for name, value in converted.items() if value != known[name].default}


def tidy(text: str) -> str:
    """A source in the form that jupytext gives it, so that whoever opens and saves a twin changes nothing else in it.

    Metadata stand in alphabetical order, as in the file of a notebook; texts in them are one paragraph.
    """
    notebook = jupytext.reads(text, fmt="md:myst")
    notebook.metadata["jupytext"] = {
        "text_representation": {"extension": ".md", "format_name": "myst"}
    }
    for part in (notebook, *notebook.cells):
        part.metadata = nbformat.from_dict(_ordered(part.metadata))
    return str(notebook_to_myst(notebook, default_lexer=LEXER))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return " ".join(value.split()) if isinstance(value, str) else value


def given(file: Path) -> dict[str, Any]:
    """The parameters in a YAML file, each a text or lists of texts, as if typed: what they mean, their types say.

    Raises:
        BookError: if it cannot be read, or is no list of names with values.
    """
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.load(text, yaml.BaseLoader)
        problem = next(surprises(yaml.compose(text, yaml.BaseLoader)), "")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise BookError(
            f"--set {file}: cannot be read as YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(content, dict):
        raise BookError(f"--set {file}: write one `name: value` a line")
    if problem:
        raise BookError(f"--set {file}: {problem}")
    return {str(name): value for name, value in content.items()}


def _front_matter(text: str) -> str:
    """What stands between the first two lines ``---``, if the text begins with one."""
    found = re.match(r"---[ \t]*\n(.*?)^---[ \t]*$", text, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def _odd_front_matter(text: str) -> Iterator[str]:
    """What a front matter may not be, each in a line; see CONTRIBUTING.md for what it may."""
    content = yaml.safe_load(text) or {}
    if not isinstance(content, dict):
        yield "write `name: value` lines between the two `---`"
        return
    ours = content.get("flatter", {})
    if not isinstance(ours, dict):
        yield f"`flatter: {ours}`: write `profiles:`, `data:` or `records:` below it"
        return
    for name in ("data", "records"):
        names = ours.get(name, [])
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            yield f"`{name}: {names}`: write a list of names in brackets"
    profiles = ours.get("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(p, dict) for p in profiles.values()):
        yield f"`profiles: {profiles}`: write each as `smoke: {{name: value}}`"
    yield from surprises(yaml.compose(text, yaml.SafeLoader))


def surprises(node: yaml.Node | None) -> Iterator[str]:
    """What YAML takes for something else than it looks like: ``010``, ``1:30``, ``yes``, a name given twice."""
    if isinstance(node, yaml.MappingNode):
        names = [name.value for name, _ in node.value]
        yield from (f"`{n}` is given twice: keep one" for n in names[1:] if names.count(n) > 1)
    if isinstance(node, yaml.CollectionNode):
        parts = node.value if isinstance(node, yaml.SequenceNode) else itertools.chain(*node.value)
        for part in parts:
            yield from surprises(part)
    elif node and not node.tag.endswith(":str") and not _PLAIN.fullmatch(node.value):
        meant = yaml.SafeLoader("").construct_object(node)
        yield f"`{node.value}` would be read as {meant!r}: write numbers in decimal, finite, and quote a text"


def _declared(source: str) -> list[Parameter]:
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise BookError(
            f"parameters cell, line {error.lineno}: not Python: {error.msg}; write `name: type = literal  # help`"
        ) from None
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for node in body:
        if (
            not isinstance(node, ast.AnnAssign)
            or not isinstance(node.target, ast.Name)
            or not node.value
        ):
            raise BookError(
                f"parameters cell, line {node.lineno}: write `name: type = literal  # help`"
            )
        quoted = node.annotation.value if isinstance(node.annotation, ast.Constant) else None
        kind = quoted if isinstance(quoted, str) else ast.unparse(node.annotation)
        try:
            default = _convert(kind, ast.literal_eval(node.value))
        except (ValueError, TypeError, KeyError):
            raise BookError(
                f"parameters cell: {node.target.id} is not a literal of type {kind}"
            ) from None
        note = comments.get(node.end_lineno or 0, "")
        found.append(Parameter(node.target.id, kind, default, note))
    return found


def _convert(kind: str, value: Any) -> Any:
    if kind.startswith("list[") and kind.endswith("]"):
        items = yaml.load(value, yaml.BaseLoader) if isinstance(value, str) else value
        if not isinstance(items, list):
            raise ValueError(kind)
        return [_convert(kind[5:-1], item) for item in items]
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "bool":
        return value if isinstance(value, bool) else _TRUTH[str(value).strip().lower()]
    # A number is judged as it is written, whoever wrote it.
    written = str(value).strip()
    if kind == "int" and _INT.fullmatch(written):
        return int(written)
    if kind == "float" and _FLOAT.fullmatch(written) and math.isfinite(float(written)):
        return float(written)
    raise ValueError(kind)
