"""Opens TLS connections to both simulators with the strict certificate checks that Python makes since 3.13."""

import json
import socket
import ssl
import sys

found = {}
for name, server in json.loads(sys.argv[1]).items():
    context = ssl.create_default_context(cafile=server["authority"])
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in ["localhost", "127.0.0.1"]:
        try:
            with socket.create_connection((host, server["port"]), timeout=20) as plain:
                with context.wrap_socket(plain, server_hostname=host):
                    found[f"{name} at {host}"] = "accepted"
        except ssl.SSLError as error:
            found[f"{name} at {host}"] = str(error)
print(json.dumps(found))
