"""A chapter's source as a notebook: its cells, its parameters with their types and help, its profiles."""

from __future__ import annotations

import ast
import io
import itertools
import math
import re
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
#: What YAML may take for something other than a text without surprising anybody.
_PLAIN = re.compile(
    r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?|true|false|null|~|", re.IGNORECASE
)


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
        except (ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
            raise BookError(
                f"{self.name}={value}: {self.name} takes a value of type {self.kind}, like {self.default!r}"
            ) from None


def read(chapter: Chapter) -> NotebookNode:
    """The chapter's source as a notebook without outputs.

    Raises:
        BookError: if the source is missing or cannot be read as a MyST notebook, or its front matter is not what
            it may be.
    """
    try:
        text = chapter.source.read_text(encoding="utf-8")
        notebook = jupytext.reads(text, fmt="md:myst")
        _, _, front_matter = text.partition("---\n")
        yaml_of_it = front_matter.partition("\n---")[0] if text.startswith("---") else ""
        problem = next(surprises(yaml.compose(yaml_of_it, yaml.SafeLoader)), "")
    except Exception as error:
        said = " ".join(str(error).split())
        raise BookError(f"{chapter.slug}: its source is not a MyST notebook: {said}") from error
    if problem := problem or _odd(notebook.metadata.get("flatter", {})):
        raise BookError(f"{chapter.slug}: front matter: {problem}")
    return notebook


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
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean `{known[near[0]]}`?" if near else "."
            every = "".join(f"\n  {parameter}" for parameter in known.values()) or "\n  none"
            raise BookError(f"no parameter {name!r}{hint} The chapter's parameters:{every}")
    converted = {name: known[name].convert(value) for name, value in values.items()}
    return {name: value for name, value in converted.items() if value != known[name].default}


def given(file: Path) -> dict[str, Any]:
    """The parameters in a YAML file, each a text or lists of texts, as if typed: what they mean, their types say.

    Raises:
        BookError: if it cannot be read, or is no list of names with values.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise BookError(f"--set {file}: cannot be read as YAML: {said}") from None
    if not isinstance(content, dict):
        raise BookError(f"--set {file}: write one `name: value` a line")
    return {str(name): value for name, value in content.items()}


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


def _odd(ours: Any) -> str:
    """What ``flatter:`` in a front matter may not be; see CONTRIBUTING.md for what it may."""
    if not isinstance(ours, dict):
        return f"`flatter: {ours}`: write `profiles:`, `data:` or `records:` below it"
    for name in ("data", "records"):
        names = ours.get(name, [])
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            return f"`{name}: {names}`: write a list of names in brackets"
    profiles = ours.get("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(p, dict) for p in profiles.values()):
        return f"`profiles: {profiles}`: write each as `smoke: {{name: value}}`"
    return ""


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return " ".join(value.split()) if isinstance(value, str) else value


def _declared(source: str) -> Iterator[Parameter]:
    wanted = "write `name: type = literal  # help`"
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        what = f"not Python: {error.msg}; {wanted}"
        raise BookError(f"parameters cell, line {error.lineno}: {what}") from None
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for node in body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            raise BookError(f"parameters cell, line {node.lineno}: {wanted}")
        quoted = node.annotation.value if isinstance(node.annotation, ast.Constant) else None
        kind = quoted if isinstance(quoted, str) else ast.unparse(node.annotation)
        try:
            default = _convert(kind, ast.literal_eval(node.value or ""))
        except (ValueError, TypeError, KeyError, SyntaxError):
            raise BookError(
                f"parameters cell, line {node.lineno}: {node.target.id} is not a literal of type {kind}"
            ) from None
        yield Parameter(node.target.id, kind, default, comments.get(node.end_lineno or 0, ""))


def _convert(kind: str, value: Any) -> Any:
    if kind.startswith("list[") and kind.endswith("]"):
        items = yaml.load(value, yaml.BaseLoader) if isinstance(value, str) else value
        if not isinstance(items, list):
            raise ValueError(kind)
        return [_convert(kind[5:-1], item) for item in items]
    if kind == "str" and isinstance(value, str):
        return value
    # A number is judged as it is written, whoever wrote it: no truth value is one.
    written = str(value).strip()
    if kind == "bool":
        return _TRUTH[written.lower()]
    if kind == "int":
        return int(written)
    if kind == "float" and math.isfinite(float(written)):
        return float(written)
    raise ValueError(kind)
