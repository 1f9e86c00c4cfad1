"""Checks rendered manifests for what their schemas do not say: that whatever
points at something else finds it, that pods are restricted (Pod Security
Standards), that there is time to drain, and that kinds of others (HTTPRoute,
ServiceMonitor) fit their definitions.

    manifests.py MANIFESTS [CRD.yaml …]
"""

import sys

import jsonschema
import yaml


def strict(schema):
    """The schema, with fields that it does not know refused."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


def definitions(files):
    """(group/version, kind) → schema, of custom resource definitions."""
    found = {}
    for file in files:
        for crd in yaml.safe_load_all(open(file)):
            if crd and crd["kind"] == "CustomResourceDefinition":
                spec = crd["spec"]
                for version in spec["versions"]:
                    schema = strict(version["schema"]["openAPIV3Schema"])
                    # Kubernetes itself knows what is in metadata.
                    schema["properties"]["metadata"] = {"type": "object"}
                    found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def pods(manifest):
    """The pod that a manifest makes, as (labels, spec)."""
    if manifest["kind"] == "Pod":
        return [(manifest["metadata"]["labels"], manifest["spec"])]
    if manifest["kind"] in ("Deployment", "StatefulSet"):
        template = manifest["spec"]["template"]
        return [(template["metadata"]["labels"], template["spec"])]
    return []


def restricted(spec):
    """What keeps a pod from being restricted."""
    pod = spec.get("securityContext", {})
    if not pod.get("runAsNonRoot") or not pod.get("runAsUser"):
        yield "may be root"
    if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "has a token of Kubernetes"
    for container in spec["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{container['name']} may gain rights"
        if not own.get("readOnlyRootFilesystem"):
            yield f"{container['name']} may write to its root file system"
        resources = container.get("resources", {})
        if "memory" not in resources.get("limits", {}) or {"cpu", "memory"} - set(resources.get("requests", {})):
            yield f"{container['name']} has no bounds"


def seconds(duration):
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def drains(spec):
    """Whether the pod is killed before it has drained."""
    for container in spec["containers"]:
        drain = next((v["value"] for v in container.get("env", []) if v["name"] == "SWITCHBOARD_DRAIN"), None)
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if drain and spec["terminationGracePeriodSeconds"] <= seconds(drain) + pause:
            yield "is killed before it has drained"


def selectors(manifest):
    """Label selectors in a manifest that must find a pod of ours."""
    kind, spec = manifest["kind"], manifest.get("spec", {})
    if kind == "Service":
        yield spec["selector"]
    elif kind in ("PodDisruptionBudget", "Deployment", "StatefulSet"):
        yield spec["selector"]["matchLabels"]
    elif kind == "NetworkPolicy":
        yield spec["podSelector"]["matchLabels"]
        for rule in spec.get("ingress", []) + spec.get("egress", []):
            for peer in rule.get("from", []) + rule.get("to", []):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    yield peer["podSelector"]["matchLabels"]


def references(manifest):
    """(kind, name) that must be among the manifests."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "HorizontalPodAutoscaler":
        yield spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]
    elif manifest["kind"] == "Ingress":
        for rule in spec["rules"]:
            for path in rule["http"]["paths"]:
                yield "Service", path["backend"]["service"]["name"]
    elif manifest["kind"] == "HTTPRoute":
        for rule in spec["rules"]:
            for backend in rule["backendRefs"]:
                yield "Service", backend["name"]
    for _, pod in pods(manifest):
        for container in pod["containers"]:
            for variable in container.get("env", []):
                address = variable.get("value", "")
                if variable["name"] == "SWITCHBOARD_ROUTER" or address.startswith("redis://"):
                    name = address.split("//")[1].split(":")[0]
                    if "." not in name:
                        yield "Service", name


def wrong(manifests, known):
    all_pods = [labels for manifest in manifests for labels, _ in pods(manifest)]
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    if len(names) < len(manifests):
        yield "two manifests have one name"
    for manifest in manifests:
        here = f"{manifest['kind']}/{manifest['metadata']['name']}"
        for _, spec in pods(manifest):
            for reason in (*restricted(spec), *drains(spec)):
                yield f"{here} {reason}"
        for selector in selectors(manifest):
            if not any(selector.items() <= labels.items() for labels in all_pods):
                yield f"{here} selects no pod: {selector}"
        for reference in references(manifest):
            if reference not in names:
                yield f"{here} names {reference}, which is not there"
        if "." in manifest["apiVersion"].split("/")[0] and not manifest["apiVersion"].split("/")[0].endswith(".k8s.io"):
            schema = known.get((manifest["apiVersion"], manifest["kind"]))
            if schema is None:
                yield f"{here}: its definition is not known"
        schema = known.get((manifest["apiVersion"], manifest["kind"]))
        for error in jsonschema.Draft7Validator(schema).iter_errors(manifest) if schema else ():
            yield f"{here}: {error.json_path}: {error.message}"


if __name__ == "__main__":
    file, *crds = sys.argv[1:]
    reasons = list(wrong([m for m in yaml.safe_load_all(open(file)) if m], definitions(crds)))
    for reason in reasons:
        print(f"{file}: {reason}", file=sys.stderr)
    sys.exit(bool(reasons))
