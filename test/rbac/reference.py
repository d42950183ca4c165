"""A second opinion on decisions: slow, plain, written from the description of Teleport's behaviour and not from src/rbac.

answer(case) takes one case of the case file (docs/access-cases.md) and returns {"expect": "allow"|"deny"}, {"value": ...} or
{"error": sentence}. It knows what test/rbac/generate.py makes; a key or query that it does not know raises Unknown, so that
nothing is agreed on by accident.
"""

import re

import reference_kube as kube
import reference_more as more
from reference_text import Bad, expand, expand_first, parse_duration, predicate

HOUR = 3600
FOREVER = 1 << 40
LABELS = {"node": "node_labels", "kube_cluster": "kubernetes_labels", "app": "app_labels", "db": "db_labels",
          "windows_desktop": "windows_desktop_labels", "remote_cluster": "cluster_labels"}
MFA_LEVELS = ["no", "yes", "hardware_key", "hardware_key_touch", "hardware_key_pin", "hardware_key_touch_and_pin"]


class Unknown(Exception):
    """The case uses what this model does not cover."""


def many(value):
    """YAML's scalar or list as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def truth(value, default):
    """A boolean option: true, "yes", null ..."""
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    return str(value).lower() in ("true", "yes", "on", "1")


# ---- roles -----------------------------------------------------------------------------------------------------------


class Section:
    """allow or deny of one role, templates replaced by the traits of the user."""

    LISTS = ["kubernetes_groups", "kubernetes_users", "db_names", "db_users", "db_roles", "windows_desktop_logins",
             "aws_role_arns", "azure_identities", "gcp_service_accounts", "host_groups", "host_sudoers"]

    def __init__(self, role, name, traits):
        raw = (role.doc.get("spec") or {}).get(name) or {}
        self.raw, self.allow = raw, name == "allow"
        self.namespaces = many(raw.get("namespaces")) or ["default"]
        self.logins = [text for entry in many(raw.get("logins")) for text in expand(entry, traits) if unix_name(text)]
        for key in self.LISTS:
            setattr(self, key, [text for entry in many(raw.get(key)) for text in expand(entry, traits)])
        self.labels = {kind: self.selector(role, kind, key, traits) for kind, key in LABELS.items()}
        self.expressions = {kind: raw.get(key + "_expression") for kind, key in LABELS.items()}

    def selector(self, role, kind, key, traits):
        given = self.raw.get(key)
        if given is None:
            if self.allow and role.version == "v3" and kind in ("app", "kube_cluster", "db"):
                return {"*": ["*"]}
            if self.allow and role.version == "v3" and kind == "node" and many(self.raw.get("logins")):
                return {"*": ["*"]}
            return {}
        out = {}
        for name, values in given.items():
            key_text = expand_first(name, traits)
            found = []
            for value in many(values):
                found += expand(str(value), traits) or [None]  # None: emptied by a missing trait, matches nothing
            out[key_text] = found
        return out


class Role:
    def __init__(self, doc, traits):
        self.doc = doc
        self.name = doc["metadata"]["name"]
        self.version = doc["version"]
        self.options = (doc.get("spec") or {}).get("options") or {}
        self.allow = Section(self, "allow", traits)
        self.deny = Section(self, "deny", traits)

    def ttl(self):
        return parse_duration(self.options["max_session_ttl"]) if "max_session_ttl" in self.options else 30 * HOUR


IMPLICIT_RULES = [
    {"resources": ["node", "proxy", "auth_server", "reverse_tunnel", "cluster_auth_preference", "cluster_name", "ssh_session",
                   "app_server", "app", "remote_cluster", "kube_server", "kube_cluster", "db_server", "db",
                   "windows_desktop_service", "windows_desktop"], "verbs": ["list", "read"]},
    {"resources": ["cert_authority"], "verbs": ["list", "readnosecrets"]},
    {"resources": ["usage_event"], "verbs": ["create"]},
]


def implicit():
    return {"kind": "role", "version": "v3", "metadata": {"name": "default-implicit-role"},
            "spec": {"options": {"max_session_ttl": "1000000h", "port_forwarding": False, "record_session": {"desktop": False}},
                     "allow": {"rules": IMPLICIT_RULES, "node_labels": {}, "app_labels": {}, "kubernetes_labels": {}, "db_labels": {}}}}


class World:
    """The roles of one case, its user, and what the questions share."""

    def __init__(self, case):
        user = case.get("user") or {}
        self.case = case
        self.traits = {key: [str(v) for v in many(values)] for key, values in (user.get("traits") or {}).items()}
        docs = case.get("roles") or []
        self.user_name = user.get("name", "user")
        self.roles = [Role(doc, self.traits) for doc in docs]
        self.role_names = user.get("roles") or [role.name for role in self.roles]
        self.own = list(self.roles)
        if case.get("implicit_role", True):
            self.roles.append(Role(implicit(), self.traits))

    def user(self):
        return {"metadata": {"name": self.user_name}, "spec": {"roles": self.role_names, "traits": self.traits}}


def unix_name(text):
    return 0 < len(text) <= 32 and text[0] != "-" and not re.search(r"[:/\s\x00-\x1f]", text)


# ---- labels ----------------------------------------------------------------------------------------------------------


def value_matches(pattern, value):
    if pattern is None:
        return False
    if pattern == "*":
        return True
    if pattern.startswith("^") and pattern.endswith("$"):
        return re.search(pattern, value) is not None
    return glob_matches(pattern, value)


def glob_matches(pattern, value):
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), value, re.S) is not None


def labels_match(selector, labels):
    if not selector:
        return False
    if selector.get("*") == ["*"]:
        return True
    for key, patterns in selector.items():
        if key not in labels:
            return False
        if not any(value_matches(pattern, labels[key]) for pattern in patterns):
            return False
    return True


def labels_of(resource):
    labels = {key: str(value) for key, value in (resource.get("labels") or {}).items()}
    for key, value in (resource.get("dynamic_labels") or {}).items():
        labels[key] = str(value.get("result", "") if isinstance(value, dict) else value)
    return labels


def section_matches(world, section, resource, kind):
    """Do namespace, labels and expression of this section select the resource? For deny: labels or expression."""
    if not any(name == "*" or name == resource.get("namespace", "default") for name in section.namespaces):
        return False
    labels = labels_of(resource)
    selector, expression = section.labels[kind], section.expressions[kind]

    def expressed():
        try:
            return predicate(expression, {"labels": labels, "user": world.user()}) is True
        except Bad:
            return not section.allow
    by_labels = labels_match(selector, labels)
    if section.allow:
        if selector and expression:
            return by_labels and expressed()
        return expressed() if expression else by_labels
    return by_labels or bool(expression and expressed())


# ---- access to one resource ------------------------------------------------------------------------------------------


def matchers_of(world):
    """Functions section -> bool, one for each matcher of the case."""
    case = world.case
    resource = case.get("resource") or {}
    found = []
    if "login" in case:
        found.append(lambda s: case["login"] in s.logins)
    if "windows_login" in case:
        found.append(lambda s: case["windows_login"] in s.windows_desktop_logins)
    if "db_user" in case:
        same = (lambda a, b: a.lower() == b.lower()) if resource.get("protocol") == "cockroachdb" else (lambda a, b: a == b)
        found.append(lambda s: any(u == "*" or same(u, case["db_user"]) for u in s.db_users))
    if "db_name" in case:
        found.append(lambda s: any(n in ("*", case["db_name"]) for n in s.db_names))
    if "aws_role_arn" in case:
        found.append(lambda s: case["aws_role_arn"] in s.aws_role_arns)
    if "azure_identity" in case:
        found.append(lambda s: case["azure_identity"].lower() in [i.lower() for i in s.azure_identities])
    if "gcp_service_account" in case:
        found.append(lambda s: case["gcp_service_account"] in s.gcp_service_accounts)
    if "kube_resource" in case:
        found.append(lambda s: kube.matcher(s, case["kube_resource"]))
    return found


def mfa_of(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return {"true": "yes", "false": "no", "": "no", None: "no"}.get(value, value)


def access(world):
    case = world.case
    resource = case["resource"]
    kind = resource["kind"]
    if kind not in LABELS:
        raise Unknown(kind)
    preference = case.get("cluster_auth_preference") or {}
    verified = case.get("mfa_verified", False)
    if mfa_of(preference.get("require_session_mfa")) != "no" and not verified:
        return False
    if kind == "remote_cluster" and not labels_of(resource) and world.own and not any(
            role.allow.raw.get("cluster_labels") or role.deny.raw.get("cluster_labels") for role in world.own):
        return True
    matchers = matchers_of(world)
    for role in world.roles:
        deny = role.deny
        if not any(name == "*" or name == resource.get("namespace", "default") for name in deny.namespaces):
            continue
        if section_matches(world, deny, resource, kind) or any(matcher(role_view(role, "deny")) for matcher in matchers):
            return False
    need, granted = "no", False
    for role in world.roles:
        if not section_matches(world, role.allow, resource, kind):
            continue
        if not all(matcher(role_view(role, "allow")) for matcher in matchers):
            continue
        mfa = mfa_of(role.options.get("require_session_mfa"))
        device = role.options.get("device_trust_mode", "")
        granted = True
        if mfa != "no" and not verified:
            need = "mfa"
        if device in ("required", "required-for-humans") and not case.get("device_verified", False):
            need = "device" if need == "no" else need
    return granted and need == "no"


class role_view:  # pylint: disable=invalid-name
    """A section together with its role, for matchers that need the version."""

    def __init__(self, role, name):
        self.role, self.section_name = role, name
        self._section = getattr(role, name)

    def __getattr__(self, name):
        return getattr(self._section, name)


# ---- rules -----------------------------------------------------------------------------------------------------------


def rule_verb(verbs, verb):
    return "*" in verbs or verb in verbs or (verb == "readnosecrets" and "read" in verbs)


def rule_holds(world, rule, guess, allow):
    where = rule.get("where")
    if not where:
        return True
    if guess:
        return allow
    resource = world.case.get("resource") or {}
    context = dict(world.case.get("context") or {})
    shown = {"kind": resource.get("kind"), "metadata": {"name": resource.get("name", ""), "labels": labels_of(resource)}}
    try:
        return predicate(where, {"user": world.user(), "resource": shown, **context}) is True
    except Bad:
        return False


def rules(world):
    verb, kind = world.case["verb"], world.case["resource"]["kind"]
    guess = world.case.get("guess", False)
    for allow in (False, True):
        for role in world.roles:
            section = role.allow if allow else role.deny
            namespace = world.case["resource"].get("namespace", "default")
            if not any(name in ("*", namespace) for name in section.namespaces):
                continue
            for rule in many(section.raw.get("rules")):
                if not {kind, "*"} & set(many(rule["resources"])) or not rule_verb(many(rule["verbs"]), verb):
                    continue
                if rule_holds(world, rule, guess, allow):
                    return allow
    return False


def impersonate(world):
    wanted = world.case["impersonate"]
    names = [doc["metadata"]["name"] for doc in wanted.get("roles") or []]
    user = wanted.get("user")
    for role in world.roles:
        deny = role.deny.raw.get("impersonate") or {}
        if (user is not None and named(deny.get("users"), user, world)) or any(named(deny.get("roles"), n, world) for n in names):
            return False
    for role in world.roles:
        allow = role.allow.raw.get("impersonate") or {}
        if not allow or allow.get("where"):
            if allow:
                raise Unknown("impersonate.where")
            continue
        if user is None and many(allow.get("users")):
            continue
        if user is not None and not named(allow.get("users"), user, world):
            continue
        if all(named(allow.get("roles"), name, world) for name in names):
            return True
    return False


def named(patterns, name, world):
    return any(value_matches(text, name) for entry in many(patterns) for text in expand(entry, world.traits))


# ---- locks -----------------------------------------------------------------------------------------------------------


def locked(world):
    case = world.case
    mode = case.get("locking_mode") or (case.get("cluster_auth_preference") or {}).get("locking_mode") or "best_effort"
    if case.get("locks_stale") and mode == "strict":
        return True
    target = {key: value for key, value in (case.get("lock_target") or {}).items() if value}
    for lock in case.get("locks") or []:
        spec = lock.get("spec", lock)
        if "expires_in" in lock and parse_duration(str(lock["expires_in"])) <= 0:
            continue
        if target and all((spec.get("target") or {}).get(key) == value for key, value in target.items()):
            return True
    return False


# ---- values ----------------------------------------------------------------------------------------------------------


def smallest(values):
    values = [value for value in values if value]
    return min(values) if values else 0


def duration_text(seconds):
    if not seconds:
        return "0s"
    hours, rest = divmod(int(seconds), HOUR)
    minutes, secs = divmod(rest, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{secs}s"


def set_ttl(world):
    return min(role.ttl() for role in world.roles) if world.roles else FOREVER


def option(world, name):
    own = [role.options for role in world.own]
    given = [options.get(name) for options in own]
    if name == "max_session_ttl":
        if not world.own:
            raise Unknown("the limit of no role")
        return duration_text(set_ttl(world))
    if name in ("forward_agent", "permit_x11_forwarding", "pin_source_ip"):
        return any(truth(value, False) for value in given)
    if name == "disconnect_expired_cert":
        return any(truth(value, False) for value in given)
    if name == "port_forwarding":
        return any(truth(options.get("port_forwarding"), True) for options in own)
    if name in ("ssh_file_copy", "desktop_clipboard", "desktop_directory_sharing"):
        return all(truth(value, True) for value in given)
    if name in ("max_connections", "max_sessions", "max_kubernetes_connections"):
        return smallest(given)
    if name in ("client_idle_timeout", "mfa_verification_interval"):
        if name == "mfa_verification_interval":
            raise Unknown(name)
        return duration_text(smallest([parse_duration(str(v)) for v in given if v not in (None, "never")]))
    if name == "cert_format":
        formats = [role.options.get(name) or "standard" for role in world.own]
        return "oldssh" if formats and all(value == "oldssh" for value in formats) else "standard"
    if name == "record_session.ssh":
        return record(own, "ssh")
    if name == "enhanced_recording":
        return sorted({item for options in own for item in many(options.get(name, ["command", "network"]))})
    raise Unknown(name)


def record(all_options, service):
    asked = [(options.get("record_session") or {}) for options in all_options]
    special = [one[service] for one in asked if one.get(service)]
    modes = special or [one.get("default", "best_effort") or "best_effort" for one in asked]
    return "strict" if "strict" in modes else "best_effort"


def usable(world, key, kind):
    """Entries of a list usable on the case's resource (one role allows both), or in the certificate when there is none."""
    resource = world.case.get("resource")
    found = []
    if resource is None:
        ttl = min(parse_duration(str(world.case["ttl"])), set_ttl(world)) if "ttl" in world.case else set_ttl(world)
        for role in world.roles:
            if role.ttl() >= ttl or world.case.get("override_ttl"):
                found += getattr(role.allow, key)
        return sorted(set(found))
    for role in world.roles:
        if section_matches(world, role.allow, resource, kind):
            found += getattr(role.allow, key)
    denied = {text for role in world.roles for text in getattr(role.deny, key)}
    if any(section_matches(world, role.deny, resource, kind) for role in world.roles):
        return []
    return sorted(set(found) - denied)


