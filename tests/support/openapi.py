"""Checks answers, and what was asked, against docs/openapi.yaml: what is not there fails."""

import json
import re

import jsonschema
import yaml

from tests.support.harness import ROOT

FILE = ROOT / "docs" / "openapi.yaml"
METHODS = ("get", "head", "post", "put", "patch", "delete")
# Headers that mean something to clients: they may only appear where they are described.
HEADERS = {"x-request-id", "idempotency-replayed", "retry-after", "allow"}
DONE = {"created", "committed", "settling"}  # of an item of a batch


class OpenApi:
    def __init__(self):
        self.text = FILE.read_text()
        self.document = yaml.safe_load(self.text)
        self._validators = {}

    def operations(self):
        """All described operations, as (method, path template)."""
        return {(method.upper(), template) for template, path in self.document["paths"].items()
                for method in METHODS if method in path}

    def codes(self):
        return set(self.document["components"]["schemas"]["Code"]["enum"])

    def methods_of(self, path):
        """The methods described for a path, over all templates that match it."""
        return {method for method, template in self.operations()
                if template in self._templates_of(path)}

    def check(self, method, path, reply, body=None):
        """Raises when the answer, or a request that was accepted, is not as described."""
        what = f"{method} {path} {reply.status}"
        templates = [template for template in self._templates_of(path)
                     if method.lower() in self.document["paths"][template]]
        if not templates:
            return self._check_undescribed(what, path, reply)
        template = min(templates, key=lambda each: each.count("{"))
        operation = self.document["paths"][template][method.lower()]
        described = operation["responses"].get(str(reply.status))
        assert described is not None, f"{what}: the status is not described"
        self._check_response(what, self._resolve(described), reply, is_head=method == "HEAD")
        if reply.status < 300 and "requestBody" in operation:
            self._check_request(what, operation["requestBody"], body, reply)

    # ---- requests

    def _check_request(self, what, described, body, reply):
        asked = body if isinstance(body, dict) else json.loads(body)
        schema = described["content"]["application/json"]["schema"]
        shape = self._resolve(schema)
        (member, array), *others = shape["properties"].items()
        if others or array.get("type") != "array" or "results" not in reply.json:
            return self._validate(what + ": accepted, but the request", schema, asked)
        for item, result in zip(asked[member], reply.json["results"], strict=True):
            if result["status"] in DONE:
                self._validate(what + ": accepted, but the item", array["items"], item)

    # ---- answers

    def _check_undescribed(self, what, path, reply):
        responses = self.document["components"]["responses"]
        templates = self._templates_of(path)
        if not templates:
            return self._check_response(what, responses["NotFound"], reply)
        self._check_response(what, responses["MethodNotAllowed"], reply)
        # /v1/users/batch is a path of its own and the place of a user with that name.
        nearest = min(templates, key=lambda each: each.count("{"))
        least = {method for method, template in self.operations() if template == nearest}
        allowed, most = set(reply.headers["allow"].split(", ")), self.methods_of(path)
        assert least <= allowed <= most, f"{what}: Allow says {allowed}, not {least}"

    def _check_response(self, what, described, reply, is_head=False):
        headers = {name.lower(): self._resolve(header)
                   for name, header in described.get("headers", {}).items()}
        for name, header in headers.items():
            assert name in reply.headers or not header.get("required"), f"{what}: {name} is missing"
            if name in reply.headers:
                self._validate(f"{what}: header {name}", header["schema"], reply.headers[name])
        for name in HEADERS & reply.headers.keys():
            assert name in headers, f"{what}: header {name} is not described"
        content = described.get("content")
        if content is None:
            assert reply.text == "" and "content-type" not in reply.headers, f"{what}: has a body"
            return
        media = reply.headers.get("content-type", "").split(";")[0]
        assert media in content, f"{what}: {media} is not described"
        if is_head:
            assert reply.text == "", f"{what}: an answer to HEAD has no body"
            return
        value = reply.json if media.endswith("json") else reply.text
        self._validate(what, content[media].get("schema", {}), value)

    # ---- the document

    def _templates_of(self, path):
        bare = path.split("?")[0]
        return [template for template in self.document["paths"]
                if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), bare)]

    def _resolve(self, node):
        while "$ref" in node and "properties" not in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def _validate(self, what, schema, value):
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            whole = {"$schema": "https://json-schema.org/draft/2020-12/schema",
                     "components": self.document["components"], **schema}
            self._validators[key] = jsonschema.Draft202012Validator(whole)
        error = jsonschema.exceptions.best_match(self._validators[key].iter_errors(value))
        if error is not None:
            place = "/".join(str(part) for part in error.absolute_path)
            raise AssertionError(f"{what}: {place or 'it'} is not as described: {error.message}\n"
                                 f"{json.dumps(value, ensure_ascii=False)[:2000]}")
