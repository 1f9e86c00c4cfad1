"""Checks the observability part for what no other check sees: dashboards fit
Grafana's own types, and whatever points at something else finds it. Uids are unique, links lead to dashboards and
panels that are there, data sources are those that are provisioned, every alert
has its test, images are pinned, and the hosts that configurations name are
services of compose.yaml in a network that both are in."""

import json
import re
import sys
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

DEPLOY = Path(__file__).resolve().parents[1]
CHART = DEPLOY / "helm" / "switchboard" / "files"
PART = DEPLOY / "observability"


def every(node, key):
    """Values of a key, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from every(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from every(value, key)


def unknown(ours, theirs, path=""):
    """What Grafana's types made of a dashboard do not have of it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours:
            # They do not know ad hoc filters' own list, which Grafana reads.
            if key not in theirs and (key, ours[key]) != ("filters", []):
                yield f"{path}.{key}"
            yield from unknown(ours[key], theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from unknown(one, other, f"{path}[{at}]")
    elif ours != theirs and ours != []:
        yield f"{path} becomes {theirs!r}"


def dashboards():
    boards = [json.loads(path.read_text()) for path in sorted((CHART / "dashboards").glob("*.json"))]
    panels = {board["uid"]: {panel["id"] for panel in board["panels"]} for board in boards}
    if len(panels) < len(boards):
        yield "two dashboards have one uid"
    links = [link for board in boards for link in every(board, "url")]
    links += re.findall(r"\]\((/[^)]*)\)", json.dumps(boards))
    links += [re.sub("^http://[^/]*", "", url) for url in every(rules(), "runbook_url")]
    for link in links:
        found = re.fullmatch(r"/d/([^?]+)\?viewPanel=(\d+)", link)
        if not found or int(found[2]) not in panels.get(found[1], ()):
            yield f"a link leads nowhere: {link}"
    register_default_plugins()
    for board in boards:
        typed = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
        yield from (f"{board['title']}: not of Grafana's types: {path}" for path in unknown(board, typed))
        names = {variable["name"] for variable in board["templating"]["list"]}
        if len(panels[board["uid"]]) < len(board["panels"]):
            yield f"{board['title']}: two panels have one id"
        for panel in board["panels"]:
            if panel["type"] in ("row", "text"):
                continue
            if "**Good:**" not in panel["description"] or not panel["links"]:
                yield f"{board['title']}, {panel['title']}: does not say what is good, or where its runbook is"
            for source in every(panel, "datasource"):
                if source["uid"].strip("${}") not in names:
                    yield f"{board['title']}, {panel['title']}: unknown data source {source['uid']}"
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            if cells & taken or at["x"] + at["w"] > 24:
                yield f"{board['title']}, {panel['title']}: lies over another"
            taken |= cells


def rules():
    return [rule for group in yaml.safe_load((CHART / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


def alerts():
    tests = "".join((DEPLOY / "test" / name).read_text() for name in ("alerts.yaml", "alerts-days.yaml"))
    for rule in rules():
        if "alert" in rule and not re.search(f'alertname="{rule["alert"]}",severity="{rule["labels"]["severity"]}"', tests):
            yield f"{rule['alert']}: no test has it fire"


def sources():
    known = yaml.safe_load((PART / "grafana/provisioning/datasources/all.yaml").read_text())["datasources"]
    uids = {source["uid"] for source in known}
    for uid in every([source["jsonData"] for source in known], "datasourceUid"):
        if uid not in uids:
            yield f"a data source leads to {uid}, which is not there"


def hosts():
    """(from, to): who asks whom, as the configurations have it."""
    text = {path.name: path.read_text() for path in PART.glob("*.yaml")}
    for url in re.findall(r"\burl: http://([a-z]+):", (PART / "grafana/provisioning/datasources/all.yaml").read_text()):
        yield "grafana", url
    for target in re.findall(r'targets: \["([a-z]+):', text["prometheus.yaml"]):
        yield "prometheus", target
    for target in re.findall(r":-(?:http://)?([a-z]+):\d+\}", text["collector.yaml"] + text["redis.yaml"]):
        yield "collector", target
    for target in re.findall(r"endpoint: \"?(redis-\d):", text["redis-cluster.yaml"]):
        yield "collector", target
    yield from (("gateway", "collector"), ("router", "collector"))


def compose():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        image = service["image"].split(":-")[-1].rstrip("}")
        # PostgreSQL's releases have two numbers.
        numbers = r"\d+\.\d+" if image.startswith("postgres:") else r"v?\d+\.\d+\.\d+"
        if not re.search(rf":{numbers}(-[a-z]+)?$", image):
            yield f"{name}: {image} is not pinned"
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
            yield f"{name} may do more than it must"
        if service.get("user", "") in ("", "root") and "build" not in service and "haproxy" not in image:
            yield f"{name}: as which user?"
    for source, target in hosts():
        if target == "localhost":
            continue
        if target not in services:
            yield f"{source} asks {target}, which is not in compose.yaml"
        elif not set(services[source]["networks"]) & set(services[target]["networks"]):
            yield f"{source} and {target} share no network"


reasons = [*dashboards(), *alerts(), *sources(), *compose()]
for reason in reasons:
    print(reason, file=sys.stderr)
sys.exit(bool(reasons))
