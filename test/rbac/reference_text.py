"""Text of roles for the reference model: durations, trait templates, predicates."""

import re


class Bad(Exception):
    """The text, or what it asks for, is an error."""


def parse_duration(text):
    """Go's duration in seconds: 8h0m0s, 30m, 90s."""
    if text in ("0", 0):
        return 0
    sign = -1 if text.startswith("-") else 1
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", text)
    if not parts or "".join(a + b for a, b in parts) != text.lstrip("-"):
        raise Bad(f"{text} is no duration")
    return sign * sum(float(number) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for number, unit in parts)


# ---- templates -------------------------------------------------------------------------------------------------------

INTERNAL = {"logins", "windows_logins", "kubernetes_groups", "kubernetes_users", "db_names", "db_users", "db_roles",
            "aws_role_arns", "azure_identities", "gcp_service_accounts", "jwt", "host_user_uid", "host_user_gid", "github_orgs",
            "mcp_tools"}


def expand(text, traits):
    """The entries that one entry of a role becomes; [] when its trait is missing."""
    if "{{" not in text and "}}" not in text:
        return [text]
    found = re.fullmatch(r"([^{}]*)\{\{(.*)\}\}([^{}]*)", text, re.S)
    if not found:
        raise Bad(f"{text} is no template")
    prefix, body, suffix = found.group(1).lstrip(), found.group(2).strip(), found.group(3).rstrip()
    values = evaluate(Parser(body).whole(), Values(traits))
    out = []
    for value in values if isinstance(values, list) else [values]:
        if value and prefix + value + suffix not in out:
            out.append(prefix + value + suffix)
    return out


def expand_first(text, traits):
    values = expand(text, traits)
    return values[0] if values else ""


# ---- one small language ----------------------------------------------------------------------------------------------

TOKEN = re.compile(r'\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<text>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<sign>&&|\|\||==|!=|[!().,\[\]]))')


class Parser:
    """expression := and ("||" and)* ; and := not ("&&" not)* ; then == and !=, calls, a.b["c"]."""

    def __init__(self, text):
        self.tokens, at = [], 0
        while at < len(text.rstrip()):
            found = TOKEN.match(text, at)
            if not found:
                raise Bad(f"{text!r} at {at}")
            self.tokens.append((found.lastgroup, found.group(found.lastgroup)))
            at = found.end()
        self.at = 0

    def peek(self, sign):
        return self.at < len(self.tokens) and self.tokens[self.at] == ("sign", sign)

    def take(self, sign):
        if not self.peek(sign):
            raise Bad(f"{sign} expected")
        self.at += 1

    def whole(self):
        tree = self.either()
        if self.at != len(self.tokens):
            raise Bad("more after the end")
        return tree

    def either(self):
        tree = self.both()
        while self.peek("||"):
            self.at += 1
            tree = ("or", tree, self.both())
        return tree

    def both(self):
        tree = self.compared()
        while self.peek("&&"):
            self.at += 1
            tree = ("and", tree, self.compared())
        return tree

    def compared(self):
        tree = self.negated()
        for sign in ("==", "!="):
            if self.peek(sign):
                self.at += 1
                other = self.negated()
                return ("equal", tree, other) if sign == "==" else ("not", ("equal", tree, other))
        return tree

    def negated(self):
        if self.peek("!"):
            self.at += 1
            return ("not", self.negated())
        if self.peek("("):
            self.at += 1
            tree = self.either()
            self.take(")")
            return tree
        return self.single()

    def single(self):
        if self.at >= len(self.tokens):
            raise Bad("ends too early")
        group, text = self.tokens[self.at]
        self.at += 1
        if group == "text":
            return ("text", text[1:-1] if text[0] == "`" else re.sub(r"\\(.)", r"\1", text[1:-1]))
        if group != "word":
            raise Bad(f"{text} not expected")
        path = [text]
        while True:
            if self.peek("."):
                self.at += 1
                if self.at >= len(self.tokens) or self.tokens[self.at][0] != "word":
                    raise Bad("name expected")
                path.append(self.tokens[self.at][1])
                self.at += 1
            elif self.peek("["):
                self.at += 1
                if self.at >= len(self.tokens) or self.tokens[self.at][0] != "text":
                    raise Bad("text expected")
                path.append(self.tokens[self.at][1][1:-1])
                self.at += 1
                self.take("]")
            elif self.peek("("):
                self.at += 1
                words = []
                while not self.peek(")"):
                    words.append(self.either())
                    if not self.peek(")"):
                        self.take(",")
                self.take(")")
                return ("call", ".".join(path), words)
            else:
                return ("name", path)


