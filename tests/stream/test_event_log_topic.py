"""An event log in a topic of Kafka, read by a real broker."""

import json

from evergreen.process.event_log import collect
from evergreen.process.log_source import SourceConfig, open_log


def test_a_topic_is_read_to_its_end_again_and_again(brokers, tmp_path):
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    for future in admin.create_topics([NewTopic("events", 1, 1)]).values():
        future.result()
    producer = Producer({"bootstrap.servers": brokers, "batch.num.messages": 1, "linger.ms": 0, "log_level": 0})
    for number in range(50):
        event = {"case": f"c{number % 5}", "activity": "A", "timestamp": f"2026-03-01T00:{number:02}:00Z"}
        producer.produce("events", json.dumps(event).encode() if number != 20 else b"no event", partition=0)
    assert producer.flush(30) == 0
    config = SourceConfig(brokers=brokers, topic="events")
    for _ in range(2):
        log = collect(open_log(config, tmp_path).batches(lambda _: None))
        cases = log.names(range(50))["case_id"].to_pylist()
        assert cases == [f"c{number % 5}" if number != 20 else None for number in range(50)]
        assert log.malformed.nonzero()[0].tolist() == [20]
        assert log.unread == {20: "no event"}
