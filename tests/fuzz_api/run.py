"""Holds a running cluster against docs/openapi.yaml with requests that Schemathesis makes up, sound ones and bad ones:
nothing may be broken on our side, and no answer may be one that the document does not have. Once with `auth.mode:
none`, and with `auth.mode: password` once for each role.

./dev fuzz-api [--seed S] [--examples N]
"""

import argparse
import contextlib
import pathlib
import subprocess
import sys
import tempfile

import yaml

from tests.support.harness import ROOT, Client, cluster

SCHEMATHESIS = pathlib.Path(sys.argv[1]).absolute()
CONFIG = ROOT / "tests" / "fuzz_api" / "schemathesis.toml"
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance",
          "response_headers_conformance", "response_schema_conformance", "negative_data_rejection",
          "unsupported_method", "ignored_auth")
# Not asked: they connect to whatever host is made up.
LEFT_OUT = ("addShard", "changeShard")
SECONDS_MAX = 300  # of one round
LINE_MAX = 1000  # characters; a batch that was made up has many
NAMES = ("alice", "bob", "carol")  # of the document's examples


def description(is_asking):
    """The document; without what it says of tokens where `auth.mode: none` wants none."""
    document = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
    if not is_asking:
        del document["security"], document["components"]["securitySchemes"]
    return yaml.safe_dump(document)


def hold_against(url, seed, examples, token=None):
    """Whether all answers were as described; prints what Schemathesis says if not."""
    with tempfile.TemporaryDirectory() as folder:
        document = pathlib.Path(folder) / "openapi.yaml"
        document.write_text(description(token is not None))
        command = [SCHEMATHESIS, "--config-file", CONFIG, "--no-color",
                   "run", document, "--url", url, "--seed", str(seed),
                   "--max-examples", str(examples), "--phases", "examples,coverage,fuzzing",
                   "--checks", ",".join(CHECKS), "--generation-database", "none", "--continue-on-failure",
                   "--warnings", "off", "--request-timeout", "30",
                   *(f"--exclude-operation-id={name}" for name in LEFT_OUT),
                   *(["--header", f"Authorization: Bearer {token}"] if token else [])]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS_MAX)
    told = [line for line in done.stdout.splitlines() if "test cases" in line or "generated" in line]
    whole = "\n".join(line[:LINE_MAX] for line in (done.stdout + done.stderr).splitlines())
    print("\n".join(told) if done.returncode == 0 else whole, flush=True)
    return done.returncode == 0


def logged_in(url, password):
    client = Client(url)
    reply = client.post("/v1/login", {"name": "admin", "password": password})
    assert reply.status == 200, reply.text
    return client, {"Authorization": f"Bearer {reply.json['token']}"}


def make_users(client, **headers):
    for name in NAMES:
        reply = client.post("/v1/users", {"name": name, "max_balance": "1000", "balance": "100"}, **headers)
        assert reply.status == 201, reply.text


def make_token(client, role, **headers):
    reply = client.post("/v1/admin/tokens", {"label": f"fuzz-{role}", "roles": [role]}, **headers)
    assert reply.status == 201, reply.text
    return reply.json["token"]


def open_cluster(seed, examples):
    with cluster() as running:
        with contextlib.closing(running.client().connection):
            make_users(running.client())
        print("== auth.mode none", flush=True)
        is_held = hold_against(running.url(), seed, examples)
        running.check_books()
        return is_held


def asking_cluster(seed, examples):
    is_held = True
    with cluster(auth="password") as running:
        client, admin = logged_in(running.url(), running.admin_password)
        make_users(client, **admin)
        for role in ("user", "teller", "auditor", "admin"):
            token = make_token(client, role, **admin)
            print(f"== auth.mode password, role {role}", flush=True)
            is_held &= hold_against(running.url(), seed, examples, token)
        running.check_books()
    return is_held


def main():
    options = argparse.ArgumentParser(prog="./dev fuzz-api", description=__doc__)
    options.add_argument("--seed", type=int, default=1, help="of what is made up (1)")
    options.add_argument("--examples", type=int, default=15, help="for each operation, in each round (15)")
    chosen = options.parse_args(sys.argv[2:])
    results = [open_cluster(chosen.seed, chosen.examples), asking_cluster(chosen.seed, chosen.examples)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
