"""Event logs in XES (IEEE 1849), plain or gzipped, as a stream in constant memory.

No document type and so no entity is accepted: an event log needs neither, and both are used for attacks. Attributes of
the log, of extensions, globals and classifiers are passed over, and so are attributes within attributes.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

import numpy as np
import pyarrow as pa

from evergreen.errors import BadInputError
from evergreen.process.columns import LIFECYCLE, check_roles
from evergreen.process.event_log import LogBatch, make_batch

KEYS = {
    "case_id": "concept:name",
    "activity": "concept:name",
    "timestamp": "time:timestamp",
    "resource": "org:resource",
    LIFECYCLE: "lifecycle:transition",
}
BATCH = 20_000
CHUNK = 1 << 18
LONGEST_MARKUP = 1 << 24  # bytes without an end of a tag: nothing that an event log says is so long
GZIP = b"\x1f\x8b"
Tell = Callable[[int], None]
Event = tuple[str | None, list[str]]
"""The case's name, and what its attributes say: ``key``, its key, ``value``, its value, and so on."""


class XesFile:
    """One XES file. The rows are its events in the order of the document.

    A trace's name stands before its events, as the standard has it; events before it belong to no case.
    """

    unit = "bytes"

    def __init__(self, path: Path, named: Mapping[str, str], timezone: str = "UTC", lifecycle: bool = False) -> None:
        """Remember what to read.

        Args:
            path: of the file.
            named: keys of attributes by role where they are not the standard's (:data:`KEYS`).
            timezone: of times that name none.
            lifecycle: join the activity with ``lifecycle:transition``.

        Raises:
            BadInputError: there is no such role, or an attribute has two.
        """
        check_roles(named)
        self.path, self.timezone, self.lifecycle = path, timezone, lifecycle
        self.keys = {**KEYS, **named}
        roles = ("activity", "timestamp", "resource", *([LIFECYCLE] if lifecycle else []))
        self._wanted = {self.keys[role]: role for role in roles}
        if len(self._wanted) < len(roles):
            raise BadInputError("--column: one attribute was named twice. Each needs one of its own.")

    @property
    def total(self) -> int:
        """The file's size."""
        return self.path.stat().st_size

    def batches(self, tell: Tell) -> Iterator[LogBatch]:
        """The events.

        Args:
            tell: is told how many bytes of the file have been read, after each piece.

        Raises:
            BadInputError: the file is no XES, is damaged, or is an attack.
        """
        events: list[Event] = []
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartElementHandler, parser.EndElementHandler = _watch(self.keys["case_id"], events)
        parser.StartDoctypeDeclHandler = self._refuse("a document type (<!DOCTYPE …>)")
        parser.EntityDeclHandler = self._refuse("an entity (<!ENTITY …>)")
        row, fed = 0, 0
        for chunk in self._chunks(tell):
            self._parse(parser, chunk, final=False)
            fed += len(chunk)
            if fed - parser.CurrentByteIndex > LONGEST_MARKUP:
                raise BadInputError(
                    f"{self.path} has a piece of markup of more than {LONGEST_MARKUP >> 20} MB. No event log needs it."
                )
            if len(events) >= BATCH:
                yield self._batch(events, row)
                row += len(events)
                events.clear()
        self._parse(parser, b"", final=True)
        if events:
            yield self._batch(events, row)

    def _chunks(self, tell: Tell) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                zipped = file.read(len(GZIP)) == GZIP
                file.seek(0)
                source: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=file) if zipped else file
                while chunk := source.read(CHUNK):
                    yield chunk
                    tell(file.tell())
        except EOFError as error:
            raise BadInputError(
                f"{self.path} ends in the middle of its compressed data: the copy is not complete. Fetch it again."
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadInputError(f"{self.path} is damaged: {error}. Fetch it again.") from error
        except OSError as error:
            raise BadInputError(f"{self.path} cannot be read: {error}") from error

    def _parse(self, parser: expat.XMLParserType, chunk: bytes, final: bool) -> None:
        try:
            parser.Parse(chunk, final)
        except expat.ExpatError as error:
            where = f"line {error.lineno}, column {error.offset + 1}"
            why = expat.ErrorString(error.code)
            if error.code in _ENCODING_ERRORS:
                advice = (
                    "Its first line names its encoding (without one it is UTF-8); what is in the file does not fit. "
                    'Write the encoding that it truly has into the first line, e.g. encoding="ISO-8859-1".'
                )
            else:
                advice = "The file is no well-formed XML, or not all of it is there. Export or fetch it again."
            raise BadInputError(f"{self.path}, {where}: {why}. {advice}") from error
        except BadInputError as error:
            raise BadInputError(f"{self.path}: {error}") from error
        except (LookupError, ValueError) as error:
            raise BadInputError(f"{self.path} names an encoding that cannot be read: {error}.") from error

    def _refuse(self, what: str) -> Callable[..., int]:
        def refuse(*_: object) -> int:
            raise BadInputError(
                f"it declares {what}. Event logs need none, and it can make a reader fetch other files or "
                "fill its memory, so the file is refused. Remove the declaration if you trust it."
            )

        return refuse

    def _batch(self, events: list[Event], row: int) -> LogBatch:
        columns: dict[str, list[str | None]] = {role: [] for role in self._wanted.values()}
        places = [(key, columns[role].append) for key, role in self._wanted.items()]
        for _, attributes in events:
            own = dict(zip(attributes[1::4], attributes[3::4], strict=True))
            for key, append in places:
                append(own.get(key))
        columns["case_id"] = [case for case, _ in events]
        if not row:
            self._check(events, columns)
        arrays = {role: pa.array(values, pa.string()) for role, values in columns.items()}
        hashes = np.array([hash((case, *attributes)) for case, attributes in events], np.int64).view(np.uint64)
        return make_batch(np.arange(row, row + len(events)), arrays, hashes, self.timezone)

    def _check(self, events: list[Event], columns: Mapping[str, list[str | None]]) -> None:
        """Say so if none of the first events has what each needs: the keys must be others."""
        for role, values in columns.items():
            if role != "resource" and not any(values):
                there = sorted({key for _, attributes in events for key in attributes[1::4]})
                what = "trace" if role == "case_id" else "event"
                rest = "" if role == "case_id" else f" Events have: {', '.join(there) or 'none'}."
                raise BadInputError(
                    f"{self.path}: no {what} has an attribute {self.keys[role]!r}, which would be the {role}.{rest} "
                    f"Say which it is, e.g. --column {role}=KEY."
                )


_ENCODING_ERRORS = {
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_INVALID_TOKEN,
        expat.errors.XML_ERROR_UNKNOWN_ENCODING,
        expat.errors.XML_ERROR_INCORRECT_ENCODING,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
    )
}


