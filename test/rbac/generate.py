"""Random cases for the comparison of src/rbac with the reference model, and their shrinking.

Everything comes out of one seed, so that a disagreement can be made again: python3 generate.py SEED COUNT prints the cases.
Values are drawn from small pools: two roles that never speak of the same label would test nothing.
"""

import copy
import json
import random
import sys

KEYS = ["env", "team", "os", "zone"]
VALUES = ["dev", "prod", "stage", "a", "b", "dev-1", "dev-2", "", "Dev"]
PATTERNS = ["dev", "prod", "*", "dev-*", "*e*", "^dev-[0-9]$", "^(dev|prod)$", "stage", "a", "b", "dev*1", "", "{{external.team}}",
            "{{internal.logins}}", "x-{{external.team}}-y", "{{external.none}}"]
LOGINS = ["root", "admin", "ubuntu", "guest", "{{internal.logins}}", "{{external.team}}", "x-{{internal.logins}}", "{{external.none}}",
          '{{regexp.replace(external.team, "^(.*)-([0-9])$", "$2$1")}}', "{{email.local(external.mail)}}"]
ASKED = ["root", "admin", "ubuntu", "guest", "alice", "dev", "x-admin", "bob"]
GROUPS = ["system:masters", "developers", "viewers", "edit", "{{internal.kubernetes_groups}}", "{{external.team}}"]
USERS = ["alice", "dev", "{{internal.kubernetes_users}}", "{{email.local(external.mail)}}"]
TRAITS = {"logins": [["admin"], ["admin", "root"], ["bad login"], []], "team": [["dev"], ["dev-1", "prod"], ["ops"], []],
          "mail": [["alice@example.com"], ["bob@example.com", "alice@example.com"]], "kubernetes_groups": [["edit"], ["viewers", "edit"]],
          "kubernetes_users": [["alice"], ["dev", "bob"]]}
KINDS = ["user", "role", "token", "session", "node", "event"]
VERBS = ["list", "read", "create", "update", "delete", "readnosecrets"]
WHERES = ["contains(session.participants, user.metadata.name)", 'equals(user.metadata.name, "alice")', 'resource.metadata.labels["env"] == "dev"',
          'contains(user.spec.traits["team"], "dev")', '!contains(user.spec.roles, "r1")', 'contains(user.spec.traits["none"], "x") || equals(session.user, "alice")',
          'equals(session.server_labels["env"], "dev") && contains_any(user.spec.traits["team"], set("dev", "ops"))',
          'contains_all(user.spec.traits["team"], set("dev-1", "prod"))', 'has_prefix(user.metadata.name, "al")']
EXPRESSIONS = ['labels["env"] == "dev"', 'contains(user.spec.traits["team"], labels["team"])', '!(labels["os"] == "a") && labels["zone"] != ""',
               'regexp.match(labels["env"], "^dev-.$")', 'regexp.match(labels["env"], "d*v")', 'contains_any(user.spec.traits["team"], set(labels["env"], labels["team"]))']
