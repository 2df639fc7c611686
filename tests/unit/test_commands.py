from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tracker.cli import main
from tracker.commands import output
from tracker.commands.journey import lines, view
from tracker.domain.events import Event, Item
from tracker.domain.merging import absorb, merge
from tracker.domain.model import FoldSettings
from tracker.domain.outputs import AbsorbState, Output
from tracker.domain.state import new_state
from tracker.domain.step import accept
from tracker.domain.table import compile_table
from tracker.errors import SettingError, Unavailable
from tracker.journeys.loader import load
from tracker.settings import Settings
from tracker.stream.erasing import Erased
from tracker.stream.replay import Replayed, Sent
from tracker.wire.deadletters import DeadLetter, Origin

T0 = 1_772_442_000_000
KASSE = Path(__file__).parents[2] / "docs" / "examples" / "kasse.yaml"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TRACKER_"):
            monkeypatch.delenv(name)


def call(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def test_a_wrong_setting_is_one_line_and_exit_code_2() -> None:
    result = call("settings", "--session-gap", "5")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --session-gap is '5' (not a duration); allowed: ")
    assert result.stderr.count("\n") == 1


def test_a_model_that_cannot_be_used_is_named_before_anything_is_started() -> None:
    result = call("worker", "--model", "nettbutik-5", "--brokers", "127.0.0.1:1")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: TRACKER_MODEL: 'nettbutik-5' is neither a built-in model nor a file")


def test_an_unknown_flag_names_the_nearest() -> None:
    result = call("worker", "--sesion-gap", "5m")
    assert result.exit_code == 2
    assert "--session-gap" in result.stderr


def test_who_is_erased_is_found_under_the_id_that_ingest_made_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run_erase(settings: Settings, persons: list[str], patience: float) -> list[Erased]:
        asked.append(persons)
        return []

    monkeypatch.setattr("tracker.wiring.run_erase", run_erase)
    for person in ("NINA", "c:NINA", "nina", "a:NINA"):
        assert call("erase", person, "--customer-ids", "lower").exit_code == 0
    assert asked == [["c:nina", "c:NINA", "a:NINA"], ["c:nina", "c:NINA"], ["c:nina", "a:nina"], ["a:NINA"]]


@pytest.mark.parametrize("person", ["b:acme", "order:1001", "cart:7", "checkout:7"])
def test_what_is_no_person_is_not_said_to_be_erased(person: str) -> None:
    result = call("erase", person)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: PERSON is {person}; allowed: ")


@pytest.mark.parametrize(("error", "code"), [(Unavailable("broker x is away"), 1), (SettingError("wrong"), 2)])
def test_an_error_of_the_tracker_is_one_line_without_a_traceback(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("tracker.wiring.run_worker", fail)
    result = call("worker")
    assert (result.exit_code, result.stderr) == (code, f"Error: {error}\n")


def test_the_worker_gets_its_settings_its_stage_and_its_number_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: list[Any] = []
    monkeypatch.setattr("tracker.wiring.run_worker", lambda *args: got.extend(args))
    monkeypatch.setenv("TRACKER_NAMESPACE", "acme.")
    assert call("worker", "--only", "track", "--processes", "3", "--session-gap", "45m").exit_code == 0
    settings, only, processes = got
    assert (settings.namespace, settings.session_gap, only, processes) == ("acme.", 45 * 60_000, "track", 3)


def test_settings_are_listed_for_people_scripts_and_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_REDIS_URL", "redis://:s3cret@redis:6379/0")
    listed = json.loads(call("settings", "--json").stdout)
    assert {"name", "value", "default", "meaning", "allowed"} == set(listed[0])
    for args in ([], ["--json"], ["--markdown"]):
        result = call("settings", *args)
        assert result.exit_code == 0
        assert "TRACKER_SESSION_GAP" in result.stdout
        assert "s3cret" not in result.output


def test_an_unknown_variable_is_a_warning_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_BROKER", "kafka:9092")
    result = call("settings")
    assert result.exit_code == 0
    assert "Warning: TRACKER_BROKER is not a setting and is ignored. Did you mean TRACKER_BROKERS?" in result.stderr


def test_models_are_listed_shown_checked_and_drawn(tmp_path: Path) -> None:
    assert json.loads(call("models", "list", "--json").stdout)[0]["id"]
    assert "nettbutikk-5" in call("models", "list").stdout
    shown = tmp_path / "shop.yaml"
    shown.write_text(call("models", "show", "nettbutikk-5").stdout, encoding="utf-8")
    assert call("models", "validate", str(shown)).stdout.startswith("nettbutikk-5 version 1 is valid")
    assert (
        call("models", "show", str(shown), "--json").stdout == call("models", "show", "nettbutikk-5", "--json").stdout
    )
    assert "kjøp" in call("models", "draw", "nettbutikk-5").stdout
    svg = tmp_path / "model.svg"
    assert call("models", "draw", str(shown), "--svg", str(svg)).exit_code == 0
    assert svg.read_text(encoding="utf-8").startswith("<svg")
    assert call("models", "draw", str(shown), "--svg", str(tmp_path / "no" / "model.svg")).exit_code == 2


def test_a_model_with_an_error_is_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("id: x\nfases: []\n", encoding="utf-8")
    result = call("models", "validate", str(file))
    assert result.exit_code == 2
    assert f"Error: {file}:2: fases is not a key. Did you mean phases?" in result.stderr


@pytest.mark.parametrize(
    ("given", "ms"),
    [("2026-03-02T09:00:00Z", T0), ("2026-03-02T10:00:00+01:00", T0), ("2026-03-02T09:00:00", T0), (str(T0), T0)],
)
def test_until_is_a_time_with_or_without_zone_or_milliseconds(
    given: str, ms: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[Any] = []

    def run_replay(settings: object, files: object, speed: object, rebase: object, until: int, **_: object) -> None:
        got.append(until)
        raise SettingError("enough")

    monkeypatch.setattr("tracker.wiring.run_replay", run_replay)
    file = tmp_path / "events.jsonl"
    file.touch()
    call("replay", str(file), "--until", given)
    assert got == [ms]
    assert call("replay", str(file), "--until", "tomorrow").exit_code == 2
    for speed in ("nan", "inf", "0", "-1"):
        assert call("replay", str(file), "--speed", speed).exit_code == 2


def state_of(*events: Event) -> Any:
    state = new_state("c:42")
    table = compile_table(load("nettbutikk-5"), FoldSettings())
    for event in events:
        accept(state, event, table, T0 - 1, [])
    return state


def test_a_journey_is_shown_with_phases_cart_and_what_is_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    dress = Item("dress-12", name="Kjole", quantity=2, price=899.0)
    state = state_of(
        Event("e1", "product_viewed", T0, customer_id="42"),
        Event("e2", "product_added", T0 + 1000, customer_id="42", items=[dress], currency="NOK"),
    )
    model = load("nettbutikk-5")
    shown = view(state, [model])
    assert shown["journey"]["path"] == ["vurdering", "kjop"]
    assert shown["journey"]["touchpoints_met"] == ["product_viewed", "product_added"]
    assert shown["armed"]["reason"] == "cart_abandoned"
    text = "\n".join(lines(shown, [model]))
    assert "vurdering → kjøp" in text
    assert "2 × Kjole" in text
    assert "cart_abandoned at 2026-03-02 13:00:01" in text
    monkeypatch.setattr("tracker.wiring.show_journey", lambda _, person: (state, [model]) if person == "c:42" else None)
    assert json.loads(call("journey", "42", "--json").stdout)["person_id"] == "c:42"
    assert "2 × Kjole" in call("journey", "c:42").stdout


def test_an_order_that_was_given_back_is_not_called_cancelled_and_what_waits_says_what_it_asks() -> None:
    model = load("nettbutikk-5")
    bought = Event("e1", "order_completed", T0, customer_id="42", order_id="O1", value=100.0, currency="NOK")
    back = Event("e2", "order_refunded", T0 + 1000, customer_id="42", order_id="O1", value=100.0, currency="NOK")
    text = "\n".join(lines(view(state_of(bought, back), [model]), [model]))
    assert "O1  100.00 NOK cancelled, or refunded in full" in text
    assert "second_purchase, unless something happens; only if then 1 order\n" in text
    assert "win_back, unless something happens; only if then 30d or longer since the last activity\n" in text
    assert "in all       0 orders" in text


@pytest.mark.parametrize("asked", ["cart:K", "K", "c:42", "0042", "a:v"])
def test_a_journey_is_found_by_any_id(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_CUSTOMER_IDS", "number")
    customer, visitor = state_of(Event("e1", "product_viewed", T0, customer_id="42")), new_state("a:v")
    visitor.merged_into = "c:42"
    known, claimed = {"c:42": (customer, [load("nettbutikk-5")]), "a:v": (visitor, [])}, {"cart:K": ["a:v"]}
    monkeypatch.setattr("tracker.wiring.show_journey", lambda _, person: known.get(person))
    monkeypatch.setattr("tracker.wiring.find_claimants", lambda _, key: claimed.get(key, []))
    result = call("journey", asked, "--json")
    assert json.loads(result.stdout)["person_id"] == "c:42"
    assert ("cart:K was named by a:v." in result.stderr) == ("K" in asked)


def test_the_journeys_of_all_models_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [load("nettbutikk-5"), load("kundereise-7"), load("klage")]
    state = new_state("c:42")
    table = compile_table(models[0], FoldSettings(), *models[1:])
    accept(state, Event("e1", "product_viewed", T0, customer_id="42"), table, T0 - 1, [])
    shown = view(state, models)
    assert shown["journey"]["phase"] == "vurdering"
    assert shown["other_models"]["kundereise-7"]["journey"]["phase"] == "overveielse"
    assert shown["other_models"]["klage"] == {"journey": None, "converted": []}
    text = lines(shown, models)
    assert [line.strip() for line in text if line.startswith("  by ")] == ["by kundereise-7"]
    assert "  by klage" not in text
    monkeypatch.setattr("tracker.wiring.show_journey", lambda *_: (state, models))
    assert "overveielse" in call("journey", "c:42").stdout


def test_a_member_and_their_account_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("nettbutikk-5-bedrift")
    table = compile_table(model, FoldSettings())
    member, account, out = new_state("c:42"), new_state("b:firma"), list[Output]()
    accept(member, Event("e1", "product_viewed", T0, customer_id="42", account_id="firma"), table, T0 - 1, out)
    (past,) = [output for output in out if isinstance(output, AbsorbState)]
    assert table.account is not None
    absorb(account, past.source, past.ts, past.payload, table.account, T0 - 1, [])
    assert "  acts for     b:firma" in "\n".join(lines(view(member, [model]), [model]))
    monkeypatch.setattr("tracker.wiring.show_journey", lambda _, person: (account, [model]))
    assert "  members      c:42" in call("journey", "b:firma").stdout.splitlines()


def test_a_device_of_two_customers_says_so_and_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("nettbutikk-5")
    state = new_state("a:tablet\x1b[31m")
    for customer in ("c:nina", "c:oliver"):
        merge(state, customer, T0, compile_table(model, FoldSettings()), T0, [])
    monkeypatch.setattr("tracker.wiring.show_journey", lambda _, person: (state, [model]) if person[0] == "a" else None)
    shown = call("journey", "a:tablet").stdout
    assert "shared       by c:nina, c:oliver" in shown
    assert "a:tablet\\x1b[31m" in shown
    assert "\x1b" not in shown


def test_without_a_terminal_a_long_replay_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("tracker.commands.output.time.monotonic", lambda: now[0])
    with output.replay_progress() as report:
        for second in range(25):
            now[0] = 100.0 + second
            report(Sent(sent=1000 * second, total=100_000, watermark=T0, first=T0, end=T0 + 1, still=0.0))
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" events")[0] for line in said] == ["10,000 of 100,000", "20,000 of 100,000"]
    assert "1,000/s, 90 s left" in said[0]


def test_an_order_is_shown_in_the_currency_s_own_unit() -> None:
    state = state_of(
        Event("e1", "order_completed", T0, customer_id="42", order_id="o1", value=500.0, currency="NOK"),
    )
    model = load("nettbutikk-5")
    shown = view(state, [model])
    assert shown["revenue"] == {"NOK": 500.0}
    assert shown["converted"][0]["order_id"] == "o1"
    assert "500.00 NOK" in "\n".join(lines(shown, [model]))


def test_a_replay_says_how_many_lines_it_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = Replayed(events=1, first=T0, last=T0, end=T0 + 1, shift=0, markers=1, seconds=0.1)
    monkeypatch.setattr("tracker.wiring.run_replay", lambda *_, **__: (done, 2))
    file = tmp_path / "events.jsonl"
    file.write_text("")
    assert "2 lines left out: no canonical events." in call("replay", str(file), "--skip-bad").stdout
    assert json.loads(call("replay", str(file), "--skip-bad", "--json").stdout)["left_out"] == 2


def test_dead_letters_are_one_line_each_and_steer_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = Origin("shop.clicks", 0, 7, T0)
    letter = DeadLetter("not_json", "JSON is malformed", origin, None, b"{\n\t\x1b[2J\xff", (), 7, pointer=False)
    monkeypatch.setattr("tracker.wiring.list_dead_letters", lambda *_, **__: [letter])
    _, line = call("dead-letters", "list").stdout.splitlines()
    assert line.split("\t")[-1] == r"{\n\t\x1b[2J\xff"


@pytest.mark.parametrize("command", ["read", "check", "replay"])
def test_a_file_that_is_damaged_is_one_line_without_a_traceback(command: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl.gz"
    file.write_bytes(gzip.compress(b"{}" * 100)[:10] + b"\xff" * 20)
    arguments = {"read": ["dialects", "read"], "check": ["dialects", "check", str(KASSE)], "replay": ["replay"]}
    result = call(*arguments[command], str(file))
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_a_sample_that_is_nested_too_deeply_is_refused_as_a_record_is(tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    file.write_text('{"a":' * 50_000)
    result = call("dialects", "read", str(file))
    assert result.exit_code == 1
    assert "deep.json:1: too_deep" in result.stderr


def test_somebody_never_seen_is_named_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.wiring.show_journey", lambda *_: None)
    monkeypatch.setattr("tracker.wiring.find_claimants", lambda *_: [])
    result = call("journey", "nobody")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: nothing is known about c:nobody or a:nobody")


def test_help_does_not_load_the_clients_of_kafka_and_redis() -> None:
    program = (
        "import sys; import tracker.cli; "
        "print([name for name in ('aiokafka', 'redis', 'faust', 'uvloop') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
