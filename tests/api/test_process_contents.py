"""What is put into a process over HTTP, what it waits for, and what it has signed."""

from typing import Any

from app.domain.workflow.waits import arrive
from tests.api.conftest import Api
from tests.api.test_reopenings import ask
from tests.factories import SYSTEM
from tests.service.workflow.bank import approval, manual, reviewed

QUESTIONS = [
    {"code": "complete", "label": "Is the population complete?", "expected": "yes"},
    {"code": "source", "label": "Which source?", "type": "choice", "options": ["ECB", "Desk"], "required": False},
]
CHECKLIST = [{"code": "rates", "label": "Rates are in"}]


async def path(api: Api, code: str) -> str:
    return f"/process-runs/{(await api.row(code))['id']}"


async def test_questions_are_read_answered_and_taken_back(api: Api) -> None:
    await api.run([manual("a", questions=QUESTIONS)])
    at = await path(api, "a")
    asked = (await api.as_("preparer").get(f"{at}/questions")).json()
    assert [(q["code"], q["mandatory"], q["options"], q["answer"], q["as_expected"]) for q in asked] == [
        ("complete", True, ["yes", "no"], None, None),
        ("source", False, ["ECB", "Desk"], None, None),
    ]
    refused = await api.as_("preparer").post(f"{at}/questions/complete", json={"answer": "no"})
    assert (refused.status_code, [p["path"] for p in refused.json()["errors"]]) == (422, ["comment"])
    body = {"answer": "No", "comment": "Two trades come tomorrow."}
    answered = await api.as_("preparer").post(f"{at}/questions/complete", json=body)
    first = answered.json()[0]
    assert (first["answer"], first["comment"], first["as_expected"]) == ("no", body["comment"], False)
    assert first["answered_by"] == str(api.people["preparer"].id)
    row = await api.row("a")
    submitted = await api.as_("preparer").post(
        f"{at}/transitions/submit", json={"expected_version": row["row_version"]}
    )
    assert submitted.status_code == 200, submitted.text
    late = await api.as_("preparer").post(f"{at}/questions/complete", json={"answer": ""})
    assert (late.status_code, late.json()["code"]) == (409, "transition_refused")


async def test_the_same_answer_sent_again_under_its_key_is_recorded_once(api: Api) -> None:
    await api.run([manual("a", questions=QUESTIONS)])
    at = await path(api, "a")
    answers = [
        await api.as_("preparer").post(
            f"{at}/questions/complete", json={"answer": "yes"}, headers={"idempotency-key": "answer-1"}
        )
        for _ in range(2)
    ]
    assert answers[0].content == answers[1].content
    assert await api.count("SELECT count(*) FROM audit_entry WHERE command = 'answer'") == 1


async def test_a_checklist_is_read_and_ticked_by_who_prepares_it(api: Api) -> None:
    await api.run([manual("a", checklist=CHECKLIST)])
    at = await path(api, "a")
    ticked = await api.as_("preparer").post(f"{at}/checklist/rates", json={"done": True})
    assert [(i["code"], i["done"], i["ticked_by"]) for i in ticked.json()] == [
        ("rates", True, str(api.people["preparer"].id))
    ]
    assert (await api.as_("auditor").get(f"{at}/checklist")).json() == ticked.json()
    for who, code, status in (("auditor", "rates", 403), ("preparer", "nothing", 404)):
        answer = await api.as_(who).post(f"{at}/checklist/{code}", json={"done": False})
        assert answer.status_code == status, answer.text


async def test_a_wait_tells_what_it_waits_for_and_what_came(api: Api) -> None:
    wait = {"kind": "event", "event": "workflow_run.confirmed", "condition": {"variant": {"eq": "x"}}}
    await api.run([{"code": "w", "kind": "wait_for", "owner_role": "operations", "wait": wait}, manual("a")])
    at = await path(api, "w")
    found = (await api.as_("preparer").get(f"{at}/wait")).json()
    told = {name: found[name] for name in ("kind", "event", "condition", "counts_before_its_turn", "arrived_at")}
    assert told == {**wait, "counts_before_its_turn": False, "arrived_at": None}
    async with api.runtime.uow(SYSTEM) as uow:
        await arrive(uow, process_run_id=(await api.row("w"))["id"], arrival={"kind": "event", "event": "x"})
    found = (await api.as_("preparer").get(f"{at}/wait")).json()
    assert (found["arrived_at"] is not None, found["arrival"]["event"]) == (True, "x")
    other = await api.as_("preparer").get(f"{await path(api, 'a')}/wait")
    assert (other.status_code, "waits for nothing" in other.json()["detail"]) == (404, True)


async def test_a_sign_off_tells_what_it_signs_and_what_it_signed(api: Api) -> None:
    sign_off: dict[str, Any] = {**approval("sign", "controller"), "kind": "sign_off"}
    await api.run([manual("a"), sign_off, manual("last")], [("a", "sign"), ("sign", "last")])
    await api.do("submit", "a", "preparer", comment="done")
    at = f"{await path(api, 'sign')}/signed-content"
    found = (await api.as_("auditor").get(at)).json()
    line = {"id": str((await api.row("a"))["id"]), "label": "A", "signed": None, "now": "done", "changed": False}
    assert found == {"open": True, "changed": False, "figures_changed": False, "processes": [line]}
    await api.do("approve", "sign", "controller")
    found = (await api.as_("auditor").get(at)).json()
    assert (found["open"], found["changed"], found["processes"]) == (False, False, [{**line, "signed": "done"}])
    other = await api.as_("auditor").get(f"{await path(api, 'a')}/signed-content")
    assert (other.status_code, "is no sign-off" in other.json()["detail"]) == (404, True)


async def test_a_process_tells_how_it_was_signed_before_its_run_was_restated(api: Api) -> None:
    await api.run([reviewed("prepare"), manual("publish")], [("prepare", "publish")])
    await api.do("submit", "prepare", "preparer", comment="As of noon")
    await api.do("approve", "prepare", "controller")
    await api.do("submit", "publish", "preparer")
    at = f"{await path(api, 'prepare')}/statements"
    assert (await api.as_("auditor").get(at)).json() == []
    asked = await ask(api)
    await api.as_("operations").post(f"/process-reopenings/{asked.json()['id']}/confirm")
    (statement,) = (await api.as_("auditor").get(at)).json()
    kept = statement["process"]
    assert (statement["number"], kept["code"], kept["comment"]) == (1, "prepare", "As of noon")
    assert [signature["by"] for signature in kept["signatures"]] == ["controller"]


async def test_a_desk_reads_and_answers_nothing_of_another(api: Api) -> None:
    await api.run([manual("theirs", node="EM-1", questions=QUESTIONS, checklist=CHECKLIST)])
    at = await path(api, "theirs")
    for part in ("questions", "checklist", "wait", "signed-content", "statements"):
        assert (await api.as_("g10").get(f"{at}/{part}")).status_code == 404, part
    for part, body in (("questions/complete", {"answer": "yes"}), ("checklist/rates", {"done": True})):
        assert (await api.as_("g10").post(f"{at}/{part}", json=body)).status_code == 404, part
    assert await api.count("SELECT count(*) FROM question_answer") == 0
