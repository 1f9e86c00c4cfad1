"""Every example of a description fits the schema that it stands beside."""

import json
import sys

import jsonschema_rs

with open(sys.argv[1]) as file:
    DOCUMENT = json.load(file)
checked, wrong = 0, []


def check(schema, example, at):
    global checked
    checked += 1
    # As in a document of its own, in which references lead to the same place.
    whole = {"components": DOCUMENT["components"], "allOf": [schema]}
    for error in jsonschema_rs.Draft202012Validator(whole).iter_errors(example):
        wrong.append(f"{at}: {error.message}")


def walk(value, at):
    if isinstance(value, dict):
        if "schema" in value and "example" in value:
            check(value["schema"], value["example"], at)
        for name, member in value.items():
            if name not in ("example", "examples"):
                walk(member, f"{at}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            walk(item, f"{at}/{index}")


walk(DOCUMENT, "")
for name, schema in DOCUMENT["components"]["schemas"].items():
    for example in schema.get("examples", []):
        check(schema, example, name)
        # A frame is one of those that there are, and no other.
        if name.endswith("Frame") and name != "Frame":
            check({"$ref": "#/components/schemas/Frame"}, example, f"{name} as a Frame")
print("\n".join(wrong), end="\n" if wrong else "")
sys.exit(f"{len(wrong)} of {checked} examples do not fit") if wrong else print(f"{checked} examples fit their schemas")
