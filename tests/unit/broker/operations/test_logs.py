"""Lines of JSON with the facts that are listed, and nothing else."""

import io
import json
import logging

from haulout.broker.operations.logs import JsonLines, begin_request, write_logs


def line(message="done", *args, exc=None, **extra):
    logger = logging.getLogger("haulout.broker.test")
    record = logger.makeRecord("haulout.broker.test", logging.INFO, "f", 1, message, args, exc, extra=extra)
    return JsonLines().format(record)


def test_a_line_has_time_level_message_and_facts():
    found = json.loads(line(status=200, seconds=0.5, path="/kbs\n\x1b[2Jv0"))
    assert set(found) == {"time", "level", "logger", "message", "status", "seconds", "path"}
    assert found["time"].endswith("+00:00")
    assert "\n" not in line(path="a\nb")
    assert "\x1b" not in found["path"]


def test_what_is_not_listed_is_left_out():
    found = line("sent %s", "hunter2", token="hunter2", body=b"hunter2", headers={"a": "hunter2"})
    assert "hunter2" not in found


def test_of_an_exception_only_type_and_place_are_written():
    try:
        dict[str, str]()["hunter2"]
    except KeyError as error:
        found = line("failed", exc=(KeyError, error, error.__traceback__))
    assert "hunter2" not in found
    assert json.loads(found)["exception"] == "KeyError"
    assert "test_logs.py" in json.loads(found)["raised"][-1]


def test_a_long_fact_is_cut():
    assert len(json.loads(line(reason="x" * 5000))["reason"]) == 300


def test_the_request_is_named_and_the_servers_access_log_is_off():
    stream = io.StringIO()
    names = ("haulout.broker", "uvicorn", "uvicorn.error", "uvicorn.asgi")
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in names}
    try:
        write_logs(stream)
        name = begin_request()
        logging.getLogger("haulout.broker.access").info("answered")
        logging.getLogger("uvicorn.error").info("Started")
        logging.getLogger("uvicorn.access").info("GET /?token=hunter2")
    finally:
        for each, (handlers, propagate) in before.items():
            logging.getLogger(each).handlers[:] = handlers
            logging.getLogger(each).propagate = propagate
        logging.getLogger("uvicorn.access").disabled = False
    found = [json.loads(one) for one in stream.getvalue().splitlines()]
    assert [one["message"] for one in found] == ["answered", "Started"]
    assert found[0]["request"] == name
