"""A schema registry for tests: the few resources of the registries' HTTP API that writers and readers need, in memory.

None of the real ones can be installed from the public package indexes; the writers are the vendor's own serializers,
so framing and registration are not this project's idea of them."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any


class Registry:
    """Answers on a free port until it is left. `asked` has the paths of all GET requests; while `status` is set, each
    request is answered with it."""

    def __init__(self, user: str | None = None) -> None:
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        self.status: int | None = None
        self.user = user
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                self._answer(*registry.get(self.path, self.headers.get("Authorization")))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(*registry.post(self.path, body))

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object, **more: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Registry:
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def get(self, path: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """(status, body)."""
        if self.status is not None:
            return self.status, {"error_code": self.status * 100, "message": "as told"}
        if self.user is not None and authorization is None:
            return 401, {"error_code": 40101, "message": "Unauthorized"}
        if found := re.fullmatch(r"/schemas/ids/(\d+)(\?.*)?", path):
            number = int(found[1])
            if not 0 < number <= len(self.schemas):
                return 404, {"error_code": 40403, "message": "Schema not found"}
            return 200, self.schemas[number - 1]
        if found := re.fullmatch(r"/subjects/([^/]+)/versions/(\d+)(\?.*)?", path):
            number = self.subjects[found[1]][int(found[2]) - 1]
            return 200, {"subject": found[1], "version": int(found[2]), "id": number, **self.schemas[number - 1]}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """(status, body)."""
        found = re.fullmatch(r"/subjects/([^/?]+)(/versions)?(\?.*)?", path)
        if found is None:
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
        schema = {"schemaType": "AVRO"} | {
            key: body[key] for key in ("schema", "schemaType", "references") if key in body
        }
        if schema not in self.schemas:
            self.schemas.append(schema)
        number = self.schemas.index(schema) + 1
        versions = self.subjects.setdefault(found[1], [])
        if number not in versions:
            versions.append(number)
        return 200, {"subject": found[1], "version": versions.index(number) + 1, "id": number, **schema}
