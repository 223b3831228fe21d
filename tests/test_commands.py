"""The operator's command line."""

import re

from flask import Flask

from portal.accounts import access


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=list(arguments))
    return result.exit_code, result.output


def test_a_workspace_a_person_and_a_key_are_created_in_turn(app: Flask) -> None:
    assert run(app, "create-workspace", "Alma Stays", "--plan", "pro")[0] == 0
    code, link = run(app, "create-user", "Alice@Alma.example", "--workspace", "Alma Stays", "--admin")
    assert code == 0
    token = re.fullmatch(r"http://localhost:\d+/sign-in/link\?token=(\S+)\n", link)
    assert token
    user = access.user_of_session(access.sign_in_by_link(token[1]))
    assert user
    assert (user.email, user.is_admin, user.workspace.plan.name) == ("alice@alma.example", True, "pro")
    code, key = run(app, "create-api-key", "--workspace", "Alma Stays", "--admin")
    assert code == 0
    assert re.fullmatch(r"fr_live_\S{32}\n", key), "only the key"
    assert access.key_of_secret(key.strip()).is_admin


def test_the_buckets_can_be_prepared_repeatedly(app: Flask) -> None:
    for _ in range(2):
        assert run(app, "prepare-buckets") == (0, "Both buckets are ready.\n")


def test_an_error_is_a_sentence_and_an_exit_status(app: Flask) -> None:
    run(app, "create-workspace", "Alma Stays")
    for arguments in (
        ("create-workspace", "Alma Stays"),
        ("create-workspace", " "),
        ("create-user", "no address", "--workspace", "Alma Stays"),
        ("create-user", "a@b.example", "--workspace", "Nobody's"),
        ("create-api-key", "--workspace", "Nobody's"),
    ):
        code, output = run(app, *arguments)
        assert code == 1
        assert output.startswith("Error: ")
        assert "Traceback" not in output
