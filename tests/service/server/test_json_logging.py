from __future__ import annotations

import json
import logging
import logging.config

from service.server.json_logging import JsonFormatter, configuration


def line(*args: object, **extra: object) -> dict[str, object]:
    record = logging.makeLogRecord(
        {"name": "glassnet.service", "levelname": "INFO", "msg": args[0], **extra}
    )
    record.args = args[1:]
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, object] = json.loads(text)
    return found


def test_a_line_is_one_json_object_whatever_is_in_it() -> None:
    found = line('quote " and \n newline %s', {"a": 1}, request_id="r1", version=3)
    assert found["message"] == "quote \" and \n newline {'a': 1}"
    assert found["level"] == "info"
    assert (found["request_id"], found["version"]) == ("r1", 3)
    assert str(found["time"]).endswith("+00:00")


def test_an_exception_is_in_the_line() -> None:
    try:
        raise ValueError("inside")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    assert "ValueError: inside" in str(line("failed", exc_info=info)["exception"])


def test_what_json_does_not_know_is_written_as_text() -> None:
    assert line("x", path=object())["path"].startswith("<object")  # type: ignore[attr-defined]


def test_the_configuration_is_one_that_logging_takes() -> None:
    before = logging.getLogger().handlers[:]
    try:
        logging.config.dictConfig(configuration("warning"))
        assert logging.getLogger("gunicorn.error").level == logging.WARNING
    finally:
        logging.getLogger().handlers = before
        for name in ("glassnet", "gunicorn.error"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [], True
            logger.setLevel(logging.NOTSET)