class Values:
    """What names mean in a trait template."""

    def __init__(self, traits):
        self.traits = traits

    def name(self, path):
        if len(path) != 2 or path[0] not in ("internal", "external"):
            raise Bad(".".join(path))
        if path[0] == "internal" and path[1] not in INTERNAL:
            return []
        return list(self.traits.get(path[1], []))


class Fields:
    """What names mean in a predicate: a tree of objects; a missing map key is empty, an unknown object an error."""

    OPEN = {"labels", "traits", "server_labels", "system_annotations"}

    def __init__(self, tree):
        self.tree = tree

    def name(self, path):
        if path in (["true"], ["false"]):
            return path == ["true"]
        here, parent = self.tree, None
        for word in path:
            if not isinstance(here, dict) or word not in here:
                if parent in self.OPEN:
                    return [] if parent == "traits" else ""
                raise Bad(f"no {'.'.join(path)}")
            here, parent = here[word], word
        if here is None:
            raise Bad(f"no {'.'.join(path)}")
        return here


def as_list(value):
    return list(value) if isinstance(value, list) else [value] if value != "" else []


def replaced(pattern, replacement, values):
    program = re.compile(pattern)
    python = re.sub(r"\$\{?(\d+)\}?", r"\\g<\1>", replacement)
    return [program.sub(python, value) for value in values if program.search(value)]


def local_part(values):
    out = []
    for value in values:
        found = re.fullmatch(r"([^@\s]+)@[^@\s]+", value)
        if not found:
            raise Bad(f"{value} is no address")
        out.append(found.group(1))
    return out


def regexp_any(pattern, values):
    if not (pattern.startswith("^") and pattern.endswith("$")):
        pattern = "^" + ".*".join(re.escape(part) for part in pattern.split("*")) + "$"
    return any(re.search(pattern, value) for value in values)


FUNCTIONS = {
    "equals": lambda a, b: a == b,
    "contains": lambda values, item: item in as_list(values),
    "contains_any": lambda a, b: bool(set(as_list(a)) & set(as_list(b))),
    "contains_all": lambda a, b: bool(as_list(b)) and set(as_list(b)) <= set(as_list(a)),
    "set": lambda *items: list(items),
    "is_subset": lambda values, *items: set(as_list(values)) <= {x for item in items for x in as_list(item)},
    "all_equal": lambda values, item: bool(as_list(values)) and all(value == item for value in as_list(values)),
    "all_end_with": lambda values, end: bool(as_list(values)) and all(value.endswith(end) for value in as_list(values)),
    "has_prefix": lambda text, start: text.startswith(start),
    "email.local": lambda values: local_part(as_list(values)),
    "regexp.replace": lambda values, pattern, text: replaced(pattern, text, as_list(values)),
    "regexp.match": lambda values, pattern: regexp_any(pattern, as_list(values)),
    "strings.upper": lambda values: [value.upper() for value in as_list(values)],
    "strings.lower": lambda values: [value.lower() for value in as_list(values)],
}


def evaluate(tree, names):
    kind = tree[0]
    if kind == "text":
        return tree[1]
    if kind == "name":
        return names.name(tree[1])
    if kind == "not":
        return not boolean(evaluate(tree[1], names))
    if kind == "or":
        return boolean(evaluate(tree[1], names)) or boolean(evaluate(tree[2], names))
    if kind == "and":
        return boolean(evaluate(tree[1], names)) and boolean(evaluate(tree[2], names))
    if kind == "equal":
        return evaluate(tree[1], names) == evaluate(tree[2], names)
    function = FUNCTIONS.get(tree[1])
    if function is None:
        raise Bad(f"no function {tree[1]}")
    try:
        return function(*[evaluate(word, names) for word in tree[2]])
    except (TypeError, AttributeError, re.error) as error:
        raise Bad(str(error)) from error


def boolean(value):
    if not isinstance(value, bool):
        raise Bad("no truth value")
    return value


def predicate(text, tree):
    return evaluate(Parser(text).whole(), Fields(tree))