def kube_subjects(world, key):
    """Groups or users for a cluster; none at all of both kinds is an error (the request then is refused)."""
    resource = world.case.get("resource")
    if resource is None:
        raise Unknown("kube subjects of a certificate")
    ttl = parse_duration(str(world.case["ttl"])) if "ttl" in world.case else 0
    allowed, denied = {"kubernetes_groups": set(), "kubernetes_users": set()}, {"kubernetes_groups": set(), "kubernetes_users": set()}
    matched = False
    for role in world.roles:
        if not section_matches(world, role.allow, resource, "kube_cluster"):
            continue
        if ttl > role.ttl() and not world.case.get("override_ttl"):
            continue
        matched = True
        for one in allowed:
            allowed[one] |= set(getattr(role.allow, one))
    for role in world.roles:
        if not any(name in ("*", resource.get("namespace", "default")) for name in role.deny.namespaces):
            continue
        everywhere = not role.deny.labels["kube_cluster"] and not role.deny.expressions["kube_cluster"]
        if everywhere or section_matches(world, role.deny, resource, "kube_cluster"):
            for one in denied:
                denied[one] |= set(getattr(role.deny, one))
    left = {one: set() if "*" in denied[one] else allowed[one] - denied[one] for one in allowed}
    if not matched or not any(left.values()):
        raise Bad("no groups or users")
    return sorted(left[key])


