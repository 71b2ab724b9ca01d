"""The artifact half of the W&B server on loopback: versions are deduplicated by the digest of their manifest, as the real one does."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

ENTITY = "tester"

if TYPE_CHECKING:
    from wandb_server import FakeWandbServer


@dataclass
class ServerArtifact:
    """One version of one artifact."""

    node_id: str
    project: str
    collection: str
    version: int
    type: str
    digest: str
    client_id: str
    run: str | None
    metadata: dict[str, Any]
    aliases: set[str]
    state: str = "PENDING"
    manifest_path: str = ""
    times_logged: int = 1

    def entries(self, fake: FakeWandbServer) -> dict[str, dict[str, Any]]:
        """What the uploaded manifest lists: name -> {digest, ref or size}."""
        return dict(json.loads(fake.uploads[self.manifest_path])["contents"])

    def content(self, fake: FakeWandbServer, name: str) -> bytes:
        """One uploaded file of this version."""
        return fake.uploads[f"/upload/artifact/{self.node_id}/{name}"]


@dataclass
class ArtifactStore:
    """Every version, in the order of their first appearance, and which run used which."""

    versions: list[ServerArtifact] = field(default_factory=list)
    used: list[tuple[str, str]] = field(default_factory=list)  # (run, artifact id)

    def of_type(self, kind: str) -> list[ServerArtifact]:
        """All versions of all artifacts of one type."""
        return [version for version in self.versions if version.type == kind]

    def by_id(self, node_id: str) -> ServerArtifact:
        """The version with this opaque id."""
        return next(version for version in self.versions if version.node_id == node_id)


def _create(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    given = variables["input"]
    store, name = fake.artifacts, given["artifactCollectionName"]
    aliases = {alias["alias"] for alias in given.get("aliases") or []} | {tag["alias"] for tag in given.get("tags") or [] if "alias" in tag}
    same = [version for version in store.versions if version.collection == name]
    known = next((version for version in same if version.digest == given["digest"]), None)
    for version in same:
        version.aliases -= aliases  # an alias belongs to one version
    if known is None:
        node_id = base64.urlsafe_b64encode(f"Artifact:{len(store.versions) + 1}".encode()).decode().rstrip("=")
        metadata = json.loads(given.get("metadata") or "{}")
        kind, client, run = given["artifactTypeName"], str(given.get("clientID")), given.get("runName")
        known = ServerArtifact(
            node_id, str(given.get("projectName")), name, len(same), kind, given["digest"], client, run, metadata, aliases
        )
        store.versions.append(known)
    else:
        known.aliases |= aliases
        known.times_logged += 1
    return {"createArtifact": {"artifact": {"id": known.node_id, "state": known.state, "artifactSequence": {"latestArtifact": None}}}}


def _manifest(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    version = fake.artifacts.by_id(variables["artifactID"])
    version.manifest_path = f"/upload/manifest/{version.node_id}"
    file = {"id": "F", "uploadUrl": fake.url + version.manifest_path, "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": f"M{version.node_id}", "file": file}}}


def _files(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    edges = []
    for file in (variables.get("input") or variables)["artifactFiles"]:
        path = f"/upload/artifact/{file['artifactID']}/{file['name']}"
        place = {"storagePath": path, "uploadUrl": fake.url + path, "uploadHeaders": [], "uploadMultipartUrls": None}
        edges.append({"node": {**place, "artifact": {"id": file["artifactID"]}}})
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def _commit(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    version = fake.artifacts.by_id(variables["artifactID"])
    version.state = "COMMITTED"
    return {"commitArtifact": {"artifact": {"id": version.node_id, "digest": version.digest}}}


def _use(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    given = variables["input"]
    fake.artifacts.used.append((given["runName"], given["artifactID"]))
    return {"useArtifact": {"artifact": {"id": given["artifactID"]}}}


def _client_id(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    found = next((version for version in fake.artifacts.versions if version.client_id == variables.get("clientID")), None)
    return {"clientIDMapping": {"serverID": found.node_id} if found else None}


def _type(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    name = variables["name"].partition(":")[0]
    found = next((version for version in fake.artifacts.versions if version.collection == name), None)
    return {"project": {"artifact": {"artifactType": {"name": found.type}} if found else None}}


def _by_id(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    found = next((version for version in fake.artifacts.versions if version.node_id == variables["id"]), None)
    if found is None:
        return {"artifact": None}
    project = {"id": "P", "internalId": "P", "name": found.project, "entity": {"name": ENTITY}}
    when = "2026-01-01T00:00:00Z"
    facts = {"id": found.node_id, "state": found.state, "digest": found.digest, "versionIndex": found.version, "commitHash": found.digest}
    place = {"artifactSequence": {"name": found.collection, "project": project}, "artifactType": {"name": found.type}}
    time = {"ttlDurationSeconds": -1, "ttlIsInherited": False, "createdAt": when, "updatedAt": when}
    rest = {
        "description": None,
        "metadata": json.dumps(found.metadata),
        "tags": [],
        "historyStep": None,
        "size": 0,
        "fileCount": 0,
        "aliases": [],
    }
    return {"artifact": {**facts, **place, **time, **rest, "tags": [], "aliases": []}}


ARTIFACT_OPERATIONS = {
    "CreateArtifact": _create,
    "CreateArtifactManifest": _manifest,
    "UpdateArtifactManifest": _manifest,
    "CreateArtifactFiles": _files,
    "CommitArtifact": _commit,
    "ArtifactByID": _by_id,
    "UseArtifact": _use,
    "ClientIDMapping": _client_id,
    "ArtifactType": _type,
}
