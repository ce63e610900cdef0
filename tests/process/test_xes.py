"""XES: what is read, against the standard library's tree, and what is refused."""

import gzip
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.process import xes
from evergreen.process.event_log import collect
from evergreen.process.xes import XesFile

START = datetime(2026, 3, 1, tzinfo=UTC)
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = "{http://www.xes-standard.org/}"
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1, max_size=8)


def string(key, value):
    return f"<string key={quoteattr(key)} value={quoteattr(value)}/>"


def event(name=None, time=None, resource=None, extra=""):
    cells = [("concept:name", name), ("org:resource", resource)]
    texts = [string(key, value) for key, value in cells if value is not None]
    date = [f'<date key="time:timestamp" value="{time}"/>'] if time is not None else []
    return "<event>" + extra + "".join(texts + date) + "</event>"


def trace(name, *events):
    return "<trace>" + (string("concept:name", name) if name is not None else "") + "".join(events) + "</trace>"


def log(*traces, head=HEAD, inside=""):
    return head + f'<log xmlns="http://www.xes-standard.org/">{inside}' + "\n".join(traces) + "</log>"


def read(path, content, named=None, **rules):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return rows(collect(XesFile(path, named or {}, **rules).batches(lambda _: None)))


def rows(found):
    """(case, activity, time, resource) of each row in the order of the file."""
    table = found.names(range(len(found)) if len(found) else [])
    times = [
        None if time < -(1 << 62) else START + timedelta(microseconds=int(time) - micros(START))
        for time in found.time_us
    ]
    return list(
        zip(
            table["case_id"].to_pylist(),
            table["activity"].to_pylist(),
            times,
            table["resource"].to_pylist(),
            strict=True,
        )
    )


def micros(time):
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def by_tree(path):
    """The same rows from the whole document in memory."""
    found = []
    for case in ElementTree.parse(path).getroot().iter(f"{NAMESPACE}trace"):
        own = {item.get("key"): item.get("value") for item in case if item.tag != f"{NAMESPACE}event"}
        for item in case.iter(f"{NAMESPACE}event"):
            cells = {cell.get("key"): cell.get("value") for cell in item}
            time = datetime.fromisoformat(cells["time:timestamp"]) if "time:timestamp" in cells else None
            names = (own.get("concept:name"), cells.get("concept:name"), cells.get("org:resource"))
            case_id, activity, resource = (name if name is not None and name.strip() else None for name in names)
            found.append((case_id, activity, time, resource))
    return found


events = st.builds(
    event,
    TEXT,
    st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1), timezones=st.sampled_from([UTC, UTC])).map(
        datetime.isoformat
    ),
    st.one_of(st.none(), TEXT),
    st.sampled_from(["", '<list key="l"><values><string key="concept:name" value="inner"/></values></list>']),
)
traces = st.builds(lambda name, own: trace(name, *own), TEXT, st.lists(events, max_size=5))


@given(st.lists(traces, min_size=1, max_size=5), st.integers(1, 50), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_events_are_those_of_the_whole_document(tmp_path_factory, given_traces, chunk, batch):
    path = tmp_path_factory.mktemp("xes") / "log.xes"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xes, "CHUNK", chunk)
        patch.setattr(xes, "BATCH", batch)
        patch.setattr(XesFile, "_check", lambda *_: None)
        found = read(path, log(*given_traces))
    assert found == by_tree(path)


def test_globals_classifiers_and_nested_attributes_are_passed_over(tmp_path):
    inside = """
      <extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>
      <global scope="trace"><string key="concept:name" value="UNKNOWN"/></global>
      <global scope="event"><string key="concept:name" value="UNKNOWN"/><event/></global>
      <classifier name="Activity" keys="concept:name lifecycle:transition"/>
      <string key="concept:name" value="the log"><string key="concept:name" value="meta"/></string>"""
    nested = '<string key="x" value="y"><string key="concept:name" value="wrong"/></string>'
    case = (
        f'<trace><string key="note" value="n">{nested}</string><string value="c" key="concept:name"/>'
        + event("A", "2026-03-01T00:00:00Z", "r", nested)
        + "</trace>"
    )
    assert read(tmp_path / "l.xes", log(case, inside=inside)) == [("c", "A", START, "r")]


def test_prefixes_of_namespaces_do_not_matter(tmp_path):
    text = log(trace("c", event("A", "2026-03-01T00:00:00Z", "r")))
    for tag in ("log", "trace", "event", "string", "date"):
        text = text.replace(f"<{tag}", f"<x:{tag}").replace(f"</{tag}", f"</x:{tag}")
    assert read(tmp_path / "l.xes", text.replace("xmlns=", "xmlns:x=")) == [("c", "A", START, "r")]


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("2026-03-01T02:00:00.000+02:00", 0),
        ("2026-03-01T02:00:00Z", 2),
        ("2026-03-01T02:00:00", 2),
        ("2026-02-28T21:00:00-05:00", 2),
        ("2026/03/01 02:00:00.000", 2),
        ("2026-03-01T02:00:00.000000123+01:00", 1),
        ("2026-03-01T02:00:00+0100", 1),
    ],
)
def test_times_with_an_offset_become_utc_and_others_count_as_utc(tmp_path, text, hours):
    assert read(tmp_path / "l.xes", log(trace("c", event("A", text))))[0][2] == START + timedelta(hours=hours)


