"""A policy behind a webhook: redacts a word, blocks a tool, refuses a topic. Needs nothing but Python.

WEBHOOK_SECRET=... python examples/remote/webhook_policy.py 8081
"""

import base64, hashlib, hmac, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["WEBHOOK_SECRET"].encode()
SEEN = {}  # ids of the last five minutes, with their times and signatures: the same hook may come again, another not


def decide(hook):
    """What becomes of a hook."""
    if "request" in hook and any("launch codes" in text.get("text", "") for text in hook["request"].get("texts", [])):
        return {"refuse": {"message": "We do not talk about that."}}
    block = hook.get("block", {})
    if block.get("kind") == "tool_call" and block["tool"].startswith("rm"):
        return {"replace": {"blocks": [{"kind": "text", "text": f"[{block['tool']} is not allowed]"}]}}
    if block.get("kind") == "text" and "secret" in block.get("text", ""):
        return {"replace": {"blocks": [{**block, "text": block["text"].replace("secret", "[redacted]")}]}}
    return {"keep": {}}


class Policy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        number, sent = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        wanted = hmac.new(SECRET, f"{number}.{sent}.".encode() + body, hashlib.sha256).digest()
        signed = hmac.compare_digest(self.headers["webhook-signature"], "v1," + base64.b64encode(wanted).decode())
        for old in [old for old, (when, _) in list(SEEN.items()) if time.time() - when > 300]:
            SEEN.pop(old, None)
        fresh = abs(time.time() - int(sent)) < 300 and SEEN.setdefault(number, (time.time(), body))[1] == body
        answer = json.dumps(decide(json.loads(body)) if signed and fresh else {}).encode()
        self.send_response(200 if signed and fresh else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Policy)
    print("port", server.server_port, flush=True)
    server.serve_forever()
