"""Reads the YAML that people write in `config.yaml`: maps, lists, scalars, flow lists and maps, block scalars.

Anchors, tags and multiple documents are refused by name instead of misread.
"""

import re


class YamlError(ValueError):
    """What is wrong, with its line."""


_KEY = re.compile(r"""^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#:'"\[\]{},&*!|>%@`-][^#:]*?|-[^\s#:][^#:]*?)\s*:(?:\s+(.*))?$""")
_BLOCK = re.compile(r"^([|>])([+-]?)(\d?)([+-]?)\s*(?:#.*)?$")
_INT = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


def load(text):
    """Returns dicts, lists, strings, ints, floats, booleans or None; raises `YamlError`."""
    return _Reader(text).document()


class _Reader:
    def __init__(self, text):
        self.raw = self._no_tabs(text)
        self.lines = self.raw.split("\n")
        self.at = 0

    @staticmethod
    def _no_tabs(text):
        for number, line in enumerate(text.split("\n"), 1):
            indent = line[: len(line) - len(line.lstrip())]
            if "\t" in indent:
                raise YamlError(f"line {number}: a tab cannot indent")
        return text

    def fail(self, what):
        raise YamlError(f"line {self.at + 1}: {what}")

    def peek(self):
        """The next line with content as `(indent, text)`, or None at the end."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            stripped = line.strip()
            if stripped and not stripped.startswith("#") and stripped != "---":
                if stripped == "...":
                    return None
                return len(line) - len(line.lstrip()), stripped
            self.at += 1
        return None

    def document(self):
        head = self.peek()
        if head is None:
            return None
        value = self.node(head[0])
        if self.peek() is not None:
            self.fail("unexpected indentation or a second document")
        return value

    def node(self, indent):
        _, text = self.peek()
        if text == "-" or text.startswith("- "):
            return self.sequence(indent)
        if _KEY.match(text):
            return self.mapping(indent)
        self.at += 1
        return self.scalar(text)

    def sequence(self, indent):
        items = []
        while True:
            head = self.peek()
            if head is None or head[0] != indent or not (head[1] == "-" or head[1].startswith("- ")):
                if head is not None and head[0] > indent:
                    self.fail("wrong indentation in a list")
                return items
            rest = head[1][1:].strip()
            if not rest or rest.startswith("#"):
                self.at += 1
                after = self.peek()
                items.append(self.node(after[0]) if after and after[0] > indent else None)
                continue
            if _KEY.match(rest) or rest == "-" or rest.startswith("- "):
                # A collection that starts on the dash's own line: its indent is that of its first word.
                inner = indent + head[1].index(rest, 1)
                self.lines[self.at] = " " * inner + rest
                items.append(self.node(inner))
                continue
            items.append(self.value(rest, indent))

    def mapping(self, indent):
        result = {}
        while True:
            head = self.peek()
            if head is None or head[0] < indent or (head[0] == indent and head[1].startswith("- ")):
                return result
            if head[0] > indent:
                self.fail("wrong indentation in a map")
            match = _KEY.match(head[1])
            if not match:
                self.fail(f"expected `key: value`, found `{head[1]}`")
            key = str(self.scalar(match.group(1), as_key=True))
            if key in result:
                self.fail(f"duplicate key `{key}`")
            rest = (match.group(2) or "").strip()
            if rest and not rest.startswith("#"):
                result[key] = self.value(rest, indent)
                continue
            self.at += 1
            after = self.peek()
            if after and (after[0] > indent or (after[0] == indent and (after[1] == "-" or after[1].startswith("- ")))):
                result[key] = self.node(after[0])
            else:
                result[key] = None

    def value(self, rest, indent):
        block = _BLOCK.match(rest)
        if block:
            return self.block(block, indent)
        if rest[0] in "[{":
            while not _closed(rest):
                self.at += 1
                if self.at >= len(self.lines):
                    self.fail(f"`{rest[0]}` is never closed")
                rest += " " + self.lines[self.at].strip()
        self.at += 1
        if rest[0] in "\"'":
            rest = self.quoted_on(rest)
        elif rest[0] not in "[{":
            rest = self.continued(rest, indent)
        return self.scalar(rest)

    def continued(self, rest, indent):
        """A plain scalar that goes on over more indented lines, as dumpers wrap long ones."""
        words = [_without_comment(rest).strip()]
        while self.at < len(self.lines):
            line = self.lines[self.at]
            own = len(line) - len(line.lstrip())
            if not line.strip() or own <= indent or line.strip().startswith("#"):
                break
            words.append(_without_comment(line).strip())
            self.at += 1
        return " ".join(words)

    def quoted_on(self, rest):
        """A quoted scalar up to its closing quote, which may be lines away; an empty line is a line break."""
        while not _quote_ends(rest):
            if self.at >= len(self.lines):
                self.fail("a quote is never closed")
            line = self.lines[self.at].strip()
            self.at += 1
            if rest.endswith("\\") and rest[0] == '"':
                # An escaped line break joins without a space; a leading `\ ` keeps one.
                rest = rest[:-1] + line
            elif not line:
                rest += "\n"
            else:
                rest += line if rest.endswith("\n") else " " + line
        return rest

    def block(self, match, indent):
        style, chomp = match.group(1), match.group(2) or match.group(4)
        self.at += 1
        lines, width = [], indent + int(match.group(3)) if match.group(3) else None
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip():
                own = len(line) - len(line.lstrip(" "))
                if width is None and own > indent:
                    width = own
                if width is None or own < width:
                    break
            lines.append(line[width:] if width is not None and line.strip() else "")
            self.at += 1
        kept = list(lines)
        while kept and not kept[-1]:
            kept.pop()
        if style == "|":
            text = "\n".join(kept)
        else:
            text = re.sub(r"(?<!\n)\n(?!\n)", " ", "\n".join(kept))
            text = re.sub(r"\n(\n+)", r"\1", text)
        if chomp == "-" or not kept:
            return text
        return text + "\n" * (1 + len(lines) - len(kept) if chomp == "+" else 1)

    def scalar(self, text, as_key=False):
        text = _without_comment(text).strip()
        if text[:1] in "&*!%@`" and text:
            self.fail(f"`{text[0]}` is not supported here")
        if text[:1] in ("[", "{"):
            value, end = self.flow(text, 0)
            if text[end:].strip():
                self.fail(f"text after `{text[:end]}`")
            return value
        if text[:1] == '"':
            if not (len(text) > 1 and text.endswith('"')):
                self.fail("a quote is never closed")
            return _unescape(text[1:-1])
        if text[:1] == "'":
            if not (len(text) > 1 and text.endswith("'")):
                self.fail("a quote is never closed")
            return text[1:-1].replace("''", "'")
        if not as_key and ": " in text:
            self.fail(f"`: ` inside the plain value `{text}`")
        return text if as_key else plain(text)

    def flow(self, text, at):
        closing = "]" if text[at] == "[" else "}"
        items, pairs, at = [], {}, at + 1
        while True:
            while at < len(text) and text[at] in " ,":
                at += 1
            if at >= len(text):
                self.fail(f"`{closing}` is missing")
            if text[at] == closing:
                return (items if closing == "]" else pairs), at + 1
            if closing == "}":
                key, at = self.flow_item(text, at, ":,}")
                while at < len(text) and text[at] in " ":
                    at += 1
                value = None
                if at < len(text) and text[at] == ":":
                    value, at = self.flow_item(text, at + 1, ",}")
                pairs[str(key)] = value
            else:
                item, at = self.flow_item(text, at, ",]")
                items.append(item)

    def flow_item(self, text, at, stop):
        while at < len(text) and text[at] == " ":
            at += 1
        if at < len(text) and text[at] in "[{":
            return self.flow(text, at)
        if at < len(text) and text[at] in "'\"":
            quote, end = text[at], at + 1
            while end < len(text) and text[end] != quote:
                end += 2 if text[end] == "\\" and quote == '"' else 1
            return self.scalar(text[at:end + 1]), end + 1
        end = at
        while end < len(text) and text[end] not in stop:
            end += 1
        return plain(text[at:end].strip()), end


def plain(text):
    """A plain scalar by the rules of YAML 1.1."""
    low = text.lower()
    if low in ("", "~", "null"):
        return None
    if low in _TRUE:
        return True
    if low in _FALSE:
        return False
    if _INT.match(text):
        return int(text)
    if re.match(r"^[-+]?[0-9]+\.[0-9]+$", text):
        return float(text)
    return text


def _without_comment(text):
    quote = None
    for n, char in enumerate(text):
        if quote:
            if char == quote and not (quote == '"' and text[n - 1] == "\\"):
                quote = None
        elif char in "'\"" and (n == 0 or text[n - 1] in " [{,:"):
            quote = char
        elif char == "#" and (n == 0 or text[n - 1] in " \t"):
            return text[:n]
    return text


def _quote_ends(text):
    quote, n = text[0], 1
    while n < len(text):
        if text[n] == "\\" and quote == '"':
            n += 2
            continue
        if text[n] == quote:
            if quote == "'" and text[n + 1:n + 2] == "'":
                n += 2
                continue
            return True
        n += 1
    return False


def _closed(text):
    depth, quote = 0, None
    for char in _without_comment(text):
        if quote:
            quote = None if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
    return depth <= 0


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", '"': '"', "\\": "\\", "/": "/", " ": " ", "e": "\x1b"}


def _unescape(text):
    def one(match):
        code = match.group(1)
        if code[0] in "xuU" and len(code) > 1:
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, "\\" + code)

    return re.sub(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.)", one, text)