def test_times_without_an_offset_are_those_of_the_zone_named(tmp_path):
    text = log(trace("c", event("A", "2026-03-01T02:00:00")))
    assert read(tmp_path / "l.xes", text, timezone="Europe/Rome")[0][2] == START + timedelta(hours=1)


def test_what_is_missing_is_missing(tmp_path):
    good = event("A", "2026-03-01T00:00:00Z")
    found = read(tmp_path / "l.xes", log(trace("c", good, event(), event("A", "soon")), trace(None, good)))
    assert found == [("c", "A", START, None), ("c", None, None, None), ("c", "A", None, None), (None, "A", START, None)]


def test_lifecycle_and_own_keys(tmp_path):
    extra = string("lifecycle:transition", "start") + string("Resource", "Ann") + string("status", "open")
    text = log(trace("c", event("A", "2026-03-01T00:00:00Z", "other", extra)))
    assert read(tmp_path / "l.xes", text, lifecycle=True)[0][1] == "A-start"
    assert read(tmp_path / "l.xes", text, {"activity": "status", "resource": "Resource"})[0][1::2] == ("open", "Ann")


def test_a_gzipped_file_is_known_by_its_bytes(tmp_path):
    text = log(trace("c", event("A", "2026-03-01T00:00:00Z")))
    assert read(tmp_path / "l.xes", gzip.compress(text.encode())) == [("c", "A", START, None)]


def test_other_encodings_that_the_file_names_are_read(tmp_path):
    text = log(trace("c", event("Prüfung", "2026-03-01T00:00:00Z")), head='<?xml version="1.0" encoding="{}"?>')
    for name in ("ISO-8859-1", "UTF-16", "windows-1252"):
        assert read(tmp_path / "l.xes", text.replace("{}", name).encode(name))[0][1] == "Prüfung"


GOOD = log(trace("c", *[event("A", f"2026-03-01T00:{minute:02}:00Z") for minute in range(60)]))
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BODY = GOOD.removeprefix(HEAD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            HEAD + f'<!DOCTYPE log [<!ENTITY l0 "ha">{LAUGHS}]>' + BODY.replace('value="A"', 'value="&l9;"'),
            "declares a document type",
        ),
        (
            HEAD
            + '<!DOCTYPE log [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
            + BODY.replace('value="A"', 'value="&f;"'),
            "declares a document type",
        ),
        (HEAD + '<!DOCTYPE log SYSTEM "http://localhost:1/log.dtd">' + BODY, "declares a document type"),
        (BODY.replace('value="A"', 'value="&f;"'), "undefined entity"),
        (gzip.compress(GOOD.encode())[:-20], "ends in the middle of its compressed data"),
        (gzip.compress(GOOD.encode())[:200], "ends in the middle of its compressed data"),
        (b"\x1f\x8b" + b"\x00" * 50, "is damaged"),
        (GOOD[: len(GOOD) // 2], "not well-formed|no element found|unclosed token"),
        (
            GOOD.replace('value="A"', 'value="ä"').encode("latin-1"),
            "not well-formed .invalid token.*names its encoding",
        ),
        (GOOD.replace("UTF-8", "klingon"), "names an encoding that cannot be read: unknown encoding: klingon"),
        (GOOD.replace("UTF-8", "UTF-16"), "encoding specified in XML declaration is incorrect"),
        ("", "no element found"),
        ("case,activity\nc,A\n", "not well-formed|syntax error"),
        ("<html><body/></html>", r"holds <html>, expected <log>"),
        (
            GOOD.replace("concept:name", "name"),
            "no event has an attribute 'concept:name', which would be the activity. Events have: name, time:timest",
        ),
        (
            GOOD.replace("time:timestamp", "when"),
            r"'time:timestamp', which would be the timestamp.*--column timestamp=KEY",
        ),
    ],
)
def test_attacks_and_damage_are_refused_with_one_message(tmp_path, content, message):
    with pytest.raises(BadInputError, match=message) as refused:
        read(tmp_path / "log.xes", content)
    assert str(tmp_path / "log.xes") in str(refused.value)
    assert "root:" not in str(refused.value)


def test_a_tag_without_an_end_does_not_fill_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(xes, "LONGEST_MARKUP", 1 << 12)
    monkeypatch.setattr(xes, "CHUNK", 1 << 10)
    with pytest.raises(BadInputError, match="piece of markup of more than"):
        read(tmp_path / "log.xes", log(trace("c", event("A" * 100_000, "2026-03-01T00:00:00Z"))))


def test_a_log_without_traces_has_no_rows(tmp_path):
    assert read(tmp_path / "log.xes", log()) == []


def test_roles_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="no such column"):
        XesFile(tmp_path / "log.xes", {"who": "org:resource"})
    with pytest.raises(BadInputError, match="named twice"):
        XesFile(tmp_path / "log.xes", {"resource": "concept:name"})
