"""Records in a topic of Kafka: one JSON object a message."""

import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from evergreen.errors import BadInputError, EvergreenError
from evergreen.stream.sources.cells import fit_values, merge_notes
from evergreen.stream.sources.source import Drained, Idle, Piece, Position, Positions

BATCH = 20_000
SAMPLE = 100  # messages that show what the records look like
POLL_SECONDS = 0.5
WAIT_SECONDS = 30.0
CONNECT_SECONDS = 10.0


class TopicSource:
    """The messages of a topic; each of its partitions is a split.

    Where to go on is in the stream's own checkpoint, which is what makes it exactly once. The same offsets are
    committed to the consumer group once the windows are durable: for tools that watch a group's lag, and as the
    beginning for a stream that has no checkpoint yet. Partitions are assigned, not balanced within the group: state
    belongs to a stream's folder and could not follow a partition to another process.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        group: str,
        *,
        schema: pa.Schema | None = None,
        follow: bool = False,
        settings: dict[str, str] | None = None,
    ) -> None:
        """Connect and look at the topic.

        Args:
            brokers: ``host:port``, several with commas.
            topic: its name.
            group: the consumer group.
            schema: of the records; None to find it out from the first messages.
            follow: wait for more when the end is reached, until the process is stopped.
            settings: of librdkafka, e.g. for TLS.

        Raises:
            BadInputError: nobody answers, there is no such topic, or no message shows what the records look like.
        """
        self.topic, self.group, self.follow = topic, group, follow
        own = {
            "bootstrap.servers": brokers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
            "log_level": 2,
            "logger": _Quiet(),
        }
        self._consumer = Consumer({**own, **(settings or {})})
        try:
            self._partitions = self._look(brokers)
            self._ends = {number: self._bounds(number) for number in self._partitions}
            self.schema = schema or self._infer()
        except BaseException:
            self._consumer.close()
            raise
        self.total: int | None = sum(end - start for start, end in self._ends.values())

    def _look(self, brokers: str) -> list[int]:
        try:
            found = self._consumer.list_topics(self.topic, timeout=CONNECT_SECONDS).topics[self.topic]
        except KafkaException as error:
            raise BadInputError(
                f"No Kafka broker answers at {brokers}: {error.args[0].str()}. Name one with --brokers HOST:PORT."
            ) from error
        if found.error is not None or not found.partitions:
            raise BadInputError(f"{brokers} has no topic {self.topic!r}. Name one with --topic.")
        return sorted(found.partitions)

    def _bounds(self, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=10)
        return int(low), int(high)

    def _infer(self) -> pa.Schema:
        """The schema of the first messages of the first partition that has any."""
        for number, (start, end) in self._ends.items():
            if end > start:
                self._consumer.assign([TopicPartition(self.topic, number, start)])
                messages: list[Message] = []
                while len(messages) < min(SAMPLE, end - start):
                    found = self._poll(min(SAMPLE, end - start) - len(messages), WAIT_SECONDS)
                    if not found:
                        break
                    messages += found
                self._consumer.unassign()
                if (schema := _schema([message.value() for message in messages])) is not None:
                    return schema
        raise BadInputError(
            f"No message of topic {self.topic!r} is a JSON object yet, so the columns are not known. Run again when "
            "there are some."
        )

    def _poll(self, most: int, seconds: float) -> list[Message]:
        """Messages, as soon as there are any."""
        deadline = time.monotonic() + seconds
        while True:
            found = [message for message in self._consumer.consume(most, POLL_SECONDS) if not _failed(message)]
            if found or time.monotonic() > deadline:
                return found

    def settings(self) -> dict[str, Any]:
        return {"kind": "topic", "topic": self.topic, "group": self.group}

    def splits(self) -> list[str]:
        return [str(number) for number in self._partitions]

    def read(self, positions: Positions) -> Iterator[Piece | Drained | Idle]:
        starts = self._starts(positions)
        self._consumer.assign([TopicPartition(self.topic, number, start) for number, start in starts.items()])
        left = {number for number, start in starts.items() if start < self._ends[number][1]}
        for number in starts.keys() - left:
            yield Drained(str(number))
        waited = time.monotonic()
        while left or self.follow:
            messages = self._poll(BATCH, POLL_SECONDS)
            if not messages:
                if not self.follow and time.monotonic() - waited > WAIT_SECONDS:
                    raise EvergreenError(
                        f"Kafka gave no message for {WAIT_SECONDS:.0f} s, but partitions {sorted(left)} of "
                        f"{self.topic!r} are not at their end. What was read is kept; run again."
                    )
                yield Idle()
                continue
            waited = time.monotonic()
            yield from self._pieces(messages, left)

    def _starts(self, positions: Positions) -> dict[int, int]:
        """Where each partition begins: after the checkpoint, else where the group is, else at the front."""
        asked = [TopicPartition(self.topic, number) for number in self._partitions]
        committed = {found.partition: found.offset for found in self._consumer.committed(asked, timeout=WAIT_SECONDS)}
        starts = {}
        for number, (low, _) in self._ends.items():
            place = positions.get(str(number), max(committed.get(number, low), low))
            if place < low:
                raise BadInputError(
                    f"Kafka has deleted messages {place:,} to {low - 1:,} of {self.topic!r}, partition {number}, "
                    "before they were read. Begin anew in another output folder, and keep messages longer."
                )
            starts[number] = place
        return starts

    def _pieces(self, messages: list[Message], left: set[int]) -> Iterator[Piece | Drained]:
        found: dict[int, list[Message]] = {}
        for message in messages:
            found.setdefault(message.partition() or 0, []).append(message)
        for number, own in sorted(found.items()):
            end = self._ends[number][1]
            if not self.follow:
                own = [message for message in own if _offset(message) < end]
            if own:
                batch, raw = read_messages([message.value() for message in own], self.schema)
                yield Piece(str(number), batch, _after([_offset(message) + 1 for message in own]), raw)
            if not self.follow and number in left and self._at(number) >= end:
                left.discard(number)
                yield Drained(str(number))

    def _at(self, partition: int) -> int:
        return int(self._consumer.position([TopicPartition(self.topic, partition)])[0].offset)

    def durable(self, positions: Positions) -> None:
        """Commit the offsets to the group.

        Raises:
            EvergreenError: the broker refuses. Nothing is lost: the checkpoint knows them.
        """
        offsets = [TopicPartition(self.topic, int(split), offset) for split, offset in positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise EvergreenError(
                f"The windows are durable, but Kafka did not take the offsets of group {self.group!r}: "
                f"{error.args[0].str()}. Run again."
            ) from error

    def close(self) -> None:
        self._consumer.close()


class _Quiet:
    """librdkafka's log: what matters comes as an error of a call."""

    def log(self, *_: object) -> None:
        pass


