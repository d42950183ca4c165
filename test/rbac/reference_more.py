"""Requests, reviews and sessions of several people for the reference model."""

import re

from reference_text import Bad, expand, parse_duration, predicate


def many(value):
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def glob(pattern):
    return ".*".join(re.escape(part) for part in pattern.split("*"))


def pattern_matches(pattern, name):
    found = re.fullmatch(r"(.*?)\{\{regexp\.(match|not_match)\(\"(.*)\"\)\}\}(.*)", pattern)
    if found:
        before, function, regex, after = found.groups()
        if len(name) < len(before) + len(after) or not name.startswith(before) or not name.endswith(after):
            return False
        middle = name[len(before):len(name) - len(after)]
        return (re.search(regex, middle) is not None) == (function == "match")
    if pattern.startswith("^") and pattern.endswith("$"):
        return re.search(pattern, name) is not None
    return re.fullmatch(glob(pattern), name, re.S) is not None


def by_claims(mappings, traits, name):
    for one in mappings:
        value = one["value"]
        regex = value if value.startswith("^") and value.endswith("$") else "^" + "(.*)".join(re.escape(part) for part in value.split("*")) + "$"
        for trait in traits.get(one["claim"], []):
            found = re.search(regex, trait)
            if not found:
                continue
            for role in one["roles"]:
                out = re.sub(r"\$\{?([0-9])\}?", lambda m: found.group(int(m.group(1))) if int(m.group(1)) <= len(found.groups()) else "", role)  # pylint: disable=cell-var-from-loop
                if out == name if out != role else pattern_matches(role, name):
                    return True
    return False


def conditions(world, section, key):
    return [getattr(role, section).raw.get(key) for role in world.roles if getattr(role, section).raw.get(key)]


def names(world, given, name):
    return any(pattern_matches(pattern, name) for pattern in many(given.get("roles"))) or by_claims(many(given.get("claims_to_roles")), world.traits, name)


def may_request(world, name):
    if any(names(world, given, name) for given in conditions(world, "deny", "request")):
        return False
    return any(names(world, given, name) for given in conditions(world, "allow", "request"))


def request(world):
    wanted = world.case["request"]
    if not wanted["roles"]:
        return False
    for given in conditions(world, "allow", "request"):
        if (given.get("reason") or {}).get("mode") == "required" and not wanted.get("reason") and any(names(world, given, r) for r in wanted["roles"]):
            return False
    return all(may_request(world, name) for name in wanted["roles"])


def shown(wanted):
    return {"user": wanted.get("user", ""), "roles": wanted["roles"], "reason": wanted.get("reason", ""), "system_annotations": wanted.get("annotations") or {}}


def said(text, names_of, otherwise):
    if not text:
        return True
    try:
        return predicate(text, names_of) is True
    except Bad:
        return otherwise


def review(world):
    wanted = world.case["review"]
    if not wanted["roles"] or wanted.get("user") == world.user_name:
        return False
    seen = {"user": world.user(), "reviewer": {"name": world.user_name, "roles": world.role_names, "traits": world.traits}, "request": shown(wanted)}
    for given in conditions(world, "deny", "review_requests"):
        if any(names(world, given, name) for name in wanted["roles"]) and said(given.get("where"), seen, True):
            return False
    good = [given for given in conditions(world, "allow", "review_requests") if said(given.get("where"), seen, False)]
    return all(any(names(world, given, name) for given in good) for name in wanted["roles"])


def request_state(world):
    wanted = world.case["request"]
    last = {one["user"]["name"]: one for one in world.case["reviews"]}
    states = []
    for name in wanted["roles"]:
        reached = set()
        for given in conditions(world, "allow", "request"):
            if not names(world, given, name):
                continue
            for threshold in many(given.get("thresholds")) or [{"approve": 1, "deny": 1}]:
                count = {"approved": 0, "denied": 0}
                for one in last.values():
                    person = one["user"]
                    seen = {"user": world.user(), "reviewer": {"name": person["name"], "roles": many(person.get("roles")), "traits": person.get("traits") or {}},
                            "review": {"reason": one.get("reason", "")}, "request": shown(wanted)}
                    count[one["state"]] += said(threshold.get("filter"), seen, one["state"] == "denied")
                if threshold.get("deny") and count["denied"] >= threshold["deny"]:
                    reached.add("denied")
                elif threshold.get("approve") and count["approved"] >= threshold["approve"]:
                    reached.add("approved")
        states.append("denied" if "denied" in reached else "approved" if reached else "pending")
    if "denied" in states:
        return "denied"
    return "approved" if states and set(states) == {"approved"} else "pending"


