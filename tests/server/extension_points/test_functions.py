"""Functions: validated both ways, answered with a structured result, or refused with a problem document."""

from __future__ import annotations

from typing import Any

import pytest

from jackfield.extension_points.errors import (
    ArgumentsInvalidError,
    FunctionUnknownError,
    PluginInactiveError,
    RoleTooLowError,
)
from jackfield.extension_points.functions import _takes_plain  # pyright: ignore[reportPrivateUsage]  # decides on conversion
from jackfield_sdk import wire
from tests.server.sealed_house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/api/plugins/probe/functions"


async def test_a_call_answers_with_its_output_and_cost(house: House) -> None:
    answer = (await house.ask("POST", f"{PATH}/add", json={"arguments": {"a": 2}})).json()
    assert answer["success"] is True
    assert answer["output"] == 3
    assert answer["error"] is None
    assert answer["metrics"]["invocation_id"].startswith("inv_")


@pytest.mark.parametrize("arguments", [{}, {"a": "x"}, {"a": 1, "c": 2}, {"a": 1.5}, {"a": None}])
async def test_arguments_that_do_not_fit_never_reach_the_plugin(house: House, arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentsInvalidError):
        await house.platform.tenant(TENANT).call("probe", "add", arguments)
    response = await house.ask("POST", f"{PATH}/add", json={"arguments": arguments})
    assert response.status_code == 422
    assert response.json()["success"] is False
    assert response.json()["error"]["code"] == "arguments-invalid"


async def test_an_integer_that_came_as_a_float_is_one_to_the_author(house: House) -> None:
    result = await house.platform.tenant(TENANT).call("probe", "add", {"a": 2.0})
    assert result.output == 3, result


async def test_floats_enumerations_and_dates_arrive_as_what_they_are(house: House) -> None:
    result = await house.platform.tenant(TENANT).call(
        "probe", "typed", {"ratio": 1, "size": "large", "day": "2026-01-31"}
    )
    assert result.output == ["float", "LARGE", "date"]


async def test_only_closed_schemas_of_plain_values_go_unconverted() -> None:
    closed = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    assert _takes_plain(closed)
    assert not _takes_plain({})
    assert not _takes_plain({**closed, "additionalProperties": True})
    assert not _takes_plain({**closed, "patternProperties": {"b": {"type": "number"}}})
    assert not _takes_plain({"$ref": "#/$defs/X", "additionalProperties": False})
    for other in ({"type": "number"}, {"type": "string", "format": "date"}, {"enum": ["a"]}, {"$ref": "#/$defs/X"}):
        assert not _takes_plain({**closed, "properties": {"a": other}})


async def test_what_does_not_fit_its_own_declaration_is_the_plugins_defect(house: House) -> None:
    result = await house.platform.tenant(TENANT).call("probe", "liar", {})
    assert not result.success
    assert result.error is not None
    assert result.error.code == "result-invalid"


async def test_a_plugins_failure_is_an_answer(house: House) -> None:
    response = await house.ask("POST", f"{PATH}/user_error", json={})
    assert response.status_code == 200
    assert response.json()["error"] == {"code": "token-expired", "message": "no such customer", "hint": "Look again."}


async def test_roles_are_held(house: House) -> None:
    assert (await house.ask("POST", f"{PATH}/owners_only", "owner", json={})).json()["output"] == "owner"
    for role in ("admin", "member"):
        response = await house.ask("POST", f"{PATH}/owners_only", role, json={})
        assert response.status_code == 403
        assert response.json()["code"] == "role-too-low"
    with pytest.raises(RoleTooLowError):
        await house.platform.tenant(TENANT).call("probe", "owners_only", {}, caller=wire.Caller("x", "operator"))
    assert (await house.platform.tenant(TENANT).call("probe", "owners_only", {})).output == "host"


async def test_unknown_names_are_missing(house: House) -> None:
    with pytest.raises(FunctionUnknownError):
        await house.platform.tenant(TENANT).call("probe", "nothing", {})
    for slug in ("nothing", "probe@default", "probe@other", "probe%40x", "PROBE"):
        with pytest.raises(PluginInactiveError):
            await house.platform.tenant(TENANT).call(slug, "add", {"a": 1})
        assert (await house.ask("POST", f"/api/plugins/{slug}/functions/add", json={})).status_code == 404
    with pytest.raises(PluginInactiveError):
        await house.platform.tenant("empty").call("probe", "add", {"a": 1})


async def test_operators_are_of_no_tenant(house: House) -> None:
    assert (await house.ask("POST", f"{PATH}/add", "operator", json={"arguments": {"a": 1}})).status_code == 403


@pytest.mark.parametrize("body", ['{"arguments": {"\\ud800": 1}}', '{"arguments": {"a": NaN}}', '{"\\ud800": 1}'])
async def test_what_json_should_not_carry_is_a_problem_and_no_defect_of_ours(house: House, body: str) -> None:
    response = await house.ask("POST", f"{PATH}/add", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422, response.text
    assert response.json()["code"]


async def test_the_listing_names_every_function_with_its_schemas(house: House) -> None:
    listing = {item["name"]: item for item in (await house.ask("GET", "/api/functions", "member")).json()}
    assert listing["add"]["parameters"]["required"] == ["a"]
    assert listing["owners_only"]["role"] == "owner"
    assert (await house.ask("GET", "/api/functions?plugin=none", "member")).json() == []
