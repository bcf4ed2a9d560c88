"""Checks answers against docs/openapi.yaml: path, status and schema must be described there."""

import re

import jsonschema
import yaml

from tests.support.harness import ROOT


class OpenApi:
    def __init__(self):
        self.document = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
        self.seen = set()

    def _operation(self, method, path):
        bare = path.split("?")[0]
        candidates = []
        for template, operations in self.document["paths"].items():
            pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
            if re.fullmatch(pattern, bare) and method.lower() in operations:
                candidates.append((template.count("{"), template))
        assert candidates, f"{method} {bare} is not described"
        template = min(candidates)[1]
        self.seen.add((method.lower(), template))
        return self.document["paths"][template][method.lower()]

    def _resolve(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def check(self, method, path, reply):
        responses = self._operation(method, path)["responses"]
        described = responses.get(str(reply.status)) or responses.get("default")
        assert described is not None, f"{method} {path}: status {reply.status} is not described"
        content = self._resolve(described).get("content", {})
        media = reply.headers.get("content-type", "").split(";")[0]
        assert media in content, f"{method} {path} {reply.status}: {media} is not described"
        if not media.endswith("json"):
            return
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema",
                  "components": self.document.get("components", {}), **content[media]["schema"]}
        jsonschema.Draft202012Validator(schema).validate(reply.json)
