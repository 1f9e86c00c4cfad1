"""The rules of Prometheus: what a person must act on, and nothing else. Each
alert has its runbook; `page` wakes somebody, `ticket` waits for the morning."""

import levels
import runbooks

# Where Grafana is, for the links; the chart puts its own in this place.
GRAFANA = "http://127.0.0.1:3000"

SPANS = ["5m", "30m", "1h", "6h", "3d"]
LEVELS = {
    "Commands": ("switchboard:commands:failed_ratio", levels.failed, levels.AVAILABILITY, "Commands fail"),
    "Delivery": ("switchboard:delivery:late_ratio", levels.late, levels.DELIVERY, "Delivery is slow"),
}
# How much faster than it may be the budget is spent, over a long and a short
# window (Google's SRE workbook, chapter 5): 2 % of it in an hour, 5 % in six,
# 10 % in three days.
BURNS = [
    ("Fast", 14.4, "1h", "5m", "page", "2m"),
    ("Steady", 6, "6h", "30m", "page", "15m"),
    ("Slow", 1, "3d", "6h", "ticket", "1h"),
]


class Alert:
    """An expression and its threshold: together they fire."""

    def __init__(self, name, query, threshold, lasting, severity, runbook, summary):
        self.name, self.query, self.threshold = f"Switchboard{name}", query, threshold
        self.lasting, self.severity, self.runbook, self.summary = lasting, severity, runbook, summary

    def rule(self):
        return {
            "alert": self.name,
            "expr": f"{self.query} {self.threshold}".strip(),
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "runbook": f"docs/RUNBOOKS.md, {self.runbook}",
                "runbook_url": GRAFANA + runbooks.link(self.runbook),
            },
        }


def burns():
    for level, (record, _, objective, runbook) in LEVELS.items():
        for pace, factor, long, short, severity, lasting in BURNS:
            bound = f"{factor * (1 - objective):.6f}".rstrip("0")
            query = f"{record}{long} > {bound} and {record}{short}"
            what = {"Commands": "the commands of {long} failed", "Delivery": "the deliveries of {long} took longer than a second"}[level]
            yield Alert(f"{level}BudgetBurns{pace}", query, f"> {bound}", lasting, severity, runbook,
                        "{{ $value | humanizePercentage }} of " + what.format(long=long) + f"; the service level allows {(1 - objective):.1%}")


