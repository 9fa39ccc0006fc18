"""A policy behind gRPC: redacts a word, blocks a tool, refuses a topic.

pip install grpcio grpcio-tools
python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/luthien/policy/v1/policy.proto
python examples/remote/grpc_policy.py 127.0.0.1:50051
"""

import sys
from concurrent import futures

import grpc
from luthien.policy.v1 import policy_pb2 as pb
from luthien.policy.v1 import policy_pb2_grpc


def decide(hook):
    """What becomes of a hook that asks. `None`: nothing changes."""
    if hook.HasField("request"):
        if any("launch codes" in text.text for text in hook.request.texts):
            return {"refuse": pb.Refuse(message="We do not talk about that.")}
    elif hook.HasField("block"):
        block = hook.block
        if block.kind == "tool_call" and block.tool.startswith("rm"):
            note = pb.Block(kind="text", text=f"[{block.tool} is not allowed]")
            return {"replace": pb.Blocks(blocks=[note]), "events": [pb.Event(name="blocked", fields={"tool": block.tool})]}
        if block.kind == "text" and "secret" in block.text:
            block.text = block.text.replace("secret", "[redacted]")
            return {"replace": pb.Blocks(blocks=[block])}
    return {"keep": pb.Keep()}


class Policy(policy_pb2_grpc.PolicyServiceServicer):
    def Run(self, hooks, context):
        for hook in hooks:
            if hook.WhichOneof("hook") in ("request", "block", "response_end"):
                yield pb.Decision(sequence=hook.sequence, **decide(hook))


if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=[("grpc.max_receive_message_length", 64 << 20)])
    policy_pb2_grpc.add_PolicyServiceServicer_to_server(Policy(), server)
    print("port", server.add_insecure_port(sys.argv[1]), flush=True)
    server.start()
    server.wait_for_termination()
