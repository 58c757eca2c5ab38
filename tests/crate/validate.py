"""Validate a crate without network, in an environment that has roc-validator.

    python validate.py CRATE CONTEXT PROFILE

CONTEXT is a file with the JSON-LD context of RO-Crate, which the package rocrate has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from requests import Response
from rocrate_validator import models, services
from rocrate_validator.utils import document_loader, http


def answer(text: bytes) -> Response:
    response = Response()
    response.status_code, response._content = 200, text
    response.headers["Content-Type"] = "application/ld+json"
    return response


def main(crate: str, context: str, profile: str) -> int:
    text = Path(context).read_bytes()
    document_loader._fetch_json_ld = lambda _: json.loads(text)
    http.HttpRequester.get = lambda *_, **__: answer(text)
    settings = services.ValidationSettings(
        rocrate_uri=crate,
        profile_identifier=profile,
        requirement_severity=models.Severity.RECOMMENDED,
        skip_availability_check=True,
    )
    result = services.validate(settings)
    for issue in result.get_issues():
        print(f"{issue.severity.name}: {issue.message} [{issue.violatingEntity}]")
    print(f"{profile}: {len(result.executed_checks)} checks, {len(result.get_issues())} issues")
    return int(result.has_issues())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