def annotations(world):
    out = {}
    for given in conditions(world, "allow", "request"):
        for key, values in (given.get("annotations") or {}).items():
            out.setdefault(key, set()).update(text for value in many(values) for text in expand(value, world.traits))
    for given in conditions(world, "deny", "request"):
        for key, values in (given.get("annotations") or {}).items():
            out.setdefault(key, set()).difference_update(text for value in many(values) for text in expand(value, world.traits))
    return {key: sorted(values) for key, values in out.items() if values}


def plain(condition, key):
    def of(world):
        allowed = {name for given in conditions(world, "allow", condition) for name in many(given.get(key))}
        return sorted(allowed - {name for given in conditions(world, "deny", condition) for name in many(given.get(key))})
    return of


def longest(world):
    each = []
    for name in world.case["request"]["roles"]:
        each.append(max([parse_duration(given["max_duration"]) for given in conditions(world, "allow", "request")
                         if given.get("max_duration") and names(world, given, name)], default=0))
    seconds = min(each, default=0)
    return f"{int(seconds)}s" if seconds else "0s"


# ---- sessions of several people ----------------------------------------------------------------------------------------

EVERY = ["observer", "moderator", "peer"]


class Person:
    """Somebody by his role documents."""

    def __init__(self, given):
        self.given, self.name, self.docs = given, given.get("name", ""), given.get("roles") or []

    def policies(self, section, key):
        return [policy for doc in self.docs for policy in many(((doc.get("spec") or {}).get(section) or {}).get(key))]


def modes_in(policy, otherwise):
    given = many(policy.get("modes"))
    return set(EVERY) if "*" in given else set(given) if given else set(otherwise)


def join_modes_of(person, owner, kind):
    if person.name == owner.name:
        return set(EVERY)

    def collected(section, otherwise):
        found = set()
        for policy in person.policies(section, "join_sessions"):
            if not {kind, "*"} & set(many(policy.get("kinds"))):
                continue
            if any(pattern_matches(pattern, doc["metadata"]["name"]) for pattern in many(policy.get("roles")) for doc in owner.docs):
                found |= modes_in(policy, otherwise)
        return found
    allowed = collected("allow", ["observer"])
    old = person.docs and all(doc["version"] == "v3" and not ((doc.get("spec") or {}).get("allow") or {}).get("join_sessions") for doc in person.docs)
    if old and kind == "ssh":
        allowed = {"peer"}
    return allowed - collected("deny", EVERY)


def me(world):
    return Person({"name": world.user_name, "roles": world.case["roles"]})


def join_modes(world):
    join = world.case["join"]
    return [mode for mode in EVERY if mode in join_modes_of(me(world), Person(join["owner"]), join["kind"])]


def counts(policy, person, owner, kind):
    mode = person.given["mode"]
    if person.name == owner.name or mode not in modes_in(policy, EVERY) or mode not in join_modes_of(person, owner, kind):
        return False
    roles, traits = [doc["metadata"]["name"] for doc in person.docs], person.given.get("traits") or {}
    return said(policy.get("filter"), {"user": {"name": person.name, "roles": roles, "traits": traits, "spec": {"roles": roles, "traits": traits}}}, False)


def session_state(world):
    session, owner = world.case["session"], me(world)
    people = [Person(given) for given in session["participants"]]
    leaves = []
    for doc in owner.docs:
        policies = [p for p in many(((doc.get("spec") or {}).get("allow") or {}).get("require_session_join")) if {session["kind"], "*"} & set(many(p.get("kinds")))]
        if not policies:
            continue
        met = [p for p in policies if len({person.name for person in people if counts(p, person, owner, session["kind"])}) >= max(1, p.get("count", 1))]
        if not met:
            return {"runs": False, "on_leave": "terminate"}
        leaves.append(met[0].get("on_leave") or "terminate")
    return {"runs": True, "on_leave": "pause" if leaves and set(leaves) == {"pause"} else "terminate"}


DECISIONS = {"request": request, "review": review, "join": lambda world: world.case["join"].get("mode", "observer") in join_modes(world)}
QUERIES = {"request_state": request_state, "request_annotations": annotations, "request_max_duration": longest,
           "search_as_roles": plain("request", "search_as_roles"), "preview_as_roles": plain("review_requests", "preview_as_roles"),
           "suggested_reviewers": plain("request", "suggested_reviewers"), "join_modes": join_modes, "session_state": session_state,
           "request_roles": lambda world: [name for name in world.case["input"] if may_request(world, name)]}
