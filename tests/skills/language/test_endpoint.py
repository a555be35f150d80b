"""The endpoint decomposer against a fake endpoint in another process, over real sockets."""

from __future__ import annotations

import json
import logging
import socket
import time
import traceback
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from tests.skills.language.conftest import KEY, QUICK, Fake
from world2act_core.errors import World2ActError
from world2act_core.skills.language.endpoint import (
    DEEPSEEK,
    DEEPSEEK_MODEL,
    KEY_VARIABLE,
    EndpointDecomposer,
    Patience,
    Prices,
    _retry_after,
)
from world2act_core.skills.types import Decomposer, EventKind, Step, StepKind, Usage

INSTRUCTION = "pick up the bowl and place it on the plate"
EVENTS = (EventKind.GRASP, EventKind.RELEASE)
STEPS = (
    Step("pick up the bowl", StepKind.PICK, 1),
    Step("place the bowl on the plate", StepKind.PLACE, 1),
)


def test_an_answer_becomes_steps(fake: Fake) -> None:
    decomposer: Decomposer = fake.ask("good")
    answer = decomposer.decompose(INSTRUCTION, EVENTS)
    assert answer.steps == STEPS
    assert answer.rejected == ""


def test_the_request_names_model_messages_and_json(fake: Fake) -> None:
    fake.ask("good").decompose(INSTRUCTION, EVENTS)
    (request,) = fake.requests()
    body = json.loads(request["body"])
    assert body["model"] == "fake-1"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert INSTRUCTION in body["messages"][1]["content"]
    assert body["response_format"] == {"type": "json_object"}
    assert body["stream"] is False


def test_parameters_of_the_request_can_be_replaced(fake: Fake) -> None:
    fake.ask("good", parameters={"max_completion_tokens": 99}).decompose(INSTRUCTION, EVENTS)
    body = json.loads(fake.requests()[0]["body"])
    assert set(body) == {"model", "messages", "stream", "max_completion_tokens"}


def test_the_second_call_makes_no_request_and_costs_nothing(fake: Fake) -> None:
    decomposer = fake.ask("good")
    first = decomposer.decompose(INSTRUCTION, EVENTS)
    again = decomposer.decompose(INSTRUCTION, EVENTS)
    assert again.steps == first.steps
    assert again.usage == Usage()
    assert len(fake.requests()) == 1


def test_another_instruction_other_events_or_another_model_ask_anew(fake: Fake) -> None:
    decomposer = fake.ask("good")
    decomposer.decompose(INSTRUCTION, EVENTS)
    decomposer.decompose(INSTRUCTION + " again", EVENTS)
    decomposer.decompose(INSTRUCTION, (EventKind.CONTACT, *EVENTS))
    decomposer.model = "fake-2"
    decomposer.decompose(INSTRUCTION, EVENTS)
    assert len(fake.requests()) == 4


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("prose", "not one JSON object"),
        ("chatty", "not one JSON object"),
        ("step-too-many", "one too many"),
        ("invented-event", "beyond the 2"),
        ("frames", "unknown key"),
        ("blank", "answered nothing"),
        ("cut-off", "cut off"),
    ],
)
def test_a_bad_answer_is_rejected_once_and_paid_for_once(fake: Fake, mode: str, reason: str) -> None:
    decomposer = fake.ask(mode)
    first = decomposer.decompose(INSTRUCTION, EVENTS)
    asked = len(fake.requests())
    again = decomposer.decompose(INSTRUCTION, EVENTS)
    assert first.steps == again.steps == ()
    assert reason in first.rejected
    assert again.rejected == first.rejected
    assert len(fake.requests()) == asked
    (file,) = fake.cache.glob("*.json")
    assert json.loads(file.read_text())["rejected"] == first.rejected


def test_a_blank_answer_is_asked_again_and_both_are_counted(fake: Fake) -> None:
    answer = fake.ask("blank-once").decompose(INSTRUCTION, EVENTS)
    assert answer.steps == STEPS
    assert answer.usage.calls == 2
    assert answer.usage.prompt_tokens == 1400


def test_a_model_that_thinks_up_to_the_limit_is_not_asked_again(fake: Fake) -> None:
    answer = fake.ask("thinks-too-long").decompose(INSTRUCTION, EVENTS)
    assert "cut off at the limit of tokens, after 60" in answer.rejected
    assert answer.usage.calls == 1


def test_tokens_and_cost_add_up(fake: Fake) -> None:
    decomposer = fake.ask("good", prices=Prices(prompt=2.0, completion=10.0, cached_prompt=0.5))
    total = sum((decomposer.decompose(text, EVENTS).usage for text in ("one", "two", "one")), Usage())
    assert (total.calls, total.prompt_tokens, total.completion_tokens) == (2, 1400, 120)
    assert total.cost == pytest.approx(2 * (200 * 2.0 + 500 * 0.5 + 60 * 10.0) / 1e6)


