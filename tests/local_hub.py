"""A hub on this machine: the few routes that huggingface_hub uses to push and to load a model.

It is strict. What it does not know, or does not expect, is kept in ``surprises``; the fixture in
``test_runs_hub.py`` fails a test that leaves any there.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_the_test"
OWNER = "ann"
_ROUTES = []


def route(methods, pattern):
    def register(function):
        _ROUTES.append((methods.split(), re.compile(pattern), function))
        return function

    return register


class Repository:
    def __init__(self, private):
        self.private = private
        self.commits = {_digest(b"first", "sha1"): {}}
        self.branches = {"main": next(iter(self.commits))}

    def commit(self, branch, files):
        content = {**self.commits[self.branches[branch]], **files}
        listed = json.dumps({path: _digest(data) for path, data in content.items()})
        name = _digest(f"{len(self.commits)}{listed}".encode(), "sha1")
        self.commits[name] = content
        self.branches[branch] = name
        return name

    def revision(self, name):
        return self.branches.get(name, name if name in self.commits else None)


class Hub:
    def __init__(self):
        self.repositories = {}
        self.stored = {}
        self.surprises = []
        self.asked = []
        self.faults = {}
        """Path -> what to answer instead: (status, headers, body)."""

    def holding(self, name, files, *, private=False):
        self.repositories[name] = Repository(private)
        self.repositories[name].commit("main", files)
        return self.repositories[name]

    @contextmanager
    def serving(self):
        handler = type("Handler", (_Handler,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.elsewhere = f"http://localhost:{self.port}"  # another origin, which gets no token
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def answer(self, status=200, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), **headers}
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, {"error": code}, X_Error_Code=code)

    def content(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    @property
    def is_known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def handle_any(self):
        try:
            self.handle_route(self.path.partition("?")[0])
        except Exception as error:  # told by the test, whose thread is another
            self.hub.surprises.append(repr(error))
            self.answer(500)

    def handle_route(self, path):
        self.body = self.content()
        self.hub.asked.append((self.command, path))
        if path in self.hub.faults:
            status, headers, body = self.hub.faults[path]
            return self.answer(status, body, **headers)
        for methods, pattern, function in _ROUTES:
            match = pattern.fullmatch(path)
            if match and self.command in methods:
                if self.command == "POST" and not self.is_known:
                    message = "Invalid credentials in Authorization header"
                    return self.answer(401, {}, X_Error_Message=message)
                return function(self, **match.groupdict())
        self.hub.surprises.append((self.command, path))
        return self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

    def repository(self, name):
        """The repository, or None after an answer as the hub gives it."""
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self.is_known):
            self.refuse(404 if self.is_known else 401, "RepoNotFound")
            return None
        return found


@route("POST", "/api/repos/create")
def create(self):
    asked = json.loads(self.body)
    if asked["organization"] != OWNER:
        return self.answer(403, {}, X_Error_Message="You don't have the rights")
    name = f"{asked['organization']}/{asked['name']}"
    if name in self.hub.repositories:
        return self.answer(409, {"url": f"{self.hub.endpoint}/{name}"})
    assert asked.keys() <= {"name", "organization", "visibility", "type"}
    self.hub.repositories[name] = Repository(asked.get("visibility") == "private")
    return self.answer(200, {"url": f"{self.hub.endpoint}/{name}"})


@route("GET", "/api/models/(?P<name>[^/]+/[^/]+)")
def info(self, name):
    if found := self.repository(name):
        self.answer(200, {"id": name, "private": found.private, "sha": found.branches["main"]})


@route("POST", "/api/models/(?P<name>[^/]+/[^/]+)/branch/(?P<branch>[^/]+)")
def branch(self, name, branch):
    if found := self.repository(name):
        is_new = branch not in found.branches
        found.branches.setdefault(branch, found.branches["main"])
        self.answer(200 if is_new else 409, {})


@route("POST", "/api/validate-yaml")
def validate(self):
    asked = json.loads(self.body)
    is_valid = asked["content"].startswith('---\nlicense: "') and asked["repoType"] == "model"
    self.answer(200 if is_valid else 400, {"errors": [{"message": "no"}] * (not is_valid)})


@route("POST", "/api/models/(?P<name>[^/]+/[^/]+)/preupload/(?P<branch>[^/]+)")
def preupload(self, name, branch):
    if (found := self.repository(name)) and found.revision(branch):
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs"
                if file["path"].endswith((".safetensors", ".png"))
                else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self.answer(200, {"files": modes})


@route("POST", "/(?P<name>[^/]+/[^/]+).git/info/lfs/objects/batch")
def batch(self, name):
    asked = json.loads(self.body)
    assert (asked["operation"], asked["hash_algo"]) == ("upload", "sha256")
    objects = []
    for item in asked["objects"]:
        upload = {"href": f"{self.hub.elsewhere}/lfs/{item['oid']}"}
        verify = {"href": f"{self.hub.endpoint}/lfs-verify"}
        objects.append({**item, "actions": {"upload": upload, "verify": verify}})
    self.answer(200, {"objects": objects, "transfer": "basic"})


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def store(self, oid):
    assert self.headers.get("Authorization") is None
    is_whole = _digest(self.body) == oid
    if is_whole:
        self.hub.stored[oid] = self.body
    self.answer(200 if is_whole else 400)


@route("POST", "/lfs-verify")
def verify(self):
    asked = json.loads(self.body)
    is_there = len(self.hub.stored.get(asked["oid"], b"")) == asked["size"]
    self.answer(200 if is_there else 404)


@route("POST", "/api/models/(?P<name>[^/]+/[^/]+)/commit/(?P<branch>[^/]+)")
def commit(self, name, branch):
    header, *operations = map(json.loads, self.body.splitlines())
    assert header["key"] == "header"
    assert header["value"]["summary"]
    files = {}
    for operation in operations:
        value = operation["value"]
        if operation["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        else:
            assert operation["key"] == "lfsFile"
            files[value["path"]] = self.hub.stored[value["oid"]]
    made = self.hub.repositories[name].commit(branch, files)
    address = f"{self.hub.endpoint}/{name}/commit/{made}"
    self.answer(200, {"commitUrl": address, "commitOid": made})


@route("HEAD GET", "/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
def resolve(self, name, revision, file):
    found = self.repository(name)
    if found is None:
        return None
    commit = found.revision(revision)
    if commit is None:
        return self.refuse(404, "RevisionNotFound")
    if file not in found.commits[commit]:
        return self.refuse(404, "EntryNotFound")
    content = found.commits[commit][file]
    oid = _digest(content)
    self.hub.stored[oid] = content
    return self.answer(
        302,
        Location=f"{self.hub.elsewhere}/cdn/{oid}",
        X_Repo_Commit=commit,
        X_Linked_Etag=f'"{oid}"',
        X_Linked_Size=str(len(content)),
    )


@route("GET", "/cdn/(?P<oid>[0-9a-f]{64})")
def deliver(self, oid):
    assert self.headers.get("Authorization") is None
    self.answer(200, self.hub.stored[oid], ETag=f'"{oid}"')


def _digest(data, algorithm="sha256"):
    return hashlib.new(algorithm, data).hexdigest()