def _watch(case_key: str, events: list[Event]) -> tuple[Callable[[str, list[str]], None], Callable[[str], None]]:
    """What to do where an element starts and where it ends; most of the reading time is spent here.

    The depth tells an event's own attributes from those within others: log 1, trace 2, event 3, its attributes 4.

    Args:
        case_key: of the trace's attribute that names the case.
        events: those that have ended are appended.
    """
    depth = 0
    in_trace = False
    case: str | None = None
    attributes: list[str] | None = None

    def start(tag: str, given: list[str]) -> None:
        nonlocal depth, in_trace, case, attributes
        depth += 1
        if depth == 4:
            if attributes is not None:
                if len(given) == 4 and given[0] == "key" and given[2] == "value":
                    attributes += given
                else:
                    attributes += _in_order(given)
        elif depth == 3:
            if in_trace:
                if tag == "event" or _local(tag) == "event":
                    attributes = []
                else:
                    found = _in_order(given)
                    if found and found[1] == case_key:
                        case = found[3]
        elif depth == 2:
            in_trace, case = _local(tag) == "trace", None
        elif depth == 1 and _local(tag) != "log":
            raise BadInputError(f"it holds <{_local(tag)}>, expected <log>: it is XML, but no event log in XES.")

    def end(tag: str) -> None:
        nonlocal depth, attributes
        if depth == 3 and attributes is not None:
            events.append((case, attributes))
            attributes = None
        depth -= 1

    return start, end


def _in_order(given: list[str]) -> list[str]:
    """An XES attribute as ``key``, its key, ``value``, its value; nothing if it has no value, as lists have none."""
    found = dict(zip(given[::2], given[1::2], strict=True))
    return ["key", found["key"], "value", found["value"]] if found.keys() >= {"key", "value"} else []


def _local(tag: str) -> str:
    """A tag's name without a prefix of its namespace."""
    return tag.rpartition(":")[2]