def query(world, text):
    name, _, argument = text.partition(":")
    if name == "logins":
        return usable(world, "logins", "node")
    if name in ("kube_groups", "kube_users"):
        return kube_subjects(world, {"kube_groups": "kubernetes_groups", "kube_users": "kubernetes_users"}[name])
    if name == "option":
        return option(world, argument)
    if name == "max_session_ttl":
        if not world.own:
            raise Unknown("the limit of no role")
        return duration_text(set_ttl(world))
    if name == "session_ttl":
        return duration_text(min(parse_duration(str(world.case["ttl"])), set_ttl(world)))
    if name == "expand":
        return expand(argument, world.traits)
    if name == "expression":
        resource = world.case.get("resource") or {}
        return predicate(argument, {"labels": labels_of(resource), "user": world.user()}) is True
    if name == "kube_list":
        if any(mfa_of(role.options.get("require_session_mfa")) != "no" for role in world.own):
            raise Unknown("lists where roles ask for a second factor")
        return kube.listed(world, section_matches)
    if name == "mfa_required":
        if mfa_of((world.case.get("cluster_auth_preference") or {}).get("require_session_mfa")) != "no":
            return "always"
        asks = [mfa_of(role.options.get("require_session_mfa")) != "no" for role in world.own]
        return "always" if asks and all(asks) else "per_role" if any(asks) else "never"
    raise Unknown(text)


def answer(case):
    try:
        world = World(case)
        if case.get("query") in more.QUERIES:
            return {"value": more.QUERIES[case["query"]](world)}
        if "query" in case:
            return {"value": query(world, case["query"])}
        if "lock_target" in case:
            return {"expect": "deny" if locked(world) else "allow"}
        if "impersonate" in case:
            return {"expect": "allow" if impersonate(world) else "deny"}
        for key, decide in more.DECISIONS.items():
            if key in case:
                return {"expect": "allow" if decide(world) else "deny"}
        if "verb" in case and "kube_resource" not in case:
            return {"expect": "allow" if rules(world) else "deny"}
        return {"expect": "allow" if access(world) else "deny"}
    except Bad as error:
        return {"error": str(error)}
