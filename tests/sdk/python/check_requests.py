"""Checks request bodies against the request types of the official Python SDKs.

Reads a JSON array of jobs on standard input and writes a JSON array on standard output: for each job, in the same order,
the list of what is wrong with its body, each as "path: what". A job: `dialect` ("anthropic_messages" | "openai_chat" |
"openai_responses") and `body`.

The types are typed dictionaries. pydantic checks those with `Iterable` fields lazily, that is never, and ignores keys that
they do not have; this walks the types itself, all of them, and reports unknown keys.
"""

import collections.abc
import functools
import json
import sys
import typing

import pydantic
import typing_extensions
from anthropic.types import message_create_params as messages
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses

TYPES = {
    "anthropic_messages": (messages.MessageCreateParamsNonStreaming, messages.MessageCreateParamsStreaming),
    "openai_chat": (chat.CompletionCreateParamsNonStreaming, chat.CompletionCreateParamsStreaming),
    "openai_responses": (responses.ResponseCreateParamsNonStreaming, responses.ResponseCreateParamsStreaming),
}
MARKS = {
    typing_extensions.Required: True,
    typing.Required: True,
    typing_extensions.NotRequired: False,
    typing.NotRequired: False,
}


# Models before Opus 4.7 take these under `anthropic-version: 2023-06-01`; the SDK's types are those of 2026-10-21.
OLDER = {"MessageCreateParamsNonStreaming": {"temperature", "top_p"}, "MessageCreateParamsStreaming": {"temperature", "top_p"}}
# How much worse another kind of value is than a fault within the right one, to find the member of a union that is meant.
SHAPE = 50


@functools.cache
def fields(kind):
    """The fields of a typed dictionary: name -> (type, whether it must be there)."""
    found = {}
    # Each class says for its own fields whether they must be there.
    for base in getattr(kind, "__orig_bases__", ()):
        if typing_extensions.is_typeddict(base):
            found |= fields(base)
    for name, hint in typing_extensions.get_type_hints(kind, include_extras=True).items():
        if name in found:
            continue
        required = kind.__total__
        while typing.get_origin(hint) in (*MARKS, typing.Annotated):
            required = MARKS.get(typing.get_origin(hint), required)
            hint = typing.get_args(hint)[0]
        found[name] = (hint, required)
    return found


def check(value, kind, path):
    """What is wrong with a value, as a list."""
    kind = getattr(kind, "__value__", kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is typing.Any or kind is object:
        return []
    if origin is typing.Annotated or origin in MARKS:
        return check(value, args[0], path)
    if typing_extensions.is_typeddict(kind):
        return check_dictionary(value, kind, path)
    if origin is typing.Literal:
        same = any(value == arg and type(value) is type(arg) for arg in args)
        return [] if same else [f"{path}: {value!r} is none of {args}"]
    if origin is typing.Union or type(kind).__name__ == "UnionType":
        return min((check(value, arg, path) for arg in args), key=len)
    if kind is None or kind is type(None):
        return [] if value is None else [f"{path}: not null"]
    if origin in (list, collections.abc.Iterable, collections.abc.Sequence, typing.Iterable):
        if not isinstance(value, list):
            return [f"{path}: not a list"] * SHAPE
        return [wrong for at, item in enumerate(value) for wrong in check(item, args[0], f"{path}[{at}]")]
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(value, dict):
            return [f"{path}: not an object"] * SHAPE
        return [wrong for key, item in value.items() for wrong in check(item, args[1], f"{path}.{key}")]
    if kind is float:
        return [] if isinstance(value, (int, float)) and not isinstance(value, bool) else [f"{path}: not a number"]
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        # Answers may be put back into a request as the SDK's objects; what is sent here is none.
        return [f"{path}: not {kind.__name__}"] * SHAPE
    if isinstance(kind, type):
        return [] if type(value) is kind else [f"{path}: not {kind.__name__}"] * SHAPE
    return [f"{path}: cannot check {kind!r}"]


def check_dictionary(value, kind, path):
    if not isinstance(value, dict):
        return [f"{path}: not an object"] * SHAPE
    known = fields(kind)
    missing = [name for name, (_, must) in known.items() if must and name not in value]
    wrong = [f"{path}: `{name}` is missing ({kind.__name__})" for name in missing]
    for name, item in value.items():
        if name in known:
            found = check(item, known[name][0], f"{path}.{name}")
            # A wrong tag is another kind of thing: the rest of what is wrong with it does not matter.
            wrong += found * (20 if name in ("type", "role") else 1)
        elif name not in OLDER.get(kind.__name__, ()):
            wrong.append(f"{path}: unknown `{name}` ({kind.__name__})")
    return wrong


def main():
    results = []
    for job in json.load(sys.stdin):
        plain, streaming = TYPES[job["dialect"]]
        kind = streaming if job["body"].get("stream") else plain
        results.append(list(dict.fromkeys(check(job["body"], kind, "body"))))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
