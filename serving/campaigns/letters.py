"""What a composed message looks like: subject, text and HTML, with links that name the campaign."""

import html
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import quote

UNFOLDED = SMTP.clone(max_line_length=998)
"""A folded link in a header would be encoded, and no mail program would follow it."""

Message = Mapping[str, Any]
"""A row of `campaign_messages` with `content` as an object."""


def subject_of(message: Message) -> str:
    """The subject line, which is all that a short message says."""
    return str(message["content"]["subject"]["text"])


def items_of(message: Message) -> list[dict[str, Any]]:
    """Title, price and link of each item that the message shows, the hero first."""
    blocks = message["content"]["blocks"]
    hero = blocks["hero_product"]
    shown = ([hero] if hero else []) + blocks["product_grid"]
    link = message["content"].get("product_link")
    return [
        {
            "title": item["title"] or item["item_id"],
            "price": item["price"],
            "link": filled(link, message, item["item_id"]) if link else None,
        }
        for item in shown
    ]


def filled(link: str, message: Message, item_id: str = "") -> str:
    """A link of the campaign with its places filled, and marked for the shop's own analytics."""
    values = {
        "item_id": item_id,
        "campaign": message["campaign"],
        "message_id": message["message_id"],
        "user_id": message["user_id"],
        "recommendation_id": message["content"].get("recommendation_id") or "",
    }
    for name, value in values.items():
        link = link.replace(f"{{{name}}}", quote(value, safe=""))
    mark = f"utm_source=attune&utm_medium={message['channel']}&utm_campaign={quote(message['campaign'])}"
    return f"{link}{'&' if '?' in link else '?'}{mark}"


def text_of(message: Message) -> str:
    """The message as plain text."""
    lines = [subject_of(message), ""]
    for item in items_of(message):
        lines.append(" - ".join(filter(None, (item["title"], _price(item["price"]), item["link"]))))
    lines += [_piece(piece) for piece in _pieces(message)]
    if leave := unsubscribe_of(message):
        lines += ["", f"No more of these messages: {leave}"]
    return "\n".join(lines) + "\n"


def html_of(message: Message) -> str:
    """The same as HTML without scripts, images or anything that is fetched."""
    rows = []
    for item in items_of(message):
        title = html.escape(str(item["title"]))
        named = f'<a href="{html.escape(item["link"])}">{title}</a>' if item["link"] else title
        rows.append(f"<li>{named} {html.escape(_price(item['price']))}</li>")
    pieces = "".join(f"<p>{html.escape(_piece(piece))}</p>" for piece in _pieces(message))
    leave = unsubscribe_of(message)
    foot = f'<p><a href="{html.escape(leave)}">No more of these messages</a></p>' if leave else ""
    title = html.escape(subject_of(message))
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body><h1>{title}</h1><ul>{''.join(rows)}</ul>{pieces}{foot}</body></html>"
    )


def unsubscribe_of(message: Message) -> str | None:
    """Where the customer ends these messages, if the campaign says so."""
    link = message["content"].get("unsubscribe_link")
    return filled(link, message) if link else None


def letter(message: Message, sender: str, address: str) -> EmailMessage:
    """The e-mail. Its Message-ID is the message's, so that a server knows one that comes again."""
    mail = EmailMessage(UNFOLDED)
    # A line break in a title would end the header and begin another.
    mail["Subject"] = " ".join(subject_of(message).split())
    mail["From"], mail["To"] = sender, address
    mail["Message-ID"] = f"<{message['message_id']}@{sender.rpartition('@')[2].rstrip('>') or 'attune'}>"
    mail["X-Attune-Campaign"] = message["campaign"]
    if leave := unsubscribe_of(message):
        mail["List-Unsubscribe"] = f"<{leave}>"
    mail.set_content(text_of(message))
    mail.add_alternative(html_of(message), subtype="html")
    return mail


def posted(message: Message) -> dict[str, Any]:
    """What the webhook gets; it knows a message that comes again by `message_id`."""
    return {
        "message_id": message["message_id"],
        "campaign_id": message["campaign"],
        "user_id": message["user_id"],
        "channel": message["channel"],
        "subject": subject_of(message),
        "text": text_of(message),
        "html": html_of(message),
        "blocks": message["content"]["blocks"],
        "subject_kind": message["content"]["subject"]["kind"],
        "decision_id": message["content"]["decision_id"],
        "recommendation_id": message["content"].get("recommendation_id"),
    }


def _pieces(message: Message) -> list[Mapping[str, Any]]:
    blocks = message["content"]["blocks"]
    return [*blocks["content_articles"], *blocks["social_proof"]]


def _piece(piece: Mapping[str, Any]) -> str:
    return str(piece.get("title") or piece.get("text") or piece.get("content_id") or "")


def _price(price: float | None) -> str:
    return "" if price is None else f"{price:.2f}"
