"""A message as e-mail and as JSON: nothing of a title or an id becomes markup, a header, part of a link."""

from typing import Any

import pytest

from serving.campaigns.delivery import Mail, Undeliverable
from serving.campaigns.letters import letter, posted


def message(**content: Any) -> dict[str, Any]:
    hero = {"item_id": "a/b", "title": "Mug <b>&", "category": "kitchen", "price": 4.5}
    other = {"item_id": "pot", "title": None, "category": None, "price": None}
    blocks = {"hero_product": hero, "product_grid": [other], "content_articles": [{"title": "Tea"}]}
    return {
        "message_id": "m1",
        "campaign": "spring",
        "user_id": "u&1",
        "channel": "email",
        "content": {
            "subject": {"text": "New for you: Mug <b>&", "kind": "plain"},
            "blocks": blocks | {"social_proof": []},
            "decision_id": "d1",
            "recommendation_id": "r1",
            "product_link": "https://shop.example/p/{item_id}?u={user_id}",
            "unsubscribe_link": None,
            **content,
        },
    }


def test_the_text_and_the_html_say_the_same_and_titles_are_no_markup() -> None:
    mail = letter(message(), "Shop <shop@shop.example>", "anna@x.example")
    text, page = (str(part.get_payload(decode=True), "utf-8") for part in mail.get_payload())  # type: ignore[arg-type,union-attr]
    link = "https://shop.example/p/a%2Fb?u=u%261&utm_source=attune&utm_medium=email&utm_campaign=spring"
    assert f"Mug <b>& - 4.50 - {link}" in text and "pot - " in text and "Tea" in text
    assert "<b>" not in page and "Mug &lt;b&gt;&amp;" in page and "Tea" in page
    assert mail["Message-ID"] == "<m1@shop.example>"
    assert mail["List-Unsubscribe"] is None and "No more of these" not in text


def test_a_long_link_in_a_header_stays_in_one_piece() -> None:
    link = f"https://shop.example/unsubscribe/{'x' * 120}"
    mail = letter(message(unsubscribe_link=link), "shop@shop.example", "anna@x.example")
    assert f"List-Unsubscribe: <{link}?utm_source=attune".encode() in bytes(mail)


def test_a_link_may_name_the_list_that_the_goods_come_from() -> None:
    link = "https://shop.example/p/{item_id}?r={recommendation_id}"
    sent = posted(message(product_link=link))
    assert "https://shop.example/p/pot?r=r1&utm_source=attune" in sent["text"]
    planned_before = posted(message(product_link=link, recommendation_id=None))
    assert "https://shop.example/p/pot?r=&utm_source=attune" in planned_before["text"]


def test_a_line_break_in_a_title_makes_no_header() -> None:
    subject = {"text": "Hello\r\nBcc: everybody@x.example", "kind": "plain"}
    mail = letter(message(subject=subject), "shop@shop.example", "anna@x.example")
    assert mail["Bcc"] is None and mail["Subject"] == "Hello Bcc: everybody@x.example"


def test_an_address_that_is_none_is_never_tried_again() -> None:
    with pytest.raises(Undeliverable, match="the address cannot be used"):
        Mail("smtp://127.0.0.1:9", "shop@shop.example").send(message(), "anna@x.example\nBcc: b@x.example")


def test_a_webhook_gets_what_it_needs_to_know_a_message_again() -> None:
    sent = posted(message())
    assert (sent["message_id"], sent["campaign_id"], sent["user_id"]) == ("m1", "spring", "u&1")
    assert (sent["subject_kind"], sent["decision_id"], sent["recommendation_id"]) == ("plain", "d1", "r1")
    assert sent["subject"] == "New for you: Mug <b>&" and sent["blocks"]["hero_product"]["item_id"] == "a/b"
