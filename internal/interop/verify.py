# Verifies every DKIM signature of a message by dkimpy, with the key records
# given instead of DNS. Standard input: {"message": base64, "records": {name:
# text}}. Standard output: a list of {Domain, Selector, Valid, Error}.
import base64
import json
import sys

import dkim
from dkim.util import parse_tag_value

task = json.load(sys.stdin)
records = {name.rstrip("."): text for name, text in (task["records"] or {}).items()}


def lookup(name, timeout=0):
    text = records.get(name.decode().rstrip("."))
    return None if text is None else text.encode()


d = dkim.DKIM(base64.b64decode(task["message"]))
results = []
fields = [value for name, value in d.headers if name.lower() == b"dkim-signature"]
for i, value in enumerate(fields):
    tags = parse_tag_value(value)
    result = {
        "Domain": tags.get(b"d", b"").decode(),
        "Selector": tags.get(b"s", b"").decode(),
        "Valid": False,
        "Error": "",
    }
    try:
        result["Valid"] = d.verify(idx=i, dnsfunc=lookup)
    except dkim.DKIMException as e:
        result["Error"] = str(e)
    results.append(result)
json.dump(results, sys.stdout)