CAUSES = [
    Alert("SaysNothing", "(count(switchboard_gateway_connections) or vector(0))", "< 1", "5m", "page", "Nothing is measured",
          "no gateway has told its metrics for five minutes"),
    Alert("BalancerFindsNoGateway",
          'sum(rate(haproxy_frontend_http_responses_total{proxy="clients",code="5xx"}[5m])) / sum(rate(haproxy_frontend_http_responses_total{proxy="clients"}[5m]))',
          "> 0.01", "5m", "page", "The load balancer finds no gateway",
          "the load balancer answers {{ $value | humanizePercentage }} of requests with an error of its own or of a gateway"),
    Alert("GatewayWithoutRouter", "min by (instance) (switchboard_gateway_routers)", "< 1", "1m", "page", "A router is missing",
          "{{ $labels.instance }} reaches no router: all its commands fail"),
    Alert("StoreFails",
          '(sum(rate(switchboard_store_duration_seconds_count{result="error",operation!="archive"}[5m])) or vector(0)) / sum(rate(switchboard_store_duration_seconds_count[5m]))',
          "> 0.01", "2m", "page", "The store fails", "{{ $value | humanizePercentage }} of the calls to the store fail"),
    Alert("StoreSlow",
          'histogram_quantile(0.99, sum by (le) (rate(switchboard_store_duration_seconds_bucket{operation="post"}[10m])))',
          "> 0.25", "10m", "ticket", "The store is slow", "writing a batch takes {{ $value | humanizeDuration }} (p99)"),
    Alert("RedisFull", "redis_memory_used_bytes / (redis_maxmemory_bytes > 0)", "> 0.85", "10m", "page", "Redis is full",
          "{{ $labels.instance }} has {{ $value | humanizePercentage }} of its memory; at 100 % it refuses writes"),
    Alert("RedisThrowsKeysAway", "sum by (instance) (increase(redis_keys_evicted_total[10m]))", "> 0", "0m", "page", "Redis is full",
          "{{ $labels.instance }} evicts keys: messages are being lost"),
    Alert("QueueTowardStoreGrows", "max by (instance, queue) (switchboard_router_queue_depth)", "> 8192", "1m", "page",
          "Queues toward the store grow", "{{ $value }} items wait in `{{ $labels.queue }}` of {{ $labels.instance }}; at 16,384 they are refused"),
    Alert("CommandsShed", "sum by (bottleneck) (rate(switchboard_gateway_shed_total[5m]))", "> 1", "5m", "page",
          "More is asked than can be done", "gateways refuse {{ $value | humanize }} commands a second at once, for want of: {{ $labels.bottleneck }}"),
    Alert("AttachQueueGrows", "min_over_time(switchboard_gateway_attach_queue[2m])", "> 100", "3m", "page",
          "The attach queue grows", "{{ $value }} clients have waited on {{ $labels.instance }} for minutes to attach or to catch up"),
    Alert("ConnectionsRefused", 'sum by (instance) (increase(switchboard_gateway_sockets_refused_total{limit="all"}[5m]))', "> 0", "5m", "page",
          "Connections are refused", "{{ $labels.instance }} has as many connections as it may have"),
    Alert("BusLosesAnnouncements", "sum by (cause) (increase(switchboard_gateway_bus_lost_total[15m]))", "> 5", "15m", "ticket",
          "The bus loses announcements", "announcements were lost {{ $value | humanize }} times in 15 minutes ({{ $labels.cause }}): readers see delays"),
    Alert("SlowReaders", "sum(switchboard_gateway_sessions_behind) / (sum(switchboard_gateway_connections) > 100)", "> 0.05", "15m", "ticket",
          "Slow readers", "{{ $value | humanizePercentage }} of the sessions are behind"),
    Alert("MemoryGrows",
          "sum by (instance) (process_memory_usage_bytes) / (sum by (instance) (switchboard_gateway_connections) > 2000)",
          "> 131072", "30m", "ticket", "Memory grows", "{{ $labels.instance }} takes {{ $value | humanize1024 }}B for each connection"),
    Alert("NotArchived", "sum(increase(switchboard_router_archive_failures_total[15m]))", "> 10", "10m", "ticket", "Messages are not archived",
          "routers try to archive messages and fail: they stay in Redis, and older ones cannot be read"),
    Alert("ArchiveLags", "max(switchboard_router_archive_lag_seconds)", "> 3600", "30m", "ticket", "Messages are not archived",
          "the oldest message that should be in the archive has waited for {{ $value | humanizeDuration }}"),
    Alert("WebhookFails", "sum(increase(switchboard_webhook_failed_total[15m])) / (sum(increase(switchboard_webhook_told_total[15m])) + 1)",
          "> 1", "15m", "ticket", "The webhook fails", "more requests to the webhook fail than messages reach it"),
    Alert("WebhookGivesUp", "sum(increase(switchboard_webhook_dropped_total[15m]))", "> 0", "0m", "ticket", "The webhook fails",
          "{{ $value | humanize }} messages for absent users went unheard: the webhook's queue is full"),
    Alert("StoredEntriesDamaged", "sum(increase(switchboard_store_damaged_total[15m]))", "> 0", "0m", "ticket", "Stored entries are damaged",
          "readers met entries that cannot be read {{ $value | humanize }} times and went on past them: the log names them"),
    Alert("StoreRefuses",
          'sum by (reason) (increase(switchboard_store_errors_total{reason=~"credentials|permission|memory|disk|name"}[5m]))',
          "> 0", "2m", "page", "The store refuses", "the store cannot be used by routers: `{{ $labels.reason }}`"),
    Alert("BusRefuses",
          'sum by (reason) (increase(switchboard_gateway_bus_errors_total{reason=~"credentials|permission|memory|disk|name"}[5m]))',
          "> 0", "2m", "page", "The store refuses", "the store's bus cannot be used by gateways: `{{ $labels.reason }}`"),
]


def alerts():
    return [*burns(), *CAUSES]


def groups():
    # In one group, so that alerts see what has just been recorded.
    yield "switchboard-levels", [
        *({"record": record + span, "expr": share(span)} for record, share, _, _ in LEVELS.values() for span in SPANS),
        *(alert.rule() for alert in burns()),
    ]
    yield "switchboard-causes", [alert.rule() for alert in CAUSES]


def scalar(value):
    return "'" + value.replace("'", "''") + "'"


def text():
    """The rule file: YAML, a rule after the other."""
    lines = ["# Made by deploy/observability/generate from alerts.py; change that.", "groups:"]
    for name, rules in groups():
        lines += [f"  - name: {name}", "    rules:"]
        for rule in rules:
            mark = "- "
            for key, value in rule.items():
                if isinstance(value, dict):
                    lines.append(f"        {key}:")
                    lines += [f"          {inner}: {scalar(text)}" for inner, text in value.items()]
                else:
                    lines.append(f"      {mark}{key}: {scalar(value)}")
                mark = "  "
    return "\n".join(lines) + "\n"
