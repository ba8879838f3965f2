"""The files of `service/deploy` fit the service: what can be checked without running containers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]
from typer.main import get_command

from kdguard.cli import app
from kdguard.service.api.settings import Settings
from kdguard.service.gateway.policy import read_policy
from tests.scoring_service.running import Running

DEPLOY = Path(__file__).parents[2] / "service/deploy"
_METRIC = re.compile(r"\bkdguard_\w+")


def expressions(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_metric_and_label_of_the_dashboard_is_exported(service: Running) -> None:
    service.client.post("/v1/decide", json={"account_id": "somebody"})
    exported = service.client.get("/metrics").text
    assert "somebody" not in exported
    families = set(re.findall(r"^# TYPE (\w+)", exported, flags=re.MULTILINE))
    names = families | {f"{name}_{part}" for name in families for part in ("bucket", "count", "sum")}
    told = expressions(json.loads((DEPLOY / "grafana.json").read_text()))
    used = {name for one in told for name in _METRIC.findall(one)}
    assert len(used) >= 8
    assert used <= names, used - names
    labels = set(re.findall(r"[{,](\w+)=", exported))
    grouped = {label for one in told for by in re.findall(r"by \(([^)]*)\)", one) for label in by.split(", ")}
    assert grouped - labels <= {"outcome", "why", "le"}  # of counters that nothing has counted yet


def test_panels_lie_side_by_side_and_have_what_they_need() -> None:
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"


def test_every_variable_is_a_setting() -> None:
    known = {f"KDGUARD_SERVICE_{name.upper()}" for name in Settings.model_fields}
    for file in ("Containerfile", "compose.yaml", "README.md"):
        named = set(re.findall(r"KDGUARD_SERVICE_[A-Z_]*[A-Z]", (DEPLOY / file).read_text()))
        assert {one.split("__")[0] for one in named} <= known, file


def test_the_container_is_an_ordinary_user_on_a_root_that_nobody_writes() -> None:
    lines = (DEPLOY / "Containerfile").read_text()
    assert re.findall(r"^USER (\w+)$", lines, flags=re.MULTILINE) == ["kdguard"]
    assert all(
        ":" in image and not image.endswith(":latest") for image in re.findall(r"^FROM (\S+)", lines, re.M)
    )
    compose = (DEPLOY / "compose.yaml").read_text()
    for words in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true", "127.0.0.1:8080:8080"):
        assert words in compose


def test_what_compose_runs_and_mounts_is_there() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    for name, one in services.items():
        assert {"image", "build"} & one.keys(), name
        assert one.get("depends_on", {}).keys() <= services.keys(), name
        mounted = {volume.split(":")[0] for volume in one.get("volumes", [])}
        assert mounted <= compose["volumes"].keys(), name
        if one["image"] == "kdguard":
            words = [word for word in one["command"] if not word.startswith("-")]
            command: Any = get_command(app)
            while words and hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in one["command"] if word.startswith("-")} <= options, name


def test_collector_and_proxy_send_to_routes_that_exist(service: Running) -> None:
    routes = service.app.openapi()["paths"]
    collector = yaml.safe_load((DEPLOY / "collector.yaml").read_text())
    (exporter,) = collector["exporters"].values()
    assert urlsplit(exporter["traces_endpoint"]).path in routes
    pipeline = collector["service"]["pipelines"]["traces"]
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) <= collector[kind].keys()
    proxy = yaml.safe_load((DEPLOY / "litellm.yaml").read_text())
    assert proxy["guardrails"][0]["litellm_params"]["guardrail"] == "generic_guardrail_api"
    assert "/beta/litellm_basic_guardrail_api" in routes


def test_the_policy_can_be_read() -> None:
    assert read_policy(DEPLOY / "policy.toml").dry_run
