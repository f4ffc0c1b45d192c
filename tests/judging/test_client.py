"""A server that misbehaves, and what comes of it."""

import json
import threading
import time

import pytest
from judge_server import TOKEN, Judge, serving

from loragrid.errors import UserError
from loragrid.judging.client import Client
from loragrid.judging.endpoint import Endpoint, endpoint_of
from loragrid.judging.pace import Pace

MESSAGES = [{"role": "system", "content": 'nothing else: {"score": …}'}, {"role": "user", "content": "Hello"}]
SETTINGS = {"model": "judge", "temperature": 0, "seed": 1, "max_tokens": 16}


def ask(judge, sleep=lambda seconds: None, timeout=(5.0, 5.0), count=lambda: None, pace=None):
    asked = Client(Endpoint(judge.url, TOKEN), pace or Pace(None, None), timeout, sleep)
    return asked.ask(MESSAGES, schema={"type": "object"}, before=count, **SETTINGS)


def test_a_request_holds_model_sampling_schema_and_token(judge):
    reply = ask(judge)
    (request,) = judge.requests
    assert {name: request[name] for name in SETTINGS} == SETTINGS
    assert request["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert judge.headers[0]["Authorization"] == f"Bearer {TOKEN}"
    assert (reply.form, reply.model, reply.tokens_in, reply.tokens_out) == ("json_schema", "judge-2024-01-01", 100, 10)


@pytest.mark.parametrize(
    "trouble",
    [500, 503, 429, "half", "empty", "cut", (200, {}, b"{not json"), (200, {}, b"[" * 100_000),
     (200, {}, b'{"choices": []}'), (200, {}, b"null"), (200, {"Content-Length": "5000000"}, b" " * 5_000_000)],
    ids=["500", "503", "429", "half", "empty", "cut", "no JSON", "deep", "no choice", "null", "huge"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(judge, trouble):
    judge.behave = [trouble, trouble]
    assert ask(judge).text.startswith("{")
    assert len(judge.requests) == 3


def test_a_server_that_is_silent_is_given_up(judge):
    judge.behave = ["silent"] * 3
    with pytest.raises(UserError, match="sends nothing: timed out; gave up after 3 attempts"):
        ask(judge, timeout=(5.0, 0.1))


def test_nobody_there_is_told_with_what_to_do():
    nobody = Client(Endpoint("http://127.0.0.1:9/v1"), Pace(None, None), sleep=lambda seconds: None)
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/v1: no connection.*LORAGRID_JUDGE_URL.*start again"):
        nobody.ask(MESSAGES, schema={}, before=lambda: None, **SETTINGS)


def test_waits_as_long_as_the_server_wants(judge):
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    judge.behave = [(429, {"Retry-After": "7"}, b"{}")]
    ask(judge, pace=Pace(None, None, lambda: now[0], sleep))
    assert slept == [7.0]


def test_a_server_that_wants_hours_is_told(judge):
    judge.behave = [(429, {"Retry-After": "7200"}, b"{}")]
    with pytest.raises(UserError, match="asks to wait 7200 s"):
        ask(judge)
    assert len(judge.requests) == 1


def test_an_empty_account_is_not_asked_again(judge):
    judge.behave = [(429, {}, b'{"error": {"message": "You exceeded it", "code": "insufficient_quota"}}')]
    with pytest.raises(UserError, match="no quota left"):
        ask(judge)
    assert len(judge.requests) == 1


@pytest.mark.parametrize(("status", "hint"), [(401, "LORAGRID_JUDGE_TOKEN"), (404, "model"), (402, "402")])
def test_a_refusal_is_told_at_once_and_without_the_token(judge, status, hint):
    judge.behave = [status]
    with pytest.raises(UserError, match=hint) as raised:
        ask(judge)
    assert len(judge.requests) == 1
    assert TOKEN not in str(raised.value)


def test_an_older_server_without_schemas_is_asked_for_plain_text(judge):
    judge.always = lambda request: 400 if "response_format" in request else '{"score": 3}'
    asked = Client(Endpoint(judge.url), Pace(None, None))
    replies = [asked.ask(MESSAGES, schema={}, before=lambda: None, **SETTINGS) for _ in range(2)]
    assert [reply.form for reply in replies] == ["text", "text"]
    # It is tried with a schema once, not each time.
    assert ["response_format" in request for request in judge.requests] == [True, False, False]


def test_a_prompt_that_is_too_long_for_the_judge_is_a_reply_of_its_own(judge):
    judge.behave = [(400, {}, b'{"error": {"message": "maximum context length is 4096 tokens"}}')]
    assert ask(judge).text == "[the server answers 400 (maximum context length is 4096 tokens)]"


def test_a_redirect_gets_neither_token_nor_answers(judge):
    with serving(Judge()) as elsewhere:
        judge.behave = [(307, {"Location": f"{elsewhere.url}/chat/completions"}, b"")]
        with pytest.raises(UserError, match="redirects to"):
            ask(judge)
        assert not elsewhere.requests


def test_a_token_that_the_judge_repeats_is_not_kept(judge):
    judge.behave = [f"your token is {TOKEN}"]
    assert ask(judge).text == "your token is [token]"


def test_proxies_and_netrc_do_not_get_between(judge, monkeypatch, tmp_path):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password wrong\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    ask(judge)
    assert judge.headers[0]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "is not set"),
        ("127.0.0.1:8000/v1", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("http://judge.example.org/v1", "ssh -N -L"),
        ("http://127.0.0.1.example.org/v1", "can be read on the way"),
        ("https://me:word@example.org/v1", "LORAGRID_JUDGE_TOKEN"),
        ("https://example.org:port/v1", "no address"),
    ],
)
def test_addresses_that_are_refused(url, problem):
    with pytest.raises(UserError, match=problem) as raised:
        endpoint_of({"LORAGRID_JUDGE_URL": url})
    assert "word" not in str(raised.value).replace("password", "")


def test_a_token_with_a_line_break_is_refused_unseen():
    environment = {"LORAGRID_JUDGE_URL": "https://example.org/v1", "LORAGRID_JUDGE_TOKEN": "sk-a\nX-Other: b"}
    with pytest.raises(UserError, match="LORAGRID_JUDGE_TOKEN") as raised:
        endpoint_of(environment)
    assert "sk-a" not in str(raised.value)
    assert "sk-b" not in repr(Endpoint("https://example.org/v1", "sk-b"))


def test_requests_and_tokens_keep_their_distance():
    now, starts = [100.0], []

    def sleep(seconds):
        now[0] += seconds

    by_requests = Pace(30, None, lambda: now[0], sleep)
    for _ in range(4):
        by_requests.wait(1)
        starts.append(now[0])
    assert starts == [100, 102, 104, 106]
    by_tokens = Pace(None, 600, lambda: now[0], sleep)
    by_tokens.wait(100)
    by_tokens.wait(1)
    assert now[0] == 116


def test_the_server_sees_no_more_requests_than_are_allowed(judge):
    began = time.monotonic()
    pace = Pace(1200, None)  # one in 50 ms, by several threads
    threads = [threading.Thread(target=ask, args=(judge,), kwargs={"pace": pace}) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Any of them may come late, none early.
    assert all(seen >= began + 0.05 * place for place, seen in enumerate(sorted(judge.times)))
    assert len(judge.times) == 6


def test_the_message_of_an_error_is_short(judge):
    judge.behave = [(400, {}, json.dumps({"error": "x" * 5000}).encode())] * 2
    with pytest.raises(UserError) as raised:
        ask(judge)
    assert len(str(raised.value)) < 300
