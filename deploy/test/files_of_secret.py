#!/usr/bin/env python3
"""Writes what is in a Secret (a manifest on standard input) as files into a folder."""

import base64
import pathlib
import sys

import yaml

secret = yaml.safe_load(sys.stdin)
texts = dict(secret.get("stringData", {}))
texts |= {name: base64.b64decode(data).decode() for name, data in secret.get("data", {}).items()}
for name, text in texts.items():
    (pathlib.Path(sys.argv[1]) / name).write_text(text)
