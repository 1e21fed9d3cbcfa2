"""The event contract: types, aliases, fields, units, version; items and customers likewise.

One event is one act of one visitor at one instant. Instants are UTC with microseconds, prices are per
unit in the currency's main unit, quantities are units (always positive; a ``return`` is an event of its
own). ``event_id`` is the key: the same event twice counts once. ``feature_repo.validation`` turns raw
frames into tables of these schemas; nothing else may.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa

CONTRACT_VERSION = 1
"""Raised when a field or a type changes meaning; a new optional field or a new type does not raise it."""

INSTANT = pa.timestamp("us", tz="UTC")

EVENT_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("user_id", pa.string()),
        pa.field("anonymous_id", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("order_id", pa.string()),
        pa.field("event_at", INSTANT, nullable=False),
        pa.field("received_at", INSTANT, nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("device_type", pa.string()),
        pa.field("quantity", pa.float64()),
        pa.field("price", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("query", pa.string()),
        pa.field("recommendation_id", pa.string()),
        pa.field("campaign_id", pa.string()),
        pa.field("experiment_id", pa.string()),
        pa.field("context", pa.string()),
    ]
)
"""One row per event. ``user_id`` is null for an anonymous visitor or a guest; ``anonymous_id`` is what a
device calls a visitor, known or not (where both are given, the user acts). ``order_id`` groups the lines of
one purchase, ``received_at`` is when we got it (>= event_at up to clock skew), ``context`` is a JSON object
of anything else the channel knows."""

ITEM_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("category_path", pa.string()),
        pa.field("brand", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("cost", pa.float64()),
        pa.field("stock", pa.int64()),
        pa.field("description", pa.string()),
        pa.field("attributes", pa.string()),
        pa.field("first_seen_at", INSTANT),
    ]
)
"""One row per item. ``category_path`` is "top > middle > leaf"; price and cost are per unit; ``stock`` is
units on hand, null when the shop does not say; ``attributes`` is a JSON object."""

CUSTOMER_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("created_at", INSTANT),
        pa.field("age", pa.int64()),
        pa.field("gender", pa.string()),
        pa.field("location", pa.string()),
        pa.field("attributes", pa.string()),
    ]
)
"""One row per customer. ``age`` in years, ``attributes`` a JSON object."""

CHANNELS = ("web", "mobile_app", "mobile_web", "email", "push", "sms", "store", "iot", "api")
DEFAULT_CHANNEL = "web"
DEVICE_TYPES = ("desktop", "mobile", "tablet", "other")

CHANNEL_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "mobile": "mobile_app",
        "app": "mobile_app",
        "ios": "mobile_app",
        "android": "mobile_app",
        "online": "web",
        "website": "web",
        "desktop": "web",
        "mail": "email",
        "newsletter": "email",
        "push_notification": "push",
        "notification": "push",
        "text": "sms",
        "shop": "store",
        "in_store": "store",
        "pos": "store",
        "retail": "store",
        "device": "iot",
        "server": "api",
    }
)
DEVICE_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "phone": "mobile",
        "smartphone": "mobile",
        "mobile_phone": "mobile",
        "iphone": "mobile",
        "android": "mobile",
        "pc": "desktop",
        "laptop": "desktop",
        "computer": "desktop",
        "web": "desktop",
        "ipad": "tablet",
    }
)


@dataclass(frozen=True)
class EventType:
    """One word of the vocabulary: what it means, its group, and the fields it cannot do without."""

    name: str
    group: str
    meaning: str
    required: tuple[str, ...] = ()


def _types(group: str, *rows: tuple[str, str, tuple[str, ...]]) -> list[EventType]:
    return [EventType(name, group, meaning, required) for name, meaning, required in rows]


_ITEM = ("item_id",)
_USER = ("user_id",)
_LINE = ("item_id", "quantity", "price")
_EXPERIMENT = ("experiment_id",)

_ALL: list[EventType] = [
    *_types(
        "browse",
        ("page_view", "a page that is no product page was seen", ()),
        ("product_view", "a product page was seen", _ITEM),
        ("category_browse", "a category list was seen; context.category names it", ()),
        ("brand_browse", "a brand list was seen; context.brand names it", ()),
        ("search", "a search was made", ("query",)),
        ("search_click", "a search result was opened", _ITEM),
        ("filter_applied", "a list was narrowed; context.filters", ()),
        ("sort_applied", "a list was sorted; context.sort", ()),
        ("product_compare", "a product was put into a comparison", _ITEM),
        ("image_view", "a product image was enlarged", _ITEM),
        ("video_play", "a product video was started", ()),
        ("click", "something was clicked that has no type of its own", ()),
        ("scroll", "a page was scrolled; context.scroll_depth 0..1", ()),
        ("session_start", "a visit began", ()),
        ("session_end", "a visit ended; context.session_duration in seconds", ()),
    ),
    *_types(
        "cart",
        ("add_to_cart", "units were put into the cart", _ITEM),
        ("remove_from_cart", "units were taken out of the cart", _ITEM),
        ("cart_view", "the cart was seen", ()),
        ("cart_abandonment", "a filled cart was left", ()),
        ("checkout_start", "the checkout was entered", ()),
        ("checkout_step", "a step of the checkout was done; context.step", ()),
        ("payment_failed", "a payment was refused", ()),
    ),
    *_types(
        "order",
        ("purchase", "one line of an order was bought; order_id groups the lines", _LINE),
        ("return", "units came back or were cancelled after purchase; quantity positive", _LINE),
        ("order_cancel", "an order was cancelled before delivery", ("order_id",)),
        ("order_delivered", "an order arrived", ("order_id",)),
        ("subscription_start", "a repeat delivery was started", _USER),
        ("subscription_cancel", "a repeat delivery was ended", _USER),
    ),
    *_types(
        "interest",
        ("wishlist_add", "a product was put on a wish list", _ITEM),
        ("wishlist_remove", "a product was taken off a wish list", _ITEM),
        ("stock_alert", "a notice was asked for when the product is back", _ITEM),
        ("price_alert", "a notice was asked for when the price falls", _ITEM),
    ),
    *_types(
        "social",
        ("review", "a review was written; context.rating, context.text", _ITEM),
        ("rating", "a rating was given; context.rating", _ITEM),
        ("share", "a product or page was shared", ()),
        ("like", "a product or content was liked", ()),
        ("comment", "a comment was written", ()),
        ("follow", "a brand, person or list was followed", ()),
        ("referral", "somebody was invited", ()),
        ("social_interaction", "any other act on a social channel", ()),
    ),
    *_types(
        "message",
        ("email_sent", "an e-mail was sent", _USER),
        ("email_open", "an e-mail was opened", ()),
        ("email_click", "a link in an e-mail was followed", ()),
        ("email_bounce", "an e-mail came back", ()),
        ("email_unsubscribe", "e-mails were refused: consent to them ends", ()),
        ("push_notification", "a push message was sent", _USER),
        ("push_open", "a push message was opened", ()),
        ("sms_sent", "a text message was sent", _USER),
        ("sms_click", "a link in a text message was followed", ()),
        ("campaign_holdout", "a customer was kept out of a campaign to measure it; campaign_id", _USER),
    ),
    *_types(
        "account",
        ("signup", "an account was made", _USER),
        ("login", "a customer signed in", _USER),
        ("logout", "a customer signed out", _USER),
        ("profile_update", "profile data was changed", _USER),
        ("preference_update", "preferences were changed", _USER),
        ("consent_update", "consent changed; what context.consent sets to false ends", ()),
        ("support_contact", "the customer service was contacted", ()),
    ),
    *_types(
        "recommendation",
        ("recommendation_served", "a recommendation was answered; context.position, propensity, slot", _ITEM),
        ("recommendation_view", "a recommended item was seen", ("recommendation_id",)),
        ("recommendation_click", "a recommended item was opened", ("recommendation_id", "item_id")),
        ("bundle_view", "a bundle was seen", ()),
        ("bundle_click", "a bundle was opened", ()),
        ("bundle_add", "a bundle was put into the cart", ()),
    ),
    *_types(
        "offer",
        ("offer_served", "an offer was answered; context.offer_id, offer_type, expected_response_rate", ()),
        ("offer_view", "an offer was seen; context.offer_id", ()),
        ("offer_click", "an offer was opened", ()),
        ("offer_redeem", "an offer was used", ()),
        ("loyalty_earn", "loyalty points were earned", _USER),
        ("loyalty_redeem", "loyalty points were used", _USER),
    ),
    *_types(
        "experiment",
        ("experiment_exposure", "a visitor met a variant; context.variant, propensity", _EXPERIMENT),
        ("experiment_conversion", "a visitor in an experiment reached its goal", _EXPERIMENT),
        ("experience_served", "a personalized experience was served; context.experience_id", ()),
        ("experience_interaction", "a personalized experience was used; context.experience_id", ()),
        ("conversion_achieved", "an experience led to its goal; context.conversion_value", ()),
        ("conversion_attributed", "a conversion was credited; context.lift_achieved", ()),
        ("behavior_detected", "a live rule found a behaviour; context.significance_score 0..1", ()),
    ),
    *_types(
        "content",
        ("content_view", "an article, guide or video page was seen", ()),
        ("content_click", "a content block was opened", ()),
        ("banner_view", "a banner was seen", ()),
        ("banner_click", "a banner was opened", ()),
    ),
    *_types(
        "place",
        ("store_visit", "a shop was visited", ()),
        ("device_signal", "a connected device reported; context holds the reading", ()),
    ),
]

EVENT_TYPES: Mapping[str, EventType] = MappingProxyType({kind.name: kind for kind in _ALL})
"""The closed vocabulary, canonical name -> type."""

SHOP_ACTS = frozenset(
    {
        "email_sent",
        "email_bounce",
        "push_notification",
        "sms_sent",
        "order_delivered",
        "recommendation_served",
        "offer_served",
        "experience_served",
        "behavior_detected",
        "conversion_attributed",
        "campaign_holdout",
    }
)
"""Types that the shop brings about, not the visitor: no sign that a customer is active."""

SENT_TYPES: Mapping[str, str] = MappingProxyType(
    {"email": "email_sent", "push": "push_notification", "sms": "sms_sent"}
)
"""Channel of a message -> the type that says that one went out."""

MESSAGE_LIST = "message_list"
"""Kind of the decisions about goods for a message. Nobody sees them before the message is sent, which an
event of `SENT_TYPES` says with their id as `recommendation_id`."""

_ALIASES_BY_TYPE: Mapping[str, str] = {
    "page_view": "page_viewed page pageview page_impression page_visit",
    "product_view": (
        "view viewed product_viewed view_product view_item item_view item_viewed "
        "detail_view detail product browse browsing recently_viewed pdp_view"
    ),
    "category_browse": "category_view category_viewed view_category category view_item_list",
    "brand_browse": "brand_view brand_viewed view_brand",
    "search": "searched search_query query view_search_results site_search",
    "search_click": "search_result_click select_search_result",
    "filter_applied": "filter apply_filter filtered",
    "sort_applied": "sort apply_sort",
    "product_compare": "compare comparison",
    "image_view": "image_zoom zoom",
    "video_play": "video_view video play",
    "click": "clicked product_click select_item tap",
    "add_to_cart": "cart_add cart added_to_cart add_cart basket_add add_to_basket add_to_bag",
    "remove_from_cart": "cart_remove removed_from_cart remove_cart basket_remove",
    "cart_view": "view_cart cart_viewed basket_view",
    "cart_abandonment": "abandoned_cart cart_abandoned abandon_cart cart_abandon",
    "checkout_start": "checkout begin_checkout checkout_started initiate_checkout",
    "checkout_step": "checkout_progress add_payment_info add_shipping_info",
    "payment_failed": "payment_failure payment_declined",
    "purchase": "order buy bought purchased transaction sale order_placed order_completed",
    "return": "refund returned refunded product_return order_return order_refunded",
    "order_cancel": "cancel cancelled canceled order_cancelled order_canceled cancel_order",
    "order_delivered": "delivered delivery",
    "subscription_start": "subscribe subscribed",
    "subscription_cancel": "unsubscribe subscription_cancelled",
    "wishlist_add": "wishlist add_to_wishlist favorite favourite save_item wishlisted",
    "wishlist_remove": "remove_from_wishlist unfavorite unfavourite",
    "stock_alert": "back_in_stock_alert notify_me",
    "price_alert": "price_drop_alert",
    "review": "reviewed product_review write_review",
    "rating": "rate rated product_rating",
    "share": "shared product_share social_share",
    "like": "liked thumbs_up",
    "comment": "commented social_comment",
    "follow": "followed social_follow",
    "referral": "refer invite invited",
    "social_interaction": "social social_interactions",
    "email_sent": "email send_email email_send email_delivered",
    "email_open": "email_opened open_email",
    "email_click": "email_clicked",
    "email_bounce": "email_bounced",
    "email_unsubscribe": "email_unsubscribed email_opt_out",
    "push_notification": "push push_sent push_send notification",
    "push_open": "push_opened push_click push_clicked notification_open",
    "sms_sent": "sms sms_send",
    "sms_click": "sms_clicked",
    "signup": "sign_up register registered registration account_created",
    "login": "log_in logged_in sign_in signin",
    "logout": "log_out logged_out sign_out signout",
    "profile_update": "profile_updated update_profile",
    "preference_update": "preferences_update preferences_updated update_preferences",
    "consent_update": "consent consent_given consent_withdrawn",
    "support_contact": "support support_ticket contact_support",
    "recommendation_view": "recommendation_viewed recommendation_impression impression rec_view",
    "recommendation_click": "recommendation_clicked rec_click",
    "bundle_view": "bundle_viewed view_bundle",
    "bundle_click": "bundle_clicked",
    "bundle_add": "bundle_add_to_cart add_bundle_to_cart",
    "offer_view": "offer_viewed promotion_view view_promotion promotion_viewed",
    "offer_click": "offer_clicked promotion_click select_promotion",
    "offer_redeem": "offer_redeemed coupon_applied coupon_redeemed apply_coupon",
    "loyalty_earn": "points_earned loyalty_earned",
    "loyalty_redeem": "points_redeemed loyalty_redeemed",
    "experiment_exposure": "exposure experiment_viewed variant_assigned ab_test_exposure",
    "experiment_conversion": "conversion converted goal_reached ab_test_conversion",
    "experience_served": "experience_view experience_viewed",
    "experience_interaction": "experience_click experience_performance",
    "behavior_detected": "behaviour_detected",
    "content_view": "content_viewed article_view blog_view read_article",
    "content_click": "content_clicked article_click",
    "banner_view": "banner_viewed banner_impression",
    "banner_click": "banner_clicked",
    "store_visit": "shop_visit in_store_visit",
    "device_signal": "iot_signal sensor_reading device_reading",
}

ALIASES: Mapping[str, str] = MappingProxyType(
    {alias: name for name, aliases in _ALIASES_BY_TYPE.items() for alias in aliases.split()}
)
"""Accepted spelling (folded to lower snake_case) -> canonical name; canonical names are not repeated."""


class UnknownEventType(ValueError):
    """Neither in the vocabulary nor an alias; carries the value and the nearest name."""

    def __init__(self, value: object) -> None:
        self.value = value
        near = difflib.get_close_matches(fold(str(value)), [*EVENT_TYPES, *ALIASES], n=1, cutoff=0.5)
        self.nearest = ALIASES.get(near[0], near[0]) if near else None
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        super().__init__(f"unknown event_type {value!r}{hint} (feature_repo/events.py lists the vocabulary)")


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[^a-z0-9]+")


def fold(text: str) -> str:
    """Lower snake_case of any spelling: ``Add To Cart``, ``add-to-cart`` and ``addToCart`` are one."""
    return _SEPARATORS.sub("_", _CAMEL.sub("_", text.strip()).lower()).strip("_")


_BY_LETTERS: Mapping[str, str] = {
    spelling.replace("_", ""): name
    for spelling, name in [*ALIASES.items(), *((name, name) for name in EVENT_TYPES)]
}


def find_event_type(text: str) -> str | None:
    """The vocabulary's name for an accepted spelling; case, spaces, hyphens, underscores do not matter."""
    return _BY_LETTERS.get(fold(text).replace("_", ""))


def canonical_event_type(text: str) -> str:
    """As `find_event_type`; raises UnknownEventType, which names the value and the nearest type."""
    name = find_event_type(text)
    if name is None:
        raise UnknownEventType(text)
    return name


def nearest_event_types(text: str, count: int = 3) -> tuple[str, ...]:
    """The types that are spelled most like this, nearest first; none if nothing is like it."""
    near = difflib.get_close_matches(fold(text), [*EVENT_TYPES, *ALIASES], n=2 * count, cutoff=0.4)
    return tuple(dict.fromkeys(ALIASES.get(name, name) for name in near))[:count]


def canonical_channel(text: str) -> str | None:
    """The channel's canonical name, or None for a channel the contract does not know."""
    name = fold(text)
    name = CHANNEL_ALIASES.get(name, name)
    return name if name in CHANNELS else None


def canonical_device(text: str) -> str:
    """The device's canonical name; what the contract does not know is ``other``."""
    name = fold(text)
    name = DEVICE_ALIASES.get(name, name)
    return name if name in DEVICE_TYPES else "other"
