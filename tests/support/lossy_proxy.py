"""A server before a coordinator that carries requests out and loses some of the answers."""

import contextlib
import http.client
import http.server
import threading
import urllib.parse


class LossyProxy:
    """Loses the answers to the first `losses` POST requests; passes everything else on."""

    def __init__(self, target, losses):
        self.target = urllib.parse.urlparse(target)
        self.losses_left = losses
        self.posts = []  # (path, idempotency key) in the order in which they came
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                proxy.pass_on(self)

            do_POST = do_PATCH = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def pass_on(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=60)
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "host"}
        upstream.request(handler.command, handler.path, body, headers)
        reply = upstream.getresponse()
        answer = reply.read()
        upstream.close()
        if handler.command == "POST":
            self.posts.append((handler.path, handler.headers.get("Idempotency-Key")))
            if self.losses_left > 0:
                self.losses_left -= 1
                handler.close_connection = True
                return
        handler.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in (
                "content-length",
                "transfer-encoding",
                "connection",
                "date",
                "server",
            ):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)


@contextlib.contextmanager
def lossy_proxy(target, losses):
    proxy = LossyProxy(target, losses)
    thread = threading.Thread(target=proxy.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        thread.join()
        proxy.server.server_close()
