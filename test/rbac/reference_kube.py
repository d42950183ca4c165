"""Kubernetes for the reference model: which rule of which role version covers which request.

A request is {kind, api_group, namespace, name, verb, collection}. Kinds are the plural resource names of requests (pods,
deployments ...) or the singular names of v7 roles; both are understood and brought to the plural form.
"""

import re

SINGULAR = {"pod": "pods", "secret": "secrets", "configmap": "configmaps", "namespace": "namespaces", "service": "services",
            "serviceaccount": "serviceaccounts", "kube_node": "nodes", "persistentvolume": "persistentvolumes",
            "persistentvolumeclaim": "persistentvolumeclaims", "deployment": "deployments", "replicaset": "replicasets",
            "statefulset": "statefulsets", "daemonset": "daemonsets", "clusterrole": "clusterroles", "kube_role": "roles",
            "clusterrolebinding": "clusterrolebindings", "rolebinding": "rolebindings", "cronjob": "cronjobs", "job": "jobs",
            "certificatesigningrequest": "certificatesigningrequests", "ingress": "ingresses"}
CLUSTER_WIDE = {"nodes", "persistentvolumes", "clusterroles", "clusterrolebindings", "certificatesigningrequests", "namespaces"}


def plural(kind):
    return SINGULAR.get(kind, kind)


def pattern_matches(pattern, text):
    if pattern.startswith("^") and pattern.endswith("$"):
        return re.search(pattern, text) is not None
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text, re.S) is not None


def rules_of(role, section_name, section):
    """(version class, rule) pairs with the defaults of the role's version filled in. Version class: "v7" or "v8"."""
    given = section.raw.get("kubernetes_resources")
    deny = section_name == "deny"
    anything = {"kind": "*", "api_group": "*", "namespace": "*", "name": "*", "verbs": ["*"]}
    if role.version == "v8":
        if given is None:
            return [] if deny else [("v8", anything)]
        return [("v8", rule) for rule in given]
    if role.version == "v7":
        if given is None:
            return [] if deny else [("v7", anything)]
        return [("v7", rule) for rule in given]
    if deny:
        return [("v7", dict(rule, verbs=rule.get("verbs") or ["*"])) for rule in given or []]
    if given is None and role.version == "v6":
        given = []
    if given is None:
        given = [{"kind": "pod", "namespace": "*", "name": "*"}]
    if any(rule.get("namespace") == "*" and rule.get("name") == "*" for rule in given):
        return [("v7", anything)]
    others = [{"kind": kind, "namespace": "*", "name": "*", "verbs": ["*"]} for kind in SINGULAR if kind not in ("pod", "namespace")]
    return [("v7", dict(rule, verbs=rule.get("verbs") or ["*"])) for rule in list(given) + others]


def covers(version, rule, request, deny):
    """Does this rule cover this one object?"""
    kind, namespace, name = plural(request["kind"]), request.get("namespace", ""), request.get("name", "")
    verbs = rule.get("verbs") or ["*"]
    if "*" not in verbs and request["verb"] not in verbs:
        return False
    rule_kind = rule["kind"] if rule["kind"] == "*" else plural(rule["kind"])
    rule_space = rule.get("namespace", "")
    reading = request["verb"] in ("get", "list", "watch")
    if version == "v7" and rule_kind == "namespaces" and namespace:
        return pattern_matches(rule["name"], namespace)  # everything inside
    if not deny and kind == "namespaces" and reading and rule_kind != "namespaces" and rule_space:
        if pattern_matches(rule_space, name):
            return True
        if rule_kind != "*":
            return False
    if rule_kind not in ("*", kind):
        return False
    if version == "v8" and not pattern_matches(rule.get("api_group", ""), request.get("api_group", "")):
        return False
    if not pattern_matches(rule["name"], name):
        return False
    if namespace:
        return pattern_matches(rule_space, namespace) if rule_space else False
    if version == "v7" and kind in CLUSTER_WIDE and kind != "namespaces":
        return True
    return rule_space in ("", "*")


def matcher(view, request):
    """For the two passes of access(): does a section of a role cover the request?"""
    rules = rules_of(view.role, view.section_name, view)
    return any(covers(version, rule, request, view.section_name == "deny") for version, rule in rules)


def listed(world, section_matches):
    """The objects of the inventory that a list returns. Whether nothing at all is an empty list or a refusal is not for
    this model to say: None then."""
    request = dict(world.case["kube_resource"])
    request["verb"] = request.get("verb", "list")
    resource = world.case["resource"]
    roles = [role for role in world.roles if section_matches(world, role.allow, resource, "kube_cluster")]
    if any(section_matches(world, role.deny, resource, "kube_cluster") for role in world.roles):
        return None
    allowed = [rule for role in roles for rule in rules_of(role, "allow", role.allow)]
    here = (resource.get("namespace", "default"), "*")
    denied = [rule for role in world.roles if any(name in here for name in role.deny.namespaces)
              for rule in rules_of(role, "deny", role.deny)]
    left = []
    for item in world.case["inventory"]:
        namespace, _, name = item.rpartition("/")
        one = dict(request, namespace=namespace, name=name)
        if request.get("namespace") and request["namespace"] != namespace:
            continue
        if any(covers(version, rule, one, False) for version, rule in allowed) and not any(
                covers(version, rule, one, True) for version, rule in denied):
            left.append(item)
    return left or None
