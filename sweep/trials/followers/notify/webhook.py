"""A message to a Slack-compatible webhook: Slack, Mattermost, Rocket.Chat, or Discord's address that ends in /slack."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.request

SECONDS = 10  # for an answer
PAUSES = (1.0, 4.0)  # between tries
AGAIN = (408, 429)  # statuses of the server, beside its own faults


class WebhookError(Exception):
    """A message was not taken. It never names the address, which is the secret."""


def fault(variable: str) -> str | None:
    """What is wrong with the address in a variable of the environment, without showing it; None where nothing is."""
    address = os.environ.get(variable, "").strip()
    if not address:
        return f"the environment variable {variable} is not set: export it, or remove this field"
    if not address.startswith(("https://", "http://")) or any(c.isspace() for c in address):
        return f"the environment variable {variable} holds no address: it has to begin with https://"
    return None


def post(variable: str, text: str) -> None:
    """Send a text, up to three times. Raises WebhookError where it was not taken."""
    if wrong := fault(variable):
        raise WebhookError(wrong)
    body = json.dumps({"text": escaped(text)}).encode()
    for pause in (*PAUSES, None):
        why, again = _sent(os.environ[variable].strip(), body)
        if why is None:
            return
        if not again or pause is None:
            raise WebhookError(why)
        time.sleep(pause)


def escaped(text: str) -> str:
    """As Slack asks for: otherwise a name could call a channel, or hide where a link leads."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no server elsewhere: the message would be left behind, and the answer there taken for its receipt."""

    def redirect_request(self, *_: object) -> None:
        return None


def _sent(address: str, body: bytes) -> tuple[str | None, bool]:
    """Why the message was not taken, and whether it may be at another try. A server that answers letter by letter has
    no more time than one that is silent.
    """
    answers: list[tuple[str | None, bool]] = []
    asking = threading.Thread(target=lambda: answers.append(_asked(address, body)), name="almr-webhook", daemon=True)
    asking.start()
    asking.join(SECONDS)
    return answers[0] if answers else (f"no answer in {SECONDS} s", True)


def _asked(address: str, body: bytes) -> tuple[str | None, bool]:
    """Errors are named, not quoted: some quote the address."""
    try:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 (see fault)
        with urllib.request.build_opener(_Straight).open(request, timeout=SECONDS):
            return None, False
    except urllib.error.HTTPError as error:
        elsewhere = ", which leads elsewhere: correct the address" if 300 <= error.code < 400 else ""
        return f"the server answered {error.code}{elsewhere}", error.code >= 500 or error.code in AGAIN
    except urllib.error.URLError as error:
        return f"no connection ({type(error.reason).__name__})", True
    except Exception as error:  # http.client has errors of its own
        return f"no answer ({type(error).__name__})", isinstance(error, OSError)
