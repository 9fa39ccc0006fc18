"""`make demo`: plays three scenes against a gateway, and prints what to look at.

The gateway is the one that runs here (`make run`, `make compose`), where it has the demo provider and the rules for the scenes, as
the shipped rules do. Otherwise it is one of the demo's own, beside any other, at free ports and in a temporary folder, with the
settings in config/demo/. That one goes on after the scenes, so that its pages can be looked at, until Ctrl-C; with `--once` it
ends with them.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN = 60
RECORDED_WITHIN = 30
STOPPED_WITHIN = 30
# What of the user's environment reaches the gateway's settings: where Envoy is, and where traces go.
KEPT = ("LUTHIEN_ENVOY", "LUTHIEN_ADMIN_TRACE_URL", "LUTHIEN_TELEMETRY_")
# The policies of the scenes, which run only on calls with this header.
POLICIES = {"demo-code-names", "demo-no-deleting"}
HEADER = {"x-luthien-demo": "1"}
# What compose.yaml sets where nothing else is said.
LOCAL_TOKEN = "luthien-local"


class Failed(Exception):
    """The demo cannot go on; the message says why."""


class Gateway:
    """A gateway on this machine."""

    def __init__(self, clients, admin, token=None):
        self.clients, self.admin = clients, admin
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    def look(self, path):
        """What the admin listener says, as JSON; nothing where it does not."""
        try:
            status, _, body = ask(self.admin, "GET", f"{path}?format=json", headers=self.headers)
            return json.loads(body) if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def page(self, path):
        return f"http://127.0.0.1:{self.admin}{path}"

    def record(self, call):
        """What the debug API says of a call, once it is all there."""
        found = {}

        def is_there():
            found.update(self.look(f"/debug/calls/{call}") or {})
            return found.get("ended_at") is not None

        wait_for(is_there, RECORDED_WITHIN, lambda: f"the call {call} was not recorded")
        return found


def running():
    """The gateway that runs here, if the scenes can be played against it; otherwise nothing, and why."""
    clients, admin = (int(os.environ.get(name) or port) for name, port in
                      (("LUTHIEN_PORT", 8080), ("LUTHIEN_ADMIN_PORT", 8081)))
    gateway = Gateway(clients, admin, os.environ.get("ADMIN_TOKEN") or LOCAL_TOKEN)
    rules = gateway.look("/policies")
    if rules is None:
        return None, "No gateway runs here that lets us look"
    if not POLICIES <= {policy.get("name") for policy in rules.get("policies", [])}:
        return None, "The gateway that runs here has no rules for the scenes (see config/policy.yaml)"
    try:
        models = ask(clients, "GET", "/v1/models")[2]
    except (OSError, http.client.HTTPException):
        models = ""
    if '"gpt-demo"' not in models:
        return None, "The gateway that runs here has no demo provider"
    return gateway, None


class Own(Gateway):
    """A `luthien up` of our own."""

    def __init__(self, program, folder):
        super().__init__(*free_ports())
        self.log = Path(folder) / "gateway.log"
        environment = {name: value for name, value in os.environ.items() if is_kept(name)}
        environment["LUTHIEN_LISTEN"] = f"127.0.0.1:{self.clients}"
        environment["LUTHIEN_ADMIN_LISTEN"] = f"127.0.0.1:{self.admin}"
        command = [program, "up", "--config", ROOT / "config/demo/luthien.yaml", "--state-dir", Path(folder) / "state"]
        with open(self.log, "wb") as log:
            # In a session of its own: Ctrl-C must not reach it before the last page was looked at.
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )

    def wait_ready(self):
        def is_ready():
            if self.process.poll() is not None:
                raise Failed(f"the gateway ended:\n{self.log.read_text()}")
            try:
                return ask(self.admin, "GET", "/readyz")[0] == 200
            except OSError:
                return False

        wait_for(is_ready, READY_WITHIN, lambda: f"the gateway was not ready; it said:\n{self.log.read_text()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def is_kept(name):
    return not name.startswith("LUTHIEN_") or name.startswith(KEPT)


def free_ports():
    """Two ports that nobody listens on."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def wait_for(condition, seconds, otherwise):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"{otherwise()}\n(after {seconds} s)")
        time.sleep(0.1)


