"""The saved views of the W&B server on loopback: workspaces and reports, with the operations wandb-workspaces asks for.

views = ViewStore(projects={"ablation"}); server.operations.update(views.operations)
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from wandb_server import ENTITY, Operation

WORKSPACE, REPORT = "project-view", "runs"
NOW = "2026-01-01T00:00:00Z"


@dataclass
class View:
    """One saved view as the server knows it."""

    node_id: str
    type: str
    project: str
    name: str = ""
    display_name: str = ""
    description: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    times_saved: int = 0


class ViewStore:
    """Every view, in the order of their first appearance. A name is unique within a type and project, as on the real server."""

    def __init__(self, projects: set[str]) -> None:
        self.projects = projects
        self.views: list[View] = []

    def of_type(self, kind: str) -> list[View]:
        return [view for view in self.views if view.type == kind]

    @property
    def operations(self) -> dict[str, Operation]:
        return {
            "GetDefaultEntity": lambda server, variables: {"viewer": {"id": "u", "entity": ENTITY}},
            "GetProjects": lambda server, variables: self._projects(),
            "ProjectInternalId": lambda server, variables: self._internal_id(variables),
            "UpsertView2": lambda server, variables: self._upsert(variables),
            "upsertView": lambda server, variables: self._upsert(variables),
            "SavedView": lambda server, variables: self._listing(variables["project"], WORKSPACE, variables["name"]),
            "ProjectViews": lambda server, variables: self._listing(variables["project"], variables.get("viewType", REPORT), None),
        }

    def _projects(self) -> dict[str, Any]:
        edges = [
            {
                "node": {
                    "__typename": "Project",
                    "id": name,
                    "name": name,
                    "entityName": ENTITY,
                    "createdAt": NOW,
                    "isBenchmark": False,
                    "user": None,
                }
            }
            for name in sorted(self.projects)
        ]
        return {"models": {"pageInfo": {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}, "edges": edges}}

    def _internal_id(self, variables: dict[str, Any]) -> dict[str, Any]:
        known = variables["projectName"] in self.projects
        return {"project": {"id": "p", "internalId": base64.b64encode(b"ProjectInternalId:1").decode()} if known else None}

    def _upsert(self, variables: dict[str, Any]) -> dict[str, Any]:
        view = next((view for view in self.views if view.node_id == variables.get("id")), None)
        inserted = view is None
        if view is None:
            assert not variables.get("id"), "a view nobody saved"
            node_id = base64.b64encode(f"View:{len(self.views) + 1:05}".encode()).decode()
            view = View(node_id, variables["type"], variables["projectName"])
            assert variables["name"] not in [other.name for other in self.of_type(view.type)], "a second view of one name"
            self.views.append(view)
        view.name, view.display_name, view.description = variables["name"], variables["displayName"], variables["description"]
        view.spec, view.times_saved = json.loads(variables["spec"]), view.times_saved + 1
        project = {"id": "p", "name": view.project, "entityName": ENTITY}
        return {"upsertView": {"view": {**_node(view), "type": view.type, "project": project}, "inserted": inserted}}

    def _listing(self, project: str, kind: str, name: str | None) -> dict[str, Any]:
        if project not in self.projects:
            return {"project": None}
        found = [view for view in self.of_type(kind) if name is None or view.name == name]
        edges = [{"node": _node(view), "cursor": str(number)} for number, view in enumerate(found)]
        return {"project": {"allViews": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}}


def _node(view: View) -> dict[str, Any]:
    return {
        "id": view.node_id,
        "name": view.name,
        "displayName": view.display_name,
        "description": view.description,
        "spec": json.dumps(view.spec),
        "createdAt": NOW,
        "updatedAt": NOW,
        "user": None,
    }