def test_without_a_price_for_cached_tokens_they_cost_the_same(fake: Fake) -> None:
    usage = fake.ask("good", prices=Prices(prompt=2.0, completion=10.0)).decompose(INSTRUCTION, EVENTS).usage
    assert usage.cost == pytest.approx((700 * 2.0 + 60 * 10.0) / 1e6)


def test_without_prices_nothing_is_made_up(fake: Fake) -> None:
    assert fake.ask("good").decompose(INSTRUCTION, EVENTS).usage == Usage(1, 700, 60, 0.0)


def test_retry_after_is_honoured(fake: Fake) -> None:
    began = time.monotonic()
    answer = fake.ask("busy-once").decompose(INSTRUCTION, EVENTS)
    assert answer.steps == STEPS
    assert time.monotonic() - began >= 1.0  # the endpoint said 1 s, our own wait would have been 0.02 s
    assert len(fake.requests()) == 2


def test_a_longer_wait_than_there_is_time_ends_at_once(fake: Fake) -> None:
    began = time.monotonic()
    with pytest.raises(World2ActError, match="1 attempts.*429"):
        fake.ask("busy-for-an-hour").decompose(INSTRUCTION, EVENTS)
    assert time.monotonic() - began < 8.0  # an hour was asked for


@pytest.mark.parametrize("mode", ["broken", "overloaded", "malformed", "breaks-off"])
def test_a_lasting_fault_is_tried_as_often_as_allowed_and_not_kept(fake: Fake, mode: str) -> None:
    with pytest.raises(World2ActError, match="no answer in 3 attempts"):
        fake.ask(mode).decompose(INSTRUCTION, EVENTS)
    assert len(fake.requests()) == 3
    assert list(fake.cache.glob("*.json")) == []


