# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.bundle.assemble import assemble
from evidencerun.bundle.escape import markdown, plain_text
from evidencerun.errors import EvidenceError
from evidencerun.report.contents import render_contents
from evidencerun.report.text import render
from evidencerun.report.words import recipe_title
from evidencerun.verify.run import refused, verify_bundle

NOW = datetime(2026, 9, 21, tzinfo=UTC)
NASTY = "\x1b[2J\x1b]0;owned\x07 \u202eevil\u2066 \r\nACCEPTED (exit 0)\x00\x9b31m"


def test_an_accepted_bundle_says_what_it_proves_and_what_not(sealed_bundle, signing_key):
    text = render(verify_bundle(sealed_bundle, now=NOW, key_pem=signing_key.pem))
    assert text.startswith("ACCEPTED (exit 0)")
    assert "accelerator none: nothing is claimed about GPUs" in text
    assert "Does not prove: that nobody but the signer saw this cluster" in text
    assert "2 declared, 2 passed, 0 failed, 0 skipped, 0 other" in text


def test_a_refused_bundle_shows_no_number_and_no_word_of_success(sealed_bundle, signing_key):
    files = {**sealed_bundle, "run.json": b"{}"}
    text = render(verify_bundle(files, now=NOW, key_pem=signing_key.pem))
    assert text.startswith("INVALID (exit 20)  do not use this bundle")
    assert "  2-7 not judged, because the answer to question 1 is no" in text
    assert "passed" not in text
    assert "Does not prove" not in text


def test_only_exit_code_0_has_a_word_of_success(sealed_bundle, signing_key):
    for options in ({}, {"key_pem": signing_key.pem, "max_age": 1}):
        text = render(verify_bundle(sealed_bundle, now=NOW, **options))
        assert "ACCEPTED" not in text


def test_nothing_from_a_bundle_reaches_the_terminal_raw(composed_run, compose_attempt, seal, signing_key):
    attempts = (
        compose_attempt("expected-resources", status="failed", message=NASTY),
        compose_attempt("node-agreement", status="failed", message=NASTY),
    )
    bundle = assemble(composed_run.with_changes(attempts=attempts).inputs())
    text = render(verify_bundle(seal(bundle), now=NOW, key_pem=signing_key.pem))
    assert text.startswith("CHECKS_FAILED (exit 10)")
    assert all(char == "\n" or char.isprintable() for char in text)
    assert not any(line.startswith("ACCEPTED") for line in text.splitlines())
    for path in ("evidence/deployment.md",):
        page = bundle.files[path].decode()
        assert all(char == "\n" or char.isprintable() for char in page)


def test_what_the_recipe_leaves_open_is_not_shown_as_matched(sealed_bundle):
    rows = dict(line.split(None, 1) for line in render_contents(sealed_bundle).splitlines() if line.count(" | ") == 2)
    assert rows["accelerator"] == "none | none | matched"
    assert rows["intent"] == "- | - | not asked"


@pytest.fixture
def bad_bundle(composed_run, compose_attempt, seal):
    """A check that failed in two lines, and one that skipped itself for a reason of its own."""
    extra = b'##AICR-EXTRA## {"skipReason": "single-machine"}\n'
    attempts = (
        compose_attempt("expected-resources", status="failed", message="1 of 2 is not ready\n- Deployment x"),
        compose_attempt("node-agreement", status="skipped", reason="stated", message="single-machine", log=extra),
    )
    return seal(assemble(composed_run.with_changes(attempts=attempts).inputs()))


def test_a_message_of_several_lines_is_one_line(bad_bundle, signing_key):
    sentence = "1 of 2 is not ready - Deployment x"
    verified = render(verify_bundle(bad_bundle, now=NOW, key_pem=signing_key.pem))
    assert f"failed: deployment/expected-resources: {sentence}\n" in verified
    assert f"    {sentence}\n" in render_contents(bad_bundle)


def test_a_skip_shows_the_reason_of_the_check_itself(bad_bundle):
    (line,) = (line for line in render_contents(bad_bundle).splitlines() if "single-machine" in line)
    assert line.split() == ["deployment", "node-agreement", "skipped", "(single-machine)"]


def test_the_page_of_a_phase_says_it_too_and_has_a_message_on_one_line(bad_bundle):
    page = bad_bundle["evidence/deployment.md"].decode()
    assert "| node-agreement | skipped | single-machine | 1 |" in page
    assert "\n1 of 2 is not ready - Deployment x\n" in page


def test_a_recipe_that_asks_for_no_accelerator_is_not_mistaken_for_no_recipe(sealed_bundle, signing_key):
    assert recipe_title("none") == "none (accelerator none)"
    assert recipe_title("h100-eks") == "h100-eks"
    assert recipe_title("recipe") == "recipe (no criteria)"
    verified = render(verify_bundle(sealed_bundle, now=NOW, key_pem=signing_key.pem))
    assert "recipe none-ubuntu (accelerator none), sealed" in verified
    assert "Recipe      none-ubuntu (accelerator none)  digest" in render_contents(sealed_bundle)


def test_errors_with_hostile_places_are_escaped():
    text = render(refused(EvidenceError("E2005", "a file", where=NASTY, why=NASTY)))
    assert all(char == "\n" or char.isprintable() for char in text)


@given(st.text(max_size=500))
def test_plain_text_is_one_printable_line(text):
    shown = plain_text(text, at_most=1000)
    harmful = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert not [char for char in shown if unicodedata.category(char) in harmful]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words 1.2-3", "plain words 1.2-3"),
        ("[click](https://evil)", r"\[click\]\(https\://evil\)"),
        ("<img src=x>", r"&lt;img src=x&gt;"),
        ("a|b", r"a\|b"),
        ("`code`", r"\`code\`"),
        ("a\nb", "a\\\\u\\{a\\}b"),
        ("10:03:00", "10:03:00"),
        ("see WWW.evil.example", r"see WWW\.evil.example"),
        ("@team #1 &amp;", r"\@team \#1 \&amp;"),
    ],
)
def test_markdown_shows_text_as_it_is(text, shown):
    assert markdown(text) == shown
