"""The dashboards, each panel with what it asks, what a good value is, and where
its runbook is. `generate` makes Grafana's JSON of them."""

import json

import levels
import runbooks

RATE = "$__rate_interval"


def rate(metric, by="", span=RATE):
    return f"sum{f' by ({by})' if by else ''} (rate({metric}[{span}]))"


def quantile(q, metric, by="", span=RATE):
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[{span}])))"


class Panel:
    """One picture: queries by the name that their lines have."""

    def __init__(self, title, unit, queries, good, runbook, what="", kind="timeseries", width=8, height=8,
                 stack=False, limits=(), exemplars=False, log=False):
        self.title, self.unit, self.queries, self.kind = title, unit, queries, kind
        self.good, self.runbook, self.what = good, runbook, what
        self.width, self.height, self.stack, self.limits = width, height, stack, limits
        self.exemplars, self.log = exemplars, log

    def json(self, number, x, y):
        source = {"type": "prometheus", "uid": "${datasource}"}
        instant = self.kind == "stat"
        steps = [{"color": "green", "value": None}]
        steps += [{"color": color, "value": value} for value, color in self.limits]
        if self.limits and self.limits[0][1] == "green":
            # More is better.
            steps[0]["color"] = "red"
        link = runbooks.link(self.runbook)
        description = [self.what] if self.what else []
        description += [f"**Good:** {self.good}", f"[What to do]({link})"]
        defaults = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}
        options = {}
        if self.kind == "timeseries":
            defaults["custom"] = {
                "drawStyle": "line", "fillOpacity": 15 if self.stack else 0, "lineWidth": 1, "showPoints": "never",
                "spanNulls": 60000,
                "stacking": {"mode": "normal" if self.stack else "none", "group": "A"},
                "scaleDistribution": {"type": "log", "log": 10} if self.log else {"type": "linear"},
                "thresholdsStyle": {"mode": "line+area" if self.limits else "off"},
            }
            if not self.log:
                defaults["min"] = 0
            options = {
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max", "lastNotNull"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        elif self.kind == "stat":
            options = {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "value", "graphMode": "none", "textMode": "auto",
            }
        return {
            "id": number, "type": self.kind, "title": self.title,
            "description": "\n\n".join(description),
            "datasource": source,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "links": [{"title": f"Runbook: {self.runbook}", "url": link, "targetBlank": True}],
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": options,
            "targets": [
                {
                    "refId": chr(ord("A") + at), "datasource": source, "expr": query, "legendFormat": name,
                    "editorMode": "code", "instant": instant, "range": not instant, "exemplar": self.exemplars,
                }
                for at, (name, query) in enumerate(self.queries.items())
            ],
        }


def stat(title, unit, query, good, runbook, limits, what=""):
    return Panel(title, unit, {"": query}, good, runbook, what, kind="stat", width=4, height=4, limits=limits)


GATEWAY = '{job=~".*(gateway|standalone).*"}'
ROUTER = '{job=~".*(router|standalone).*"}'
CONNECTIONS = "switchboard_gateway_connections"
MESSAGES = 'switchboard_router_commands_total{command=~"send|publish",result="ok"}'
GIVEN = f"({rate('switchboard_gateway_deliveries_total')} + {rate('switchboard_gateway_publications_total')})"
SECONDS = "s"

OVERVIEW = {
    "Service levels, over the time that is shown": [
        stat("Commands answered", "percentunit", f"1 - {levels.failed('$__range')}", "at least 99.9 %", "Commands fail",
             [(0.99, "orange"), (levels.AVAILABILITY, "green")],
             "Commands of clients that were answered otherwise than `unavailable` or `internal`."),
        stat("Delivered within a second", "percentunit", f"1 - ({levels.late('$__range')})", "at least 99.9 %",
             "Delivery is slow", [(0.99, "orange"), (levels.DELIVERY, "green")],
             "From the store's entry to the reader's socket, of readers who are connected. Nothing is lost: late is the worst."),
        stat("Error budget left: commands", "percentunit",
             levels.budget_left(levels.failed("$__range"), levels.AVAILABILITY), "above 0", "Commands fail",
             [(0, "orange"), (0.25, "green")], f"Of what {levels.WINDOW} days may have, as if all of them were like the time shown."),
        stat("Error budget left: delivery", "percentunit",
             levels.budget_left(levels.late("$__range"), levels.DELIVERY), "above 0", "Delivery is slow",
             [(0, "orange"), (0.25, "green")], f"Of what {levels.WINDOW} days may have, as if all of them were like the time shown."),
        stat("Alerts", "short", 'count(ALERTS{alertstate="firing",alertname=~"Switchboard.*"}) or vector(0)', "0",
             "Where to look first", [(1, "red")], "How many fire. Which ones: *Alerting* in the menu."),
        stat("Gateways", "short", f"count(sum by (instance) ({CONNECTIONS}))", "as many as were asked for",
             "A gateway is missing", [(1, "orange"), (2, "green")]),
        stat("Routers", "short", "count(sum by (instance) (switchboard_router_links))", "as many as were asked for",
             "A router is missing", [(1, "orange"), (2, "green")]),
    ],
    "Delivery": [
        Panel("Delivery time", SECONDS, {
            "p50": quantile(0.5, levels.DELIVERIES), "p99": quantile(0.99, levels.DELIVERIES),
            "p99.9": quantile(0.999, levels.DELIVERIES),
        }, "p50 below 5 ms, p99 below 50 ms, p99.9 below 1 s", "Delivery is slow", limits=[(1, "red")], log=True,
            what="From the time of the entry in the store to the reader's socket."),
        Panel("Messages and deliveries a second", "ops", {
            "written": rate(MESSAGES), "events delivered": rate("switchboard_gateway_deliveries_total"),
            "publications delivered": rate("switchboard_gateway_publications_total"),
        }, "deliveries follow what is written", "Delivery is slow"),
        Panel("Commands by result", "ops", {"{{result}}": rate(levels.COMMANDS, "result")},
              "nearly all `ok`; `unavailable` and `internal` below 0.1 %", "Commands fail", stack=True),
        Panel("Connections", "short", {"{{transport}}": f"sum by (transport) ({CONNECTIONS})"},
              "follows the day; no step", "Connections drop", stack=True),
        Panel("Readers catch up, by cause", "ops",
              {"{{cause}}": rate("switchboard_gateway_catchups_total", "cause")},
              "`resume` as clients return; all else 0", "The bus loses announcements",
              what="Sessions that began to read from the log: the way back from anything that went wrong."),
        Panel("Answers of the load balancer", "reqps",
              {"{{code}}": rate('haproxy_frontend_http_responses_total{proxy="clients"}', "code")},
              "no `5xx`", "The load balancer finds no gateway", stack=True,
              what="compose.yaml's haproxy; another balancer has metrics of its own."),
    ],
    "Where the time goes": [
        Panel("Spans of the sampled messages, p99", SECONDS, {
            "{{service_name}} {{span_name}}":
                "histogram_quantile(0.99, sum by (le, service_name, span_name) (rate(traces_span_metrics_duration_seconds_bucket[$__rate_interval])))",
        }, "each below 50 ms", "Delivery is slow", exemplars=True, width=12,
            what="Each dot is a trace: click it."),
        Panel("Sampled spans a second", "ops", {
            "{{service_name}} {{span_name}}": rate("traces_span_metrics_calls_total", "service_name, span_name"),
        }, "some, where messages are sent: one trace in a hundred is kept", "Nothing is measured", width=12),
    ],
}

GATEWAYS = {
    "Connections": [
        Panel("Connections by transport", "short", {"{{transport}}": f"sum by (transport) ({CONNECTIONS})"},
              "follows the day; no step", "Connections drop", stack=True),
        Panel("Connections by gateway", "short", {"{{instance}}": f"sum by (instance) ({CONNECTIONS})"},
              "about even; a new gateway fills slowly", "Connections are uneven"),
        Panel("Sessions ended, by reason", "ops",
              {"{{reason}}": rate("switchboard_gateway_sessions_ended_total", "reason")},
              "mostly `bye`; `bad_frames` and `heartbeat_missed` rare", "Connections drop", stack=True),
        Panel("Sockets, and those refused", "short", {
            "open on {{instance}}": "switchboard_gateway_sockets",
            "refused a second ({{limit}})": rate("switchboard_gateway_sockets_refused_total", "limit"),
        }, "below --max-connections; none refused", "Connections are refused"),
        Panel("Credentials refused, by reason", "ops",
              {"{{reason}}": rate("switchboard_gateway_unauthorized_total", "reason")},
              "`expired` now and then; a rise of another is a wrong key, clock or flag",
              "Clients are refused as unauthorized", stack=True),
        Panel("Attach queue", "short", {"{{instance}}": "switchboard_gateway_attach_queue"},
              "0; after a storm of returning clients back to 0 within seconds", "The attach queue grows",
              limits=[(100, "red")], what="Attaches and pages that wait in line for a router."),
        Panel("Slow readers", "short", {"{{instance}}": "switchboard_gateway_sessions_behind"},
              "0; below 1 % of the connections", "Slow readers",
              what="Sessions whose queue was full and that read on from the log. Others do not wait for them."),
        Panel("Memory for each connection", "bytes", {
            "{{instance}}":
                f"sum by (instance) (process_memory_usage_bytes) / (sum by (instance) ({CONNECTIONS}) > 0)",
        }, "30 MB and 6 to 14 KiB a WebSocket, some 40 KiB an SSE, stream or polling client: with 10,000 connections 10 to 50 KiB",
            "Memory grows", log=True, what="Resident memory by open sessions; with few of them it is the process itself."),
        Panel("Channel subscriptions", "short", {"{{instance}}": "switchboard_gateway_channel_subscribers"},
              "follows the connections", "Connections drop"),
        Panel("Ephemeral frames dropped", "ops",
              {"{{instance}}": rate("switchboard_gateway_ephemeral_dropped_total", "instance")},
              "below 1 % of `typing`", "Slow readers", what="Typing and presence, for slow or busy sessions; they may be lost."),
    ],
    "Commands": [
        Panel("Commands by type", "ops", {"{{type}}": rate(levels.COMMANDS, "type")}, "follows the day",
              "Commands fail", stack=True),
        Panel("Refused, by result", "ops", {"{{result}}": rate(levels.COMMANDS + '{result!="ok"}', "result") + " or vector(0)"},
              "`unavailable` and `internal` 0; others are the clients' own", "Commands fail", stack=True),
        Panel("Time that routers take", SECONDS, {
            "p50": quantile(0.5, "switchboard_gateway_command_duration_seconds"),
            "p99": quantile(0.99, "switchboard_gateway_command_duration_seconds"),
        }, "p99 below 50 ms", "Delivery is slow", limits=[(0.05, "orange"), (1, "red")], log=True),
        Panel("Requests without an answer", "short", {"{{instance}}": "switchboard_gateway_requests_pending"},
              "below 1,000; at 100,000 commands are refused", "Queues toward the store grow", limits=[(10000, "red")]),
        Panel("Requests repeated at another router", "ops",
              {"{{instance}}": rate("switchboard_gateway_requests_repeated_total", "instance")},
              "0, but while routers restart", "A router is missing"),
        Panel("Passed on to other gateways", "ops",
              {"{{kind}}": rate("switchboard_gateway_relayed_total", "kind")},
              "half of what Socket.IO and SockJS clients poll with two gateways, nine tenths with ten", "Requests are not passed on"),
        Panel("Not passed on, by reason", "ops",
              {"{{reason}}": rate("switchboard_gateway_relay_failures_total", "reason") + " or vector(0)"},
              "0, but while gateways restart", "Requests are not passed on"),
        Panel("Routers that take requests", "short", {"{{instance}}": "switchboard_gateway_routers"},
              "as many as run", "A router is missing"),
    ],
    "Delivery": [
        Panel("Delivery time by gateway, p99", SECONDS,
              {"{{instance}}": quantile(0.99, levels.DELIVERIES, "instance")},
              "below 50 ms, about alike", "Delivery is slow", limits=[(1, "red")], log=True),
        Panel("Sessions for each announced event", "short", {
            "mean": f"{rate('switchboard_gateway_fanout_sum')} / {rate('switchboard_gateway_fanout_count')}",
            "p99": quantile(0.99, "switchboard_gateway_fanout"),
        }, "about the devices of a user for direct messages, the local members of a group", "Delivery is slow"),
        Panel("Deliveries by gateway", "ops", {"{{instance}}": rate("switchboard_gateway_deliveries_total", "instance")},
              "about even", "Connections are uneven", stack=True),
        Panel("Bus holes, by cause", "ops", {"{{cause}}": rate("switchboard_gateway_bus_lost_total", "cause")},
              "0", "The bus loses announcements"),
        Panel("Readers catch up, by cause", "ops",
              {"{{cause}}": rate("switchboard_gateway_catchups_total", "cause")},
              "`hole`, `bus` and `behind` 0; `resume` as clients return", "The bus loses announcements"),
        Panel("Channel holes", "ops", {"{{instance}}": rate("switchboard_gateway_channel_holes_total", "instance")},
              "0", "The bus loses announcements"),
    ],
    "Processes": [
        Panel("CPU", "percentunit", {"{{instance}}": rate(f"process_cpu_time_seconds_total{GATEWAY}", "instance")},
              "below the cores that it has", "CPU is full"),
        Panel("Memory", "bytes", {"{{instance}}": f"process_memory_usage_bytes{GATEWAY}"},
              "flat, where connections are", "Memory grows"),
        Panel("Open files", "short", {"{{instance}}": f"process_open_fds{GATEWAY}"},
              "below 80 % of the limit", "Connections are refused"),
        Panel("Tasks that wait for a thread", "short", {"{{instance}}": f"switchboard_runtime_queue_depth{GATEWAY}"},
              "below 100", "CPU is full"),
        Panel("Tasks", "short", {"{{instance}}": f"switchboard_runtime_tasks{GATEWAY}"},
              "about two a connection", "Memory grows"),
        Panel("Up for", SECONDS, {"{{instance}}": f"process_uptime_seconds{GATEWAY}"},
              "as long as the last rollout", "A gateway is missing"),
    ],
}

ROUTERS = {
    "Commands": [
        Panel("Requests by command", "ops", {"{{command}}": rate("switchboard_router_commands_total", "command")},
              "follows the day", "Commands fail", stack=True),
        Panel("Failed, by command and result", "ops", {
            "{{command}} {{result}}":
                rate('switchboard_router_commands_total{result=~"unavailable|internal"}', "command, result") + " or vector(0)",
        }, "0", "Commands fail", stack=True),
        Panel("Requests by router", "ops", {"{{instance}}": rate("switchboard_router_commands_total", "instance")},
              "under load about even; with little to do few routers do it all, since what goes together is cheaper",
              "A router is missing"),
        Panel("Links", "short", {"{{instance}}": "switchboard_router_links"}, "as many as there are gateways",
              "A router is missing", what="Gateways' streams to each router."),
        Panel("Deliveries for each message", "short", {"deliveries": f"{GIVEN} / {rate(MESSAGES)}"},
              "about 1 with direct messages, the members that are connected with groups", "Delivery is slow",
              what="Fan-out: events and publications given to sessions, by messages written."),
        Panel("Notices given up", "ops", {"{{kind}}": rate("switchboard_router_ephemeral_dropped_total", "kind")},
              "0", "Queues toward the store grow", what="Receipts and presence that a full queue did not take; they are asked for again."),
    ],
    "Toward the store": [
        Panel("Items in a batch, mean", "short", {
            "{{queue}}": f"{rate('switchboard_router_batch_size_sum', 'queue')} / {rate('switchboard_router_batch_size_count', 'queue')}",
        }, "grows with the load: that is how load becomes cheaper; the limit is 256", "Queues toward the store grow",
            limits=[(200, "red")]),
        Panel("Batches a second", "ops", {"{{queue}}": rate("switchboard_router_batch_size_count", "queue")},
              "follows the load, then levels off", "Queues toward the store grow", stack=True),
        Panel("Items that wait", "short", {"{{queue}} on {{instance}}": "switchboard_router_queue_depth > 0 or max by (queue) (switchboard_router_queue_depth)"},
              "below 1,000; at 16,384 items are refused", "Queues toward the store grow", limits=[(8192, "red")]),
        Panel("Store time, p50", SECONDS, {"{{operation}}": quantile(0.5, "switchboard_store_duration_seconds", "operation")},
              "`post` below 5 ms", "The store is slow", log=True),
        Panel("Store time, p99", SECONDS, {"{{operation}}": quantile(0.99, "switchboard_store_duration_seconds", "operation")},
              "`post` below 20 ms", "The store is slow", log=True, limits=[(0.25, "red")]),
        Panel("Store calls that failed", "ops", {
            "{{operation}}": rate('switchboard_store_duration_seconds_count{result="error"}', "operation") + " or vector(0)",
        }, "0", "The store fails"),
        Panel("Conversations mended", "ops", {"{{instance}}": rate("switchboard_router_repaired_total", "instance")},
              "0, but after a crash", "A router is missing", what="Filing that a crash had left half done."),
    ],
    "Archive": [
        Panel("Messages archived", "ops", {
            "archived": rate("switchboard_router_archived_total") + " or vector(0)",
            "tries that failed": rate("switchboard_router_archive_failures_total") + " or vector(0)",
        }, "as many as are written, and no try fails; nothing without --archive", "Messages are not archived"),
        Panel("Lag of the archive", "s", {"oldest message": "max(switchboard_router_archive_lag_seconds) or vector(0)"},
              "below a tenth of --archive-after", "Messages are not archived", limits=[(3600, "red")],
              what="By how much the oldest message in Redis is older than it has to be for the archive."),
    ],
    "Webhook": [
        Panel("Messages for the absent", "ops", {
            "told": rate("switchboard_webhook_told_total"), "given up": rate("switchboard_webhook_dropped_total"),
            "requests that failed": rate("switchboard_webhook_failed_total"),
        }, "none fails, none is given up", "The webhook fails"),
        Panel("Messages that wait for the webhook", "short", {"waiting": "max(switchboard_webhook_waiting) or vector(0)"},
              "far below --webhook-queue", "The webhook fails"),
    ],
    "Processes": [
        Panel("CPU", "percentunit", {"{{instance}}": rate(f"process_cpu_time_seconds_total{ROUTER}", "instance")},
              "below the cores that it has", "CPU is full"),
        Panel("Memory", "bytes", {"{{instance}}": f"process_memory_usage_bytes{ROUTER}"}, "flat, below 256 MiB",
              "Memory grows"),
        Panel("Tasks that wait for a thread", "short", {"{{instance}}": f"switchboard_runtime_queue_depth{ROUTER}"},
              "below 100", "CPU is full"),
    ],
}

REDIS = {
    "Memory": [
        Panel("Memory, of what it may have", "percentunit", {"{{instance}}": "redis_memory_used_bytes / (redis_maxmemory_bytes > 0)"},
              "below 85 %: beyond 100 % writes are refused", "Redis is full", limits=[(0.85, "red")],
              what="Needs the collector's Redis receiver (deploy/observability/redis.yaml)."),
        Panel("Memory", "bytes", {
            "used on {{instance}}": "redis_memory_used_bytes", "resident on {{instance}}": "redis_memory_rss_bytes",
        }, "resident about what is used; twice as much while the append-only file is rewritten", "Redis is full"),
        Panel("Keys", "short", {"{{instance}}": "sum by (instance) (redis_db_keys)"},
              "grows with conversations and users, then levels off as old days expire", "Redis is full"),
        Panel("Keys thrown away", "ops", {"{{instance}}": rate("redis_keys_evicted_total", "instance")},
              "0, always: another number means maxmemory-policy is not noeviction", "Redis is full", limits=[(0.001, "red")]),
    ],
    "Work": [
        Panel("CPU", "percentunit", {"{{instance}}": rate('redis_cpu_time_seconds_total{state=~"sys|user"}', "instance")},
              "below 0.8: one thread does all commands", "The store is slow", limits=[(0.8, "red")]),
        Panel("Commands a second", "ops", {"{{instance}}": rate("redis_commands_processed_total", "instance")},
              "follows the load", "The store is slow"),
        Panel("Commands by name", "ops", {"{{cmd}}": "topk(12, " + rate("redis_cmd_calls_total", "cmd") + ")"},
              "mostly those within scripts", "The store is slow", stack=True),
        Panel("Time by command", "percentunit", {"{{cmd}}": "topk(12, " + rate("redis_cmd_usec_microseconds_total", "cmd") + " / 1e6)"},
              "`evalsha` holds nearly all of it", "The store is slow", stack=True,
              what="Share of a second; scripts include the commands within them."),
        Panel("Last fork", "µs", {"{{instance}}": "redis_latest_fork_microseconds"},
              "below 100 ms: nothing is answered meanwhile", "The store is slow"),
        Panel("Commands for each message", "short", {"commands": f"{rate('redis_commands_processed_total')} / {rate(MESSAGES)}"},
              "about 12 for direct messages under load", "The store is slow"),
    ],
    "Connections": [
        Panel("Clients", "short", {"{{instance}}": "redis_clients_connected"}, "a few for each router and gateway",
              "The store fails"),
        Panel("Connections refused", "ops", {"{{instance}}": rate("redis_connections_rejected_total", "instance")},
              "0", "The store fails"),
        Panel("Network", "Bps", {
            "in": rate("redis_net_input_bytes_total"), "out": rate("redis_net_output_bytes_total"),
        }, "follows the load", "The store is slow"),
        Panel("Longest output of a client", "bytes", {"{{instance}}": "redis_clients_max_output_buffer_bytes"},
              "0: growing means that a gateway does not read its announcements", "The bus loses announcements"),
        Panel("Up for", SECONDS, {"{{instance}}": "redis_uptime_seconds_total"}, "as long as the last rollout", "The store fails"),
    ],
}

CPU = {kind: rate(f"process_cpu_time_seconds_total{which}") for kind, which in (("gateways", GATEWAY), ("routers", ROUTER))}
CPU["Redis"] = rate('redis_cpu_time_seconds_total{state=~"sys|user"}')

LOADTEST = {
    "What it costs": [
        Panel("CPU for each delivered message", SECONDS,
              {kind: f"{query} / {GIVEN}" for kind, query in CPU.items()},
              "under load about as docs/PERFORMANCE.md says; an idle cluster's figure says nothing",
              "CPU is full", stack=True, width=12),
        Panel("CPU", "percentunit", CPU, "the machine's cores are not all taken: else latency says nothing", "CPU is full", stack=True, width=12),
        Panel("Memory for each connection", "bytes", {
            "gateways":
                f"sum(process_memory_usage_bytes and on (instance) {CONNECTIONS}) / (sum({CONNECTIONS}) > 0)",
        }, "with thousands of idle clients: what docs/PERFORMANCE.md says of them, and the process itself", "Memory grows", width=12, log=True),
        Panel("Redis commands for each message", "short", {"commands": f"{rate('redis_commands_processed_total')} / {rate(MESSAGES)}"},
              "about 12 for direct messages under load", "The store is slow", width=12),
    ],
    "What it gives": [
        Panel("Written and delivered", "ops", {"written": rate(MESSAGES), "delivered": GIVEN}, "as the load test asks for",
              "Delivery is slow"),
        Panel("Delivery time", SECONDS, {
            "p50": quantile(0.5, levels.DELIVERIES), "p99": quantile(0.99, levels.DELIVERIES),
            "p99.9": quantile(0.999, levels.DELIVERIES),
        }, "p50 below 5 ms, p99 below 50 ms until the CPU is full", "Delivery is slow", log=True),
        Panel("Items in a batch, mean", "short", {
            "{{queue}}": f"{rate('switchboard_router_batch_size_sum', 'queue')} / {rate('switchboard_router_batch_size_count', 'queue')}",
        }, "grows with the load", "Queues toward the store grow"),
        Panel("Connections", "short", {"{{transport}}": f"sum by (transport) ({CONNECTIONS})"}, "as the load test asks for",
              "Connections drop", stack=True),
        Panel("Attach queue", "short", {"gateways": "sum(switchboard_gateway_attach_queue)"},
              "back to 0 within seconds of a storm", "The attach queue grows"),
        Panel("Readers catch up, by cause", "ops", {"{{cause}}": rate("switchboard_gateway_catchups_total", "cause")},
              "`resume` in a storm, `behind` with slow readers, else 0", "The bus loses announcements"),
        Panel("Commands by result", "ops", {"{{result}}": rate(levels.COMMANDS, "result")},
              "`ok`; `rate_limited` means that gateways run with limits (--messages-per-second and the like)", "Commands fail", stack=True),
    ],
}

ALL = {
    "switchboard-overview": ("Switchboard: overview", "now-1h", OVERVIEW),
    "switchboard-gateways": ("Switchboard: gateways", "now-1h", GATEWAYS),
    "switchboard-routers": ("Switchboard: routers", "now-1h", ROUTERS),
    "switchboard-redis": ("Switchboard: Redis", "now-1h", REDIS),
    "switchboard-loadtest": ("Switchboard: load test", "now-15m", LOADTEST),
}


def frame(uid, title, since, panels, variables):
    return {
        "uid": uid, "title": title, "tags": ["switchboard"], "schemaVersion": 39, "version": 1, "editable": False,
        "graphTooltip": 1, "refresh": "10s" if variables else "", "timezone": "browser",
        "time": {"from": since, "to": "now"},
        "annotations": {"list": []},
        "links": [{
            "type": "dashboards", "title": "Switchboard", "tags": ["switchboard"], "asDropdown": False,
            "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link",
        }],
        "templating": {"list": variables},
        "panels": panels,
    }


VARIABLES = [
    {
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1,
        "current": {}, "options": [], "multi": False, "includeAll": False, "regex": "",
    },
    # namespace=…, instance=…: of every query of the page.
    {
        "name": "only", "label": "Only", "type": "adhoc", "hide": 0, "filters": [],
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
    },
]


def dashboard(uid):
    title, since, rows = ALL[uid]
    panels, number, y = [], 0, 0
    for heading, members in rows.items():
        number += 1
        panels.append({
            "id": number, "type": "row", "title": heading, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
        })
        y += 1
        x = height = 0
        for member in members:
            if x + member.width > 24:
                x, y = 0, y + height
            number += 1
            panels.append(member.json(number, x, y))
            x, height = x + member.width, member.height
        y += height
    return frame(uid, title, since, panels, VARIABLES)


def runbook_dashboard():
    panels = [
        {
            "id": runbooks.panel(heading), "type": "text", "title": heading,
            "gridPos": {"x": 12 * (at % 2), "y": at // 2 * 9, "w": 12, "h": 9},
            "options": {"mode": "markdown", "content": text},
        }
        for at, (heading, text) in enumerate(runbooks.sections().items())
    ]
    return frame(runbooks.UID, "Switchboard: runbooks", "now-1h", panels, [])


def files():
    """Name → text, of every dashboard."""
    made = [dashboard(uid) for uid in ALL] + [runbook_dashboard()]
    return {f"{board['uid']}.json": json.dumps(board, indent=1, ensure_ascii=False) + "\n" for board in made}