def _failed(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF or error.retriable():
        return True
    raise EvergreenError(f"Kafka: {error.str()}. What was read before is kept; run again.")


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None, "a message without an offset"
    return offset


def _after(offsets: list[int]) -> Callable[[int], Position]:
    return lambda rows: offsets[rows - 1]


def _schema(values: list[bytes | None]) -> pa.Schema | None:
    """The fields of the messages that are JSON objects; times stay text. None if no message is."""
    rows = [row for value in values if (row := _object(value)) is not None]
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.schema([(name, _kind([row.get(name) for row in rows])) for name in names])


def _kind(values: list[Any]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _object(value: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(value) if value is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def read_messages(values: list[bytes | None], schema: pa.Schema) -> tuple[pa.RecordBatch, pa.Array | None]:
    """Messages as records; whole batches at a time while all of them are as expected.

    Args:
        values: n messages, None for one without a value.
        schema: of the records; fields that it does not name are left out.

    Returns:
        n records, and the text of the messages that are none.
    """
    lines = b"\n".join(value.replace(b"\n", b" ") for value in values if value is not None)
    if not all(value is not None and value.lstrip()[:1] == b"{" for value in values):
        return _one_by_one(values, schema)  # nothing that is no object must make up for one that is two
    try:
        options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        block = pj.ReadOptions(block_size=max(len(lines) + 1, 1 << 16), use_threads=False)
        table = pj.read_json(io.BytesIO(lines), read_options=block, parse_options=options).combine_chunks()
        if table.num_rows == len(values) and table.schema.names == schema.names:
            return table.to_batches()[0].cast(schema), None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    return _one_by_one(values, schema)


def _one_by_one(values: list[bytes | None], schema: pa.Schema) -> tuple[pa.RecordBatch, pa.Array | None]:
    rows = [_object(value) for value in values]
    broken = [
        None if row is not None else (value or b"").decode(errors="replace") or "(empty)"
        for row, value in zip(rows, values, strict=True)
    ]
    fitted = [fit_values([_text(row, field) for row in rows], field) for field in schema]
    notes = merge_notes([pa.array(broken, pa.string()), *(note for _, note in fitted)])
    return pa.record_batch([column for column, _ in fitted], schema=schema), notes


def _text(row: dict[str, Any] | None, field: pa.Field) -> Any:
    """A field's value; what is no text in a field of texts is written as JSON."""
    value = None if row is None else row.get(field.name)
    if value is None or isinstance(value, str) or not pa.types.is_string(field.type):
        return value
    return json.dumps(value)
