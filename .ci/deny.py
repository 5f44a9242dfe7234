#!/usr/bin/env python3
"""The part of `cargo deny check` that needs no tool: `cargo metadata … | deny.py deny.toml`.

Every package must have a licence that deny.toml allows, come from crates.io or this tree, and not be
one that deny.toml bans. Known vulnerabilities are beyond this; the tool itself looks for those.
"""

import json
import re
import sys
import tomllib

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Evaluates an SPDX expression: names, `WITH`, `AND`, `OR`, parentheses, and the old `/` for OR."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    terms, at = [], 0
    while at < len(words):
        word = words[at]
        if word in ("AND", "OR"):
            terms.append(word.lower())
        elif word in "()":
            terms.append(word)
        else:
            if words[at + 1 : at + 2] == ["WITH"]:
                word, at = " ".join(words[at : at + 3]), at + 2
            terms.append(str(word in allowed))
        at += 1
    return bool(eval(" ".join(terms), {"__builtins__": {}}))  # only the words above get here


def main() -> int:
    with open(sys.argv[1], "rb") as file:
        config = tomllib.load(file)
    allowed = set(config["licenses"]["allow"])
    banned = {entry["crate"] for entry in config["bans"]["deny"]}
    packages = json.load(sys.stdin)["packages"]
    wrong = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if not is_allowed(package["license"] or "none", allowed):
            wrong.append(f"{name}: licence {package['license']}")
        if package["source"] not in (None, REGISTRY):
            wrong.append(f"{name}: comes from {package['source']}")
        if package["name"] in banned:
            wrong.append(f"{name}: banned")
    print("\n".join(wrong) or f"{len(packages)} packages, all allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
