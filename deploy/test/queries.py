#!/usr/bin/env python3
"""Asks a Prometheus that watches a cluster under load all that the dashboards
and alerts ask, and compares what it has with docs/METRICS.md.

    queries.py documented            every metric that they name is in docs/METRICS.md (needs nothing)
    queries.py answered PROMETHEUS [WITHOUT…]   every query has an answer; names that begin so are not there
    queries.py complete PROMETHEUS ADMIN…       what is pushed, what /metrics of these processes says, and
                                                docs/METRICS.md are the same
"""

import json
import math
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What others measure: Redis' receiver, the balancer, the collector's spans.
FOREIGN = ("redis_", "haproxy_", "traces_span_metrics_", "ALERTS", "otelcol_")
SUFFIXES = re.compile("_(bucket|sum|count)$")
PATIENCE = 90


def asked():
    """Where a query stands, and the query."""
    out = subprocess.run([ROOT / "deploy/observability/generate", "--queries"], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


def documented():
    """Prometheus' name → kind, as docs/METRICS.md has them."""
    rows = re.findall(r"^\| `[^`]+` \| `([a-z_]+)` \| (\w+) \|", (ROOT / "docs/METRICS.md").read_text(), re.MULTILINE)
    return dict(rows)


def series_names(kinds):
    for name, kind in kinds.items():
        if kind == "histogram":
            yield from (name + suffix for suffix in ("_bucket", "_sum", "_count"))
        else:
            yield name


def named(query):
    """The metrics that a query names."""
    query = re.sub(r'"[^"]*"', "", query)
    query = re.sub(r"\b(by|on|without|ignoring|group_left)\s*\([^)]*\)", "", query)
    query = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", query)
    return {word for word in re.findall(r"(?<![\w.])[a-zA-Z_][a-zA-Z0-9_:]*\b(?!\s*\()", query)} - {"and", "or", "unless", "bool"}


def check_documented():
    known = set(series_names(documented()))
    recorded = {where for where, _ in asked() if ":" in where}
    wrong = {
        (where, name)
        for where, query in asked()
        for name in named(query)
        if name not in known | recorded and not name.startswith(FOREIGN)
    }
    for where, name in sorted(wrong):
        print(f"{where}: `{name}` is not in docs/METRICS.md", file=sys.stderr)
    return not wrong


def ask(prometheus, query):
    url = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{query}: {error.read().decode()}")


def answered(prometheus, query):
    query = query.replace("$__rate_interval", "40s").replace("$__range", "1m")
    return any(not math.isnan(float(sample["value"][1])) for sample in ask(prometheus, query))


def check_answered(prometheus, without):
    """Asks until all have answered, while the load goes on."""
    left = [(where, query) for where, query in asked() if not any(name.startswith(tuple(without)) for name in named(query))]
    count, deadline = len(left), time.monotonic() + PATIENCE
    while left and time.monotonic() < deadline:
        left = [(where, query) for where, query in left if not answered(prometheus, query)]
        if left:
            time.sleep(2)
    for where, query in left:
        print(f"{where}: no data: {query}", file=sys.stderr)
    print(f"{count - len(left)} of {count} queries have data")
    return not left


def said(admin):
    """Names at /metrics."""
    with urllib.request.urlopen(f"{admin}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if line and not line.startswith("#")} - {"target_info"}


def check_complete(prometheus, admins):
    known = set(series_names(documented()))
    url = f"{prometheus}/api/v1/label/__name__/values?" + urllib.parse.urlencode({"match[]": '{job=~"switchboard-.*"}'})
    with urllib.request.urlopen(url, timeout=30) as answer:
        pushed = {name for name in json.load(answer)["data"] if not name.startswith(FOREIGN)} - {"target_info"}
    scraped = set().union(*(said(admin) for admin in admins))
    wrong = []
    for ours, theirs, what in (
        (pushed, known, "is pushed, and not in docs/METRICS.md"),
        (known, pushed, "is in docs/METRICS.md, and not pushed"),
        (scraped, pushed, "is at /metrics, and not pushed"),
        (pushed, scraped, "is pushed, and not at /metrics"),
    ):
        wrong += [f"{name} {what}" for name in sorted(ours - theirs)]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(pushed)} series names are pushed, {len(scraped)} at /metrics, {len(known)} documented")
    return not wrong


match sys.argv[1:]:
    case ["documented"]:
        right = check_documented()
    case ["answered", prometheus, *without]:
        right = check_answered(prometheus, without)
    case ["complete", prometheus, *admins]:
        right = check_complete(prometheus, admins)
    case _:
        sys.exit(__doc__)
sys.exit(not right)