KUBE7 = ["pod", "secret", "configmap", "deployment", "kube_node", "namespace", "clusterrole", "*"]
KUBE8 = [("pods", ""), ("secrets", ""), ("deployments", "apps"), ("nodes", ""), ("namespaces", ""), ("widgets", "example.com"), ("*", "*")]
CLUSTER_WIDE = {"kube_node", "namespace", "clusterrole", "nodes", "namespaces"}
SPACES = ["default", "dev", "prod", "dev-1"]
SPACE_PATTERNS = ["default", "dev", "*", "dev*", "^dev-[0-9]$", "^.+$"]
NAMES = ["web", "web-1", "db", "x"]
NAME_PATTERNS = ["web", "*", "web*", "^web-.*$", "db"]
KUBE_VERBS = ["get", "list", "watch", "create", "update", "delete", "exec"]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, share):
        return self.random.random() < share

    def pick(self, pool):
        return copy.deepcopy(self.random.choice(pool))

    def some(self, pool, least=1, most=3):
        return [copy.deepcopy(x) for x in self.random.sample(pool, min(len(pool), self.random.randint(least, most)))]

    # ---- parts ----

    def labels(self):
        return {key: self.pick(VALUES) for key in self.some(KEYS, 0, 3)}

    def selector(self):
        if self.chance(0.45):
            return {"*": "*"}
        return {key: self.pick(PATTERNS) if self.chance(0.5) else self.some(PATTERNS, 1, 3) for key in self.some(KEYS, 1, 2)}

    def traits(self):
        return {key: self.pick(TRAITS[key]) for key in self.some(list(TRAITS), 1, 5)}

    def user(self):
        return {"name": self.pick(["alice", "bob", "carol"]), "traits": self.traits()}

    def kube_rules(self, version):
        if version == "v8":
            rules = []
            for kind, group in self.some(KUBE8, 1, 2):
                rule = {"kind": kind, "api_group": self.pick([group, "*"]), "name": self.pick(NAME_PATTERNS), "verbs": self.kube_verbs()}
                if kind not in CLUSTER_WIDE:
                    rule["namespace"] = self.pick(SPACE_PATTERNS)
                rules.append(rule)
            return rules
        if version in ("v6",):
            return [{"kind": "pod", "namespace": self.pick(SPACE_PATTERNS), "name": self.pick(NAME_PATTERNS)} for _ in range(self.random.randint(1, 2))]
        rules = []
        for kind in self.some(KUBE7, 1, 2):
            rule = {"kind": kind, "name": self.pick(NAME_PATTERNS), "verbs": self.kube_verbs()}
            if kind not in CLUSTER_WIDE:
                rule["namespace"] = self.pick(SPACE_PATTERNS)
            rules.append(rule)
        return rules

    def kube_verbs(self):
        return ["*"] if self.chance(0.4) else self.some(KUBE_VERBS, 1, 3)

    def section(self, topic, version, deny):
        out = {}
        if topic == "node":
            if self.chance(0.8):
                out["logins"] = [login for login in self.some(LOGINS)]
            if self.chance(0.5 if deny else 0.85):
                out["node_labels"] = self.selector() if not deny or self.chance(0.5) else {"env": self.pick(PATTERNS)}
            if self.chance(0.1):
                out["node_labels_expression"] = self.pick(EXPRESSIONS)
        elif topic == "kube":
            if self.chance(0.4 if deny else 0.95):
                out["kubernetes_labels"] = self.selector() if not deny else {"env": self.pick(PATTERNS)}
            if self.chance(0.5 if deny else 0.8):
                out["kubernetes_groups"] = ["*"] if deny and self.chance(0.2) else self.some(GROUPS)
            if self.chance(0.3 if deny else 0.6):
                out["kubernetes_users"] = self.some(USERS)
        elif topic == "kube_resource":
            out["kubernetes_labels"] = {"*": "*"} if not deny else {}
            if not deny:
                out["kubernetes_groups"] = ["developers"]
            elif self.chance(0.5):
                return {}
            if version in ("v6", "v7", "v8") and self.chance(0.85):
                out["kubernetes_resources"] = self.kube_rules(version)
            if deny:
                out.pop("kubernetes_labels")
        elif topic == "db":
            out["db_labels"] = self.selector()
            out["db_users"] = self.some(["alice", "Alice", "reader", "*", "{{external.team}}"])
            out["db_names"] = self.some(["main", "stats", "*"])
        elif topic == "app":
            out["app_labels"] = self.selector()
        elif topic == "rules":
            rules = []
            for _ in range(self.random.randint(1, 2)):
                rule = {"resources": self.pick([["*"], None]) or self.some(KINDS), "verbs": self.pick([["*"], None]) or self.some(VERBS)}
                if self.chance(0.4):
                    rule["where"] = self.pick(WHERES)
                rules.append(rule)
            out["rules"] = rules
        if out and self.chance(0.15 if topic == "kube_resource" and deny else 0.05):
            out["namespaces"] = self.pick([["default"], ["*"], ["other"]])
        return out

    def options(self):
        pool = {"max_session_ttl": ["8h0m0s", "1h", "30m0s"], "forward_agent": [True, False], "port_forwarding": [True, False],
                "ssh_file_copy": [True, False], "permit_x11_forwarding": [True, False], "client_idle_timeout": ["5m0s", "1h0m0s", "never"],
                "disconnect_expired_cert": [True, False], "max_connections": [1, 5], "max_sessions": [2, 7], "pin_source_ip": [True, False],
                "max_kubernetes_connections": [3, 9], "record_session": [{"default": "strict"}, {"ssh": "best_effort", "default": "strict"}, {"ssh": "strict"}],
                "cert_format": ["standard", "oldssh"], "desktop_clipboard": [True, False], "require_session_mfa": [True, False, "yes", "no"],
                "enhanced_recording": [["disk"], ["command"], ["network", "disk"]]}
        return {key: self.pick(pool[key]) for key in self.some(list(pool), 0, 4)}

    def roles(self, topic, versions):
        roles = []
        for number in range(self.random.choice([0, 1, 1, 2, 2, 2, 3, 4])):
            version = self.pick(versions)
            spec = {"allow": self.section(topic, version, False)}
            if self.chance(0.3):
                spec["deny"] = self.section(topic, version, True)
            if topic == "options" or self.chance(0.15):
                spec["options"] = self.options()
            roles.append({"kind": "role", "version": version, "metadata": {"name": f"r{number}"}, "spec": spec})
        return roles

    # ---- cases ----

    def case(self, number):
        topic = self.random.choice(["node", "node", "node", "kube", "kube_resource", "kube_resource", "kube_list", "db", "app", "rules", "rules", "options", "logins",
                                    "lock", "impersonate", "mfa", "request", "review", "judge", "conditions", "join", "session"])
        case = {"name": f"generated {number}", "user": self.user()}
        getattr(self, "case_" + topic)(case)
        if self.chance(0.1):
            case["implicit_role"] = False
        return case

    def case_node(self, case):
        case["roles"] = self.roles("node", ["v3", "v4", "v5", "v7"])
        case["resource"] = {"kind": "node", "name": "n1", "labels": self.labels()}
        if self.chance(0.15):
            case["resource"]["dynamic_labels"] = {self.pick(KEYS): {"command": ["x"], "period": "1m0s", "result": self.pick(VALUES)}}
        if self.chance(0.85):
            case["login"] = self.pick(ASKED)

    def case_kube(self, case):
        case["roles"] = self.roles("kube", ["v3", "v4", "v5", "v7"])
        case["resource"] = {"kind": "kube_cluster", "name": "k1", "labels": self.labels()}
        case["query"] = self.pick(["kube_groups", "kube_users"])
        if self.chance(0.3):
            case["ttl"] = self.pick(["10m", "4h", "20h"])

    def kube_request(self):
        if self.chance(0.5):
            kind, group = self.pick([entry for entry in KUBE8 if entry[0] != "*"])
        else:
            kind = self.pick([entry for entry in KUBE7 if entry != "*"])
            group = {"deployment": "apps", "clusterrole": "rbac.authorization.k8s.io"}.get(kind, "")
        request = {"kind": kind, "api_group": group, "name": self.pick(NAMES), "verb": self.pick(KUBE_VERBS)}
        if kind not in CLUSTER_WIDE:
            request["namespace"] = self.pick(SPACES)
        elif kind in ("namespace", "namespaces"):
            request["name"] = self.pick(SPACES)
        return request

    def case_kube_resource(self, case):
        case["roles"] = self.roles("kube_resource", ["v5", "v6", "v7", "v8"])
        case["resource"] = {"kind": "kube_cluster", "name": "k1", "labels": {}}
        case["kube_resource"] = self.kube_request()

    def case_kube_list(self, case):
        self.case_kube_resource(case)
        case["query"] = "kube_list"
        kind, group = self.pick([("pods", ""), ("secrets", ""), ("deployments", "apps")])
        case["kube_resource"] = {"kind": kind, "api_group": group, "verb": "list", "collection": True}
        if self.chance(0.5):
            case["kube_resource"]["namespace"] = self.pick(SPACES)
        case["inventory"] = [f"{space}/{name}" for space in SPACES for name in NAMES]

    def case_db(self, case):
        case["roles"] = self.roles("db", ["v3", "v4", "v5"])
        case["resource"] = {"kind": "db", "name": "d1", "labels": self.labels(), "protocol": self.pick(["postgres", "mysql", "cockroachdb"])}
        case["db_user"] = self.pick(["alice", "Alice", "reader", "dev"])
        if self.chance(0.7):
            case["db_name"] = self.pick(["main", "stats", "other"])

    def case_app(self, case):
        case["roles"] = self.roles("app", ["v3", "v4", "v5"])
        case["resource"] = {"kind": "app", "name": "a1", "labels": self.labels()}

    def case_rules(self, case):
        case["roles"] = self.roles("rules", ["v3", "v5", "v7"])
        case["resource"] = {"kind": self.pick(KINDS), "name": "x", "labels": self.labels()}
        case["verb"] = self.pick(VERBS)
        if self.chance(0.2):
            case["guess"] = True
        if self.chance(0.5):
            case["context"] = {"session": {"participants": self.some(["alice", "bob", "carol"]), "user": self.pick(["alice", "bob"]),
                                           "server_labels": self.labels()}}

    def case_options(self, case):
        case["roles"] = self.roles("options", ["v3", "v5", "v7"])
        case["query"] = self.pick(["option:" + name for name in (
            "max_session_ttl", "forward_agent", "port_forwarding", "ssh_file_copy", "permit_x11_forwarding", "client_idle_timeout",
            "disconnect_expired_cert", "max_connections", "max_sessions", "pin_source_ip", "max_kubernetes_connections",
            "record_session.ssh", "cert_format", "desktop_clipboard", "enhanced_recording")] + ["max_session_ttl", "mfa_required", "session_ttl"])
        if case["query"] == "session_ttl":
            case["ttl"] = self.pick(["10m", "2h", "12h", "40h"])

    def case_logins(self, case):
        case["roles"] = self.roles("node", ["v3", "v5", "v7"])
        case["query"] = "logins"
        if self.chance(0.6):
            case["resource"] = {"kind": "node", "name": "n1", "labels": self.labels()}

    def case_mfa(self, case):
        self.case_node(case)
        for role in case["roles"]:
            role["spec"].setdefault("options", {})["require_session_mfa"] = self.pick([True, False, "no", "yes"])
        case["mfa_verified"] = self.pick([True, False])
        if self.chance(0.3):
            case["cluster_auth_preference"] = {"require_session_mfa": self.pick([True, False])}

    def case_lock(self, case):
        fields = ["user", "role", "login", "node", "mfa_device"]
        case["locks"] = [{"kind": "lock", "version": "v2", "metadata": {"name": f"l{number}"},
                          "spec": {"target": {field: self.pick(["a", "b"]) for field in self.some(fields, 1, 2)}}}
                         for number in range(self.random.randint(0, 2))]
        case["lock_target"] = {field: self.pick(["a", "b"]) for field in self.some(fields, 0, 2)}
        if self.chance(0.2):
            case["locks_stale"] = True
            case["locking_mode"] = self.pick(["strict", "best_effort"])

    def case_impersonate(self, case):
        case["roles"] = []
        for number in range(self.random.randint(1, 3)):
            spec = {}
            for section in ("allow", "deny"):
                if self.chance(0.8 if section == "allow" else 0.3):
                    grant = {"roles": self.some(["w1", "w2", "w*", "*", "^w[13]$"], 1, 2)}
                    if self.chance(0.6):
                        grant["users"] = self.some(["bot", "b*", "*", "{{external.team}}"], 1, 2)
                    spec[section] = {"impersonate": grant}
            case["roles"].append({"kind": "role", "version": "v5", "metadata": {"name": f"r{number}"}, "spec": spec})
        wanted = {"roles": [{"kind": "role", "version": "v5", "metadata": {"name": name}, "spec": {}} for name in self.some(["w1", "w2", "w3"], 1, 2)]}
        if self.chance(0.7):
            wanted["user"] = self.pick(["bot", "dev", "carol"])
        case["impersonate"] = wanted


    # ---- requests and sessions of several people ----

    def claims(self):
        return [{"claim": self.pick(["team", "none", "logins"]), "value": self.pick(["dev", "dev-*", "^(dev|prod)$", "*", "^dev-([0-9])$", "a*n"]),
                 "roles": self.some(["w1", "w*", "$1", "w$1", "*-$1"], 1, 2)} for _ in range(self.random.randint(1, 2))]

    def wanted(self, deny):
        out = {}
        if self.chance(0.8):
            out["roles"] = self.some(["w1", "w2", "w*", "*", "^w[13]$", '{{regexp.match("^w[12]$")}}', 'w{{regexp.not_match("1")}}'], 1, 2)
        if self.chance(0.4):
            out["claims_to_roles"] = self.claims()
        if deny and "roles" in out and self.chance(0.7):
            out["roles"] = [self.pick(["w3", "w1", "^w[34]$"])]
        return out

    def thresholds(self):
        filters = ['contains(reviewer.roles, "lead")', '!equals(review.reason, "")', 'equals(request.reason, "x") || contains(reviewer.traits["team"], "dev")',
                   'contains(request.roles, "w1")', 'regexp.match(request.reason, "^T-[0-9]$")']
        found = []
        for _ in range(self.random.randint(1, 2)):
            one = {"approve": self.pick([0, 1, 1, 2, 3]), "deny": self.pick([0, 1, 1, 2])}
            if self.chance(0.5):
                one["filter"] = self.pick(filters)
            found.append(one)
        return found

    def roles_with(self, make, versions=("v5", "v7")):
        return [{"kind": "role", "version": self.pick(list(versions)), "metadata": {"name": f"r{number}"},
                 "spec": {"allow": make(False), **({"deny": make(True)} if self.chance(0.35) else {})}} for number in range(self.random.randint(0, 3))]

    def request_conditions(self, deny):
        given = self.wanted(deny)
        if self.chance(0.3):
            given["annotations"] = {key: self.some(["a", "b", "{{external.team}}", "x-{{external.team}}"], 1, 2) for key in self.some(["k1", "k2"], 1, 2)}
        for key in ("search_as_roles", "suggested_reviewers"):
            if self.chance(0.3):
                given[key] = self.some(["a", "b", "c"], 1, 2)
        if not deny:
            if self.chance(0.5):
                given["thresholds"] = self.thresholds()
            if self.chance(0.4):
                given["max_duration"] = self.pick(["1h", "4h", "48h"])
            if self.chance(0.2):
                given["reason"] = {"mode": self.pick(["required", "optional"])}
        return {"request": given}

    def asked(self):
        out = {"roles": self.some(["w1", "w2", "w3", "dev"], 0 if self.chance(0.05) else 1, 2)}
        if self.chance(0.6):
            out["reason"] = self.pick(["x", "T-1"])
        return out

    def case_request(self, case):
        case["roles"] = self.roles_with(self.request_conditions)
        case["request"] = self.asked()

    def case_conditions(self, case):
        case["roles"] = self.roles_with(self.request_conditions)
        case["query"] = self.pick(["request_annotations", "request_max_duration", "search_as_roles", "suggested_reviewers", "request_roles"])
        case["request"] = self.asked()
        case["input"] = ["w1", "w2", "w3", "dev", "w"]

    def case_review(self, case):
        wheres = ['equals(request.reason, "x")', 'contains(reviewer.traits["team"], "dev")', 'contains(request.roles, "w1") && !contains(reviewer.roles, "r0")',
                  'regexp.match(request.reason, "T-*")', 'contains(request.system_annotations["k1"], "a")']
        case["roles"] = self.roles_with(lambda deny: {"review_requests": {**self.wanted(deny), **({"where": self.pick(wheres)} if self.chance(0.5) else {})}})
        case["review"] = {"user": self.pick(["bob", "alice", "dave"]), **self.asked(), "annotations": {"k1": self.some(["a", "b"], 1, 2)}}

    def case_judge(self, case):
        case["roles"] = self.roles_with(self.request_conditions)
        case["request"] = {"user": case["user"]["name"], **self.asked()}
        case["reviews"] = [{"user": {"name": self.pick(["u1", "u2", "u3"]), "roles": self.some(["lead", "dev"], 0, 1), "traits": self.traits()},
                            "state": self.pick(["approved", "approved", "denied"]), "reason": self.pick(["", "x"])} for _ in range(self.random.randint(0, 3))]
        case["query"] = "request_state"

    def joining(self, deny):
        out = {"name": "p", "roles": self.some(["dev", "ops", "d*", "*"], 1, 2), "kinds": self.some(["ssh", "k8s", "*"], 1, 2)}
        if self.chance(0.8):
            out["modes"] = self.some(["observer", "moderator", "peer", "*"], 1, 2)
        return {"join_sessions": [out]} if self.chance(0.4 if deny else 0.85) else {}

    def needing(self, _deny):
        filters = ['contains(user.spec.roles, "r0")', 'user.name == "bob"', '!contains(user.roles, "r1") || contains(user.spec.traits["team"], "dev")', ""]
        found = []
        for _ in range(self.random.randint(0, 2)):
            one = {"name": "n", "kinds": self.some(["ssh", "k8s", "*"], 1, 1), "count": self.pick([1, 1, 2]), "filter": self.pick(filters), "on_leave": self.pick(["", "pause", "terminate"])}
            if self.chance(0.7):
                one["modes"] = self.some(["observer", "moderator", "peer"], 1, 2)
            found.append(one)
        return {"require_session_join": found} if found else {}

    def people_roles(self, named=None):
        roles = self.roles_with(self.joining, ("v3", "v5", "v7"))
        for role, name in zip(roles, named or []):
            role["metadata"]["name"] = name
        return roles

    def case_join(self, case):
        case["roles"] = self.people_roles()
        owner = [{"kind": "role", "version": "v5", "metadata": {"name": name}, "spec": {}} for name in self.some(["dev", "ops", "x"], 1, 2)]
        case["join"] = {"kind": self.pick(["ssh", "k8s"]), "owner": {"name": self.pick(["bob", "dave"]), "roles": owner}, "mode": self.pick(["observer", "moderator", "peer"])}
        if self.chance(0.5):
            case["query"] = "join_modes"

    def case_session(self, case):
        case["roles"] = self.roles_with(self.needing)
        for role, name in zip(case["roles"], ["dev", "ops", "x"]):
            role["metadata"]["name"] = name
        people = [{"name": self.pick(["alice", "bob", "carol"]), "roles": self.people_roles(), "traits": self.traits(), "mode": self.pick(["observer", "moderator", "peer"])}
                  for _ in range(self.random.randint(0, 3))]
        case["session"] = {"kind": self.pick(["ssh", "k8s"]), "participants": people}
        case["query"] = "session_state"


def cases(seed, count):
    maker = Maker(seed)
    return [maker.case(number) for number in range(count)]


# ---- shrinking -------------------------------------------------------------------------------------------------------


def smaller(value):
    """Every value that is this one with one part left out."""
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            for less in smaller(value[key]):
                yield {**value, key: less}
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield value[:at] + value[at + 1:]
            for less in smaller(item):
                yield value[:at] + [less] + value[at + 1:]


def shrink(case, still_wrong, steps=400):
    """The smallest case found for which still_wrong holds; each step tries the case with one part left out."""
    found = True
    while found and steps > 0:
        found = False
        for less in smaller(case):
            steps -= 1
            if steps <= 0:
                break
            if still_wrong(less):
                case, found = less, True
                break
    return case


if __name__ == "__main__":
    print(json.dumps(cases(int(sys.argv[1]), int(sys.argv[2])), indent=1))
