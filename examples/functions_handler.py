"""A Lambda that calls your own functions: deploy it with the handler `functions_handler.handler`.

Set `CDC_MAPPINGS=none`, or the folder of your mappings to write an index beside the calls.
"""

import json
import logging

from cdc import Change, Defer, Reject
from consumers.aws_lambda import handler_for

log = logging.getLogger(__name__)
mailed: set[str] = set()  # stands for a table of yours that remembers what was sent


class MailServerBusy(Exception):
    """The mail server asks to come back later."""


def send_mail(address: str, text: str) -> None:
    """Stands for your mail client."""
    if not address.endswith("@example.com"):
        raise MailServerBusy
    log.info("%s", json.dumps({"to": address, "text": text}))


def welcome(change: Change) -> None:
    """Greet a new customer, once: the identity is the same for every copy of the change."""
    item = change.after or {}
    if str(change.identity) in mailed:
        return
    if "email" not in item:
        raise Reject("the customer has no address", detail=f"keys: {change.keys}")  # kept as a dead letter
    try:
        send_mail(str(item["email"]), "Welcome!")
    except MailServerBusy as busy:
        raise Defer(30, "the mail server is busy") from busy  # called again in 30 seconds, in order
    mailed.add(str(change.identity))


handler = handler_for(on_insert=welcome)
