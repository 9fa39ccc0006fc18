"""The example policies behind TLS: `tls_remote.py grpc|webhook CA CERT KEY`. gRPC asks for a client certificate as well."""

import ssl
import sys
from concurrent import futures
from http.server import ThreadingHTTPServer

protocol, ca, cert, key = sys.argv[1:]
sys.path.insert(0, "examples/remote")


def read(path):
    with open(path, "rb") as file:
        return file.read()


if protocol == "grpc":
    import grpc
    from grpc_policy import Policy
    from luthien.policy.v1 import policy_pb2_grpc

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    policy_pb2_grpc.add_PolicyServiceServicer_to_server(Policy(), server)
    credentials = grpc.ssl_server_credentials([(read(key), read(cert))], read(ca), require_client_auth=True)
    print("port", server.add_secure_port("127.0.0.1:0", credentials), flush=True)
    server.start()
    server.wait_for_termination()
else:
    from webhook_policy import Policy

    server = ThreadingHTTPServer(("127.0.0.1", 0), Policy)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("port", server.server_port, flush=True)
    server.serve_forever()
