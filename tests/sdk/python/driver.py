"""Runs the official Python SDKs over a list of jobs.

Reads a JSON array of jobs on standard input and writes a JSON array of results, one for each job and in the same
order, on standard output.

A job: `dialect` ("anthropic" | "openai-chat" | "openai-responses"), `base_url` (scheme, host and port), `mode` ("raw":
iterate the stream; "stream": the accumulating helper; "both": raw, then the helper, as two requests; "json": no
streaming), and optionally `request` (fields over the default request), `include_usage`, `beta` (Anthropic's beta
namespace), `api_key`, `details` (adds what follows to the result).

A result: `raw_items`, `raw_types` (not for chat, whose chunks have none), `raw_error`, `helper_ok`, `helper_error`,
`final`. What the mode did not exercise is null. "json" fills the helper's fields. With `details` also `items`, what the
iteration gave, and `headers`, those of the answer that the helper's error came with.
"""

import json
import sys

import anthropic
import openai

TIMEOUT_SECONDS = 20.0


def anthropic_client(job):
    return anthropic.Anthropic(
        api_key=job.get("api_key", "sk-test-client"),
        base_url=job["base_url"],
        max_retries=0,
        timeout=TIMEOUT_SECONDS,
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    )


def openai_client(job):
    return openai.OpenAI(
        api_key=job.get("api_key", "sk-test-client"),
        base_url=job["base_url"] + "/v1",
        max_retries=0,
        timeout=TIMEOUT_SECONDS,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    )


def messages_request(job):
    request = {"model": "claude-test", "max_tokens": 256, "messages": [{"role": "user", "content": "Hello"}]}
    return request | job.get("request", {})


def chat_request(job):
    request = {"model": "gpt-test", "messages": [{"role": "user", "content": "Hello"}]}
    return request | job.get("request", {})


def responses_request(job):
    request = {"model": "gpt-test", "input": "Hello"}
    return request | job.get("request", {})


def stream_options(job):
    return {"stream_options": {"include_usage": True}} if job.get("include_usage") else {}


def class_of(error):
    return f"{type(error).__module__}.{type(error).__name__}"


def describe(error):
    def optional(name):
        return getattr(error, name, None)

    message = optional("message")
    return {
        "class": class_of(error),
        "message": message if isinstance(message, str) else str(error),
        "type": optional("type"),
        "code": optional("code"),
        "status_code": optional("status_code"),
    }


def dump(value):
    # `exclude_unset` keeps what came over the wire and leaves out fields that this SDK version merely knows of.
    return value.model_dump(mode="json", exclude_unset=True, warnings=False)


def iterate(job, result, open_stream, with_types):
    result["raw_items"] = 0
    if with_types:
        result["raw_types"] = []
    if job.get("details"):
        result["items"] = []
    try:
        with open_stream() as stream:
            for item in stream:
                result["raw_items"] += 1
                if with_types:
                    result["raw_types"].append(item.type)
                if job.get("details"):
                    result["items"].append(dump(item))
    except Exception as error:
        result["raw_error"] = class_of(error)


def finish(job, result, call):
    try:
        result["final"] = dump(call())
        result["helper_ok"] = True
    except Exception as error:
        result["helper_ok"] = False
        result["helper_error"] = describe(error)
        response = getattr(error, "response", None)
        if job.get("details") and response is not None:
            result["headers"] = dict(response.headers)


def run_anthropic(job, result):
    client = anthropic_client(job)
    messages = client.beta.messages if job.get("beta") else client.messages
    request = messages_request(job)

    def helper():
        with messages.stream(**request) as stream:
            return stream.get_final_message()

    if job["mode"] in ("raw", "both"):
        iterate(job, result, lambda: messages.create(stream=True, **request), with_types=True)
    if job["mode"] in ("stream", "both"):
        finish(job, result, helper)
    if job["mode"] == "json":
        finish(job, result, lambda: messages.create(**request))


def run_openai_chat(job, result):
    client = openai_client(job)
    request = chat_request(job)

    def helper():
        with client.chat.completions.stream(**request, **stream_options(job)) as stream:
            return stream.get_final_completion()

    if job["mode"] in ("raw", "both"):
        iterate(
            job,
            result,
            lambda: client.chat.completions.create(stream=True, **request, **stream_options(job)),
            with_types=False,
        )
    if job["mode"] in ("stream", "both"):
        finish(job, result, helper)
    if job["mode"] == "json":
        finish(job, result, lambda: client.chat.completions.create(**request))


def run_openai_responses(job, result):
    responses = openai_client(job).responses
    request = responses_request(job)

    def helper():
        with responses.stream(**request) as stream:
            return stream.get_final_response()

    if job["mode"] in ("raw", "both"):
        iterate(job, result, lambda: responses.create(stream=True, **request), with_types=True)
    if job["mode"] in ("stream", "both"):
        finish(job, result, helper)
    if job["mode"] == "json":
        finish(job, result, lambda: responses.create(**request))


RUNNERS = {
    "anthropic": run_anthropic,
    "openai-chat": run_openai_chat,
    "openai-responses": run_openai_responses,
}


def run(job):
    result = {
        "raw_items": None,
        "raw_types": None,
        "raw_error": None,
        "helper_ok": None,
        "helper_error": None,
        "final": None,
    }
    RUNNERS[job["dialect"]](job, result)
    return result


def main():
    jobs = json.load(sys.stdin)
    json.dump([run(job) for job in jobs], sys.stdout)


if __name__ == "__main__":
    main()
