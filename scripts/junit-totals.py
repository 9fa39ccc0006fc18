"""Prints `PASSED FAILED SKIPPED` of a JUnit report, where a test that passed but said `SKIPPED:` was skipped."""

import sys
import xml.etree.ElementTree as ElementTree

passed = failed = skipped = 0
for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
    output = "".join(part.text or "" for part in case if part.tag in ("system-out", "system-err"))
    if case.find("failure") is not None or case.find("error") is not None:
        failed += 1
    elif case.find("skipped") is not None or "SKIPPED:" in output:
        skipped += 1
    else:
        passed += 1
print(passed, failed, skipped)