def test_a_passing_fault_is_got_over_and_told_in_the_log(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    assert fake.ask("broken-once").decompose(INSTRUCTION, EVENTS).steps == STEPS
    assert "answered 500" in caplog.text


@pytest.mark.parametrize(
    ("mode", "advice"),
    [
        ("bad-request", "400.*"),
        ("unauthorised", f"the key in {KEY_VARIABLE}.*401"),
        ("no-credit", "top it up.*402"),
        ("forbidden", "fake-1.*403"),
        ("not-found", "base URL.*404"),
    ],
)
def test_what_only_the_user_can_mend_is_said_at_once(fake: Fake, mode: str, advice: str) -> None:
    with pytest.raises(World2ActError, match=advice) as caught:
        fake.ask(mode).decompose(INSTRUCTION, EVENTS)
    assert len(fake.requests()) == 1
    assert "\n" not in str(caught.value)
    assert list(fake.cache.glob("*.json")) == []


def test_a_slow_model_is_waited_for(fake: Fake) -> None:
    # Longer than a connection may take: that limit ends when the connection stands.
    patience = replace(QUICK, connect_s=0.2)
    assert fake.ask("slow", patience=patience).decompose(INSTRUCTION, EVENTS).steps == STEPS


def test_a_model_that_says_nothing_is_given_up(fake: Fake) -> None:
    began = time.monotonic()
    with pytest.raises(World2ActError, match="nothing was heard for 0.3 s"):
        fake.ask("hang", patience=replace(QUICK, read_s=0.3, attempts=2)).decompose(INSTRUCTION, EVENTS)
    assert time.monotonic() - began < 8.0


def test_blank_lines_before_the_answer_are_no_answer(fake: Fake) -> None:
    assert fake.ask("blank-lines-first").decompose(INSTRUCTION, EVENTS).steps == STEPS


def test_blank_lines_for_ever_end_with_the_time_allowed(fake: Fake) -> None:
    began = time.monotonic()
    with pytest.raises(World2ActError, match="time was up"):
        fake.ask("blank-lines-for-ever", patience=replace(QUICK, total_s=0.5)).decompose(INSTRUCTION, EVENTS)
    assert time.monotonic() - began < 8.0


def test_an_endpoint_that_is_not_there_is_named(fake: Fake) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        with pytest.raises(World2ActError, match=f"{url}.*cannot connect"):
            fake.ask("good", base_url=url).decompose(INSTRUCTION, EVENTS)


def test_a_server_without_tls_gets_no_key_over_https(fake: Fake) -> None:
    with pytest.raises(World2ActError, match="cannot connect.*SSL"):
        fake.ask("good", base_url=f"https://127.0.0.1:{fake.port}/good/tls").decompose(INSTRUCTION, EVENTS)
    assert fake.requests() == []


def test_an_endless_response_is_not_read_on(fake: Fake) -> None:
    with pytest.raises(World2ActError, match="more than 1048576 bytes"):
        fake.ask("endless").decompose(INSTRUCTION, EVENTS)


@pytest.mark.parametrize("mode", ["redirect", "redirect-get"])
def test_a_redirect_is_not_followed(fake: Fake, mode: str) -> None:
    with pytest.raises(World2ActError, match="redirects to http://127.0.0.1"):
        fake.ask(mode).decompose(INSTRUCTION, EVENTS)
    assert [request["where"] for request in fake.requests()] == ["endpoint"]


@pytest.mark.parametrize(
    "mode", ["good", "prose", "repeats-key", "unauthorised", "broken", "redirect", "malformed", "hang"]
)
def test_the_key_is_in_the_authorization_header_and_nowhere_else(
    fake: Fake, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    decomposer = fake.ask(mode, patience=replace(QUICK, read_s=0.3))
    written = [repr(decomposer), repr(vars(decomposer)), decomposer.name]
    try:
        written.append(repr(decomposer.decompose(INSTRUCTION, EVENTS)))
    except World2ActError as error:
        written += traceback.format_exception(error)
    written += [file.read_text() for file in fake.cache.iterdir()]
    request = fake.requests()[0]
    assert request["headers"].pop("Authorization") == f"Bearer {KEY}"
    written += [caplog.text, repr(request)]
    assert KEY not in "".join(written)


def test_no_key_is_sent_where_none_is_configured(fake: Fake) -> None:
    fake.ask("good", key_variable="").decompose(INSTRUCTION, EVENTS)
    assert "Authorization" not in fake.requests()[0]["headers"]


def test_a_local_server_needs_no_key(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    assert fake.ask("good").decompose(INSTRUCTION, EVENTS).steps == STEPS
    assert "Authorization" not in fake.requests()[0]["headers"]


def test_an_endpoint_that_wants_a_key_after_all_is_understood(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(World2ActError, match="refuses a request without a key"):
        fake.ask("unauthorised").decompose(INSTRUCTION, EVENTS)


def test_the_key_can_be_in_another_variable(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "another-key")
    fake.ask("good", key_variable="DEEPSEEK_API_KEY").decompose(INSTRUCTION, EVENTS)
    assert fake.requests()[0]["headers"]["Authorization"] == "Bearer another-key"


def test_the_default_is_deepseek_with_a_key(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    decomposer = EndpointDecomposer(cache=fake.cache)
    assert (decomposer.base_url, decomposer.model) == (DEEPSEEK, DEEPSEEK_MODEL)
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(World2ActError, match=f"environment variable {KEY_VARIABLE}"):
        EndpointDecomposer(cache=fake.cache)


def test_a_key_goes_to_no_other_machine_unencrypted(fake: Fake) -> None:
    with pytest.raises(World2ActError, match="unencrypted"):
        fake.ask("good", base_url="http://gpu-box.example:8000/v1")
    fake.ask("good", base_url="http://gpu-box.example:8000/v1", key_variable="")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.8.9.1:1/v1", "http://[::1]:1", "http://localhost:1"])
def test_a_key_may_go_to_this_machine(fake: Fake, url: str) -> None:
    assert fake.ask("good", base_url=url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "api.deepseek.com",
        "ftp://host/v1",
        "https:///v2",
        "https://user:password@host/v1",
        "https://host/v1?token=1",
        "https://host:port/v1",
        "http://localhost@evil.example/v1",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(fake: Fake, url: str) -> None:
    with pytest.raises(World2ActError, match="must look like") as caught:
        fake.ask("good", base_url=url)
    assert url not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "line\nbreak-0123456789", "sk-é", 'sk-"quoted"'])
def test_a_key_that_is_none_is_refused_without_repeating_it(
    fake: Fake, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(World2ActError, match=f"{KEY_VARIABLE} does not hold a key") as caught:
        fake.ask("good")
    assert key not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("", 0, 0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str, least: float, most: float) -> None:
    assert least <= _retry_after({"Retry-After": value}) <= most


def test_retry_after_a_date_that_comes_is_the_time_until_then() -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=600)
    assert 500 <= _retry_after({"Retry-After": format_datetime(later, usegmt=True)}) <= 601


def test_waits_double_up_to_a_limit_and_differ() -> None:
    patience = Patience(first_wait_s=1.0, longest_wait_s=4.0)
    for attempt, most in enumerate((1.0, 2.0, 4.0, 4.0), start=1):
        waits = [patience.wait(attempt) for _ in range(50)]
        assert all(most / 2 <= wait <= most for wait in waits)
        assert len(set(waits)) > 1
