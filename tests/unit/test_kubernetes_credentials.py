"""Tokens of files and commands."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from collector.kubernetes.api_errors import ApiUnavailable
from collector.kubernetes.credentials import Token


def test_token_of_a_command() -> None:
    async def scenario() -> None:
        token = Token("/nowhere", f"{sys.executable} -c \"print('abc def')\"", 600)
        assert await token.value() == "abc"
        with pytest.raises(ApiUnavailable, match="ended with 3"):
            await Token("", f'{sys.executable} -c "raise SystemExit(3)"', 600).value()
        with pytest.raises(ApiUnavailable, match="failed"):
            await Token("", "/nowhere/command", 600).value()

    asyncio.run(scenario())


def test_token_is_read_again_after_its_time(tmp_path: Path) -> None:
    file = tmp_path / "token"

    async def scenario() -> None:
        assert await Token(str(file), "", 600).value() == ""
        file.write_text("one")
        lasting, short = Token(str(file), "", 600), Token(str(file), "", 0)
        assert (await lasting.value(), await short.value()) == ("one", "one")
        file.write_text("two\r\nX-Other: header")
        assert (await lasting.value(), await short.value()) == ("one", "two")
        lasting.forget()
        assert await lasting.value() == "two"
        with pytest.raises(ApiUnavailable, match="can't be read"):
            await Token(str(tmp_path), "", 600).value()

    asyncio.run(scenario())
