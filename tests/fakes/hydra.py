"""A Hydra on 127.0.0.1: answers as the real one does, counts, and fails as it is told.

Its wire forms were written down from NixOS/hydra (subprojects/hydra/lib/Hydra) and name the file
they are from: rows in hydra_tables.py, addresses in hydra_routes.py, content negotiation here.
`fail` plans what goes wrong on the way: 500, 429, silence, a broken connection, another body.
"""

import json
from collections.abc import Mapping
from functools import partial

from tests.fakes import hydra_routes
from tests.fakes.faults import Fault
from tests.fakes.hydra_tables import NotFound, Tables
from tests.fakes.server import Faulty, HttpServer, Planned


class FakeHydra(Tables, Planned):
    """A server over its tables."""

    def __init__(self, local_store: bool = False) -> None:
        Tables.__init__(self, local_store)
        Planned.__init__(self, HttpServer(partial(_Handler, self)))


class _Handler(Faulty[FakeHydra]):
    def answer(self, fault: Fault | None) -> None:
        """Find what an address stands for."""
        try:
            found = hydra_routes.answer(self.fake, self.path)
        except NotFound as error:
            # Controller/Root.pm, end: an error is shown as what was asked for.
            self._show(404, {"error": str(error)}, True)
            return
        if found.location is not None:
            location = f"{self.fake.url}{found.location}"
            self.give(302, {"Location": location, "Content-Type": "text/html"}, b"<a>moved</a>")
        elif found.plain is not None:
            headers = {
                "Content-Type": found.kind,
                "Content-Security-Policy": "sandbox allow-scripts",
            }
            self.give(200, headers, found.plain, fault)
        else:
            self._show(200, found.value, found.template, fault)

    def _show(self, code: int, value: object, template: bool, fault: Fault | None = None) -> None:
        """Base/Controller/REST.pm: JSON for who asks for it by name, else a page for people.

        `Accept: */*` is not by name: the default is text/html. Without a template that fails.
        """
        accepted = {
            each.partition(";")[0].strip() for each in self.headers.get("Accept", "").split(",")
        }
        if accepted & {"application/json", "text/x-json"}:
            headers = {"Content-Type": "application/json"}
            self.give(code, headers, json.dumps(value).encode(), fault)
        else:
            headers = {"Content-Type": "text/html; charset=utf-8"}
            self.give(code if template else 500, headers, b"<!DOCTYPE html><title>Hydra</title>")

    def head(self, code: int, headers: Mapping[str, str]) -> None:
        """Controller/Root.pm, begin: one address, two answers."""
        super().head(code, {"Vary": "Accept", **headers})