def ask(port, method, path, body=None, headers=None):
    """One exchange: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"content-type": "application/json", **(headers or {})}
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def call(gateway, path, body):
    """A streamed call of a client: its id, and the data of the events that came."""
    status, headers, text = ask(gateway.clients, "POST", path, {**body, "stream": True}, HEADER)
    if status != 200:
        raise Failed(f"{path} was answered with {status}: {text}")
    data = [line[len("data: "):] for line in text.splitlines() if line.startswith("data: ")]
    return headers["x-luthien-call-id"], [json.loads(item) for item in data if item != "[DONE]"]


def replaced_word(gateway):
    title("1. A word is replaced", "Anthropic Messages", "demo-code-names")
    message = {"role": "user", "content": "Say hello to Project Falcon"}
    body = {"model": "claude-demo", "max_tokens": 100, "messages": [message]}
    id, _ = call(gateway, "/v1/messages", body)
    record = gateway.record(id)
    for who, side in (("the provider said", "original"), ("the client got", "final")):
        line(who, "".join(block.get("text", "") for block in record["response"][side]["content"]))
    links(gateway, record, changed=True)


def blocked_tool_call(gateway):
    title("2. A tool call is blocked", "OpenAI Responses", "demo-no-deleting")
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    tool = {"type": "function", "name": "delete_file", "parameters": parameters}
    id, _ = call(gateway, "/v1/responses", {"model": "gpt-demo", "input": "Use the tool", "tools": [tool]})
    record = gateway.record(id)
    for who, side in (("the provider said", "original"), ("the client got", "final")):
        line(who, " + ".join(item_of(item) for item in record["response"][side]["output"]))
    links(gateway, record, changed=True)


def item_of(item):
    """An item of a Responses answer, in a line."""
    if item["type"] == "function_call":
        return f"call {item['name']} {item['arguments']}"
    return json.dumps("".join(part.get("text", "") for part in item.get("content", [])))


def stall(gateway):
    title("3. The provider falls silent", "OpenAI Chat Completions", "timeouts.stall")
    message = {"role": "user", "content": "Stall, please"}
    begin = time.monotonic()
    id, events = call(gateway, "/v1/chat/completions", {"model": "gpt-demo", "messages": [message]})
    seconds = time.monotonic() - begin
    deltas = [choice["delta"].get("content") or "" for event in events for choice in event.get("choices", [])]
    errors = [event["error"]["message"] for event in events if "error" in event]
    line("the client got", "".join(deltas))
    line(f"after {seconds:.1f} s", f"error: {' '.join(errors)}")
    links(gateway, gateway.record(id), changed=False)


def title(what, dialect, why):
    print(f"\n{what}  ({dialect}; {why})")


def line(name, value):
    print(f"   {name:<19} {value}")


def links(gateway, record, changed):
    page = gateway.page(f"/debug/calls/{record['call_id']}")
    line("the call", page)
    if changed:
        line("what was changed", f"{page}/diff")
    trace = os.environ.get("LUTHIEN_ADMIN_TRACE_URL", "")
    for name in ("call_id", "trace_id"):
        trace = trace.replace(f"{{{name}}}", record.get(name) or f"{{{name}}}")
    if trace and "{" not in trace:
        line("its trace", trace)


def play(gateway):
    for scene in (replaced_word, blocked_tool_call, stall):
        scene(gateway)
        sys.stdout.flush()
    print("\nAll of it")
    line("live activity", gateway.page("/activity/monitor"))
    line("calls", gateway.page("/debug/calls"))
    line("for clients", f"http://127.0.0.1:{gateway.clients}")


def main(once):
    gateway, why_not = running()
    if gateway:
        print(f"Playing against the gateway at http://127.0.0.1:{gateway.clients}.", flush=True)
        play(gateway)
        return
    program = os.environ.get("LUTHIEN", ROOT / "target/local/luthien")
    # A plain `kill` ends the gateway as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="luthien-demo-") as folder:
        gateway = Own(program, folder)
        try:
            print(f"{why_not}: starting one of our own, with the rules in config/demo/policy.yaml.", flush=True)
            gateway.wait_ready()
            play(gateway)
            if not once:
                print("\nCtrl-C ends this gateway and forgets its calls.", flush=True)
                gateway.process.wait()
                raise Failed(f"the gateway ended:\n{gateway.log.read_text()}")
        finally:
            gateway.stop()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments not in ([], ["--once"]):
        sys.exit("usage: demo.py [--once]")
    try:
        main(once=bool(arguments))
    except (Failed, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        pass
